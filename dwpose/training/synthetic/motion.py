"""Moving skeletons: exact 2-D tracks of the 133 points without pictures, and what a network sees.

For measuring what happens to keypoints after the network (smoothing, mending, retargeting): a
clip of hundreds of frames takes milliseconds. Apart from `numeric_clips`, whose several people are
flat, because a change of proportions or of the camera needs a body in space.

Shapes: T frames, K = 133 points. Metres, z up, the person faces -y and the person's left is +x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...skeleton import FACE, LEFT_HAND, NUM_KEYPOINTS, RIGHT_HAND, SIGMAS
from ...types import Boxes, People
from .body import keypoints_of, load_body

Array = npt.NDArray[Any]

# Part -> (its points, the point that it turns about, the part that carries it).  -1 is the root
# between the hips, -2 the neck between the shoulders.
_SEGMENTS: Final[dict[str, tuple[tuple[int, ...], int, str]]] = {
    "torso": ((5, 6, 11, 12), -1, ""),
    "head": ((0, 1, 2, 3, 4, *range(FACE.start, FACE.stop)), -2, "torso"),
    "left_arm": ((7,), 5, "torso"),
    "right_arm": ((8,), 6, "torso"),
    "left_forearm": ((9,), 7, "left_arm"),
    "right_forearm": ((10,), 8, "right_arm"),
    "left_hand": (tuple(range(LEFT_HAND.start, LEFT_HAND.stop)), 9, "left_forearm"),
    "right_hand": (tuple(range(RIGHT_HAND.start, RIGHT_HAND.stop)), 10, "right_forearm"),
    "left_leg": ((13,), 11, "torso"),
    "right_leg": ((14,), 12, "torso"),
    "left_shin": ((15,), 13, "left_leg"),
    "right_shin": ((16,), 14, "right_leg"),
    "left_foot": ((17, 18, 19), 15, "left_shin"),
    "right_foot": ((20, 21, 22), 16, "right_shin"),
}
_STRAIGHT_DOWN: Final = ("arm", "forearm", "hand", "leg", "shin")


@dataclass(frozen=True)
class Build:
    """A body's proportions as factors on the average adult's."""

    arm: float = 1.0
    forearm: float = 1.0
    hand: float = 1.0
    leg: float = 1.0
    shin: float = 1.0
    foot: float = 1.0
    torso: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0
    neck: float = 1.0
    head: float = 1.0


@dataclass(frozen=True)
class Act:
    """How somebody moves.

    Args:
        speed: factor on all frequencies; at 1 limbs swing at 0.4 to 1.1 Hz.
        amount: factor on all swings; at 1 arms swing by about 0.5 rad.
        heading: turn of the body in rad: 0 faces the camera, pi shows the back.
        spin: rad per second that the heading changes by.
        travel_m: how far the person sways along x; metres.
        step: legs swing as in walking on the spot, rather than standing.
    """

    speed: float = 1.0
    amount: float = 1.0
    heading: float = 0.0
    spin: float = 0.0
    travel_m: float = 0.3
    step: bool = True


@dataclass(frozen=True)
class Faults:
    """What a network adds to the truth; see `observe`.

    Args:
        noise: deviation of a point as a share of its COCO sigma times half the person's height,
            the spread of annotators; 0.15 gives a wrist of a person 400 pixels high 1.9 pixels.
        outliers: share of points that jump, by some 8 deviations, with a low score.
        blinks: share of points whose score falls for some frames, as if hidden.
        blink_frames: for how many frames.
        score: mean raw score of a point seen well.
    """

    noise: float = 0.15
    outliers: float = 0.01
    blinks: float = 0.005
    blink_frames: int = 4
    score: float = 0.85


@lru_cache(maxsize=8)
def _offsets(build: Build) -> dict[str, Array]:
    """Points of each part relative to its pivot, limbs hanging straight down, by build."""
    body = load_body()
    rest = keypoints_of(body, body.template[None], body.joint_template[None])[0].numpy()
    rest = rest.astype(np.float64)
    root, neck = (rest[11] + rest[12]) / 2, (rest[5] + rest[6]) / 2
    found = {}
    for name, (points, pivot, _) in _SEGMENTS.items():
        about = {-1: root, -2: neck}.get(pivot, rest[pivot])
        offset = rest[list(points)] - about
        kind = name.split("_")[-1]
        if kind in _STRAIGHT_DOWN:
            # A hand points from its root to the base of the middle finger.
            offset = offset @ _between(offset[9 if kind == "hand" else 0]).T
        if name == "torso":
            offset[:2, 0] *= build.shoulders
            offset[:2, 1:] *= build.torso
            offset[2:] *= build.hips
        elif name == "head":
            nose = offset[0].copy()
            offset = nose * build.neck + (offset - nose) * build.head
        else:
            offset *= getattr(build, kind)
        found[name] = offset
    return found


def _between(vector: Array) -> Array:
    """Rotation [3, 3] that turns a vector straight down."""
    a = vector / np.linalg.norm(vector)
    b = np.array((0.0, 0.0, -1.0))
    v = np.cross(a, b)
    k = np.array(((0, -v[2], v[1]), (v[2], 0, -v[0]), (-v[1], v[0], 0)))
    return np.eye(3) + k + k @ k / (1 + a @ b)


def _turn(axis: int, angle: Array) -> Array:
    """Rotations [T, 3, 3] about the x, y or z axis."""
    out = np.tile(np.eye(3), (len(angle), 1, 1))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[:, i, i] = out[:, j, j] = np.cos(angle)
    out[:, j, i], out[:, i, j] = np.sin(angle), -np.sin(angle)
    return out


def move(seed: int, times: Array, build: Build | None = None, act: Act | None = None) -> Array:
    """Move a skeleton.

    The same seed and times give the same angles to every build.

    Args:
        seed: of the movement.
        times: float [T], seconds.
        build: the body's proportions.
        act: the kind of movement.

    Returns:
        float64 [T, 133, 3], metres; the feet stand on z = 0 where the lower one touches.
    """
    build, act = build or Build(), act or Act()
    rng = np.random.default_rng(seed)
    t = np.asarray(times, np.float64)

    def wave(low_hz: float, high_hz: float, amount: float, middle: float = 0.0) -> Array:
        hz, phase = rng.uniform(low_hz, high_hz, 2) * act.speed, rng.uniform(0, 2 * np.pi, 2)
        own = np.sin(2 * np.pi * hz[0] * t + phase[0])
        return middle + amount * act.amount * (
            0.75 * own + 0.25 * np.sin(2 * np.pi * 1.7 * hz[1] * t + phase[1])
        )

    stride = 2 * np.pi * rng.uniform(0.7, 0.9) * act.speed * t + rng.uniform(0, 6.28)
    heading = act.heading + act.spin * t + wave(0.2, 0.4, 0.12)
    turns: dict[str, Array] = {"torso": _turn(2, heading) @ _turn(0, wave(0.2, 0.5, 0.06))}
    turns["head"] = _turn(2, wave(0.2, 0.5, 0.25)) @ _turn(0, wave(0.2, 0.6, 0.12))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        raised = rng.uniform(0.3, 0.8)
        turns[f"{side}_arm"] = _turn(0, wave(0.4, 0.9, 0.35, -0.15)) @ _turn(
            1, -sign * wave(0.4, 1.0, 0.35, raised)
        )
        turns[f"{side}_forearm"] = _turn(0, wave(0.5, 1.1, 0.5, -0.9))
        turns[f"{side}_hand"] = _turn(0, wave(0.5, 1.2, 0.3)) @ _turn(2, wave(0.4, 0.9, 0.4))
        lift = act.amount * np.sin(stride + (0.0 if side == "left" else np.pi)) * act.step
        turns[f"{side}_leg"] = _turn(0, -0.35 * lift) @ _turn(1, np.full(len(t), -sign * 0.06))
        turns[f"{side}_shin"] = _turn(0, 0.4 * np.maximum(lift, 0) ** 2)
        turns[f"{side}_foot"] = _turn(0, 0.1 * lift)
    points = np.zeros((len(t), NUM_KEYPOINTS, 3))
    frames: dict[str, Array] = {}
    for name, offset in _offsets(build).items():
        members, pivot, carrier = _SEGMENTS[name]
        frames[name] = frames[carrier] @ turns[name] if carrier else turns[name]
        about = (points[:, 5] + points[:, 6]) / 2 if pivot == -2 else points[:, pivot]
        about = np.zeros((len(t), 3)) if pivot == -1 else about
        points[:, members] = about[:, None] + offset @ frames[name].transpose(0, 2, 1)
    points[..., 2] -= points[..., 2].min(axis=1, keepdims=True)
    points[..., 0] += wave(0.15, 0.3, act.travel_m)[:, None]
    return points


def project(
    points: Array,
    image_hw: tuple[int, int] = (480, 832),
    person_px: float = 380.0,
    offset_px: tuple[float, float] = (0.0, 0.0),
    distance_m: float = 5.0,
) -> Array:
    """See a skeleton with a pinhole camera at the height of the chest.

    Args:
        points: float [T, 133, 3], metres.
        image_hw: the picture.
        person_px: pixels of 1.6 metres (nose to ground of an adult) at the origin.
        offset_px: moves the person right and down.
        distance_m: from the camera to the origin; nearer ones are more in perspective.

    Returns:
        float64 [T, 133, 2], pixels.
    """
    focal = person_px / 1.6 * distance_m
    depth = distance_m + points[..., 1]
    x = image_hw[1] / 2 + offset_px[0] + focal * points[..., 0] / depth
    y = image_hw[0] / 2 + offset_px[1] - focal * (points[..., 2] - 0.85) / depth
    return np.stack((x, y), axis=-1)


def observe(truth: Array, seed: int, faults: Faults | None = None) -> tuple[Array, Array]:
    """Add what a network adds: noise by point and by confidence, jumps, points that fade.

    Noise is independent from frame to frame. A point's score falls with its noise, so that
    trusting scores pays.

    Args:
        truth: float [T, 133, 2], pixels.
        seed: of the faults.
        faults: how bad it is.

    Returns:
        keypoints float64 [T, 133, 2] and raw scores float64 [T, 133].
    """
    rng = np.random.default_rng(seed + 7919)
    spread, scores = _difficulty(truth, rng, faults or Faults())
    keypoints = truth + spread[..., None] * rng.standard_normal(truth.shape)
    return keypoints, np.clip(scores, 0.01, 1.05)


def spread_px(truth: Array, seed: int, faults: Faults | None = None) -> Array:
    """Deviation of the noise that `observe` adds to each point, float64 [T, 133], pixels."""
    return _difficulty(truth, np.random.default_rng(seed + 7919), faults or Faults())[0]


def _difficulty(truth: Array, rng: np.random.Generator, faults: Faults) -> tuple[Array, Array]:
    """Deviation of the noise and score of each point, both [T, 133]."""
    shape = truth.shape[:-1]
    height = np.median(np.ptp(truth[..., 1], axis=1))
    # Some frames and points are harder than others: a factor of about 0.5 to 2 on the noise.
    hardness = np.exp(0.35 * rng.standard_normal(shape))
    jump = rng.random(shape) < faults.outliers
    spread = faults.noise * SIGMAS * 0.5 * height * hardness * np.where(jump, 8.0, 1.0)
    scores = faults.score - 0.15 * (hardness - 1.0) + 0.03 * rng.standard_normal(shape)
    scores = np.where(jump, rng.uniform(0.3, 0.5, shape), scores)
    starts = rng.random(shape) < faults.blinks / max(faults.blink_frames, 1)
    faded = starts.copy()
    for step in range(1, faults.blink_frames):
        faded[step:] |= starts[: len(starts) - step]
    scores = np.where(faded, rng.uniform(0.02, 0.2, shape), scores)
    return np.where(faded, spread * 6, spread), scores


def as_people(
    keypoints: Array,
    scores: Array,
    image_hw: tuple[int, int] = (480, 832),
    track_id: int | None = 0,
) -> list[People]:
    """One `People` of one person a frame, the box around all points."""
    low, high = keypoints.min(axis=1), keypoints.max(axis=1)
    ids = None if track_id is None else np.array([track_id])
    return [
        People(
            keypoints[i : i + 1],
            scores[i : i + 1],
            Boxes(np.concatenate((low[i], high[i]))[None]),
            image_hw,
            ids,
        )
        for i in range(len(keypoints))
    ]


def together(*tracks: list[People]) -> list[People]:
    """Join the people of several clips of equal length, frame by frame."""
    joined = []
    for frame in zip(*tracks, strict=True):
        ids = [p.track_ids for p in frame if p.track_ids is not None]
        joined.append(
            replace(
                frame[0],
                keypoints=np.concatenate([p.keypoints for p in frame]),
                scores=np.concatenate([p.scores for p in frame]),
                boxes=Boxes(
                    np.concatenate([p.boxes.xyxy for p in frame]),
                    np.concatenate([p.boxes.scores for p in frame]),
                ),
                track_ids=np.concatenate(ids) if len(ids) == len(frame) else None,
            )
        )
    return joined
