"""Deferred shading: the colour of every visible pixel from its place on the template."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from . import body as B
from .dice import Dice
from .outfit import BARE, BOTTOM, SHOE, TOP, Outfits, garment

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
_EYEBALL_RADIUS = 0.0155  # metres, of the template's eyes
_PLAIN, _STRIPES, _CHECKS, _DOTS, _BLOTCHES, _PRINT = range(6)


@dataclass(frozen=True)
class Looks:
    """Colours and patterns of P people, linear-ish sRGB in 0..1.

    Attributes:
        skin, hair, iris, shoe, hat: [P,3].
        cloth: [P,2,2,3] colours: top or bottom, main or second.
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
    pattern: Tensor
    pattern_scale: Tensor
    pattern_turn: Tensor
    beard: Tensor
    lips: Tensor
    brows: Tensor
    glasses: Tensor
    wrinkle: Tensor
    wrinkle_depth: Tensor

    def rows(self, person: Tensor) -> Looks:
        """One row per entry of `person`, int64 [M]."""
        return Looks(**{f.name: getattr(self, f.name)[person] for f in fields(self)})


def _colours(dice: Dice, *size: int) -> Tensor:
    """Everyday cloth colours: much black, white, grey, blue and earth, some vivid."""
    value = dice.uniform(0.0, 1.0, *size, 1)
    grey = value * 0.9 + 0.04
    tint = dice.normal(0.05, *size, 3)
    vivid = dice.chance(0.35, *size)[..., None]
    bright = dice.uniform(0.05, 0.95, *size, 3)
    navy = dice.chance(0.2, *size)[..., None]
    base = torch.where(vivid, bright, grey + tint)
    jeans = torch.tensor([0.16, 0.24, 0.38], device=dice.device) * (0.5 + 1.2 * value)
    return torch.where(navy & ~vivid, jeans + 0.5 * tint, base).clamp(0.02, 0.98)


def sample_looks(dice: Dice, people: int) -> Looks:
    """Draw colours and patterns."""

    def pick(table: tuple, odds: tuple | None = None) -> Tensor:
        colours = torch.tensor(table, device=dice.device)
        index = dice.choice(odds or (1.0,) * len(table), people)
        return (colours[index] * dice.uniform(0.85, 1.12, people, 1)).clamp(0, 1)

    skin = (
        pick(_SKIN, (1.5, 1.5, 1.5, 1.3, 1.1, 0.9, 0.8, 0.7, 0.6)) + dice.normal(0.02, people, 3)
    ).clamp(0.05, 1)
    odds = (0.55, 0.15, 0.1, 0.05, 0.1, 0.05)
    return Looks(
        skin=skin,
        hair=pick(_HAIR, (3, 3, 2.5, 1.5, 1, 0.8, 0.5, 0.7, 0.5)),
        iris=pick(_IRIS),
        shoe=_colours(dice, people),
        hat=_colours(dice, people),
        cloth=_colours(dice, people, 2, 2),
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
        wrinkle_depth=dice.uniform(0.0, 0.45, people),
    )


def albedo(
    places: Tensor,
    part: Tensor,
    person: Tensor,
    wear: Outfits,
    looks: Looks,
    brow_lines: Tensor,
    eye_centres: Tensor,
) -> tuple[Tensor, Tensor]:
    """Surface colour.

    Args:
        places: interpolated `Body.attributes`, [M,14].
        part: int64 [M], SKIN..HAIR.
        person: int64 [M].
        wear: outfits of all people.
        looks: colours of all people.
        brow_lines: template points of the two brows, [2,5,3].
        eye_centres: template centres of the eyeballs, left and right, [2,3].

    Returns:
        colours [M,3] and the garment of each pixel, int64 [M] (-1 on hair, eyes and teeth).
    """
    on_cloth = (part == B.TIGHTS) | (part == B.SKIN)
    label = garment(places, wear.rows(person))
    label = torch.where(on_cloth, label, -1)
    label = torch.where(part == B.SKIRT, BOTTOM, label)
    # Skin shows its own colour only where the tights mesh leaves it; under cloth it is never drawn.
    colour = looks.skin[person]
    mottle = _waves(places, 30.0) * 0.02 + _waves(places, 90.0) * 0.015
    colour = colour * (1 + mottle[:, None])
    gloved = wear.gloves[person] & (places[:, B.HANDNESS] > 0.6) & (label == BARE)
    colour = torch.where(gloved[:, None], looks.hat[person], colour)
    nails = places[:, B.NAILS] * ~gloved
    colour = colour + nails[:, None] * 0.08

    garments = _cloth_colour(places, label, person, looks)
    colour = torch.where(((label == TOP) | (label == BOTTOM))[:, None], garments, colour)
    colour = torch.where((label == SHOE)[:, None], looks.shoe[person], colour)

    head = ((places[:, B.HEADNESS] > 0.5) & (part == B.SKIN)).nonzero()[:, 0]
    colour[head] = _face_colour(
        colour[head], places[head], person[head], wear, looks, brow_lines, eye_centres
    )
    hair = part == B.HAIR
    strands = looks.hair[person] * (1 + 0.2 * _waves(places, 400.0, horizontal=True))[:, None]
    colour = torch.where(hair[:, None], strands, colour)
    colour = torch.where((part == B.TEETH)[:, None], 0.85, colour)
    eyes = (part == B.EYE).nonzero()[:, 0]
    colour[eyes] = _eye_colour(places[eyes], person[eyes], looks, eye_centres)
    return colour.clamp(0, 1), label


def _waves(places: Tensor, frequency: float, horizontal: bool = False) -> Tensor:
    """Cheap smooth noise of about unit size, fixed to the template."""
    x, y, z = places[:, 0] * frequency, places[:, 1] * frequency, places[:, 2] * frequency
    if horizontal:
        z = z * 0.1
    return 0.5 * (torch.sin(x + 1.7 * torch.sin(y + 0.3)) + torch.sin(1.3 * z - y + torch.sin(x)))


def _cloth_colour(places: Tensor, label: Tensor, person: Tensor, looks: Looks) -> Tensor:
    which = (label == BOTTOM).long()
    main, second = looks.cloth[person, which, 0], looks.cloth[person, which, 1]
    kind = looks.pattern[person, which]
    scale = looks.pattern_scale[person, which]
    turn = looks.pattern_turn[person, which]
    on_arm = places[:, B.ARM] > -0.05
    on_leg = (places[:, B.LEG] > -0.05) & ~on_arm
    down = torch.where(on_arm, places[:, B.ARM] * 0.5, places[:, B.Z])
    down = torch.where(on_leg, places[:, B.LEG] * 0.8, down)
    across = places[:, B.X] + 0.6 * places[:, B.Y]
    u = (down * turn.cos() + across * turn.sin()) / scale
    v = (across * turn.cos() - down * turn.sin()) / scale
    su, sv = torch.sin(u), torch.sin(v)
    amount = torch.zeros_like(u)
    amount = torch.where(kind == _STRIPES, (su > 0).float(), amount)
    amount = torch.where(kind == _CHECKS, 0.5 * (su > 0.3).float() + 0.5 * (sv > 0.3), amount)
    amount = torch.where(kind == _DOTS, (su * sv > 0.55).float(), amount)
    blotch = torch.sin(u + 1.3 * torch.sin(0.7 * v)) + torch.sin(0.8 * v + torch.sin(0.9 * u))
    amount = torch.where(kind == _BLOTCHES, (blotch > 0.3).float(), amount)
    chest = ((places[:, B.X] / 0.09) ** 2 + ((places[:, B.Z] - 0.43) / 0.08) ** 2 < 1) & (
        places[:, B.Y] < 0
    )
    amount = torch.where(kind == _PRINT, chest.float() * (0.5 + 0.5 * (blotch > 0)), amount)
    return main + amount[:, None] * (second - main)


def _segment_distance(points: Tensor, lines: Tensor) -> Tensor:
    """Least distance [M] of points [M,3] to the polylines [L,K,3]."""
    start, end = lines[:, :-1].reshape(-1, 3), lines[:, 1:].reshape(-1, 3)
    step = end - start
    offset = points[:, None] - start
    t = ((offset * step).sum(-1) / (step * step).sum(-1)).clamp(0, 1)
    return (offset - t[..., None] * step).norm(dim=-1).amin(1)


def _face_colour(
    colour: Tensor,
    places: Tensor,
    person: Tensor,
    wear: Outfits,
    looks: Looks,
    brow_lines: Tensor,
    eye_centres: Tensor,
) -> Tensor:
    place = places[:, :3]
    hair_colour = looks.hair[person] * (1 + 0.16 * _waves(places, 300.0, horizontal=True))[:, None]

    def blend(base: Tensor, other: Tensor, amount: Tensor) -> Tensor:
        return base + amount.clamp(0, 1)[:, None] * (other - base)

    red = torch.tensor([1.06, 0.86, 0.84], device=colour.device)
    cheek = torch.exp(
        -(((place[:, 0].abs() - 0.042) / 0.02) ** 2 + ((place[:, 2] - 0.762) / 0.018) ** 2)
    )
    colour = blend(colour, colour * red, 0.6 * cheek * places[:, B.FACE_MASK])
    lip_tint = torch.tensor([0.62, 0.20, 0.22], device=colour.device)
    lips = places[:, B.LIPS] * (0.35 + 0.65 * looks.lips[person])
    colour = blend(colour, 0.45 * colour + 0.55 * lip_tint * (0.4 + colour), lips)
    inside = torch.tensor([0.22, 0.05, 0.05], device=colour.device)
    colour = blend(colour, inside.expand_as(colour), 2 * places[:, B.MOUTH])
    # A shade round the eyes: lashes and the fold of the lid.
    near_eye = (place[:, None] - eye_centres).norm(dim=-1).amin(1)
    rim = torch.exp(-(((near_eye - _EYEBALL_RADIUS) / 0.0022).clamp_min(0) ** 2))
    colour = blend(colour, colour * 0.35, 0.75 * rim)
    # A beard: chin, upper lip and a band along the jaw up to the ears, with soft edges.
    edge = 0.742 + 0.35 * (place[:, 0].abs() - 0.03).clamp_min(0) + 0.003 * _waves(places, 200.0)
    jaw = (edge - place[:, 2]) / 0.02 + 0.5
    front = (-0.05 - place[:, 1]) / 0.03
    beard = torch.minimum(jaw, front).clamp(0, 1) * ((place[:, 2] - 0.68) / 0.02).clamp(0, 1)
    beard = beard * (1 - places[:, B.LIPS]) * looks.beard[person]
    colour = blend(colour, hair_colour, beard)
    # Brow hair is thickest inside and thins outwards; 4 mm is half its height.
    gap = _segment_distance(place, brow_lines)
    brow = ((0.0052 - gap) / 0.002).clamp(0, 1) * looks.brows[person]
    colour = blend(colour, hair_colour * 0.8, brow)
    frame = ((near_eye - 0.026).abs() < 0.0022) & (place[:, 1] < -0.09)
    temple = (place[:, 2] - 0.803).abs() < 0.003
    frame = frame | (temple & (place[:, 1] > -0.115) & (place[:, 1] < -0.06))
    frame = (frame & looks.glasses[person]).float()
    colour = blend(colour, looks.shoe[person] * 0.3, frame)
    grown = places[:, B.SCALP] + 0.06 * _waves(places, 330.0)
    haired = ((grown - 0.5) / 0.12 + 0.5) * (wear.hair[person] > 0)
    colour = blend(colour, hair_colour, haired)
    capped = wear.hat[person] & (places[:, B.SCALP] + places[:, B.FACE_MASK] > 0.5)
    capped = capped & (place[:, 2] > 0.838 + 0.1 * (place[:, 1] + 0.1).clamp_min(0))
    return blend(colour, looks.hat[person], capped.float())


def _eye_colour(places: Tensor, person: Tensor, looks: Looks, centres: Tensor) -> Tensor:
    centre = torch.where((places[:, :1] > 0), centres[0], centres[1])
    offset = places[:, :3] - centre
    # The template's eyes look along -y.
    off_axis = offset[:, [0, 2]].norm(dim=-1) / _EYEBALL_RADIUS
    behind = offset[:, 1] > 0
    white = torch.tensor([0.86, 0.84, 0.82], device=places.device).expand(len(places), 3)
    iris = ((0.40 - off_axis) / 0.04).clamp(0, 1)[:, None]
    pupil = ((0.17 - off_axis) / 0.03).clamp(0, 1)[:, None]
    colour = white + iris * (looks.iris[person] - white)
    colour = colour * (1 - pupil * 0.95)
    return torch.where(behind[:, None], white, colour)


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
    linear = colour.clamp(0, 1) ** 2.2
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
    return (linear.clamp_min(1e-6) ** (1 / 2.2)).clamp(0, 1)
