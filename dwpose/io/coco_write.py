"""COCO-WholeBody annotations out: a data set of frames that training tools and `coco` read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from .. import skeleton
from ..types import DEFAULT_THRESHOLD, People
from .atomic import write_atomically
from .openpose_layout import shortest_decimals
from .ticking import Tick, ticking

# Name of each part's list, and of the flag that says whether it is labelled.
_LISTS: Final = {
    "body": ("keypoints", None),
    "feet": ("foot_kpts", "foot_valid"),
    "face": ("face_kpts", "face_valid"),
    "left_hand": ("lefthand_kpts", "lefthand_valid"),
    "right_hand": ("righthand_kpts", "righthand_valid"),
}


def to_coco_annotations(
    frames: Iterable[People],
    file_names: Sequence[str] | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    on_frame: Tick = None,
) -> dict[str, Any]:
    """Describe frames as a COCO-WholeBody data set.

    Frame i is image i + 1, because tools take an id of 0 for none. Points that are shown have
    v = 2, others 0, 0, 0: scores are lost, as COCO has no place for them.

    Args:
        frames: people of each picture.
        file_names: the pictures' names; None: frame_000000.png and so on.
        threshold: least raw score of a point that is shown.
        on_frame: called before each frame; what it raises ends the work and reaches the caller.

    Returns:
        an object with images, annotations and categories.

    Raises:
        ValueError: other than one name for each frame, or a box is not finite.
    """
    listed = list(frames)
    names = [f"frame_{i:06d}.png" for i in range(len(listed))]
    if file_names is not None:
        names = [str(name) for name in file_names]
    if len(names) != len(listed):
        raise ValueError(f"file_names must name {len(listed)} frames, got {len(names)}")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, people in enumerate(ticking(listed, on_frame)):
        height, width = people.image_hw
        images.append({"id": i + 1, "file_name": names[i], "height": height, "width": width})
        for person in range(len(people)):
            entry = {"id": len(annotations) + 1, "image_id": i + 1}
            annotations.append(entry | _annotation(people, person, threshold))
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(skeleton.KEYPOINT_NAMES[skeleton.BODY]),
    }
    return {"images": images, "annotations": annotations, "categories": [category]}


def _annotation(people: People, person: int, threshold: float) -> dict[str, Any]:
    points, scores = people.keypoints[person], people.scores[person]
    shown = (scores >= threshold) & (scores > 0) & np.isfinite(points).all(axis=-1)
    places = shortest_decimals(np.where(shown[:, None], points, np.float32(0)))
    triples = np.concatenate((places, np.where(shown, 2.0, 0.0)[:, None]), axis=1)
    left, top, right, bottom = (float(n) for n in people.boxes.xyxy[person])
    found: dict[str, Any] = {
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": int(shown[skeleton.BODY].sum()),
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
    }
    for part, (name, flag) in _LISTS.items():
        where = skeleton.PARTS[part]
        found[name] = triples[where].ravel().tolist()
        if flag is not None:
            found[flag] = bool(shown[where].any())
    if people.track_ids is not None:
        found["track_id"] = int(people.track_ids[person])
    return found


def save_annotations(
    document: dict[str, Any], path: str | os.PathLike[str], on_item: Tick = None
) -> Path:
    """Write a data set to one file, whole or not at all.

    Args:
        document: see `to_coco_annotations`.
        path: the file.
        on_item: called before each item of its lists; what it raises ends the work.

    Raises:
        ValueError: a number is not finite.
        OSError: the file cannot be written.
    """
    fields = []
    for key, value in document.items():
        if isinstance(value, (list, tuple)):
            text = f"[{','.join(_encode(item) for item in ticking(value, on_item))}]"
        else:
            text = _encode(value)
        fields.append(f"{_encode(key)}:{text}")
    return write_atomically(path, f"{{{','.join(fields)}}}".encode())


def _encode(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
