"""Clips without pictures: walking figures of 133 points with exact truth, in milliseconds.

For tests of following, tracking and films, where rendering would take minutes and add nothing.
Apart from `motion`, whose one body moves in all its joints, because here several plain ones come,
go and hide each other; apart from `clips`, because its people are meshes that must be rendered.

Shapes: T frames, P people of a frame, K = 133 keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...geometry import oks_matrix
from ...skeleton import BODY, LEFT_HAND, NUM_KEYPOINTS, RIGHT_HAND, SIGMAS
from ...tracking import assign
from ...types import DEFAULT_THRESHOLD, Boxes, People

Array = npt.NDArray[Any]

# Shares of the standing height, about those of an adult.
_HIP_X, _THIGH, _SHIN = 0.055, 0.245, 0.245
_SHOULDER_X, _TRUNK, _UPPER_ARM, _FOREARM = 0.11, 0.30, 0.17, 0.145
_NECK_TO_NOSE, _HEAD_WIDTH, _HEAD_HEIGHT = 0.115, 0.085, 0.12
_PELVIS_HEIGHT = 0.51
# A point of somebody farther away is hidden within this share of a nearer person's width.
_SOLID: Final = 0.55
# Who shows fewer body points is not in the truth of a frame.
FEWEST_BODY_POINTS: Final = 4


@dataclass(frozen=True)
class Walker:
    """One person's way through a clip.

    Attributes:
        start: x, y of the pelvis in pixels when they come.
        end: the same when they go; they walk evenly between.
        height_px: standing height in pixels.
        enter_s: when they come, in seconds.
        leave_s: when they go; the clip's end when None.
        depth: nearer people (smaller numbers) hide others.
        steps_hz: steps a second, of legs and arms.
        swing: how far limbs swing, 1 is brisk walking and 0 standing still.
        phase: of the steps, radians.
        turn: -1..1, the head's turn at most.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    height_px: float = 300.0
    enter_s: float = 0.0
    leave_s: float | None = None
    depth: float = 0.0
    steps_hz: float = 0.9
    swing: float = 1.0
    phase: float = 0.0
    turn: float = 0.4


@dataclass(frozen=True)
class NumericClip:
    """A clip of people without pictures.

    Attributes:
        truth: for each frame everybody of whom at least four body points are in the picture and
            not hidden, with ids; scores are 1 for points that are seen, else 0. Hidden points
            have their true places.
        times_s: float64 [T], seconds.
        image_hw: height and width in pixels.
        cuts: frames that start a new scene.
    """

    truth: list[People]
    times_s: npt.NDArray[np.float64]
    image_hw: tuple[int, int]
    cuts: list[int] = field(default_factory=list)


def figure(phase: float, swing: float = 1.0, turn: float = 0.0) -> npt.NDArray[np.float32]:
    """Draw one standing or walking person, seen from the front and a little from the side.

    Args:
        phase: of the step, radians.
        swing: 0 stands still.
        turn: of the head, -1..1.

    Returns:
        float32 [133, 2], the pelvis at (0, 0), y downwards, the unit is the standing height.
    """
    points = np.zeros((NUM_KEYPOINTS, 2))
    lean = 0.03 * swing * np.sin(2 * phase)
    neck = np.array((lean * _TRUNK, -_TRUNK))
    nose = neck + np.array((0.025 * turn, -_NECK_TO_NOSE))
    head = neck + np.array((0.0, -_NECK_TO_NOSE))
    for side, sign in ((0, 1.0), (1, -1.0)):  # the person's left is on the picture's right
        step = np.sin(phase + np.pi * side)
        shoulder = neck + np.array((sign * _SHOULDER_X, 0.0))
        arm = sign * 0.12 - 0.45 * swing * step
        elbow = shoulder + _UPPER_ARM * _way(arm)
        forearm = arm + sign * 0.05 - 0.35 * swing * (1 - step) / 2
        wrist = elbow + _FOREARM * _way(forearm)
        hip = np.array((sign * _HIP_X, 0.0))
        thigh = 0.38 * swing * step
        knee = hip + _THIGH * _way(thigh)
        shin = thigh - 0.45 * swing * max(-np.cos(phase + np.pi * side), 0.0)
        ankle = knee + _SHIN * _way(shin)
        points[[5 + side, 7 + side, 9 + side]] = shoulder, elbow, wrist
        points[[11 + side, 13 + side, 15 + side]] = hip, knee, ankle
        toes = [(0.035, 0.03), (0.055, 0.025), (-0.02, 0.02)]
        points[17 + 3 * side : 20 + 3 * side] = ankle + np.array(toes) * (sign, 1)
        points[1 + side] = nose + np.array((sign * 0.02, -0.02))
        points[3 + side] = head + np.array((sign * _HEAD_WIDTH / 2, -0.012))
        grip = 0.3 + 0.2 * np.sin(0.7 * phase + side)
        points[LEFT_HAND if side == 0 else RIGHT_HAND] = wrist + _hand(forearm, sign, grip)
    points[0] = nose
    points[23:91] = nose + _face() * (1 - 0.25 * abs(turn), 1)
    return points.astype(np.float32)


def _way(angle: float) -> Array:
    """Unit vector, 0 radians hangs down and positive turns to the picture's right."""
    return np.array((np.sin(angle), np.cos(angle)))


def _hand(angle: float, sign: float, grip: float) -> Array:
    points = [np.zeros(2)]
    for finger in range(5):
        spread = angle + sign * (0.55 - 0.25 * finger)
        length = 0.05 if finger == 0 else 0.085 - 0.005 * abs(finger - 2)
        for joint in range(1, 5):
            reach = length * joint / 4 * (1 - grip * joint / 8)
            points.append(reach * _way(spread))
    return np.stack(points)


def _face() -> Array:
    """68 points around the nose, in the usual order: jaw, brows, nose, eyes, mouth."""

    def ring(x: float, y: float, rx: float, ry: float, count: int) -> Array:
        turns = np.pi + 2 * np.pi * np.arange(count) / count
        return np.stack((x + rx * np.cos(turns), y + ry * np.sin(turns)), axis=1)

    turns = np.linspace(np.pi, 0, 17)
    jaw = np.stack((0.5 * np.cos(turns), 0.62 * np.sin(turns) - 0.1), axis=1)
    brow = np.linspace(-0.36, -0.1, 5)
    brows = np.stack((np.concatenate((brow, -brow[::-1])), np.full(10, -0.32)), axis=1)
    bridge = np.stack((np.zeros(4), np.linspace(-0.2, 0.02, 4)), axis=1)
    tip = np.stack((np.linspace(-0.1, 0.1, 5), np.full(5, 0.07)), axis=1)
    eyes = np.concatenate((ring(-0.22, -0.2, 0.08, 0.04, 6), ring(0.22, -0.2, 0.08, 0.04, 6)))
    mouth = np.concatenate((ring(0, 0.26, 0.2, 0.08, 12), ring(0, 0.26, 0.14, 0.04, 8)))
    points = np.concatenate((jaw, brows, bridge, tip, eyes, mouth))
    return points * (_HEAD_WIDTH, _HEAD_HEIGHT)


def walk(
    walkers: Sequence[Walker],
    seconds: float = 4.0,
    fps: float = 25.0,
    image_hw: tuple[int, int] = (480, 854),
    *,
    pan_px_s: tuple[float, float] = (0.0, 0.0),
    shake_px: float = 0.0,
    times_s: Array | None = None,
    figures: Sequence[Array] | None = None,
    seed: int = 0,
) -> NumericClip:
    """Let people walk through a picture.

    Args:
        walkers: everybody; their id is their place here.
        seconds: length of the clip.
        fps: frames a second.
        image_hw: height and width in pixels.
        pan_px_s: the camera's even motion, which moves everybody the other way.
        shake_px: standard deviation of a hand-held camera's slow sway.
        times_s: float [T], instead of `seconds` and `fps`, for variable frame rates.
        figures: for each walker float [T, 133, 2], their poses in the frame of `figure`; instead
            of flat figures that take steps.
        seed: of the sway.
    """
    times = np.arange(round(seconds * fps)) / fps if times_s is None else np.asarray(times_s)
    rng = np.random.default_rng(seed)
    waves = rng.uniform(0.3, 1.2, (4, 2)), rng.uniform(0, 6.28, (4, 2))
    truth = []
    last = float(times[-1]) if len(times) else 0.0
    for index, time in enumerate(times.tolist()):
        sway = np.sin(6.28 * waves[0] * time + waves[1]).sum(axis=0) * shake_px / np.sqrt(2)
        camera = np.array(pan_px_s) * time + sway
        present: list[tuple[int, Walker, Array]] = []
        for number, who in enumerate(walkers):
            leave = last if who.leave_s is None else who.leave_s
            if not who.enter_s <= time <= leave:
                continue
            share = (time - who.enter_s) / max(leave - who.enter_s, 1e-6)
            pelvis = np.array(who.start) * (1 - share) + np.array(who.end) * share
            if figures is None:
                phase = who.phase + 2 * np.pi * who.steps_hz * time
                drawn = figure(phase, who.swing, who.turn * np.sin(0.9 * time + who.phase))
            else:
                drawn = figures[number][index]
            present.append((number, who, drawn * who.height_px + pelvis - camera))
        truth.append(_frame(present, image_hw))
    return NumericClip(truth, times.astype(np.float64), image_hw)


def _frame(present: list[tuple[int, Walker, Array]], image_hw: tuple[int, int]) -> People:
    height, width = image_hw
    kept, ids, seen_of = [], [], []
    for number, who, points in present:
        seen = np.all((points >= 0) & (points < (width, height)), axis=1)
        for _, other, nearer in present:
            if other.depth < who.depth:
                body = nearer[BODY]
                middle = (body.min(axis=0) + body.max(axis=0)) / 2
                half = (body.max(axis=0) - body.min(axis=0)) / 2 * (_SOLID, 1)
                seen &= ~(np.abs(points - middle) < half).all(axis=1)
        if seen[BODY].sum() >= FEWEST_BODY_POINTS:
            kept.append(points)
            ids.append(number)
            seen_of.append(seen)
    if not kept:
        return People.empty(image_hw)
    keypoints, seen = np.stack(kept), np.stack(seen_of)
    boxes = np.stack(
        [
            np.concatenate((p[s].min(axis=0), p[s].max(axis=0)))
            for p, s in zip(keypoints, seen, strict=True)
        ]
    )
    return People(keypoints, seen, Boxes(boxes), image_hw, np.array(ids))


def join(*clips: NumericClip, gap_s: float = 0.04) -> NumericClip:
    """Put clips of one picture size behind one another, with cuts between; ids go on counting."""
    truth: list[People] = []
    times: list[Array] = []
    cuts: list[int] = []
    first_id, start = 0, 0.0
    for clip in clips:
        if truth:
            cuts.append(len(truth))
        for people in clip.truth:
            ids = None if people.track_ids is None else people.track_ids + first_id
            truth.append(
                People(people.keypoints, people.scores, people.boxes, people.image_hw, ids)
            )
        times.append(clip.times_s + start)
        start = float(times[-1][-1]) + gap_s
        own = [int(p.track_ids.max()) for p in clip.truth if p.track_ids is not None and len(p)]
        first_id += max(own, default=-1) + 1
    return NumericClip(truth, np.concatenate(times), clips[0].image_hw, cuts)


def observe(
    truth: Sequence[People],
    sigma: float = 0.004,
    *,
    missed: float = 0.0,
    seed: int = 0,
) -> list[People]:
    """What a pose network would see: jitter, unsure hidden points, people missed; no ids.

    Args:
        truth: for each frame everybody.
        sigma: standard deviation of seen points as a share of the size of the person (the
            diagonal of their points); hidden points err four times as much.
        missed: share of people that are not found in a frame.
        seed: of all that.

    Returns:
        as many frames; people of a frame are shuffled.
    """
    rng = np.random.default_rng(seed)
    frames = []
    for people in truth:
        people = people[rng.permutation(len(people))[rng.random(len(people)) >= missed]]
        seen = people.scores > 0.5
        span = np.ptp(people.keypoints, axis=1) if len(people) else np.zeros((0, 2))
        size = np.hypot(span[:, 0], span[:, 1])[:, None]
        spread = sigma * size * np.where(seen, 1, 4)
        points = people.keypoints + rng.normal(size=people.keypoints.shape) * spread[..., None]
        scores = np.where(seen, rng.uniform(0.75, 1.0, seen.shape), rng.uniform(0, 0.2, seen.shape))
        noisy, scores = points.astype(np.float32), scores.astype(np.float32)
        frames.append(People(noisy, scores, people.boxes, people.image_hw))
    return frames


@dataclass(frozen=True)
class TrackScore:
    """How well people were followed.

    Attributes:
        switches: how often a true person's id changed.
        missed: true people of frames that were not found; of `total`.
        extra: found people of frames that nobody is.
        total: true people of all frames.
        error_px: mean distance of the found people's points to the truth, where both see them, or
            NaN.
    """

    switches: int
    missed: int
    extra: int
    total: int
    error_px: float


def score_tracks(
    truth: Sequence[People], found: Sequence[People], min_oks: float = 0.3
) -> TrackScore:
    """Compare ids and points with the truth.

    Args:
        truth: for each frame everybody, with ids and scores of 1 for seen points.
        found: the same from a tracker.
        min_oks: least likeness (OKS over the seen points) to be the same person.

    Raises:
        ValueError: there are not as many frames.
    """
    if len(truth) != len(found):
        raise ValueError(f"found must have {len(truth)} frames, got {len(found)}")
    names: dict[int, int] = {}
    switches = missed = extra = total = 0
    error, points = 0.0, 0
    for true, got in zip(truth, found, strict=True):
        total += len(true)
        likely = np.zeros((len(true), len(got)))
        for row in range(len(true) if len(got) else 0):
            seen = true.scores[row] > DEFAULT_THRESHOLD
            # The whole body's area, also where the picture cuts it: the size of a mistake.
            area = np.full(len(got), np.ptp(true.keypoints[row], axis=0).prod())
            pose = true.keypoints[row : row + 1, seen]
            likely[row] = oks_matrix(pose, area[:1], got.keypoints[:, seen], area, SIGMAS[seen])[0]
        # As in the CLEAR MOT measures: whoever was paired before stays so while that fits.
        stay = np.zeros_like(likely)
        if true.track_ids is not None and got.track_ids is not None:
            last = np.array([names.get(int(number), -1) for number in true.track_ids])
            stay = (last[:, None] == got.track_ids[None]) * (likely >= min_oks)
        pairs = [(r, c) for r, c in assign(likely + stay) if likely[r, c] >= min_oks]
        missed += len(true) - len(pairs)
        extra += len(got) - len(pairs)
        for row, column in pairs:
            seen = true.scores[row] > DEFAULT_THRESHOLD
            seen = seen & (got.scores[column] >= DEFAULT_THRESHOLD)
            away = true.keypoints[row, seen] - got.keypoints[column, seen]
            error += float(np.hypot(away[:, 0], away[:, 1]).sum())
            points += int(seen.sum())
            if true.track_ids is not None and got.track_ids is not None:
                person, name = int(true.track_ids[row]), int(got.track_ids[column])
                switches += names.get(person, name) != name
                names[person] = name
    return TrackScore(switches, missed, extra, total, error / points if points else float("nan"))
