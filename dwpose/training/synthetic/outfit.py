"""Clothes, shoes and hair as thresholds along the body; nothing is simulated.

Every vertex knows how far along the arm, leg and torso it lies (`body.attributes`). A garment is
the part of the tights mesh within some thresholds, pushed out along its normals; the exact hem is
found per pixel with the same rule, so it is smooth although the mesh is coarse.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from . import body as B
from .dice import Dice

BARE, TOP, BOTTOM, SHOE = range(4)


@dataclass(frozen=True)
class Outfits:
    """What P people wear; float32 [P] unless said.

    Attributes:
        sleeve, leg: where they end, 0 shoulder or hip, 1 wrist or ankle.
        neck, vneck: height of the neckline and how much deeper it is in the middle.
        hem: where the top ends, 0 at the hip joint, 1 at the base of the neck.
        shoe: where shoes begin along the leg; above 2 for bare feet.
        loose_top, loose_bottom: metres pushed out.
        skirt: bool, a skirt is worn; skirt_z: its length as a height of the template in metres.
        hair: metres the scalp is pushed out, 0 for none; cards: lowest height of the hair cards
            in the template in metres, above 1 for none.
        hat: bool; gloves: bool.
        collar: metres the top stands out more at its neckline: collars, hoods, scarves.
        opening: half width in metres of a jacket's opening at the neck, 0 for none; button: height
            along the torso where it closes; straight: 0..1, how little it narrows downwards.
        phase: [P,4,4] three frequencies (1/m) and a phase of the folds' low-frequency noise.
    """

    sleeve: Tensor
    leg: Tensor
    neck: Tensor
    vneck: Tensor
    hem: Tensor
    shoe: Tensor
    loose_top: Tensor
    loose_bottom: Tensor
    skirt: Tensor
    skirt_z: Tensor
    hair: Tensor
    cards: Tensor
    hat: Tensor
    gloves: Tensor
    collar: Tensor
    opening: Tensor
    button: Tensor
    straight: Tensor
    phase: Tensor

    @property
    def cuts(self) -> Tensor:
        """Where garments end, [P,6]: sleeve, leg, neck, vneck, hem, shoe."""
        return torch.stack([self.sleeve, self.leg, self.neck, self.vneck, self.hem, self.shoe], -1)

    def columns(self) -> Outfits:
        """Every [P] made [P,1], to meet [V]."""
        return Outfits(
            **{
                f.name: value if value.dim() > 1 else value[:, None]
                for f in fields(self)
                for value in [getattr(self, f.name)]
            }
        )


def sample_outfits(dice: Dice, people: int, padded: float = 0.0) -> Outfits:
    """Draw what people wear, everyday clothes mostly.

    Args:
        dice: random numbers.
        people: how many.
        padded: share of people in quilted coats and in the suits of astronauts, divers and
            racers, which stand centimetres off the body.
    """

    def one_of(odds: tuple[float, ...], ranges: tuple[tuple[float, float], ...]) -> Tensor:
        kind = dice.choice(odds, people)
        low = torch.tensor([r[0] for r in ranges], device=dice.device)[kind]
        high = torch.tensor([r[1] for r in ranges], device=dice.device)[kind]
        return low + (high - low) * dice.uniform(0, 1, people)

    sleeve = one_of((0.12, 0.36, 0.1, 0.42), ((-0.1, 0.03), (0.2, 0.45), (0.5, 0.85), (0.9, 1.0)))
    leg = one_of((0.22, 0.1, 0.68), ((0.12, 0.45), (0.5, 0.85), (0.9, 1.0)))
    neck = dice.uniform(0.88, 1.0, people)
    vneck = dice.chance(0.35, people) * dice.uniform(0.05, 0.3, people)
    hem = one_of((0.85, 0.15), ((-0.12, 0.16), (0.16, 0.3)))
    shoe = one_of((0.75, 0.1, 0.15), ((0.95, 1.02), (0.6, 0.9), (3.0, 3.1)))
    loose_top = 0.003 + 0.025 * dice.uniform(0, 1, people) ** 1.5
    # Outer wear: jackets, open or buttoned, hoodies, and now and then a quilted or pressure suit.
    outer = dice.chance(0.3, people)
    sleeve = torch.where(outer, dice.uniform(0.88, 1.0, people), sleeve)
    hem = torch.where(outer, dice.uniform(-0.2, 0.16, people), hem)
    neck = torch.where(outer, dice.uniform(0.96, 1.07, people), neck)
    vneck = torch.where(outer, dice.chance(0.3, people) * vneck, vneck)
    bulky = dice.chance(0.25, people) * dice.uniform(0.0, 0.035, people)
    loose_top = torch.where(outer, 0.008 + 0.6 * loose_top + bulky, loose_top)
    collar = torch.where(outer, 0.8, 0.15) > dice.uniform(0, 1, people)
    collar = collar * dice.uniform(0.004, 0.02, people)
    collar = collar + (outer & dice.chance(0.2, people)) * dice.uniform(0.01, 0.04, people)
    opened = outer & dice.chance(0.65, people)
    suit = dice.chance(0.5, people)
    opening = opened * dice.uniform(0.02, 0.085, people)
    button = torch.where(suit, dice.uniform(0.2, 0.7, people), -0.5)
    straight = torch.where(suit, 0.0, dice.uniform(0.4, 1.1, people))
    loose_bottom = 0.003 + 0.022 * dice.uniform(0, 1, people) ** 1.5
    skirt = dice.chance(0.16, people)
    skirt_z = dice.uniform(-0.62, -0.12, people)
    leg = torch.where(skirt, torch.where(dice.chance(0.3, people), leg, -0.02), leg)
    style = dice.choice((0.07, 0.4, 0.23, 0.3), people)  # bald, short, medium, long
    thick = dice.chance(0.25, people) * dice.uniform(0.0, 0.03, people)
    hair = (style == 1) * (dice.uniform(0.004, 0.022, people) + thick)
    hair = hair + (style >= 2) * dice.uniform(0.008, 0.024, people)
    cards = torch.where(style == 2, dice.uniform(0.62, 0.74, people), 2.0)
    cards = torch.where(style == 3, dice.uniform(0.3, 0.62, people), cards)
    # All numbers are drawn for everybody, so that the share does not change the others.
    coat = dice.chance(padded, people)
    whole = coat & dice.chance(0.6, people)
    loose_top = torch.where(coat, dice.uniform(0.03, 0.07, people), loose_top)
    loose_bottom = torch.where(whole, dice.uniform(0.02, 0.05, people), loose_bottom)
    sleeve = torch.where(coat, dice.uniform(0.9, 1.0, people), sleeve)
    leg = torch.where(whole, dice.uniform(0.9, 1.0, people), leg)
    hem = torch.where(coat, dice.uniform(-0.2, 0.1, people), hem)
    neck = torch.where(coat, dice.uniform(0.97, 1.07, people), neck)
    skirt = skirt & ~whole
    frequency = dice.normal(14.0, people, 4, 3)
    phase = dice.uniform(0, 6.2832, people, 4, 1)
    return Outfits(
        sleeve=sleeve,
        leg=leg,
        neck=neck,
        vneck=vneck,
        hem=hem,
        shoe=shoe,
        loose_top=loose_top,
        loose_bottom=loose_bottom,
        skirt=skirt,
        skirt_z=skirt_z,
        hair=hair,
        cards=cards,
        hat=dice.chance(0.1, people),
        gloves=dice.chance(0.04, people),
        collar=collar,
        opening=opening,
        button=button,
        straight=straight,
        phase=torch.cat([frequency, phase], -1),
    )


def garment(attributes: Tensor, cuts: Tensor, margin: float = 0.0) -> Tensor:
    """Which garment covers places of the body.

    Args:
        attributes: [...,14] as `Body.attributes`.
        cuts: [...,6] as `Outfits.cuts`, broadcasting with the places.
        margin: garments shrink by this much of a limb (grow where negative).

    Returns:
        int64 [...], BARE, TOP, BOTTOM or SHOE.
    """
    sleeve, trousers, neck, vneck, hem, shoes = cuts.unbind(-1)
    arm, leg, torso = attributes[..., B.ARM], attributes[..., B.LEG], attributes[..., B.TORSO]
    across = attributes[..., B.X].abs()
    in_front = attributes[..., B.Y] < 0.0
    notch = vneck * (1 - across / 0.085).clamp_min(0) * in_front
    top = (torso > hem + margin) & (torso < neck - notch - margin)
    # High collars stop at the chin.
    top = top & (arm < sleeve - margin) & (attributes[..., B.FACE_MASK] < 0.5)
    bottom = (torso < hem + 0.12 - margin) & (leg < trousers - margin) & (arm < -0.1)
    shoe = leg > shoes + margin
    label = torch.where(shoe, SHOE, BARE)
    label = torch.where(bottom, BOTTOM, label)
    return torch.where(top, TOP, label)


@dataclass(frozen=True)
class Dressing:
    """What clothes do to the mesh.

    Attributes:
        push: metres along the normals, [P,V].
        shown: bool [P,V], tights, skirt and hair that are worn (other parts are True).
        hidden: bool [P,V], skin that is safely under cloth.
    """

    push: Tensor
    shown: Tensor
    hidden: Tensor


def dress(body: B.Body, wear: Outfits) -> Dressing:
    """Work out pushes and visibility of all vertices."""
    people, count = len(wear.sleeve), len(body.part)
    device = body.template.device
    push = torch.zeros(people, count, device=device)
    shown = torch.ones(people, count, dtype=torch.bool, device=device)
    hidden = torch.zeros(people, count, dtype=torch.bool, device=device)
    column, cuts = wear.columns(), wear.cuts[:, None]

    cloth = (body.part == B.TIGHTS).nonzero()[:, 0]
    own = body.attributes[cloth]
    label = garment(own, cuts, -0.02)
    drawn = garment(own, cuts, -0.04)  # wider than the garment: the hem is found per pixel
    noise = _folds(own, wear)
    amount = torch.where(label == TOP, column.loose_top, 0.002)
    amount = torch.where(label == BOTTOM, column.loose_bottom, amount)
    amount = torch.where(label == SHOE, 0.006, amount)
    push[:, cloth] = amount * (1 + 0.5 * noise)
    near_neck = ((own[:, B.TORSO] - column.neck + 0.12) / 0.12).clamp(0, 1.5)
    push[:, cloth] += column.collar * near_neck * ((label == TOP) & (own[:, B.ARM] < 0.0))
    # Legs move through a skirt: nothing is drawn under it but what hangs out below.
    under = column.skirt & (own[:, B.Z] > column.skirt_z + 0.04) & (own[:, B.ARM] < -0.1)
    under = under & (own[:, B.TORSO] < 0.12)
    shown[:, cloth] = (drawn != BARE) & ~under

    skin = (body.part == B.SKIN).nonzero()[:, 0]
    own = body.attributes[skin]
    under = column.skirt & (own[:, B.Z] > column.skirt_z + 0.06) & (own[:, B.ARM] < -0.1)
    under = under & (own[:, B.TORSO] < 0.1)
    hidden[:, skin] = (garment(own, cuts, 0.05) != BARE) | under
    scalp = own[:, B.SCALP]
    bumps = _folds(own, wear)
    hat = torch.where(column.hat, 0.012, 0.0)
    push[:, skin] = scalp * (column.hair * (1 + 0.35 * bumps) + hat)

    skirt = (body.part == B.SKIRT).nonzero()[:, 0]
    shown[:, skirt] = column.skirt & (body.template[skirt, 2] > column.skirt_z)
    push[:, skirt] = column.loose_bottom * 0.5 + 0.012

    cards = (body.part == B.HAIR).nonzero()[:, 0]
    place = body.template[cards]
    # Cards over the face (in front of the ears and below the hairline) would blindfold everybody.
    over_face = (place[:, 1] < -0.075) & (place[:, 2] < 0.86)
    shown[:, cards] = (place[:, 2] > column.cards) & ~over_face
    shown[:, cards] &= ~(column.hat & (place[:, 2] > 0.835))
    push[:, cards] = column.hair * 0.6
    return Dressing(push, shown, hidden)


def _folds(attributes: Tensor, wear: Outfits) -> Tensor:
    """Low-frequency noise of about unit size on places [V] for people [P], [P,V]."""
    place = torch.cat([attributes[:, :3], torch.ones_like(attributes[:, :1])], 1)
    waves = torch.einsum("pkc,vc->pkv", wear.phase, place)
    return torch.sin(waves).sum(1) * 0.5
