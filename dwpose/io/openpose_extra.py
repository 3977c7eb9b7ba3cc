"""Our extra key: what the plain lists cannot say, and whether it still holds.

``person["dwpose"]`` is ``{"version": 1, "keypoints": [x, y, score] * 133 flat, in COCO-WholeBody
order, "box": [x1, y1, x2, y2, score], "id": int or null, "image_hw": [height, width],
"threshold": t, "confidence": "binary" or "score"}``.  Numbers have as many decimals as a float32
needs; null stands for a number that is not finite.

An editor moves points of the plain lists and leaves the extra key as it was.  So on reading, the
plain lists are compared with what we would have written for the extra key:

* a point whose place (to 0.01 px) and c (to 0.001) are as written keeps its exact place and raw
  score from the extra key;
* any other point is taken from the plain lists, its c being its score;
* in a part with such a point, points that were not shown are dropped: their old places would no
  longer fit (in an untouched part they are kept);
* a part whose key the file lacks (a program that knows no feet) is kept if the body is untouched;
* a foot whose points are all as written goes where its ankle was moved, and is dropped with it:
  most editors know no feet, and would leave them behind;
* if a part was touched, the box is drawn anew around the visible points. The id and the box's
  score always stay;
* if the canvas has another size than the picture had, every part counts as touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from .. import skeleton
from .openpose_layout import (
    BODY,
    CONFIDENCES,
    EXTRA_KEY,
    EXTRA_VERSION,
    PARTS,
    Confidence,
    openpose_order,
    shown_points,
)
from .openpose_lists import numbers
from .openpose_units import RawPerson

_SAME_PX: Final = 0.01
_SAME_CONFIDENCE: Final = 1e-3
# Ankle, and points of its foot, in OpenPose order: left, right.
_FEET: Final = ((13, slice(18, 21)), (10, slice(21, 24)))


@dataclass(frozen=True)
class Extra:
    """One person's extra key, read.

    Args:
        points: float32 [134, 2] pixels and
        scores: float32 [134] raw, OpenPose order.
        shown: float32 [134, 2] and
        shown_c: float32 [134]: what the plain lists said when they were written.
        box: float32 [5], or None.
        track_id: the id, or None.
        image_hw: height and width of the picture in pixels.
    """

    points: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    shown: npt.NDArray[np.float32]
    shown_c: npt.NDArray[np.float32]
    box: npt.NDArray[np.float32] | None
    track_id: int | None
    image_hw: tuple[int, int]

    def same_points(self, person: RawPerson) -> npt.NDArray[np.bool_]:
        """Return bool [134]: the plain lists still say of this point what we wrote.

        The neck is derived from the shoulders and dropped on reading, so it is always the same.
        """
        # As float32, because far out our short decimals differ from it by more than 0.01 px.
        place = np.abs(person.points.astype(np.float32) - self.shown).max(axis=1) <= _SAME_PX
        same = place & (np.abs(person.c - self.shown_c) <= _SAME_CONFIDENCE)
        same[skeleton.NECK] = True
        return same

    def same_parts(
        self, person: RawPerson, given: frozenset[str], canvas_hw: tuple[int, int]
    ) -> frozenset[str]:
        """Return the keys of the parts that are as we wrote them (see the module's rule)."""
        if canvas_hw != self.image_hw:
            return frozenset()
        same = self.same_points(person)
        keys = {part.key for part in PARTS if part.key in given and same[part.points].all()}
        if BODY.key in keys or not given:
            keys |= {part.key for part in PARTS if part.key not in given}
        return frozenset(keys)


def move_feet(person: RawPerson, extra: Extra, canvas_hw: tuple[int, int]) -> None:
    """Let each foot that nobody edited follow its ankle, in place (see the module's rule).

    Args:
        person: in pixels.
        extra: what was written.
        canvas_hw: height and width of the picture in pixels; at another size nothing is moved.
    """
    if canvas_hw != extra.image_hw:
        return
    same = extra.same_points(person)
    for ankle, foot in _FEET:
        if same[ankle] or not extra.shown_c[ankle] or not same[foot].all():
            continue
        shown = person.c[foot] > 0
        if person.c[ankle]:
            move = person.points[ankle] - extra.shown[ankle]
            person.points[foot] += np.where(shown[:, None], move, 0.0)
        else:
            person.points[foot], person.c[foot] = 0.0, 0.0


def merge(
    person: RawPerson, given: frozenset[str], extra: Extra, canvas_hw: tuple[int, int]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], bool]:
    """Join the plain lists (in pixels) with the extra key.

    Returns:
        points [134, 2], raw scores [134], and whether nothing was touched.
    """
    untouched = extra.same_parts(person, given, canvas_hw)
    from_extra = np.zeros(len(person.c), np.bool_)
    if canvas_hw == extra.image_hw:
        from_extra |= extra.same_points(person) & (extra.shown_c > 0)
    for part in PARTS:
        if part.key in untouched:
            from_extra[part.points] = True
    points = np.where(from_extra[:, None], extra.points, person.points.astype(np.float32))
    scores = np.where(from_extra, extra.scores, person.c.astype(np.float32))
    return points, scores, len(untouched) == len(PARTS)


def read_extra(person: Mapping[str, Any], where: str) -> Extra | None:
    """Read a person's extra key.

    Returns:
        its content; None where there is none, or where it is not ours (no version 1).

    Raises:
        TypeError, ValueError: it claims to be ours and is damaged.
    """
    value = person.get(EXTRA_KEY)
    if not isinstance(value, Mapping):
        return None
    version = value.get("version")
    if not isinstance(version, int) or version != EXTRA_VERSION:
        return None
    where = f"{where}, {EXTRA_KEY}"
    flat = _floats(value.get("keypoints"), skeleton.NUM_KEYPOINTS * 3, f"{where}, keypoints")
    threshold = _floats([value.get("threshold")], 1, f"{where}, threshold")[0]
    if not np.isfinite(threshold):
        raise ValueError(f"{where}, threshold: must be a number")
    confidence = value.get("confidence")
    if not isinstance(confidence, str) or confidence not in CONFIDENCES:
        raise ValueError(f"{where}, confidence: must be one of {CONFIDENCES}")
    keypoints, scores = flat.reshape(-1, 3)[None, :, :2], flat.reshape(-1, 3)[None, :, 2]
    shown, shown_c = shown_points(
        keypoints, scores, float(threshold), cast("Confidence", confidence)
    )
    points, values = openpose_order(keypoints, scores, float(threshold))
    return Extra(
        points[0],
        values[0],
        shown[0],
        shown_c[0],
        _box(value.get("box"), f"{where}, box"),
        integer(value.get("id"), f"{where}, id"),
        _image_hw(value.get("image_hw"), f"{where}, image_hw"),
    )


def integer(value: Any, where: str) -> int | None:
    """Return a whole number that fits in int64, or None for null.

    Raises:
        TypeError: not a whole number.
        ValueError: out of range.
    """
    if value is None:
        return None
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}: must be a whole number, got {type(value).__name__}")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{where}: must fit in 64 bits")
    return int(value)


def _floats(value: Any, count: int, where: str) -> npt.NDArray[np.float32]:
    wide = numbers(value, where)
    if len(wide) != count:
        raise ValueError(f"{where}: must have {count} numbers, got {len(wide)}")
    if (np.abs(wide) > np.finfo(np.float32).max).any():
        raise ValueError(f"{where}: a number is too large; the file is damaged")
    return wide.astype(np.float32)


def _box(value: Any, where: str) -> npt.NDArray[np.float32] | None:
    if value is None:
        return None
    box = _floats(value, 5, where)
    if not np.isfinite(box[:4]).all() or (box[2:4] < box[:2]).any():
        raise ValueError(f"{where}: must be left, top, right, bottom, score in pixels")
    return box


def _image_hw(value: Any, where: str) -> tuple[int, int]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise TypeError(f"{where}: must be a list of height and width")
    height, width = (integer(v, where) for v in value)
    if height is None or width is None or min(height, width) < 1:
        raise ValueError(f"{where}: height and width must be at least 1 pixel")
    return height, width
