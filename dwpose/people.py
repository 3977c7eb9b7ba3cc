"""Choosing people: by place, size, confidence or area, in one frame and across frames.

Shapes: P people in a frame, F frames, Q people chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .geometry import iou_matrix
from .skeleton import BODY, SIGMAS
from .types import DEFAULT_THRESHOLD, Boxes, People

FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int64]

ORDERS: Final = (
    "given",
    "size",
    "left-to-right",
    "score",
    "centre",
    "inside",
)

# Between two frames people move further than annotators disagree, which is what OKS measures:
# sigmas this many times wider let a stride at 25 frames a second count as the same person.
_MOTION: Final = 3.0
# Below this number of points seen in both frames only boxes can be compared.
_FEWEST_SHARED: Final = 3


def parse_indices(text: str) -> list[int] | None:
    """Read a list of whole numbers: "0", "0, 2", "1-3" (both ends), "-1" (the last).

    Returns:
        the numbers in the order given; None for an empty text, which means everybody.

    Raises:
        ValueError: anything else is written there.
    """
    found: list[int] = []
    for piece in text.replace(";", ",").replace(" ", ",").split(","):
        if not piece:
            continue
        first, dash, last = piece[1:].partition("-")
        first = piece[0] + first
        try:
            low = int(first)
            high = int(last) if dash else low
        except ValueError:
            raise ValueError(
                f"indices must be whole numbers such as 0 or 0,2 or 1-3, got {text!r}"
            ) from None
        if high < low or high - low > 1000:
            raise ValueError(f"indices: {piece!r} must go from a smaller to a larger number")
        found += range(low, high + 1)
    return list(dict.fromkeys(found)) or None


def pose_boxes(people: People, threshold: float = DEFAULT_THRESHOLD) -> FloatArray:
    """Boxes around everybody's visible points.

    Args:
        people: of one frame.
        threshold: least raw score of a visible point.

    Returns:
        float32 [P, 4], xyxy in source pixels; people with fewer than two visible points have the
        box that they were estimated from.
    """
    seen = people.visible(threshold)[..., None]
    low = np.where(seen, people.keypoints, np.float32(np.inf)).min(axis=1)
    high = np.where(seen, people.keypoints, np.float32(-np.inf)).max(axis=1)
    known = seen[..., 0].sum(axis=1) >= 2
    return np.where(known[:, None], np.concatenate((low, high), axis=1), people.boxes.xyxy)


def person_confidence(people: People, threshold: float = DEFAULT_THRESHOLD) -> FloatArray:
    """Mean confidence of everybody's visible points.

    Returns:
        float32 [P] in 0..1; 0 for people without visible points.
    """
    seen = people.visible(threshold)
    total = np.where(seen, people.confidence, np.float32(0)).sum(axis=1)
    return (total / np.maximum(seen.sum(axis=1), 1)).astype(np.float32)


def share_inside(
    people: People,
    boxes: Boxes | None = None,
    mask: npt.NDArray[Any] | None = None,
    threshold: float = DEFAULT_THRESHOLD,
) -> FloatArray:
    """How much of everybody lies inside an area.

    Args:
        people: of one frame.
        boxes: the area, in source pixels; the best of several counts.
        mask: the area, bool or number [H, W], more than 0.5 is inside; of any size, it is laid
            over the whole picture. With boxes too, the better of both counts.
        threshold: least raw score of a visible point.

    Returns:
        float32 [P] in 0..1: the share of visible points that are inside; 0 for people without
        visible points.

    Raises:
        ValueError: the mask is not [H, W].
    """
    points = people.keypoints
    seen = people.visible(threshold)
    count = np.maximum(seen.sum(axis=1), 1)
    best = np.zeros(len(people), np.float32)
    for left, top, right, bottom in boxes.xyxy if boxes is not None else ():
        x, y = points[..., 0], points[..., 1]
        inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom) & seen
        best = np.maximum(best, (inside.sum(axis=1) / count).astype(np.float32))
    if mask is None:
        return best
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"mask must be [H, W], got {list(mask.shape)}")
    area = mask > 0.5
    scale = np.array(mask.shape[::-1]) / np.array(people.image_hw[::-1])
    limit = np.array(mask.shape[::-1])
    with np.errstate(invalid="ignore"):
        cell = np.floor(np.where(seen[..., None], points * scale, -1.0))
    inside = seen & (cell >= 0).all(axis=-1) & (cell < limit).all(axis=-1)
    column, row = np.where(inside[..., None], cell, 0).astype(np.int64).transpose(2, 0, 1)
    inside &= area[row, column]
    return np.maximum(best, (inside.sum(axis=1) / count).astype(np.float32))


def order_people(
    people: People,
    order: str = ORDERS[0],
    threshold: float = DEFAULT_THRESHOLD,
    inside: npt.NDArray[Any] | None = None,
) -> IntArray:
    """Sort people; equals stay in the order given.

    Args:
        people: of one frame.
        order: one of `ORDERS`. Size and place are those of `pose_boxes`.
        threshold: least raw score of a visible point.
        inside: float [P], for "inside"; see `share_inside`.

    Returns:
        int64 [P], indices into people.

    Raises:
        ValueError: an unknown order, or no area for "inside".
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
    boxes = pose_boxes(people, threshold)
    width_height = boxes[:, 2:] - boxes[:, :2]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    if order == "size":
        key = -width_height[:, 0] * width_height[:, 1]
    elif order == "left-to-right":
        key = middle[:, 0]
    elif order == "score":
        key = -person_confidence(people, threshold)
    elif order == "centre":
        key = np.hypot(*(middle - np.array(people.image_hw[::-1]) / 2).T)
    elif order == "inside":
        if inside is None:
            raise ValueError(f"order {order!r} needs an area; give boxes or a mask")
        key = -np.asarray(inside)
    else:
        key = np.zeros(len(people))
    return np.argsort(key, kind="stable").astype(np.int64)


def select_people(
    people: People,
    *,
    order: str = ORDERS[0],
    indices: Sequence[int] | None = None,
    most: int = 0,
    min_confidence: float = 0.0,
    boxes: Boxes | None = None,
    mask: npt.NDArray[Any] | None = None,
    min_inside: float = 0.5,
    threshold: float = DEFAULT_THRESHOLD,
) -> IntArray:
    """Choose people of one frame: leave out, then sort, then pick by place in that order.

    Args:
        people: of one frame.
        order: one of `ORDERS`.
        indices: places in the order to keep, from 0, negative from the end; those that do not
            exist are passed over. None keeps all.
        most: keep at most so many; 0 keeps all.
        min_confidence: leave out people whose `person_confidence` is below.
        boxes: leave out people of whom less than `min_inside` lies in any of these boxes.
        mask: the same for a mask [H, W]; people need to satisfy either.
        min_inside: 0..1, see `share_inside`.
        threshold: least raw score of a visible point.

    Returns:
        int64 [Q], indices into people, in their new order.

    Raises:
        ValueError: an unknown order, a negative `most`, a mask that is not [H, W].
    """
    if most < 0:
        raise ValueError(f"most must be 0 (all) or more, got {most}")
    keep = person_confidence(people, threshold) >= min_confidence
    inside = None
    if boxes is not None or mask is not None:
        inside = share_inside(people, boxes, mask, threshold)
        # Someone quite outside is never inside, even where nothing is asked of the share.
        keep &= (inside >= min_inside) & (inside > 0)
    ranked = order_people(people, order, threshold, inside)
    ranked = ranked[keep[ranked]]
    if indices is not None:
        size = len(ranked)
        ranked = ranked[[i % size for i in indices if -size <= i < size]]
        ranked = ranked[np.sort(np.unique(ranked, return_index=True)[1])]
    return ranked[:most] if most else ranked


def similarity(a: People, b: People, threshold: float = DEFAULT_THRESHOLD) -> FloatArray:
    """How much two frames' people look like the same ones who moved a little.

    The mean of the overlap (IoU) of their boxes and of the likeness of their body points, which
    is OKS over the points seen in both, with sigmas three times wider. Where fewer than three
    points are seen in both, the overlap alone.

    Args:
        a: people of one frame, N.
        b: people of another frame, M, in the same pixels.
        threshold: least raw score of a visible point.

    Returns:
        float32 [N, M] in 0..1.
    """
    boxes_a, boxes_b = pose_boxes(a, threshold), pose_boxes(b, threshold)
    overlap = iou_matrix(boxes_a.astype(np.float64), boxes_b.astype(np.float64))
    area_a = (boxes_a[:, 2:] - boxes_a[:, :2]).prod(axis=1).astype(np.float64)
    area_b = (boxes_b[:, 2:] - boxes_b[:, :2]).prod(axis=1).astype(np.float64)
    area = (area_a[:, None] + area_b[None]) / 2 + np.spacing(1.0)
    seen = a.visible(threshold)[:, None, BODY] & b.visible(threshold)[None, :, BODY]
    points_a = a.keypoints[:, None, BODY].astype(np.float64)
    points_b = b.keypoints[None, :, BODY].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.square(points_a - points_b).sum(axis=-1)
    spread = 2 * area[..., None] * np.square(2 * _MOTION * SIGMAS[BODY].astype(np.float64))
    alike = np.exp(-np.where(seen, distance, 0.0) / spread)
    shared = seen.sum(axis=-1)
    likeness = np.where(seen, alike, 0.0).sum(axis=-1) / np.maximum(shared, 1)
    return np.where(shared >= _FEWEST_SHARED, (likeness + overlap) / 2, overlap).astype(np.float32)


def follow_people(
    frames: Sequence[People],
    chosen: Sequence[int] | IntArray,
    frame: int = 0,
    min_similarity: float = 0.2,
    threshold: float = DEFAULT_THRESHOLD,
    on_frame: Callable[[], None] | None = None,
) -> list[People]:
    """Find the people chosen in one frame in all others, forwards and backwards from it.

    Who has a track id is found by it alone. Everybody else is compared with where they were seen
    last, and the likeliest pairs are joined first; who is not found is left out of that frame
    and looked for again in the next.

    Args:
        frames: F frames, in the same pixels.
        chosen: indices of people in frame `frame`.
        frame: from which frame; negative counts from the end.
        min_similarity: 0..1, least `similarity` to be the same person; 0 always takes the
            likeliest one, however unlike.
        threshold: least raw score of a visible point.
        on_frame: called before each other frame; what it raises ends the work and reaches the
            caller.

    Returns:
        for each frame the people found, in the order chosen, with track ids: their own, or for
        people without one their place in `chosen`.

    Raises:
        ValueError: there is no such frame or person.
    """
    if not frames:
        return []
    if not -len(frames) <= frame < len(frames):
        raise ValueError(f"frame must be one of 0 to {len(frames) - 1}, got {frame}")
    start = frame % len(frames)
    first = frames[start]
    if len(chosen) and not all(0 <= i < len(first) for i in chosen):
        raise ValueError(f"frame {start} has {len(first)} people; choose among them")
    targets = first[np.asarray(chosen, np.int64)]
    own = np.full(len(targets), -1, np.int64) if targets.track_ids is None else targets.track_ids
    ids = _fill_ids(own)
    found: list[People] = [first] * len(frames)
    found[start] = replace(targets, track_ids=ids)
    for way in (range(start + 1, len(frames)), range(start - 1, -1, -1)):
        last = targets
        for i in way:
            if on_frame is not None:
                on_frame()
            pairs = _match(last, own, frames[i], min_similarity, threshold)
            slots = sorted(pairs)
            now = frames[i][[pairs[slot] for slot in slots]]
            found[i] = replace(now, track_ids=ids[slots])
            if slots:
                last = _updated(last, slots, now)
    return found


def _fill_ids(own: IntArray) -> IntArray:
    """Give ids to people without one: their place, or the next number that nobody has."""
    ids, taken = own.copy(), {int(i) for i in own if i >= 0}
    for slot in np.flatnonzero(own < 0):
        number = int(slot)
        while number in taken:
            number += 1
        taken.add(number)
        ids[slot] = number
    return ids


def _updated(last: People, slots: list[int], now: People) -> People:
    keypoints, scores = last.keypoints.copy(), last.scores.copy()
    xyxy, box_scores = last.boxes.xyxy.copy(), last.boxes.scores.copy()
    keypoints[slots], scores[slots] = now.keypoints, now.scores
    xyxy[slots], box_scores[slots] = now.boxes.xyxy, now.boxes.scores
    return People(keypoints, scores, Boxes(xyxy, box_scores), last.image_hw)


def _match(
    last: People, own: IntArray, now: People, min_similarity: float, threshold: float
) -> dict[int, int]:
    """Map places among those looked for to indices in this frame."""
    pairs: dict[int, int] = {}
    known = now.track_ids
    tracked = known is not None
    if known is not None:
        for slot in np.flatnonzero(own >= 0):
            where = np.flatnonzero(known == own[slot])
            if len(where):
                pairs[int(slot)] = int(where[0])
    likely = similarity(last, now, threshold)
    open_slots = [s for s in range(len(last)) if not (tracked and own[s] >= 0)]
    taken = set(pairs.values())
    candidates = sorted(
        ((-float(likely[s, p]), s, p) for s in open_slots for p in range(len(now))),
    )
    for value, slot, person in candidates:
        if -value < min_similarity or math.isnan(value):
            break
        if slot not in pairs and person not in taken:
            pairs[slot] = person
            taken.add(person)
    return pairs
