"""Colours, patterns and faces of people, apart from the shape of what they wear."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .background import Photos, textures
from .dice import Dice

# Base skin colours, sRGB, from very light to very dark; chosen by eye.
_SKIN = (
    (0.96, 0.82, 0.74),
    (0.93, 0.76, 0.66),
    (0.89, 0.70, 0.58),
    (0.84, 0.63, 0.50),
    (0.76, 0.55, 0.42),
    (0.66, 0.46, 0.34),
    (0.54, 0.36, 0.26),
    (0.42, 0.28, 0.20),
    (0.30, 0.20, 0.15),
)
_HAIR = (
    (0.05, 0.04, 0.04),
    (0.10, 0.07, 0.05),
    (0.20, 0.13, 0.08),
    (0.34, 0.22, 0.13),
    (0.55, 0.40, 0.22),
    (0.78, 0.64, 0.42),
    (0.45, 0.18, 0.08),
    (0.60, 0.60, 0.60),
    (0.88, 0.87, 0.85),
)
_IRIS = ((0.20, 0.12, 0.07), (0.32, 0.20, 0.10), (0.30, 0.36, 0.22), (0.32, 0.45, 0.58))
PLAIN, STRIPES, CHECKS, DOTS, BLOTCHES, PRINT = range(6)
FABRIC_SIDE = 128  # texels along the edge of a piece of cloth


@dataclass(frozen=True)
class Looks:
    """Colours and patterns of P people, linear-ish sRGB in 0..1.

    Attributes:
        skin, hair, iris, shoe, hat: [P,3].
        cloth: [P,2,2,3] colours: top or bottom, main or second.
        inner: shirt under an open jacket, [P,3]; tie: [P,3], worn where `has_tie`, bool [P].
        fabric: pieces of photos as cloth, [P,2,3,S,S]; fabric_grain: how much of their light and
            dark, and fabric_colour: how much of their colours the cloth takes over, 0..1 [P,2].
        pattern: int64 [P,2]; pattern_scale: metres [P,2]; pattern_turn: radians [P,2].
        beard: 0..1 [P]; lips: 0..1 [P]; brows: 0..1.2 [P]; glasses: bool [P].
        wrinkle: [P,3,4] frequencies and phases of cloth wrinkles; wrinkle_depth: [P].
    """

    skin: Tensor
    hair: Tensor
    iris: Tensor
    shoe: Tensor
    hat: Tensor
    cloth: Tensor
    inner: Tensor
    tie: Tensor
    has_tie: Tensor
    fabric: Tensor
    fabric_grain: Tensor
    fabric_colour: Tensor
    pattern: Tensor
    pattern_scale: Tensor
    pattern_turn: Tensor
    beard: Tensor
    lips: Tensor
    brows: Tensor
    glasses: Tensor
    wrinkle: Tensor
    wrinkle_depth: Tensor


def _colours(dice: Dice, *size: int) -> Tensor:
    """Everyday cloth colours: much black, white, grey, blue and earth, some vivid."""
    value = dice.uniform(0.0, 1.0, *size, 1)
    grey = value * 0.9 + 0.04
    tint = dice.normal(0.05, *size, 3)
    vivid = dice.chance(0.28, *size)[..., None]
    bright = dice.uniform(0.05, 0.95, *size, 3)
    navy = dice.chance(0.2, *size)[..., None]
    base = torch.where(vivid, bright, grey + tint)
    jeans = torch.tensor([0.16, 0.24, 0.38], device=dice.device) * (0.5 + 1.2 * value)
    return torch.where(navy & ~vivid, jeans + 0.5 * tint, base).clamp(0.02, 0.98)


def sample_looks(dice: Dice, people: int, photos: Photos | None = None) -> Looks:
    """Draw colours and patterns; cloth is cut from `photos` or, without, from made-up pictures."""
    fabric = textures(dice, 2 * people, FABRIC_SIDE, photos)
    photographic = dice.chance(0.14, people, 2)
    white = dice.chance(0.6, people, 1)

    def pick(table: tuple, odds: tuple | None = None) -> Tensor:
        colours = torch.tensor(table, device=dice.device)
        index = dice.choice(odds or (1.0,) * len(table), people)
        return (colours[index] * dice.uniform(0.85, 1.12, people, 1)).clamp(0, 1)

    skin = (
        pick(_SKIN, (1.5, 1.5, 1.5, 1.3, 1.1, 0.9, 0.8, 0.7, 0.6)) + dice.normal(0.02, people, 3)
    ).clamp(0.05, 1)
    odds = (0.66, 0.11, 0.09, 0.04, 0.05, 0.05)
    return Looks(
        skin=skin,
        hair=pick(_HAIR, (2, 2.5, 2.5, 1.8, 1.4, 1.2, 0.8, 0.7, 0.5)),
        iris=pick(_IRIS),
        shoe=_colours(dice, people),
        hat=_colours(dice, people),
        cloth=_colours(dice, people, 2, 2),
        inner=torch.where(
            white, 0.75 + dice.uniform(0, 0.22, people, 1).expand(-1, 3), _colours(dice, people)
        ),
        tie=_colours(dice, people),
        has_tie=dice.chance(0.3, people),
        fabric=fabric.unflatten(0, (people, 2)),
        fabric_grain=dice.uniform(-0.15, 0.5, people, 2).clamp_min(0),
        fabric_colour=photographic * dice.uniform(0.5, 1.0, people, 2),
        pattern=torch.stack([dice.choice(odds, people), dice.choice(odds, people)], 1),
        pattern_scale=0.012 * torch.exp(dice.uniform(0.0, 2.2, people, 2)),
        pattern_turn=dice.chance(0.6, people, 2) * dice.normal(0.8, people, 2),
        beard=dice.chance(0.22, people) * dice.uniform(0.2, 0.9, people),
        lips=dice.uniform(0.15, 0.75, people),
        brows=dice.uniform(0.35, 1.0, people),
        glasses=dice.chance(0.12, people),
        wrinkle=torch.cat(
            [dice.normal(45.0, people, 3, 3), dice.uniform(0, 6.28, people, 3, 1)], -1
        ),
        wrinkle_depth=dice.uniform(0.05, 0.6, people),
    )
