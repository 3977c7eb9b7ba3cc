"""Fill frames between two estimated ones, where everybody moves evenly enough.

With three key frames at times a < b < c and an even acceleration between them, the points of a
frame between b and c lie on the parabola through all three. How far the parabola bends off the
straight line from b to c measures the acceleration, and bounds what filling could get wrong.

Shapes: K = 133 keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .people import pose_boxes
from .skeleton import PARTS
from .types import DEFAULT_THRESHOLD, Boxes, People

Array: TypeAlias = npt.NDArray[Any]

# Small parts may be off by this much more than everything on average.
_PART_SLACK: Final = 2.0


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
