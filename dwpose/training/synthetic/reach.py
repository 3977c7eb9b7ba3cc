"""Arms: hands put where hands are in everyday life, and kept out of their owner's body."""

from __future__ import annotations

import torch
from torch import Tensor

from . import body as B
from .dice import Dice, about, axis_angle

# Where a hand may be, in the axes of the upright torso: centre and spread in metres of an adult,
# for the person's left hand (x is mirrored for the right), how often, and how often the other
# hand then does the same.
_HAND_TARGETS = (
    ("face", 0.10, 0.1, (0.05, -0.17, 0.74), (0.06, 0.04, 0.07)),
    ("phone at the ear", 0.05, 0.0, (0.10, -0.06, 0.75), (0.02, 0.03, 0.03)),
    ("chest or crossed", 0.11, 0.7, (-0.06, -0.24, 0.42), (0.10, 0.04, 0.07)),
    ("belly", 0.10, 0.7, (0.06, -0.27, 0.24), (0.10, 0.05, 0.07)),
    ("on the hip", 0.10, 0.5, (0.20, -0.05, 0.16), (0.02, 0.05, 0.04)),
    ("pocket", 0.08, 0.7, (0.21, -0.09, 0.05), (0.02, 0.04, 0.03)),
    ("on a table", 0.13, 0.8, (0.13, -0.38, 0.24), (0.10, 0.07, 0.04)),
    ("held out in front", 0.09, 0.4, (0.16, -0.42, 0.42), (0.16, 0.08, 0.16)),
    ("wave or gesture", 0.14, 0.2, (0.34, -0.24, 0.62), (0.10, 0.10, 0.13)),
    ("overhead", 0.04, 0.5, (0.15, -0.08, 1.05), (0.14, 0.12, 0.10)),
    ("aside", 0.05, 0.4, (0.60, -0.05, 0.45), (0.08, 0.16, 0.22)),
    ("hanging", 0.16, 0.8, (0.27, -0.06, 0.04), (0.04, 0.07, 0.05)),
)
_CHOSEN = 0.58  # share of arms that are put somewhere; the rest keep what the pose library says

_SLICES = 12  # heights at which a torso's girth is measured
_PUSH = 0.14  # radians an arm is turned outwards per step
_PUSHES = 6


def reach(body: B.Body, dice: Dice, pose: Tensor) -> None:
    """Move hands of `pose` [P,104,3,3] to drawn places by two-bone inverse kinematics."""
    people = len(pose)
    odds = tuple(t[1] for t in _HAND_TARGETS)
    kind = dice.choice(odds, people)
    alike = torch.tensor([t[2] for t in _HAND_TARGETS], device=dice.device)[kind]
    same = dice.uniform(0.0, 1.0, people) < alike
    other = torch.where(same, kind, dice.choice(odds, people))
    chosen = dice.chance(_CHOSEN, people)
    # Two arms that rest are commoner than one.
    also = torch.where(dice.chance(0.5, people), chosen, dice.chance(_CHOSEN, people))
    _reach_one(body, dice, pose, "L", kind, chosen)
    _reach_one(body, dice, pose, "R", other, (chosen & same) | also)


def unit(vector: Tensor) -> Tensor:
    """Vectors [...,3] at length 1."""
    return vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-6)


def _frame(along: Tensor, hinge: Tensor) -> Tensor:
    """Orthonormal axes as the columns of [...,3,3]; the hinge is at a right angle to `along`."""
    hinge = unit(hinge - (hinge * along).sum(-1, keepdim=True) * along)
    return torch.stack([along, hinge, torch.linalg.cross(along, hinge)], -1)


def _reach_one(
    body: B.Body, dice: Dice, pose: Tensor, side: str, kind: Tensor, chosen: Tensor
) -> None:
    people = len(pose)
    sign = 1.0 if side == "L" else -1.0
    centre = torch.tensor([t[3] for t in _HAND_TARGETS], device=dice.device)[kind]
    spread = torch.tensor([t[4] for t in _HAND_TARGETS], device=dice.device)[kind]
    target = centre + spread * dice.normal(1.0, people, 3)
    pole = torch.tensor([0.55, 0.25, -0.8], device=dice.device) + dice.normal(0.3, people, 3)
    flip = torch.tensor([sign, 1.0, 1.0], device=dice.device)
    target, pole = target * flip, pole * flip

    shoulder, elbow, wrist = (
        body.joint_template[body.bone(f"{b}.{side}")] for b in ("upperarm01", "lowerarm01", "wrist")
    )
    upper, lower = elbow - shoulder, wrist - elbow
    a, b = upper.norm(), lower.norm()
    to_hand = target - shoulder
    length = to_hand.norm(dim=-1).clamp(0.35 * (a + b), 0.985 * (a + b))
    along = unit(to_hand)
    bow = unit(pole - (pole * along).sum(-1, keepdim=True) * along)
    cosine = ((a * a + length**2 - b * b) / (2 * a * length)).clamp(-1, 1)[:, None]
    new_upper = cosine * along + (1 - cosine**2).clamp_min(0).sqrt() * bow
    new_lower = unit(along * length[:, None] - new_upper * a)
    hinge_rest = torch.linalg.cross(unit(upper), unit(lower), dim=-1)
    rest = _frame(unit(upper), hinge_rest)
    hinge = torch.linalg.cross(new_upper, new_lower, dim=-1)
    shoulder_turn = _frame(new_upper, hinge) @ rest.transpose(-1, -2)
    bend_rest = torch.acos((unit(upper) * unit(lower)).sum().clamp(-1, 1))
    bend = torch.acos((new_upper * new_lower).sum(-1).clamp(-1, 1)) - bend_rest
    elbow_turn = axis_angle(unit(hinge_rest).expand(people, 3), bend)

    eye = torch.eye(3, device=dice.device)
    for bone, new in (
        ("clavicle", eye.expand(people, 3, 3)),
        ("upperarm01", shoulder_turn),
        ("lowerarm01", elbow_turn),
    ):
        index = body.bone(f"{bone}.{side}")
        pose[:, index] = torch.where(chosen[:, None, None], new, pose[:, index])


def free_arms(body: B.Body, rest: Tensor, heads: Tensor, pose: Tensor) -> Tensor:
    """Turn arms that run through their owner's torso outwards, step by step.

    The torso is taken as a stack of ellipses of the dressed rest mesh that turn with the spine; the
    bend of the spine itself is left out, which errs by a centimetre or two.

    Args:
        body: the constants.
        rest: dressed rest mesh [P,V,3].
        heads: rest joints [P,104,3].
        pose: local rotations [P,104,3,3]; changed in place.

    Returns:
        bool [P,2], the left and right arms that were moved.
    """
    low, high, middle, half = _girth(body, rest)
    moved = torch.zeros(len(pose), 2, dtype=torch.bool, device=pose.device)
    chest = body.bone("spine03")
    for column, (side, sign) in enumerate((("L", 1.0), ("R", -1.0))):
        arm = [body.bone(f"{b}.{side}") for b in ("upperarm01", "lowerarm01", "wrist")]
        hand = body.bone(f"finger3-2.{side}")
        for _ in range(_PUSHES):
            turns, joints = B.chain(body, heads, pose)
            elbow, wrist, tip = (joints[:, k] for k in (*arm[1:], hand))
            places = torch.stack([elbow, 0.5 * (elbow + wrist), wrist, 0.5 * (wrist + tip), tip], 1)
            places = (places - joints[:, chest, None]) @ turns[:, chest] + heads[:, chest, None]
            within, offset = _inside(places, low, high, middle, half)
            inside = within.any(1)
            if not inside.any():
                break
            # Away from the flank, and forwards or, behind the back, backwards.
            back = (offset[..., 1] * within).sum(1) > 0.4
            swing = torch.where(back, 0.7, -0.7) * _PUSH
            turn = about("x", swing) @ about("y", torch.full_like(swing, -0.8 * sign * _PUSH))
            parent = turns[:, body.parents[arm[0]]].transpose(1, 2) @ turns[:, chest]
            local = parent @ turn @ parent.transpose(1, 2)
            new = local @ pose[:, arm[0]]
            pose[:, arm[0]] = torch.where(inside[:, None, None], new, pose[:, arm[0]])
            moved[:, column] |= inside
    return moved


def _girth(body: B.Body, rest: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lowest and highest z [P] of torsos, and centres and half axes [P,S,2] of their slices."""
    own = body.attributes
    trunk = (body.part == B.SKIN) & (own[:, B.ARM] < -0.1) & (own[:, B.HEADNESS] < 0.3)
    trunk &= (own[:, B.TORSO] > -0.05) & (own[:, B.TORSO] < 0.95) & (own[:, B.LEG] < 0.1)
    points = rest[:, trunk]
    low, high = points[..., 2].amin(1), points[..., 2].amax(1)
    level = (points[..., 2] - low[:, None]) / (high - low)[:, None] * _SLICES
    level = level.long().clamp(0, _SLICES - 1)[..., None].expand(-1, -1, 2)
    flat = points[..., :2]
    start = points.new_full((len(points), _SLICES, 2), -1.0)
    most = start.scatter_reduce(1, level, flat, "amax")
    least = -start.scatter_reduce(1, level, -flat, "amax")
    return low, high, (most + least) / 2, (most - least) / 2


def _inside(
    places: Tensor, low: Tensor, high: Tensor, middle: Tensor, half: Tensor
) -> tuple[Tensor, Tensor]:
    """Which places [P,K,3] lie in the torso, and their offsets in half axes [P,K,2]."""
    level = (places[..., 2] - low[:, None]) / (high - low)[:, None] * _SLICES
    within = (level > 0) & (level < _SLICES)
    index = level.long().clamp(0, _SLICES - 1)[..., None].expand(-1, -1, 2)
    offset = (places[..., :2] - middle.gather(1, index)) / half.gather(1, index).clamp_min(0.02)
    return within & (offset.square().sum(-1) < 0.95), offset
