"""Mend what cannot be: exchanged sides, hands on the wrong wrist, faces on the back of a head.

What is removed keeps its place and gets score 0. Each check can be switched off, and all work on
a single picture as far as that can tell; with a clip they know more.

Shapes: N people of one frame, or one person in N frames; K = 133 points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .anatomy import LENGTHS, LIMBS, length, torso_px
from .sequences import frame_times, join_tracks, split_tracks
from .skeleton import FACE, LEFT_HAND, NUM_KEYPOINTS, RIGHT_HAND
from .swaps import GROUPS, SwapCosts, exchange, find_swaps
from .types import DEFAULT_THRESHOLD, People

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_EARS: Final = (3, 4)
_FRONT: Final = (0, 1, 2)
_HANDS: Final = (LEFT_HAND, RIGHT_HAND)
_WRISTS: Final = (9, 10)
# What hangs on each end of a limb.
_BEYOND: Final[dict[int, tuple[int, ...]]] = {
    9: tuple(range(LEFT_HAND.start, LEFT_HAND.stop)),
    10: tuple(range(RIGHT_HAND.start, RIGHT_HAND.stop)),
    15: (17, 18, 19),
    16: (20, 21, 22),
}
# Share of the largest length from which a limb is suspicious beside one that is impossible.
_LONG: Final = 0.75
# From a hand's root to its farthest fingertip, in torsos, of the average adult.
_HAND_SPAN: Final = 0.41
# From the middle of a face to its farthest point.
_FACE_RADIUS: Final = 0.3


@dataclass(frozen=True)
class SanityOptions:
    """Which checks run, and their limits. Lengths are in heights of the torso.

    Attributes:
        swaps: exchange left and right back where movement or lengths say so.
        hands: remove hands that are not at their wrist, exchange two on each other's.
        faces: remove the face, nose and eyes drawn on the back of a head.
        limbs: remove points that make a limb, hand, foot or head impossibly large.
        threshold: raw score below which a point counts as not seen.
        hand_reach: largest distance between a hand's root and its wrist. They are the same
            place, so this is the room for error.
        limb_factor: a limb may look this many times as long as an average adult's; builds
            differ by 15 %, and what is nearer the camera looks larger.
        back_of_head: how sure to be that a head is seen from behind, see `_from_behind`.
        settle_s: in a clip, the face's verdict is the median over this many seconds.
        swap_costs: see `SwapCosts`.

    Raises:
        ValueError: a limit is not above 0.
    """

    swaps: bool = True
    hands: bool = True
    faces: bool = True
    limbs: bool = True
    threshold: float = DEFAULT_THRESHOLD
    hand_reach: float = 0.25
    limb_factor: float = 1.5
    back_of_head: float = 1.2
    settle_s: float = 0.4
    swap_costs: SwapCosts = field(default_factory=SwapCosts)

    def __post_init__(self) -> None:
        """Check the limits."""
        for name in ("hand_reach", "limb_factor", "back_of_head"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Checked:
    """A mended sequence.

    Attributes:
        people: one `People` a frame.
        removed: bool [P, 133] a frame, points whose score became 0.
        swapped: bool [P, 133] a frame, points that changed sides.
    """

    people: list[People]
    removed: list[Mask] = field(repr=False)
    swapped: list[Mask] = field(repr=False)


def _where(rows: Mask, columns: Sequence[int]) -> Mask:
    """Mask [N, 133], true where rows [N] meet columns."""
    return rows[:, None] & np.isin(np.arange(NUM_KEYPOINTS), columns)


def check_people(people: People, options: SanityOptions | None = None) -> People:
    """Mend the people of one picture, each alone.

    Returns:
        the same people in the same order.
    """
    points, scores = people.keypoints.astype(np.float64), people.scores.copy()
    _mend(points, scores, options or SanityOptions(), 0)
    return People(
        points.astype(np.float32), scores, people.boxes, people.image_hw, people.track_ids
    )


def check_sequence(
    frames: Sequence[People],
    times: Sequence[float] | Array | None = None,
    *,
    fps: float = 25.0,
    cuts: Iterable[int] = (),
    options: SanityOptions | None = None,
) -> Checked:
    """Mend everybody of a clip; do this before smoothing.

    Args:
        frames: the sequence, tracked; one person alone needs no id.
        times: seconds of each frame; made from `fps` when None.
        fps: frames per second.
        cuts: numbers of frames that begin a new shot.
        options: which checks.

    Returns:
        as many frames, with the same people.

    Raises:
        ValueError: ids are missing or double, or times do not rise.
    """
    options = options or SanityOptions()
    stamps = frame_times(len(frames), times, fps)
    step = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 1.0
    window = max(round(options.settle_s / step / 2), 1)
    tracks = split_tracks(frames, cuts)
    removed, swapped = [], []
    for track in tracks:
        rows = np.flatnonzero(track.present)
        points, scores = track.keypoints[rows], track.scores[rows]
        marks = [np.zeros(track.scores.shape, bool) for _ in range(2)]
        for mark, found in zip(marks, _mend(points, scores, options, window), strict=True):
            mark[rows] = found
        track.keypoints[rows], track.scores[rows] = points, scores
        removed.append(marks[0])
        swapped.append(marks[1])
    people, (gone, changed) = join_tracks(frames, tracks, removed, swapped)
    return Checked(people, gone, changed)


def _mend(points: Array, scores: Array, options: SanityOptions, window: int) -> tuple[Mask, Mask]:
    """Mend arrays [N, 133, ...] in place; returns what was removed and what changed sides.

    `window` is 0 where the rows are people of one picture, else half the frames to look around.
    """
    removed, swapped = (np.zeros(scores.shape, bool) for _ in range(2))
    if not len(points):
        return removed, swapped
    np.nan_to_num(points, copy=False)

    def seen() -> Mask:
        return scores >= options.threshold

    torso = torso_px(points, seen())
    if window:
        torso = _around(torso, 3 * window, 75)
    if options.swaps:
        for group in GROUPS:
            rows = find_swaps(points, seen(), torso, group, options.swap_costs, window > 0)
            touched = exchange(points, scores, rows, group)
            swapped ^= _where(rows, touched)
    if options.hands:
        crossed = _crossed_hands(points, seen(), torso, options)
        hands = [list(range(h.start, h.stop)) for h in _HANDS]
        for array in (points, scores):
            own = array[crossed]
            new = own.copy()
            new[:, hands[0]], new[:, hands[1]] = own[:, hands[1]], own[:, hands[0]]
            array[crossed] = new
        swapped ^= _where(crossed, hands[0] + hands[1])
        removed |= _stray_hands(points, scores, seen(), torso, options)
        scores[removed] = 0
    if options.faces:
        verdict = _from_behind(points, scores, seen(), torso)
        verdict = _around(verdict, window, 50) if window else verdict
        rows = verdict > options.back_of_head
        face = [*_FRONT, *range(FACE.start, FACE.stop)]
        hidden = _where(rows, face)
        removed |= hidden & seen()
        scores[hidden] = 0
    if options.limbs:
        far = _impossible(points, seen(), torso, options) & seen()
        removed |= far
        scores[far] = 0
    return removed, swapped


def _around(values: Array, window: int, percentile: float) -> Array:
    """Percentile [N] of `window` values before and after each."""
    padded = np.pad(values, window, mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * window + 1)
    return np.percentile(views, percentile, axis=-1)


def _crossed_hands(points: Array, seen: Mask, torso: Array, options: SanityOptions) -> Mask:
    """Rows [N] in which each hand sits on the other's wrist, and not on its own."""
    limit = options.hand_reach * torso
    roots = (LEFT_HAND.start, RIGHT_HAND.start)
    known = seen[:, [*roots, *_WRISTS]].all(axis=1) & (torso > 0)
    for root, own, other in ((roots[0], 9, 10), (roots[1], 10, 9)):
        known &= length(points, (root, own)) > limit
        known &= length(points, (root, other)) <= limit
    return known


def _stray_hands(
    points: Array, scores: Array, seen: Mask, torso: Array, options: SanityOptions
) -> Mask:
    """Points [N, 133] of hands away from their wrist, and of one of two at the same place."""
    out = np.zeros(seen.shape, bool)
    limit = options.hand_reach * torso
    spread = np.median(
        np.linalg.norm(points[:, LEFT_HAND] - points[:, RIGHT_HAND], axis=-1), axis=-1
    )
    trust = [scores[:, hand].mean(axis=1) for hand in _HANDS]
    for side, hand in enumerate(_HANDS):
        root, own, other = hand.start, _WRISTS[side], _WRISTS[1 - side]
        shown = seen[:, hand].any(axis=1) & (torso > 0)
        away = seen[:, own] & (length(points, (root, own)) > limit)
        # Its wrist is hidden, yet it is just where the other hand is.
        double = ~seen[:, own] & seen[:, other] & (length(points, (root, other)) <= limit)
        double &= (spread < limit / 2) & (trust[side] <= trust[1 - side])
        out[:, hand] |= (shown & (away | double))[:, None] & seen[:, hand]
    return out


def _from_behind(points: Array, scores: Array, seen: Mask, torso: Array) -> Array:
    """How much speaks for a head seen from behind, float [N].

    Four things are weighed, each from -1 (seen from the front) to 1 (from behind): the order of
    the shoulders (weight 1), the order of the ears (1.5: a head cannot be seen from behind with
    its left ear on the right), whether nose and eyes are less sure than the ears (1), and how
    sure the face is (0.7). Somebody who looks back over a shoulder has a sure nose and one ear,
    and keeps the face; a face in profile has neither order.
    """
    size = np.maximum(torso, 1e-6)
    hips, shoulders = points[:, [11, 12]].mean(axis=1), points[:, [5, 6]].mean(axis=1)
    trunk = np.asarray(seen[:, [5, 6, 11, 12]].all(axis=1))
    up = np.where(trunk[:, None], shoulders - hips, np.array((0.0, -1.0)))
    up /= np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-6)
    across = np.stack((-up[:, 1], up[:, 0]), axis=-1)

    def order(left: int, right: int, width: float) -> Array:
        toward = ((points[:, left] - points[:, right]) * across).sum(axis=-1) / (width * size)
        shown = seen[:, [left, right]].all(axis=1)
        return np.where(shown, np.clip(-1.5 * toward, -1.0, 1.0), 0.0)

    trust = np.clip(scores, 0.0, 1.0)
    ears = np.where(seen[:, list(_EARS)], trust[:, list(_EARS)], 0).max(axis=1)
    front = trust[:, list(_FRONT)].mean(axis=1)
    doubt = np.where(ears > 0, np.clip((ears - front - 0.1) / 0.2, -1.0, 1.0), 0.0)
    vague = np.clip((0.55 - trust[:, FACE].mean(axis=1)) / 0.2, -1.0, 1.0)
    found = (
        order(5, 6, LENGTHS["shoulders"]) + 1.5 * order(3, 4, LENGTHS["head"]) + doubt + 0.7 * vague
    )
    return np.where(torso > 0, found, 0.0)


def _impossible(points: Array, seen: Mask, torso: Array, options: SanityOptions) -> Mask:
    """Points [N, 133] that make something larger than it can be."""
    out = np.zeros(seen.shape, bool)
    room = options.limb_factor * torso
    sized = torso > 0

    def too_far(a: int, b: int, usual: float, share: float = 1.0) -> Mask:
        shown = sized & seen[:, a] & seen[:, b]
        return shown & (length(points, (a, b)) > share * usual * room)

    def drop(rows: Mask, joint: int) -> None:
        out[_where(rows, [joint, *_BEYOND.get(joint, ())])] = True

    for upper, lower in (("arm", "forearm"), ("leg", "shin")):
        for side in range(2):
            top, middle = LIMBS[upper][side]
            end = LIMBS[lower][side][1]
            first = too_far(top, middle, LENGTHS[upper])
            second = too_far(middle, end, LENGTHS[lower])
            whole = too_far(top, end, LENGTHS[upper] + LENGTHS[lower])
            # Both are long, but not together: the joint between them is wrong, and only it.
            both = too_far(top, middle, LENGTHS[upper], _LONG)
            both &= too_far(middle, end, LENGTHS[lower], _LONG) & ~whole
            drop((first | second) & both, middle)
            drop(first & ~both, middle)
            drop((second | first) & ~both, end)
            drop(whole, end)
    for ankle, toes in ((15, (17, 18, 19)), (16, (20, 21, 22))):
        for toe in toes:
            out[:, toe] |= too_far(ankle, toe, LENGTHS["foot"] * 1.15)
    for point in (*_EARS, 1, 2):
        out[:, point] |= too_far(0, point, LENGTHS["head"])
    for hand in _HANDS:
        reach = np.linalg.norm(points[:, hand] - points[:, hand.start : hand.start + 1], axis=-1)
        out[:, hand] |= (sized[:, None] & (reach > _HAND_SPAN * room[:, None])) & seen[:, hand]
    middle = np.median(points[:, FACE], axis=1, keepdims=True)
    apart = np.linalg.norm(points[:, FACE] - middle, axis=-1)
    out[:, FACE] |= sized[:, None] & (apart > _FACE_RADIUS * room[:, None])
    return out
