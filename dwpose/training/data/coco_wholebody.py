"""COCO-WholeBody v1.0 over COCO 2017.

In the folders in which both are published::

coco/annotations/coco_wholebody_train_v1.0.json, coco_wholebody_val_v1.0.json
coco/train2017/000000000009.jpg ..., coco/val2017/...
coco/person_detection_results/COCO_val2017_detections_AP_H_56_person.json (for evaluation)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ...io.openpose_read import parse_json
from ...skeleton import NUM_KEYPOINTS, PARTS
from .index import read_indexed
from .labels import LabelledPeople, PeopleBuilder

# Where each part of the 133 points stands in an annotation.
LISTS: Final = {
    "body": "keypoints",
    "feet": "foot_kpts",
    "face": "face_kpts",
    "left_hand": "lefthand_kpts",
    "right_hand": "righthand_kpts",
}
SOURCE: Final = "coco"


def annotation_file(root: Path, split: str) -> Path:
    """Return where the annotations of "train" or "val" belong."""
    return root / "annotations" / f"coco_wholebody_{split}_v1.0.json"


def image_folder(root: Path, split: str) -> Path:
    """Return where the pictures of "train" or "val" belong."""
    return root / f"{split}2017"


def load_coco_wholebody(
    root: str | os.PathLike[str], split: Literal["train", "val"] = "train"
) -> LabelledPeople:
    """Read the people of COCO-WholeBody who are taught.

    Args:
        root: the folder `coco`.
        split: which of both.

    Raises:
        FileNotFoundError: the annotations are not there.
        ValueError: they are not what they should be.
    """
    folder = Path(root)
    path = annotation_file(folder, split)
    images = image_folder(folder, split)

    def read() -> LabelledPeople:
        return read_people(read_json(path), f"coco {split}2017", SOURCE, Path)

    return read_indexed(path, split, None, read, lambda name: images / name)


def read_json(path: Path) -> Mapping[str, Any]:
    """Read an annotation file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no JSON object with pictures and annotations.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there are no annotations {path}; `dwpose data check` says how to get them"
        )
    try:
        document = parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(document, Mapping) or not all(
        isinstance(document.get(key), list) for key in ("images", "annotations")
    ):
        raise ValueError(f"{path}: must be an object with the lists images and annotations")
    return document


def read_people(
    document: Mapping[str, Any],
    name: str,
    source: str,
    locate: Callable[[str], Path],
    keep: Callable[[int, str], bool] | None = None,
) -> LabelledPeople:
    """Turn annotations into columns by the rules of DWPose's data sets.

    The 133 points are the five lists in the order body, feet, face, left and right hand; a point is
    taught where its v is above 0; the box is clipped to the picture's last pixel. Left out are
    crowds, people without a labelled BODY point (`num_keypoints` of the file is that count), boxes
    without area after clipping and people all of whose coordinates are 0. What cannot be read is
    left out too, and counted.

    Args:
        document: the file's content.
        name: what messages call the set.
        source: see `LabelledPeople`.
        locate: from a `file_name` to the file.
        keep: which pictures, by id and `file_name`; None for all.
    """
    builder = PeopleBuilder(name, source)
    images: dict[Any, tuple[int, float, float] | None] = {}
    for entry in document["images"]:
        try:
            image_id, file_name = int(entry["id"]), str(entry["file_name"])
            size = float(entry["width"]), float(entry["height"])
        except (KeyError, TypeError, ValueError):
            builder.drop("picture without id, file_name, width or height")
            continue
        if keep is not None and not keep(image_id, file_name):
            images[image_id] = None
            continue
        images[image_id] = (builder.add_image(locate(file_name), image_id), *size)
    persons = _person_ids(document)
    for entry in document["annotations"]:
        try:
            image = images.get(_number(entry.get("image_id")), ())
            category = _number(entry.get("category_id"))
            other = persons and category not in persons
        except (AttributeError, TypeError):  # no object, or a list in the place of a number
            builder.drop("annotation that cannot be read")
            continue
        if image is None or other:
            if image and category is None:
                builder.drop("annotation without category")
            continue
        reason = _add(builder, image, entry) if image else "annotation of an unknown picture"
        if reason:
            builder.drop(reason)
    return builder.build()


def _person_ids(document: Mapping[str, Any]) -> set[Any]:
    """Return the ids of the category "person"; none where the file names no categories.

    Most of UBody's files lack `categories`, which other readers cannot do without; here everybody
    is a person then.
    """
    categories = document.get("categories")
    return {
        _number(entry.get("id"))
        for entry in (categories if isinstance(categories, list) else ())
        if isinstance(entry, Mapping) and entry.get("name") == "person"
    }


def _number(value: Any) -> Any:
    """Return the number that an id means which was written as a text; others as they are."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _add(
    builder: PeopleBuilder, image: tuple[int, float, float], entry: Mapping[str, Any]
) -> str | None:
    """Add one annotation, or return why it is left out."""
    if entry.get("iscrowd"):
        return "crowd"
    try:
        points = join_points(entry)
        x, y, width, height = (float(value) for value in entry["bbox"])
        annotation_id = int(entry["id"])
    except (KeyError, TypeError, ValueError):
        return "annotation that cannot be read"
    if not (np.isfinite(points).all() and np.isfinite((x, y, width, height)).all()):
        return "annotation that cannot be read"
    if entry.get("num_keypoints", (points[:, 2] > 0).sum()) == 0:
        return "no labelled body point"
    index, image_width, image_height = image
    last = np.array((image_width, image_height, image_width, image_height)) - 1
    box = np.clip((x, y, x + width, y + height), 0, last)
    if (box[2:] <= box[:2]).any():
        return "box without area"
    if points[:, :2].max() <= 0:
        return "no coordinates"
    builder.add_person(index, annotation_id, box, points)
    return None


def join_points(entry: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """Join the five lists of an annotation, float32 [133, 3]; absent parts are zeros.

    Raises:
        KeyError, TypeError, ValueError: the body is missing, or a list has another length.
    """
    points = np.zeros((NUM_KEYPOINTS, 3), np.float32)
    for part, key in LISTS.items():
        if part == "body" or entry.get(key) is not None:
            points[PARTS[part]] = np.asarray(entry[key], np.float32).reshape(-1, 3)
    return points
