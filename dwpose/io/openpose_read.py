"""POSE_KEYPOINT and OpenPose JSON in: everything that peers write."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .. import skeleton
from ..types import Boxes, People
from .openpose_extra import Extra, integer, merge, move_feet, read_extra
from .openpose_layout import EXTRA_KEY, PARTS
from .openpose_lists import read_person
from .openpose_units import RawPerson, to_pixels
from .ticking import Tick, ticking

# Objects that hold frames: our own list, ComfyUI's history of ControlNet's preprocessors, and
# the web API of A1111's ControlNet.
_FRAME_LISTS: Final = ("frames", "openpose_json", "poses")
# JSON text of an object of a list of JSON texts of lists of frames: deeper has no known author.
_MAX_DEPTH: Final = 6
_MAX_CANVAS_PX: Final = 1_000_000


class UnknownCanvasError(ValueError):
    """No frame says how large its picture is, and neither does the caller."""


@dataclass(frozen=True)
class _Person:
    where: str
    raw: RawPerson
    given: frozenset[str]
    extra: Extra | None
    track_id: int | None


def from_pose_keypoint(
    obj: Any,
    *,
    canvas_hw: tuple[int, int] | None = None,
    normalized: bool | None = None,
    swap_hands: bool = False,
    on_frame: Tick = None,
) -> list[People]:
    """Read people from POSE_KEYPOINT or OpenPose JSON, whoever wrote it.

    Accepted: a list of frames, one frame, one person, a list of people, a list of any of these'
    JSON texts, or one JSON text (str or bytes); an object whose "frames", "openpose_json" or
    "poses" holds frames. Lists may be flat or of points, null, empty or absent; bodies have 18
    (OpenPose COCO), 24 (with feet) or 25 points (BODY_25), faces 68 or 70, hands 21 or 20, feet
    6. Coordinates may be pixels or fractions of the canvas (see `openpose_units`). A null frame
    is a frame with nobody. Animals (AP10K) are skipped with a warning. Where our extra key is
    there, scores, boxes and ids come from it as far as it still fits (see `openpose_extra`).

    A point's c is its score. The neck is dropped, and so are the two pupils of a 70-point face,
    copies of the eyes, unless no point of the body is there: COCO-WholeBody has neither. A box
    missing in the file is drawn around the visible points (0, 0, 0, 0 with score 0 where there are
    none), its score being their mean.

    Args:
        obj: the document.
        canvas_hw: height and width in pixels for frames that do not say theirs; without it they
            take the size of the nearest earlier, else later frame.
        normalized: True or False says that coordinates are fractions or pixels; None tells.
        swap_hands: exchange the two hands, for files of ComfyUI's SDPose nodes, which write the
            left hand as the right one.
        on_frame: called several times for each frame; what it raises ends the work and reaches
            the caller.

    Returns:
        one People per frame. Ids are kept where any person of the frame has one (from the extra
        key or OpenPose's "person_id"); people without have -1.

    Raises:
        UnknownCanvasError: a ValueError; neither a frame nor `canvas_hw` says a size.
        TypeError, ValueError: something cannot be read; the message names its place, such as
            "frame 3, person 1, face_keypoints_2d" (counted from 0).
    """
    frames = [*_frames(obj, 0, "", on_frame)]
    people = [_people(frame, f"frame {i}") for i, frame in enumerate(ticking(frames, on_frame))]
    if any(isinstance(frame, Mapping) and frame.get("animals") for frame in frames):
        warnings.warn("animals were skipped: only people can be read", stacklevel=2)
    sizes = _canvases(frames, people, canvas_hw)
    for persons, size in ticking(zip(people, sizes, strict=True), on_frame):
        for person in persons:
            if person.extra is not None:
                same = person.extra.same_parts(person.raw, person.given, size)
                person.raw.confirmed = same & _visible_parts(person.raw)
    raw = [[person.raw for person in persons] for persons in people]
    to_pixels(raw, sizes, normalized, on_frame)
    return [
        _join(persons, size, swap_hands)
        for persons, size in ticking(zip(people, sizes, strict=True), on_frame)
    ]


def _visible_parts(person: RawPerson) -> frozenset[str]:
    return frozenset(part.key for part in PARTS if len(person.visible(part)))


def _frames(obj: Any, depth: int, where: str, on_frame: Tick) -> Iterator[Mapping[str, Any] | None]:
    """Yield the frames of a document, in order."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"{where}the document is nested too deeply; give a list of frames")
    if isinstance(obj, (str, bytes, bytearray)):
        try:
            parsed = parse_json(obj, on_frame)
        except ValueError as error:
            raise ValueError(f"{where}{error}") from error
        yield from _frames(parsed, depth + 1, where, on_frame)
    elif isinstance(obj, Mapping):
        inner = next((key for key in _FRAME_LISTS if isinstance(obj.get(key), list)), None)
        if _is_frame(obj):
            yield obj
        elif _is_person(obj):
            yield {"people": [obj]}
        elif inner is not None:
            yield from _frames(obj[inner], depth + 1, f"{where}{inner}, ", on_frame)
        else:
            raise ValueError(
                f"{where}an object has neither people nor keypoints (keys: "
                f"{', '.join(map(repr, list(obj)[:8]))}); give POSE_KEYPOINT or OpenPose JSON"
            )
    elif isinstance(obj, (list, tuple)):
        if obj and all(isinstance(x, Mapping) and _is_person(x) for x in obj):
            yield {"people": obj}
            return
        for i, item in enumerate(obj):
            if item is None:
                yield None
            elif isinstance(item, Mapping) and _is_person(item) and not _is_frame(item):
                raise ValueError(f"{where}item {i}: a person stands among frames; wrap it in one")
            else:
                yield from _frames(item, depth + 1, f"{where}item {i}: ", on_frame)
    else:
        raise TypeError(
            f"{where}POSE_KEYPOINT must be a list of frames, an object or JSON text, got "
            f"{type(obj).__name__}"
        )


def parse_json(text: str | bytes | bytearray, on_object: Tick = None) -> Any:
    """Parse JSON text; every fault is a ValueError.

    Args:
        text: the text.
        on_object: called as each object (a person, a frame) is read; what it raises ends the
            work and reaches the caller.

    Raises:
        ValueError: not JSON, or nested beyond reason.
    """
    try:
        return json.loads(text, object_hook=_teller(on_object))
    except RecursionError as error:
        raise ValueError("the JSON text is nested too deeply to be a pose") from error
    except ValueError as error:
        raise ValueError(f"this is not JSON text: {error}") from error


def _teller(tick: Tick) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """Make json call `tick` at each object."""
    if tick is None:
        return None

    def tell(found: dict[str, Any]) -> dict[str, Any]:
        tick()
        return found

    return tell


def _is_frame(obj: Mapping[str, Any]) -> bool:
    return "people" in obj or "animals" in obj


def _is_person(obj: Mapping[str, Any]) -> bool:
    return not _is_frame(obj) and (EXTRA_KEY in obj or any(part.key in obj for part in PARTS))


def _people(frame: Mapping[str, Any] | None, where: str) -> list[_Person]:
    entries = None if frame is None else frame.get("people")
    if entries is None:
        return []
    if not isinstance(entries, (list, tuple)):
        raise TypeError(f"{where}, people: must be a list, got {type(entries).__name__}")
    persons: list[_Person] = []
    for i, entry in enumerate(entries):
        place = f"{where}, person {i}"
        if entry is None:
            continue
        if not isinstance(entry, Mapping):
            raise TypeError(f"{place}: must be an object, got {type(entry).__name__}")
        raw, given = read_person(entry, place)
        extra = read_extra(entry, place)
        track_id = extra.track_id if extra else _person_id(entry, place)
        persons.append(_Person(place, raw, given, extra, track_id))
    return persons


def _person_id(entry: Mapping[str, Any], where: str) -> int | None:
    """OpenPose's id: a list of one number, -1 where it does not track."""
    value = entry.get("person_id")
    if isinstance(value, (list, tuple)):
        value = value[0] if len(value) else None
    track_id = integer(value, f"{where}, person_id")
    return None if track_id is None or track_id < 0 else track_id


def _canvases(
    frames: list[Mapping[str, Any] | None],
    people: list[list[_Person]],
    canvas_hw: tuple[int, int] | None,
) -> list[tuple[int, int]]:
    """Return height and width of every frame, by the rule of `from_pose_keypoint`."""
    if canvas_hw is not None and (not isinstance(canvas_hw, (tuple, list)) or len(canvas_hw) != 2):
        raise TypeError(f"canvas_hw must be (height, width) in pixels, got {canvas_hw!r}")
    fallback = None if canvas_hw is None else _size(*canvas_hw, "canvas_hw")
    sizes = [
        _own_canvas(frame, persons, f"frame {i}")
        for i, (frame, persons) in enumerate(zip(frames, people, strict=True))
    ]
    if fallback is None:
        earlier: tuple[int, int] | None = None
        later = next((size for size in sizes if size is not None), None)
        for i, size in enumerate(sizes):
            earlier = size or earlier
            sizes[i] = earlier or later
    filled = [size or fallback for size in sizes]
    known = [size for size in filled if size is not None]
    if len(known) < len(filled):
        raise UnknownCanvasError(
            f"frame {filled.index(None)}: has no canvas_height and canvas_width; say how large its "
            "picture is (canvas_hw; in ComfyUI connect the image, or save the keypoints as JSON "
            "and set canvas_width and canvas_height of Load Keypoints)"
        )
    return known


def _own_canvas(
    frame: Mapping[str, Any] | None, persons: list[_Person], where: str
) -> tuple[int, int] | None:
    height = None if frame is None else frame.get("canvas_height")
    width = None if frame is None else frame.get("canvas_width")
    if height is not None and width is not None:
        return _size(height, width, f"{where}, canvas_height and canvas_width")
    return next((person.extra.image_hw for person in persons if person.extra), None)


def _size(height: Any, width: Any, where: str) -> tuple[int, int]:
    size = integer(height, where), integer(width, where)
    if not all(n is not None and 1 <= n <= _MAX_CANVAS_PX for n in size):
        raise ValueError(f"{where}: must be at least 1 pixel and at most {_MAX_CANVAS_PX}")
    return size  # pyright: ignore[reportReturnType]  # None was refused above


def _join(persons: list[_Person], canvas_hw: tuple[int, int], swap_hands: bool) -> People:
    """Make one frame's People of its persons, whose points are pixels by now."""
    count = len(persons)
    points = np.zeros((count, 134, 2), np.float32)
    scores = np.zeros((count, 134), np.float32)
    boxes = np.zeros((count, 5), np.float32)
    for i, person in enumerate(persons):
        if person.extra is not None:
            move_feet(person.raw, person.extra, canvas_hw)
        around = _box_around(person.raw)
        if person.extra is None:
            points[i], scores[i], boxes[i] = person.raw.points, person.raw.c, around
            continue
        points[i], scores[i], untouched = merge(person.raw, person.given, person.extra, canvas_hw)
        box = person.extra.box
        if box is None:
            boxes[i] = around
        else:
            boxes[i] = box if untouched else (*around[:4], box[4])
    if swap_hands:
        left, right = skeleton.OPENPOSE_LEFT_HAND, skeleton.OPENPOSE_RIGHT_HAND
        points[:, left], points[:, right] = points[:, right].copy(), points[:, left].copy()
        scores[:, left], scores[:, right] = scores[:, right].copy(), scores[:, left].copy()
    keypoints, values = skeleton.from_openpose(points, scores)
    ids = [person.track_id for person in persons]
    people = People(keypoints, values, Boxes(boxes[:, :4], boxes[:, 4]), canvas_hw)
    if any(track_id is not None for track_id in ids):
        people = replace(
            people, track_ids=np.array([-1 if n is None else n for n in ids], np.int64)
        )
    return people


def _box_around(person: RawPerson) -> npt.NDArray[np.float64]:
    shown = person.c > 0
    if not shown.any():
        return np.zeros(5)
    points = person.points[shown]
    return np.array([*points.min(axis=0), *points.max(axis=0), person.c[shown].mean()])
