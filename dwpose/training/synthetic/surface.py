"""The colour of every visible pixel from its place on the template, before any light."""

from __future__ import annotations

import torch
from torch import Tensor

from . import body as B
from .looks import BLOTCHES, CHECKS, DOTS, FABRIC_SIDE, PLAIN, PRINT, STRIPES, Looks
from .outfit import BARE, BOTTOM, SHOE, TOP, Outfits, garment

_EYEBALL_RADIUS = 0.0155  # metres, of the template's eyes


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
    skin = part == B.SKIN
    label = garment(places, wear.cuts.index_select(0, person))
    label = torch.where(skin | (part == B.TIGHTS), label, -1)
    label = torch.where(part == B.SKIRT, BOTTOM, label)
    # Skin shows its own colour only where the tights mesh leaves it; under cloth it is never drawn.
    colour = looks.skin.index_select(0, person)
    bare = (label == BARE).nonzero()[:, 0]
    own, who = places[bare], person[bare]
    mottle = _waves(own, 30.0) * 0.02 + _waves(own, 90.0) * 0.015
    gloved = wear.gloves[who] & (own[:, B.HANDNESS] > 0.6)
    tone = colour[bare] * (1 + mottle[:, None]) + own[:, B.NAILS, None] * 0.08
    colour[bare] = torch.where(gloved[:, None], looks.hat[who], tone)
    cloth = ((label == TOP) | (label == BOTTOM)).nonzero()[:, 0]
    colour[cloth] = _cloth_colour(places[cloth], label[cloth], person[cloth], looks)
    jacket = (label == TOP) & (wear.opening > 0).index_select(0, person)
    jacket = jacket.nonzero()[:, 0]
    colour[jacket] = _jacket(colour[jacket], places[jacket], person[jacket], wear, looks)
    shoes = (label == SHOE).nonzero()[:, 0]
    colour[shoes] = looks.shoe[person[shoes]]
    head = ((places[:, B.HEADNESS] > 0.5) & skin).nonzero()[:, 0]
    colour[head] = _face_colour(
        colour[head], places[head], person[head], wear, looks, brow_lines, eye_centres
    )
    hair = (part == B.HAIR).nonzero()[:, 0]
    strands = 1 + 0.2 * _waves(places[hair], 400.0, horizontal=True)
    colour[hair] = looks.hair[person[hair]] * strands[:, None]
    colour[part == B.TEETH] = 0.85
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
    """Colours [m,3] of pixels of tops and bottoms."""
    row = person * 2 + (label == BOTTOM).long()
    colours = looks.cloth.view(-1, 2, 3)
    out = colours[:, 0].index_select(0, row)
    on_arm = places[:, B.ARM] > -0.05
    on_leg = (places[:, B.LEG] > -0.05) & ~on_arm
    down = torch.where(on_arm, places[:, B.ARM] * 0.5, places[:, B.Z])
    down = torch.where(on_leg, places[:, B.LEG] * 0.8, down)
    across = places[:, B.X] + 0.6 * places[:, B.Y]
    out = _fabric(out, row, down, across, looks)
    kind = looks.pattern.view(-1)[row]
    some = (kind != PLAIN).nonzero()[:, 0]
    row, kind, places, down, across = (t[some] for t in (row, kind, places, down, across))
    scale = looks.pattern_scale.view(-1)[row]
    turn = looks.pattern_turn.view(-1)[row]
    cos, sin = turn.cos(), turn.sin()
    u = (down * cos + across * sin) / scale
    v = (across * cos - down * sin) / scale
    su, sv = torch.sin(u), torch.sin(v)
    blotch = torch.sin(u + 1.3 * torch.sin(0.7 * v)) + torch.sin(0.8 * v + torch.sin(0.9 * u))
    chest = (places[:, B.X] / 0.09) ** 2 + ((places[:, B.Z] - 0.43) / 0.08) ** 2 < 1
    chest = chest & (places[:, B.Y] < 0)
    amounts = {
        STRIPES: su > 0,
        CHECKS: 0.5 * (su > 0.3).float() + 0.5 * (sv > 0.3),
        DOTS: su * sv > 0.55,
        BLOTCHES: blotch > 0.3,
        PRINT: chest.float() * (0.5 + 0.5 * (blotch > 0)),
    }
    amount = torch.zeros_like(u)
    for pattern, value in amounts.items():
        amount = torch.where(kind == pattern, value.float(), amount)
    second = colours[:, 1].index_select(0, row)
    out[some] += amount[:, None] * (second - out[some])
    return out


def _fabric(colour: Tensor, row: Tensor, down: Tensor, across: Tensor, looks: Looks) -> Tensor:
    """Cloth [m,3] with the light and dark, or all, of a piece of photo 0.7 m wide."""
    column = (down / 0.7 * FABRIC_SIDE).long().remainder(FABRIC_SIDE)
    line = (across / 0.7 * FABRIC_SIDE).long().remainder(FABRIC_SIDE)
    texels = looks.fabric.flatten(0, 1).permute(0, 2, 3, 1).reshape(-1, 3)
    texel = texels.index_select(0, (row * FABRIC_SIDE + column) * FABRIC_SIDE + line)
    mean = looks.fabric.mean((2, 3, 4)).view(-1)[row]
    grain = looks.fabric_grain.view(-1)[row] * (texel.mean(1) - mean)
    share = looks.fabric_colour.view(-1)[row, None]
    return colour + grain[:, None] + share * (texel - colour)


def _jacket(colour: Tensor, places: Tensor, person: Tensor, wear: Outfits, looks: Looks) -> Tensor:
    """Colours [m,3] of tops that are open in front: lapels, the shirt below, perhaps a tie."""
    up = (places[:, B.TORSO] - wear.button[person]) / (1 - wear.button[person])
    share = torch.maximum(up.clamp(0, 1), wear.straight[person])
    half = wear.opening[person] * share * (up > 0)
    aside = places[:, B.X].abs()
    front = (places[:, B.Y] < 0.0) & (places[:, B.ARM] < -0.1)
    inside = (front & (aside < half))[:, None]
    shirt = looks.inner[person]
    tied = looks.has_tie[person] & (aside < 0.018 + 0.01 * (1 - up))
    shirt = torch.where(tied[:, None], looks.tie[person], shirt)
    seam = (((aside - half).abs() < 0.004) | ((aside - half - 0.045).abs() < 0.003)) & front
    out = torch.where(inside, shirt, colour)
    return torch.where((seam & (half > 0))[:, None], 0.6 * out, out)


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
