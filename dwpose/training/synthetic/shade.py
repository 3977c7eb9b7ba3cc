"""Light on surfaces: folds of cloth, a main light, sky and ground, a rim and a weak shine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .dice import Dice
from .looks import Looks
from .outfit import BOTTOM, TOP


def wrinkle(normal: Tensor, places: Tensor, label: Tensor, person: Tensor, looks: Looks) -> Tensor:
    """Bend the normals of cloth by a sum of sines, [M,3] unit in and out."""
    cloth = ((label == TOP) | (label == BOTTOM)).nonzero()[:, 0]
    who = person[cloth]
    waves = looks.wrinkle[who]  # [m,3,4]
    phase = (waves[..., :3] * places[cloth, None, :3]).sum(-1) + waves[..., 3]
    # Folds bunch together: the sine of a sine is steep on one side.
    slope = torch.cos(phase + 0.8 * torch.sin(phase.roll(1, -1) * 1.7))
    axis = waves[..., :3] / waves[..., :3].norm(dim=-1, keepdim=True)
    bend = (slope[..., None] * axis).sum(1) * looks.wrinkle_depth[who][:, None]
    bent = normal.clone()
    bent[cloth] = torch.nn.functional.normalize(normal[cloth] + 0.6 * bend, dim=-1)
    return bent


@dataclass(frozen=True)
class Lights:
    """Light per image, directions in camera axes (right, down, forward).

    Attributes:
        key: towards the main light, unit, [N,3]; key_colour, sky, ground, rim: [N,3].
        shadow: how dark shadows are, 0..1, [N].
    """

    key: Tensor
    key_colour: Tensor
    sky: Tensor
    ground: Tensor
    rim: Tensor
    shadow: Tensor


def sample_lights(dice: Dice, images: int) -> Lights:
    """Draw lights: mostly from above and before the subject."""
    angle = dice.normal(1.0, images)
    height = dice.uniform(-0.1, 1.2, images)
    key = torch.stack([angle.sin() * height.cos(), -height.sin(), -angle.cos() * height.cos()], -1)
    warm = dice.normal(0.06, images, 1) * torch.tensor([1.0, 0.0, -1.0], device=dice.device)
    power = dice.uniform(0.25, 1.0, images, 1)
    ambient = dice.uniform(0.25, 0.6, images, 1)
    return Lights(
        key=key,
        key_colour=power * (1 + warm),
        sky=ambient * (1 - 0.5 * warm),
        ground=ambient * dice.uniform(0.35, 0.9, images, 1) * (1 + 0.5 * warm),
        rim=dice.chance(0.3, images)[:, None] * dice.uniform(0.1, 0.5, images, 1).expand(-1, 3),
        shadow=dice.uniform(0.15, 1.0, images),
    )


def light_up(
    colour: Tensor, normal: Tensor, image: Tensor, lights: Lights, shadow: Tensor | None = None
) -> Tensor:
    """Light surface colours.

    Args:
        colour: sRGB, [M,3].
        normal: unit, camera axes, [M,3].
        image: int64 [M].
        lights: lights of the images.
        shadow: 0 (in shadow) to 1 of the main light, [M].

    Returns:
        sRGB [M,3] in 0..1.
    """
    linear = colour.clamp(0, 1).square()  # 2.0 is near enough to 2.2 and much quicker
    facing = (normal * lights.key[image]).sum(-1)
    wrapped = ((facing + 0.15) / 1.15).clamp_min(0)
    if shadow is not None:
        wrapped = wrapped * shadow
    up = 0.5 - 0.5 * normal[:, 1:2]
    ambient = lights.ground[image] + up * (lights.sky[image] - lights.ground[image])
    edge = (1 + normal[:, 2:3]).clamp(0, 1) ** 3  # 1 where the surface turns away
    half = torch.nn.functional.normalize(
        lights.key[image] - torch.tensor([0.0, 0, 1], device=normal.device), dim=-1
    )
    shine = (normal * half).sum(-1).clamp_min(0) ** 24 * 0.08
    if shadow is not None:
        shine = shine * shadow
    light = wrapped[:, None] * lights.key_colour[image] + ambient + edge * lights.rim[image]
    linear = linear * light + shine[:, None] * lights.key_colour[image]
    return linear.clamp(1e-6, 1).sqrt()
