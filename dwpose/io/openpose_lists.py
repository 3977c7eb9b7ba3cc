"""The lists of one person in a file, turned into points; every fault is named by its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .openpose_layout import (
    BODY,
    EYES,
    FACE,
    FEET,
    LEFT_HAND,
    MAX_COORDINATE,
    NUM_POINTS,
    PARTS,
    RIGHT_HAND,
    Part,
)
from .openpose_units import RawPerson

FloatArray: TypeAlias = npt.NDArray[np.float64]

# Peers write 0..1, some 0..2 or percent.
MAX_CONFIDENCE: Final = 1e6

# OpenPose's BODY_25 (CMU's documentation of its output): MidHip stands at 8 and the feet follow
# the 19 body points, in the same order as COCO-WholeBody's feet.
_BODY_25_TO_18: Final = (*range(8), *range(9, 15), *range(15, 19))
_BODY_25_FEET: Final = slice(19, 25)

# Lengths that peers write, in points. 24: body and feet in one list (SDPose, DWposeDeluxe).
# 20: DWposeDeluxe leaves out the last point of the right hand.
_LENGTHS: Final = {
    BODY.key: (18, 24, 25),
    FACE.key: (68, 70),
    LEFT_HAND.key: (20, 21),
    RIGHT_HAND.key: (20, 21),
    FEET.key: (6,),
}


def numbers(value: Any, where: str) -> FloatArray:
    """Return a list of numbers as float64 [N]; null becomes NaN.

    Raises:
        TypeError: it is no list, or an element is no number.
        ValueError: a number is too large for a float.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{where}: must be a list of numbers, got {_kind(value)}")
    try:
        if set(map(type, value)) <= {int, float}:
            return np.array(value, dtype=np.float64).reshape(len(value))
        return np.array([_number(v, f"{where}[{i}]") for i, v in enumerate(value)], np.float64)
    except OverflowError as error:
        raise ValueError(f"{where}: a number is too large; the file is damaged") from error


def _number(value: Any, where: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{where}: must be a number or null, got {_kind(value)}")
    return float(value)


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def triples(value: Any, where: str) -> FloatArray:
    """Return x, y, c as float64 [N, 3], absent points as zeros; [0, 3] for null or nothing.

    Flat lists (OpenPose) and lists of points ([x, y, c], [x, y] or null each) are both read. A
    point is absent where c is 0 or less, or where a number is null or NaN.

    Raises:
        TypeError: not a list of numbers.
        ValueError: no whole number of points, or a number is infinite or absurdly large.
    """
    if value is None:
        return np.zeros((0, 3))
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)) and any(isinstance(v, (list, tuple)) for v in value):
        points = np.array([_point(v, f"{where}[{i}]") for i, v in enumerate(value)])
    else:
        flat = numbers(value, where)
        if len(flat) % 3:
            raise ValueError(f"{where}: has {len(flat)} numbers, which is no multiple of x, y, c")
        points = flat.reshape(-1, 3)
    return _checked(points, where)


def _point(value: Any, where: str) -> FloatArray:
    if value is None:
        return np.zeros(3)
    point = numbers(value, where)
    if len(point) == 2:
        point = np.append(point, 1.0)
    if len(point) != 3:
        raise ValueError(f"{where}: a point must have x, y, c, got {len(point)} numbers")
    return point


def _checked(points: FloatArray, where: str) -> FloatArray:
    absent = np.isnan(points).any(axis=1) | (points[:, 2] <= 0)
    points = np.where(absent[:, None], 0.0, points)
    limits = np.array([MAX_COORDINATE, MAX_COORDINATE, MAX_CONFIDENCE])
    wrong = np.flatnonzero((np.abs(points) > limits).any(axis=1))
    if len(wrong):
        raise ValueError(
            f"{where}: point {wrong[0]} is {points[wrong[0]].tolist()}, which is no place in a "
            "picture; the file is damaged"
        )
    return points


def read_person(person: Mapping[str, Any], where: str) -> tuple[RawPerson, frozenset[str]]:
    """Read the five lists of a person.

    Args:
        person: the object in the file.
        where: its place in the file, for messages.

    Returns:
        the points in the file's unit, and the keys of the lists that the file has at all (null
        and empty lists count: they say that the part was not seen).

    Raises:
        TypeError: a list is something else.
        ValueError: a list has a length that no known program writes.
    """
    points = np.zeros((NUM_POINTS, 3))
    feet_in_body = False
    for part in PARTS:
        place = f"{where}, {part.key}"
        found = triples(person.get(part.key), place)
        if not len(found):
            continue
        if len(found) not in _LENGTHS[part.key]:
            known = ", ".join(str(3 * n) for n in _LENGTHS[part.key])
            raise ValueError(f"{place}: has {3 * len(found)} numbers, expected one of {known}")
        if part is BODY and len(found) > BODY.length:
            feet_in_body = True
            points[FEET.points] = found[_BODY_25_FEET if len(found) == 25 else FEET.points]
            found = found[list(_BODY_25_TO_18)] if len(found) == 25 else found[: BODY.length]
        if part is FEET:
            feet_in_body = False
        if part is FACE and len(found) == FACE.length and not points[BODY.points, 2].any():
            # Written with the body switched off: the pupils are all that is left of it.
            points[list(EYES)] = found[-len(EYES) :]
        _place(points, part, found)
    given = frozenset(part.key for part in PARTS if part.key in person)
    if feet_in_body:
        given |= {FEET.key}
    return RawPerson(points[:, :2].copy(), points[:, 2].copy(), feet_in_body=feet_in_body), given


def _place(points: FloatArray, part: Part, found: FloatArray) -> None:
    """Put a list at its place among the 134; the face's pupils, copies of the eyes, are not."""
    span = part.points.stop - part.points.start
    count = min(len(found), span)
    points[part.points.start : part.points.start + count] = found[:count]
