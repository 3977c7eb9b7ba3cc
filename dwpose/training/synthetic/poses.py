"""Body poses: frames of a motion library or made-up ones, with limbs, hands and head varied."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .body import ASSETS, Body
from .dice import Dice, about, axis_angle, rotation_vector
from .reach import reach, unit

_LEG_BONES = ("upperleg01", "lowerleg01", "foot")
_ARM_BONES = ("clavicle", "upperarm01", "lowerarm01", "wrist")
_FINGERS = ("finger1", "finger2", "finger3", "finger4", "finger5")


class PoseLibrary:
    """Frames of a motion library, the activity drawn first so that no long clip dominates.

    Args:
        path: an .npz with `R` [n,bones,3,3], `bones` and `source` ("trial:frame").
        body: the body whose bones are meant.
        split: "all", "train" or "val"; trials go wholly to one side by a hash of their name.

    Raises:
        FileNotFoundError: if there is no such file.
    """

    def __init__(self, path: Path | str, body: Body, split: str = "all") -> None:
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no pose library at {path}; leave it out for made-up poses")
        raw = np.load(path)
        trial = np.array([str(source).split(":")[0] for source in raw["source"]])
        # The two partners of one dance, 60 and 61 with the same number, stay on one side.
        group = np.array([t.replace("/61_", "/60_") for t in trial])
        held_out = np.array([zlib.crc32(g.encode()) % 10 == 0 for g in group])
        keep = {"all": held_out | True, "train": ~held_out, "val": held_out}[split]
        activity = np.array([t.rsplit("_", 1)[0] for t in trial])[keep]
        _, member, count = np.unique(activity, return_inverse=True, return_counts=True)
        self.rotations = torch.from_numpy(raw["R"][keep].astype(np.float32))
        self.ids = torch.tensor([body.bone(str(b)) for b in raw["bones"]])
        # The square root gives small activities a voice without repeating their few frames.
        self.odds = torch.from_numpy(1.0 / np.sqrt(count[member.reshape(-1)]))

    def sample(self, body: Body, dice: Dice, people: int) -> Tensor:
        """Local rotations [P,104,3,3] of whole frames."""
        frames = dice.choice(self.odds, people).cpu()
        out = torch.eye(3).repeat(people, len(body.bones), 1, 1)
        out[:, self.ids] = self.rotations[frames]
        return out.to(dice.device)


def sample_poses(body: Body, dice: Dice, people: int, library: PoseLibrary | None) -> Tensor:
    """Local rotations [P,104,3,3] in rest axes, the heading of the root left near 0."""
    side = {s: {b: body.bone(f"{b}.{s}") for b in (*_LEG_BONES, *_ARM_BONES)} for s in "LR"}
    legs = [side[s][b] for s in "LR" for b in _LEG_BONES]
    arms = [side[s][b] for s in "LR" for b in _ARM_BONES]
    spine = [body.bone(b) for b in ("spine05", "spine03", "spine01")]
    if library is None:
        pose = _made_up(body, dice, people)
    else:
        pose = library.sample(body, dice, people)
        stance = dice.chance(0.42, people)[:, None, None, None]  # people who just stand there
        pose = torch.where(stance, _made_up(body, dice, people), pose)
        for bones, share in ((arms, 0.45), (legs, 0.25)):
            other = library.sample(body, dice, people)[:, bones]
            swap = dice.chance(share, people)[:, None, None, None]
            pose[:, bones] = torch.where(swap, other, pose[:, bones])
        calm = dice.chance(0.8, people)
        still = rotation_vector(dice.normal(0.07, people, 3))
        pose[:, 0] = torch.where(calm[:, None, None], still, pose[:, 0])
    pose = _mirror_half(body, dice, pose)

    amount = dice.uniform(0.02, 0.16, people, 1, 1)
    jitter = rotation_vector(amount * dice.normal(1.0, people, len(arms + legs + spine), 3))
    moved = arms + legs + spine
    pose[:, moved] = pose[:, moved] @ jitter
    _sit(dice, pose, side, spine)
    reach(body, dice, pose)
    for name in "LR":
        _twist_forearm(body, dice, pose, name)
        _curl_fingers(body, dice, pose, name)
    _turn_head(body, dice, pose)
    _lie_down(dice, pose)
    return pose


def sample_actions(body: Body, dice: Dice, people: int) -> Tensor:
    """Facial actions [P,52] in 0..1: sparse, mostly symmetric, smiles and open mouths often."""
    labels = body.face_labels
    count = len(labels)
    value = dice.uniform(0.0, 0.9, people, count) * dice.chance(0.1, people, count)
    for name in ("tongueOut", "cheekPuff", "mouthClose", "jawForward"):
        value[:, labels.index(name)] = 0
    tied = dice.chance(0.85, people)
    smile = dice.chance(0.35, people) * dice.uniform(0.2, 1.0, people)
    jaw = dice.chance(0.3, people) * dice.uniform(0.05, 0.8, people)
    blink = dice.chance(0.12, people) * dice.uniform(0.5, 1.0, people)
    value[:, labels.index("jawOpen")] = jaw
    for i, label in enumerate(labels):
        if label.startswith("eyeLook"):
            value[:, i] = 0  # the eyes are turned by their bones
        if not label.endswith("Left") or label in ("jawLeft", "mouthLeft"):
            continue
        other = labels.index(label[:-4] + "Right")
        value[:, other] = torch.where(tied, value[:, i], value[:, other])
        for mate in (i, other):
            if label == "mouthSmileLeft":
                value[:, mate] = torch.maximum(value[:, mate] * 0.3, smile)
            if label == "eyeBlinkLeft":
                value[:, mate] = blink
    return value


def _made_up(body: Body, dice: Dice, people: int) -> Tensor:
    """Poses without a library: a calm stance with the legs anywhere from together to a lunge."""
    pose = torch.eye(3, device=dice.device).repeat(people, len(body.bones), 1, 1)
    pose[:, 0] = rotation_vector(dice.normal(0.12, people, 3))
    bend = dice.chance(0.25, people) * dice.uniform(0.0, 0.9, people)
    for name in ("spine05", "spine03", "spine01"):
        own = dice.normal(0.1, people, 3)
        own[:, 0] += -bend / 3
        pose[:, body.bone(name)] = rotation_vector(own)
    for name, sign in (("L", 1.0), ("R", -1.0)):
        active = dice.chance(0.5, people)
        flex = torch.where(active, dice.normal(0.45, people), dice.normal(0.12, people))
        knee = torch.where(active, dice.normal(0.6, people), dice.normal(0.15, people)).abs()
        aside = dice.normal(0.12, people) - 0.1
        hip = about("y", -sign * aside) @ about("x", -(flex + 0.5 * knee))
        pose[:, body.bone(f"upperleg01.{name}")] = hip
        pose[:, body.bone(f"lowerleg01.{name}")] = about("x", knee)
        drop = dice.uniform(0.1, 0.75, people) * sign  # from the A pose towards hanging arms
        arm = about("y", drop) @ rotation_vector(dice.normal(0.25, people, 3))
        pose[:, body.bone(f"upperarm01.{name}")] = arm
    return pose


def _mirror_half(body: Body, dice: Dice, pose: Tensor) -> Tensor:
    swapped = [
        body.bone(b[:-1] + {"L": "R", "R": "L"}[b[-1]]) if b.endswith((".L", ".R")) else i
        for i, b in enumerate(body.bones)
    ]
    sign = torch.tensor([-1.0, 1.0, 1.0], device=pose.device)
    mirrored = pose[:, swapped] * sign[:, None] * sign
    return torch.where(dice.chance(0.5, len(pose))[:, None, None, None], mirrored, pose)


def _sit(dice: Dice, pose: Tensor, side: dict, spine: list[int]) -> None:
    people = len(pose)
    sitting = dice.chance(0.2, people)
    kneeling = dice.chance(0.15, people)
    for name, sign in (("L", 1.0), ("R", -1.0)):
        flex = dice.uniform(1.1, 1.75, people)
        knee = dice.uniform(0.9, 1.9, people)
        flex = torch.where(kneeling, dice.uniform(0.1, 0.7, people), flex)
        knee = torch.where(kneeling, dice.uniform(1.6, 2.3, people), knee)
        aside = dice.uniform(-0.15, 0.35, people) * -sign
        hip = about("y", aside) @ about("x", -flex)
        for bone, new in (
            (side[name]["upperleg01"], hip),
            (side[name]["lowerleg01"], about("x", knee)),
        ):
            pose[:, bone] = torch.where(sitting[:, None, None], new, pose[:, bone])
    calm = rotation_vector(dice.normal(0.1, people, 3))
    pose[:, 0] = torch.where(sitting[:, None, None], calm, pose[:, 0])
    slouch = about("x", dice.uniform(-0.15, 0.25, people) * -1)
    pose[:, spine[1]] = torch.where(sitting[:, None, None], slouch, pose[:, spine[1]])


def _twist_forearm(body: Body, dice: Dice, pose: Tensor, side: str) -> None:
    people = len(pose)
    heads = body.joint_template
    wrist, lower = body.bone(f"wrist.{side}"), body.bone(f"lowerarm02.{side}")
    axis = unit(heads[wrist] - heads[body.bone(f"lowerarm01.{side}")]).expand(people, 3)
    angle = dice.normal(0.55, people).clamp(-1.4, 1.4)
    pose[:, lower] = axis_angle(axis, 0.6 * angle)
    bend = rotation_vector(dice.normal(0.22, people, 3))
    pose[:, wrist] = pose[:, wrist] @ axis_angle(axis, 0.4 * angle) @ bend


def _curl_fingers(body: Body, dice: Dice, pose: Tensor, side: str) -> None:
    people = len(pose)
    table = json.loads((ASSETS / "hand_gestures.json").read_text(encoding="utf-8"))
    names = sorted(table["gestures"])
    curls = torch.tensor([table["gestures"][n] for n in names], device=dice.device)
    relaxed = torch.full((len(names),), 0.7 / (len(names) - 1), dtype=torch.float64)
    relaxed[names.index("relaxed")] = 0.3
    curl = curls[dice.choice(relaxed, people)] + dice.normal(0.12, people, 5)
    curl = curl.clamp(-0.05, 1.0)
    spread = dice.uniform(-0.2, 0.8, people) * (1 - curl[:, 1:].mean(1))
    heads = body.joint_template

    def at(name: str) -> Tensor:
        return heads[body.bone(f"{name}.{side}")]

    to_index, to_pinky = at("finger2-1") - at("wrist"), at("finger5-1") - at("wrist")
    palm = unit(torch.linalg.cross(to_index, to_pinky, dim=-1))
    if (palm * (at("finger3-3") - at("finger3-1"))).sum() < 0:
        palm = -palm  # at rest the fingers already bend a little towards the palm
    fan = (0.0, 0.2, 0.05, -0.08, -0.25)
    limits = (table["limits"]["thumb"], *[table["limits"]["finger"]] * 4)
    across = unit(at("finger2-1") - at("finger5-1"))
    for k, finger in enumerate(_FINGERS):
        bones = [body.bone(f"{finger}-{j}.{side}") for j in (1, 2, 3)]
        direction = unit(heads[bones[2]] - heads[bones[0]])
        towards = palm if k else unit(at("finger4-1") - heads[bones[1]])
        axis = unit(torch.linalg.cross(direction, towards, dim=-1)).expand(people, 3)
        for bone, limit in zip(bones, limits[k], strict=True):
            pose[:, bone] = axis_angle(axis, curl[:, k] * limit)
        if k:
            outward = torch.linalg.cross(palm, direction, dim=-1)
            turn = torch.sign((outward * across).sum()) * fan[k] * spread
            pose[:, bones[0]] = axis_angle(palm.expand(people, 3), turn) @ pose[:, bones[0]]


def _turn_head(body: Body, dice: Dice, pose: Tensor) -> None:
    people = len(pose)
    yaw = dice.normal(0.35, people).clamp(-1.1, 1.1)
    pitch = dice.normal(0.2, people).clamp(-0.6, 0.6)
    roll = dice.normal(0.13, people).clamp(-0.5, 0.5)
    for name, share in (("neck01", 0.3), ("neck02", 0.3), ("head", 0.4)):
        turn = about("z", share * yaw) @ about("x", share * pitch) @ about("y", share * roll)
        # A library's own neck is kept for half its amount only by being composed with ours.
        pose[:, body.bone(name)] = pose[:, body.bone(name)] @ turn
    look = about("z", dice.normal(0.22, people).clamp(-0.6, 0.6)) @ about(
        "x", dice.normal(0.1, people).clamp(-0.3, 0.3)
    )
    pose[:, body.bone("eye.L")] = look
    pose[:, body.bone("eye.R")] = look


def _lie_down(dice: Dice, pose: Tensor) -> None:
    people = len(pose)
    lying = dice.chance(0.04, people)
    heading = dice.uniform(-3.1416, 3.1416, people)
    axis = torch.stack([heading.cos(), heading.sin(), torch.zeros_like(heading)], -1)
    turn = axis_angle(axis, dice.uniform(1.4, 1.75, people))
    pose[:, 0] = torch.where(lying[:, None, None], turn @ pose[:, 0], pose[:, 0])
