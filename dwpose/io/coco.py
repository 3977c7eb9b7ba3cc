"""COCO-WholeBody files: annotations in, results out and in.

A person of COCO-WholeBody v1.0 is five flat lists of ``x, y, v``: ``keypoints`` (17 body points,
exactly as in COCO), ``foot_kpts`` (6), ``face_kpts`` (68), ``lefthand_kpts`` and
``righthand_kpts`` (21 each); joined in this order they are the 133 points. In annotations v is
0 (not labelled), 1 (labelled, hidden) or 2 (visible); in results it is the score.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .. import skeleton
from ..types import Boxes, People
from .atomic import write_atomically
from .openpose_extra import integer
from .openpose_layout import shortest_decimals
from .openpose_lists import numbers
from .openpose_read import parse_json
from .ticking import Tick, ticking

ScoreMode: TypeAlias = Literal["box_keypoint", "keypoint", "box"]

# Name of each part's list in the files, and of its flag.
_LISTS: Final = {
    "body": "keypoints",
    "feet": "foot_kpts",
    "face": "face_kpts",
    "left_hand": "lefthand_kpts",
    "right_hand": "righthand_kpts",
}
_FLAGS: Final = {
    "feet": "foot_valid",
    "face": "face_valid",
    "left_hand": "lefthand_valid",
    "right_hand": "righthand_valid",
}
# DWPose's evaluation averages the keypoint scores above this for a person's score.
KEYPOINT_THRESHOLD: Final = 0.2
PERSON_CATEGORY: Final = 1


@dataclass(frozen=True)
class CocoImage:
    """A picture of the set.

    Args:
        id: its id.
        file_name: its path within the set's folder of pictures.
        height: pixels.
        width: pixels.
    """

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class CocoInstance:
    """One labelled person.

    Args:
        id: the annotation's id.
        image_id: the picture's id.
        keypoints: float32 [133, 2], pixels; 0, 0 where not labelled.
        visible: float32 [133], v of the file: 0 not labelled, 1 labelled but hidden, 2 visible.
        xyxy: float32 [4], left, top, right, bottom in pixels (the file has x, y, w, h).
        area: of the person's segment in square pixels, as OKS wants; the box's where the file
            has none, or 0, as tools without segments write it.
        iscrowd: a crowd drawn as one.
        valid: for each part of `skeleton.PARTS`, whether it is labelled. COCO-WholeBody says so
            by a flag for feet, face and hands; without flag, whether any point is labelled.
    """

    id: int
    image_id: int
    keypoints: npt.NDArray[np.float32]
    visible: npt.NDArray[np.float32]
    xyxy: npt.NDArray[np.float32]
    area: float
    iscrowd: bool
    valid: Mapping[str, bool]


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """Pictures and their labelled people, in the file's order.

    Args:
        images: by id.
        instances: everybody.
    """

    images: Mapping[int, CocoImage]
    instances: tuple[CocoInstance, ...]
    _by_image: dict[int, list[CocoInstance]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the people by picture."""
        index: dict[int, list[CocoInstance]] = {}
        for instance in self.instances:
            index.setdefault(instance.image_id, []).append(instance)
        object.__setattr__(self, "_by_image", index)

    def instances_of(self, image_id: int) -> list[CocoInstance]:
        """Return the people of one picture; nobody is an empty list."""
        return list(self._by_image.get(image_id, ()))

    def people(self, image_id: int) -> People:
        """Return one picture's people, scored 1 where a point is labelled and 0 elsewhere.

        Raises:
            KeyError: there is no such picture.
        """
        image = self.images[image_id]
        found = self.instances_of(image_id)
        if not found:
            return People.empty((image.height, image.width))
        visible = np.stack([instance.visible for instance in found])
        return People(
            np.stack([instance.keypoints for instance in found]),
            (visible > 0).astype(np.float32),
            Boxes(np.stack([instance.xyxy for instance in found])),
            (image.height, image.width),
        )


def load_annotations(path: str | os.PathLike[str]) -> CocoDataset:
    """Read COCO-WholeBody annotations, or plain COCO keypoints (only the body is labelled then).

    Args:
        path: the JSON file. Where its categories name a "person", other categories are left out.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError, ValueError: something cannot be read; the message names its place, such as
            "annotation 3 (id 442619), face_kpts".
    """
    try:
        return read_annotations(parse_json(Path(path).read_bytes()))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{path}: {error}") from error


def read_annotations(document: Any, on_person: Tick = None) -> CocoDataset:
    """Read annotations that are parsed already, see `load_annotations`.

    `on_person` is called before each annotation; what it raises ends the work.
    """
    if not isinstance(document, Mapping):
        raise TypeError("COCO annotations must be an object with images and annotations")
    images: dict[int, CocoImage] = {}
    for i, entry in enumerate(_objects(document, "images")):
        where = f"image {i}"
        image_id = _integer(entry, "id", where)
        height, width = _integer(entry, "height", where), _integer(entry, "width", where)
        if min(height, width) < 1:
            raise ValueError(f"{where}: height and width must be at least 1 pixel")
        images[image_id] = CocoImage(image_id, str(entry.get("file_name", "")), height, width)
    wanted = {
        entry.get("id")
        for entry in _objects(document, "categories", required=False)
        if entry.get("name") == "person" and isinstance(entry.get("id"), int)
    }
    instances: list[CocoInstance] = []
    for i, entry in enumerate(ticking(_objects(document, "annotations"), on_person)):
        category = integer(entry.get("category_id"), f"annotation {i}, category_id")
        if wanted and category not in wanted:
            continue
        instance = _instance(entry, f"annotation {i} (id {entry.get('id')!r})")
        if instance.image_id not in images:
            raise ValueError(f"annotation {i}, image_id: no image has the id {instance.image_id}")
        instances.append(instance)
    return CocoDataset(images, tuple(instances))


def _instance(entry: Mapping[str, Any], where: str) -> CocoInstance:
    points = _points(entry, where, required=("body",))
    visible = points[:, 2]
    xywh = _bbox(entry.get("bbox"), f"{where}, bbox")
    area = float(_finite([entry.get("area") or 0], 1, f"{where}, area")[0])
    if area < 0:
        raise ValueError(f"{where}, area: must not be negative, got {area:g}")
    valid = {
        part: bool(entry.get(_FLAGS.get(part, ""), (visible[where_part] > 0).any()))
        for part, where_part in skeleton.PARTS.items()
    }
    return CocoInstance(
        _integer(entry, "id", where),
        _integer(entry, "image_id", where),
        np.where(visible[:, None] > 0, points[:, :2], np.float32(0)),
        visible.copy(),
        _xyxy(xywh),
        area or float(xywh[2] * xywh[3]),
        bool(entry.get("iscrowd", 0)),
        valid,
    )


def to_coco_results(
    people: People,
    image_id: int,
    *,
    category_id: int = PERSON_CATEGORY,
    score: ScoreMode = "box_keypoint",
    bbox: bool = True,
) -> list[dict[str, Any]]:
    """Describe one picture's people as COCO-WholeBody results.

    Each person has image_id, category_id, the five lists with raw scores as v, and ``score``, by
    which evaluation ranks people: it is what xtcocotools reads for ``keypoints_wholebody`` and
    for each part (unless a result has ``foot_score`` and so on), and pycocotools for
    ``keypoints``. ``bbox_score`` (and ``track_id`` where tracked) is ours, and ignored by them.

    Args:
        people: one picture's.
        image_id: the picture's id.
        category_id: the person's category.
        score: "box_keypoint" multiplies the box's score with the mean of the keypoint scores
            above 0.2, as DWPose is evaluated; "keypoint" is that mean alone, "box" the box's.
        bbox: write x, y, w, h. The tools then take a result's area from the box instead of its
            body points, which moves AP (M) and AP (L) a little where the two differ in size.

    Raises:
        ValueError: score is unknown, or a number is not finite.
    """
    if score not in ("box_keypoint", "keypoint", "box"):
        raise ValueError(f"score must be box_keypoint, keypoint or box, got {score!r}")
    if not (np.isfinite(people.keypoints).all() and np.isfinite(people.scores).all()):
        raise ValueError("people must have finite keypoints and scores to be written as results")
    counted = people.scores > KEYPOINT_THRESHOLD
    means = (people.scores * counted).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    values = {
        "box_keypoint": people.boxes.scores * means,
        "keypoint": means,
        "box": people.boxes.scores,
    }[score]
    triples = np.concatenate([people.keypoints, people.scores[..., None]], axis=-1)
    triples_out, values_out = shortest_decimals(triples), shortest_decimals(values)
    box_scores = shortest_decimals(people.boxes.scores)
    results: list[dict[str, Any]] = []
    for i in range(len(people)):
        result: dict[str, Any] = {"image_id": int(image_id), "category_id": int(category_id)}
        for part, name in _LISTS.items():
            result[name] = triples_out[i, skeleton.PARTS[part]].ravel().tolist()
        result["score"] = float(values_out[i])
        if bbox:
            left, top, right, bottom = people.boxes.xyxy[i].astype(np.float64).tolist()
            result["bbox"] = [left, top, right - left, bottom - top]
            result["bbox_score"] = float(box_scores[i])
        if people.track_ids is not None:
            result["track_id"] = int(people.track_ids[i])
        results.append(result)
    return results


def save_results(results: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> Path:
    """Write the results of all pictures, joined into one list, to one file, whole or not at all.

    Raises:
        ValueError: a number is not finite.
        OSError: the file cannot be written.
    """
    text = json.dumps(list(results), separators=(",", ":"), allow_nan=False)
    return write_atomically(path, text.encode())


def load_results(
    path: str | os.PathLike[str], sizes_hw: Mapping[int, tuple[int, int]]
) -> dict[int, People]:
    """Read COCO or COCO-WholeBody keypoint results.

    Args:
        path: the JSON file.
        sizes_hw: height and width in pixels of each picture by id, which results do not tell
            (``{i.id: (i.height, i.width) for i in dataset.images.values()}``).

    Returns:
        the people of each picture that has results, by the picture's id. Lists that are missing
        read as points of score 0; a missing bbox is drawn around the points scoring above 0; box
        scores are bbox_score where written, else score.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError, ValueError: something cannot be read; the message names its place.
    """
    try:
        return read_results(parse_json(Path(path).read_bytes()), sizes_hw)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{path}: {error}") from error


def read_results(
    document: Any, sizes_hw: Mapping[int, tuple[int, int]], on_person: Tick = None
) -> dict[int, People]:
    """Read results that are parsed already, see `load_results`.

    `on_person` is called before each result; what it raises ends the work.
    """
    if not isinstance(document, (list, tuple)):
        raise TypeError("COCO results must be a list of objects")
    found: dict[int, list[tuple[Any, Any, int | None]]] = {}
    for i, entry in enumerate(ticking(_objects({"results": document}, "results"), on_person)):
        where = f"result {i}"
        image_id = _integer(entry, "image_id", where)
        if image_id not in sizes_hw:
            raise ValueError(f"{where}: sizes_hw does not name the image {image_id}")
        points = _points(entry, where, required=("body",))
        if entry.get("bbox") is not None:
            xyxy = _xyxy(_bbox(entry["bbox"], f"{where}, bbox"))
        else:
            seen = points[points[:, 2] > 0, :2]
            xyxy = np.array([*seen.min(0), *seen.max(0)] if len(seen) else [0, 0, 0, 0])
        score = entry.get("bbox_score", entry.get("score", 1.0))
        box = np.append(xyxy, _finite([score], 1, f"{where}, score"))
        track_id = integer(entry.get("track_id"), f"{where}, track_id")
        found.setdefault(image_id, []).append((points, box, track_id))
    return {image_id: _joined(entries, sizes_hw[image_id]) for image_id, entries in found.items()}


def _joined(entries: list[tuple[Any, Any, int | None]], size_hw: tuple[int, int]) -> People:
    points, boxes = np.stack([e[0] for e in entries]), np.stack([e[1] for e in entries])
    ids = [e[2] for e in entries]
    tracked = any(track_id is not None for track_id in ids)
    return People(
        points[..., :2],
        points[..., 2],
        Boxes(boxes[:, :4], boxes[:, 4]),
        size_hw,
        np.array([-1 if n is None else n for n in ids], np.int64) if tracked else None,
    )


def _points(
    entry: Mapping[str, Any], where: str, required: tuple[str, ...]
) -> npt.NDArray[np.float32]:
    """Return float32 [133, 3] of an object's five lists; zeros where a list is missing."""
    points = np.zeros((skeleton.NUM_KEYPOINTS, 3), np.float32)
    for part, name in _LISTS.items():
        value = entry.get(name)
        if value is None and part not in required:
            continue
        target = points[skeleton.PARTS[part]]
        target[:] = _finite(value, target.size, f"{where}, {name}").reshape(-1, 3)
    return points


def _finite(value: Any, count: int, where: str) -> npt.NDArray[np.float64]:
    wide = numbers(value, where)
    if len(wide) != count:
        raise ValueError(f"{where}: must have {count} numbers, got {len(wide)}")
    # Half of float32's range, so that a box's corner, the sum of two numbers, is finite too.
    if not (np.abs(wide) <= np.finfo(np.float32).max / 2).all():
        raise ValueError(f"{where}: a number is missing or not finite")
    return wide


def _bbox(value: Any, where: str) -> npt.NDArray[np.float64]:
    xywh = _finite(value, 4, where)
    if (xywh[2:] < 0).any():
        raise ValueError(f"{where}: width and height must not be negative")
    return xywh


def _xyxy(xywh: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return np.concatenate([xywh[:2], xywh[:2] + xywh[2:]]).astype(np.float32)


def _objects(
    document: Mapping[str, Any], name: str, required: bool = True
) -> list[Mapping[str, Any]]:
    value = document.get(name)
    if value is None and not required:
        return []
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name}: must be a list of objects")
    for i, entry in enumerate(value):
        if not isinstance(entry, Mapping):
            raise TypeError(f"{name}, item {i}: must be an object, got {type(entry).__name__}")
    return list(value)


def _integer(entry: Mapping[str, Any], name: str, where: str) -> int:
    value = integer(entry.get(name), f"{where}, {name}")
    if value is None:
        raise ValueError(f"{where}, {name}: is missing")
    return value
