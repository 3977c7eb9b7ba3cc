"""Fill frames between two estimated ones, where everybody moves evenly enough.

With three key frames at times a < b < c and an even acceleration between them, the points of a
frame between b and c lie on the parabola through all three. How far the parabola bends off the
straight line from b to c measures the acceleration, and bounds what filling could get wrong.

Shapes: K = 133 keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .people import pose_boxes
from .skeleton import PARTS
from .tracking import assign, likeness
from .types import DEFAULT_THRESHOLD, Boxes, People

Array: TypeAlias = npt.NDArray[Any]

# Small parts may be off by this much more than everything on average.
_PART_SLACK: Final = 2.0


def complete(
    before: Sequence[tuple[float, People]],
    after: tuple[float, People],
    times_s: Sequence[float],
    tolerance: float,
    estimate: Callable[[list[int]], list[People]],
) -> tuple[list[People], int]:
    """Return the people at times between two key frames, as few of them estimated as possible.

    What cannot be filled is halved: the frame in the middle is estimated and is a key frame to
    both halves.

    Args:
        before: see `fill_between`; at least one.
        after: the key frame behind.
        times_s: when, in order.
        tolerance: see `fill_between`.
        estimate: gives the poses of frames by their places in `times_s`, with ids.

    Returns:
        one `People` for each time, and how many were filled.
    """
    found: dict[int, People] = {}
    numbers = list(range(len(times_s)))
    count = 0
    # A list of what is left rather than a function that calls itself: its closure would keep
    # the pictures that `estimate` holds until the garbage collector comes by.
    left = [(list(before), numbers, after)]
    while left:
        keys, own, end = left.pop()
        if not own:
            continue
        filled = fill_between(keys, end, [times_s[i] for i in own], tolerance)
        if filled is not None:
            found.update(zip(own, filled, strict=True))
            count += len(own)
            continue
        half = len(own) // 2
        (people,) = estimate([own[half]])
        found[own[half]] = people
        middle = (times_s[own[half]], people)
        left.append(([*keys, middle], own[half + 1 :], end))
        left.append((keys, own[:half], middle))
    return [found[i] for i in numbers], count


def expect_between(
    before: tuple[float, People], after: tuple[float, People], time_s: float
) -> People:
    """Return everybody of two key frames where they ought to be at a time between, with ids.

    Whoever is in one of them alone is expected where they are in it.
    """
    (start, first), (end, second) = before, after
    share = np.float32((time_s - start) / max(end - start, 1e-9))
    names = [[] if p.track_ids is None else p.track_ids.tolist() for p in (first, second)]
    ids = list(dict.fromkeys(names[0] + names[1]))
    if not ids:
        return replace(People.empty(second.image_hw), track_ids=np.zeros(0, np.int64))
    rows = []
    for number in ids:
        ends = [
            p[[own.index(number)]]
            for p, own in zip((first, second), names, strict=True)
            if number in own
        ]
        a, b = ends[0], ends[-1]

        def mix(low: Array, high: Array) -> Array:
            return (1 - share) * low + share * high

        rows.append(
            (
                mix(a.keypoints, b.keypoints),
                np.minimum(a.scores, b.scores),
                mix(a.boxes.xyxy, b.boxes.xyxy),
                mix(a.boxes.scores, b.boxes.scores),
            )
        )
    points, scores, boxes, box_scores = (np.concatenate(part) for part in zip(*rows, strict=True))
    return People(points, scores, Boxes(boxes, box_scores), second.image_hw, np.array(ids))


def recognise(expected: People, found: People, least: float, threshold: float) -> People:
    """Give poses the ids of those whom they are most like; who is like nobody is left out.

    Args:
        expected: from `expect_between`.
        found: estimated poses, each somebody else.
        least: least likeness, 0..1; see `tracking.likeness`.
        threshold: least raw score of a visible point.
    """
    if not (len(expected) and len(found)) or expected.track_ids is None:
        return replace(found[[]], track_ids=np.zeros(0, np.int64))
    likely = likeness(expected, found, threshold)
    pairs = [(row, column) for row, column in assign(likely) if likely[row, column] >= least]
    rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
    return replace(found[columns], track_ids=expected.track_ids[rows])


def fill_between(
    before: Sequence[tuple[float, People]],
    after: tuple[float, People],
    times_s: Sequence[float],
    tolerance: float,
    threshold: float = DEFAULT_THRESHOLD,
) -> list[People] | None:
    """Return the people at times between the last frame of `before` and `after`.

    Args:
        before: times in seconds and people with ids of the key frames before, in order; at least
            two, else nothing is known about the acceleration.
        after: the same of the key frame behind.
        times_s: when, in order.
        tolerance: the parabola may bend so far off the straight line, on average over somebody's
            visible points, as a share of the diagonal of their box; for each part by itself
            twice as far.
        threshold: least raw score of a visible point.

    Returns:
        one `People` for each time, or None where somebody came, went, or moves too unevenly.
    """
    if len(before) < 2:
        return None
    (time_a, oldest), (time_b, old), (time_c, new) = before[-2], before[-1], after
    ids = [[] if p.track_ids is None else p.track_ids.tolist() for p in (oldest, old, new)]
    if set(ids[1]) != set(ids[2]) or not set(ids[1]) <= set(ids[0]):
        return None
    if not ids[2]:
        return [new] * len(times_s)
    a, b = (p[[own.index(n) for n in ids[2]]] for p, own in zip((oldest, old), ids, strict=False))
    seen = [p.visible(threshold) for p in (a, b, new)]
    shown = seen[1] | seen[2]
    # Whoever shows or hides points is not moving evenly.
    if (shown & ~(seen[1] & seen[2])).sum() > 0.1 * shown.sum():
        return None
    pa, pb, pc = (p.keypoints.astype(np.float64) for p in (a, b, new))
    slope = (pc - pb) / (time_c - time_b)
    bend = (slope - (pb - pa) / (time_b - time_a)) / (time_c - time_a)
    bend = np.where((seen[0] & seen[1] & seen[2])[..., None], bend, 0.0)
    # Largest in the middle: (t - b)(t - c) is a quarter of the span squared.
    off = np.hypot(bend[..., 0], bend[..., 1]) * (time_c - time_b) ** 2 / 4
    box = pose_boxes(new, threshold)
    limit = tolerance * np.hypot(*(box[:, 2:] - box[:, :2]).T)
    for part, slack in [(slice(None), 1.0), *((part, _PART_SLACK) for part in PARTS.values())]:
        counted = shown[:, part]
        mean = np.where(counted, off[:, part], 0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
        if (mean > slack * limit).any():
            return None
    filled = []
    for time in times_s:
        share = (time - time_b) / (time_c - time_b)
        points = pb + slope * (time - time_b) + bend * (time - time_b) * (time - time_c)
        scores = (1 - share) * b.scores + share * new.scores
        boxes = (1 - share) * b.boxes.xyxy + share * new.boxes.xyxy
        box_scores = (1 - share) * b.boxes.scores + share * new.boxes.scores
        people_boxes = Boxes(boxes.astype(np.float32), box_scores.astype(np.float32))
        keypoints, scores = points.astype(np.float32), scores.astype(np.float32)
        filled.append(People(keypoints, scores, people_boxes, new.image_hw, new.track_ids))
    return filled
