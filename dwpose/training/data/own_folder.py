"""One's own photos and keypoint files, ready for fine-tuning.

Either all labels stand in one COCO file, or each photo has its own OpenPose file beside it, as
`dwpose image --json` and the ComfyUI nodes write them and pose editors change them::

    photos/labels.json + photos/**.jpg         COCO or COCO-WholeBody; any name but NAME_keypoints
    photos/a.jpg + photos/a_keypoints.json     OpenPose (POSE_KEYPOINT); a.json will do as well
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...io.frames import PICTURES
from ...io.images import load_image
from ...io.openpose_layout import EXTRA_KEY
from ...io.openpose_read import from_pose_keypoint, parse_json
from ...types import People
from .coco_wholebody import read_json, read_people
from .labels import LabelledPeople, PeopleBuilder

# Room that is added around the labelled points, as a share of their extent, where no box is given:
# points lie on the joints, and people go on beyond them.
MARGIN: Final = 0.1
# Ends of the names of `dwpose image`'s pictures.
_DRAWN: Final = ("_pose", "_overlay")


def load_own_folder(folder: str | os.PathLike[str], labels: str | None = None) -> LabelledPeople:
    """Read the labelled people of a folder.

    Args:
        folder: photos, also in folders below.
        labels: name of a COCO file in it. Without, the folder's only JSON file that is a COCO file
            is taken, else the OpenPose files beside the photos. Points of score 0 are not taught.

    Raises:
        FileNotFoundError: there is no such folder or file, or nothing is labelled.
        ValueError: a COCO file cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root} with photos and keypoint files")
    name = root.resolve().name
    source = str(root.resolve())
    path = root / labels if labels else _coco_file(root)
    if path is not None:
        people = read_people(read_json(path), name, source, lambda file: root / file)
    else:
        people = _read_beside(root, name, source)
    if not len(people):
        left_out = ", ".join(f"{count} {reason}" for reason, count in people.dropped.items())
        raise FileNotFoundError(
            f"nobody is labelled in {root}{left_out and f' (left out: {left_out})'}; put "
            "NAME_keypoints.json (OpenPose) beside NAME.jpg, or one COCO file into the folder"
        )
    return people


def _coco_file(root: Path) -> Path | None:
    """Return the one JSON file that stands for no single photo."""
    photos = {path.stem for path in root.iterdir() if path.suffix.lower() in PICTURES}
    found = [
        path
        for path in sorted(root.glob("*.json"))
        if path.stem not in photos and path.stem.removesuffix("_keypoints") not in photos
    ]
    if len(found) > 1:
        raise ValueError(
            f"{root} holds several JSON files ({', '.join(path.name for path in found)}); name the "
            "one with the labels"
        )
    return found[0] if found else None


def _read_beside(root: Path, name: str, source: str) -> LabelledPeople:
    builder = PeopleBuilder(name, source)
    photos = sorted(path for path in root.rglob("*") if path.suffix.lower() in PICTURES)
    # What `dwpose image` drew beside the photos is none.
    drawn = {photo.with_name(f"{photo.stem}{end}") for photo in photos for end in _DRAWN}
    photos = [photo for photo in photos if photo.with_suffix("") not in drawn]
    for number, photo in enumerate(photos):
        beside = [photo.with_name(f"{photo.stem}_keypoints.json"), photo.with_suffix(".json")]
        path = next((file for file in beside if file.is_file()), None)
        if path is None:
            builder.drop("photo without keypoint file")
            continue
        try:
            height, width = load_image(photo).shape[:2]
            shown = _without_extra(parse_json(path.read_bytes()))
            frames = from_pose_keypoint(shown, canvas_hw=(height, width))
        except (OSError, TypeError, ValueError):
            builder.drop("photo or keypoint file that cannot be read")
            continue
        image = builder.add_image(photo, number)
        if frames:
            _add_people(builder, image, frames[0], (height, width))
    return builder.build()


def _without_extra(document: Any) -> Any:
    """Leave out our extra key: it keeps what was too unsure to be shown, which is no label."""
    if isinstance(document, dict):
        return {k: _without_extra(v) for k, v in document.items() if k != EXTRA_KEY}
    return [_without_extra(item) for item in document] if isinstance(document, list) else document


def _add_people(
    builder: PeopleBuilder, image: int, people: People, size_hw: tuple[int, int]
) -> None:
    height, width = size_hw
    # The file's canvas may be another size than the photo, such as that of a drawn pose map.
    zoom = np.array((width, height)) / (people.image_hw[1], people.image_hw[0])
    for number in range(len(people)):
        points = np.column_stack((people.keypoints[number] * zoom, people.scores[number]))
        labelled = points[points[:, 2] > 0, :2]
        if not len(labelled):
            builder.drop("no labelled point")
            continue
        low, high = labelled.min(axis=0), labelled.max(axis=0)
        room = MARGIN * (high - low)
        box = np.concatenate((low - room, high + room))
        box = np.clip(box, 0, (width - 1, height - 1, width - 1, height - 1))
        if (box[2:] <= box[:2]).any():
            builder.drop("box without area")
            continue
        builder.add_person(image, number, box, points)


def split_people(
    people: LabelledPeople, share: float = 0.1, seed: int = 0
) -> tuple[LabelledPeople, LabelledPeople]:
    """Divide a set into training and validation by pictures, equal files staying together.

    Args:
        people: the set.
        share: of pictures for validation; at least one picture goes to each side.
        seed: which pictures.

    Returns:
        training and validation.

    Raises:
        ValueError: there are fewer than two different pictures, or share is not in 0..1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be between 0 and 1, got {share}")
    groups = _equal_files(people.files)
    count = int(groups.max(initial=-1)) + 1
    if count < 2:
        raise ValueError("at least two different pictures are needed, one of them for validation")
    chosen = np.random.default_rng(seed).permutation(count)
    held_out = chosen[: min(max(round(count * share), 1), count - 1)]
    val = np.isin(groups, held_out)
    return (
        people.of_images(~val, f"{people.name} train"),
        people.of_images(val, f"{people.name} val"),
    )


def _equal_files(files: Sequence[Path]) -> npt.NDArray[np.int64]:
    """Number the files so that files of the same content have one number."""
    import hashlib

    numbers: dict[str, int] = {}
    found = []
    for file in files:
        try:
            key = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError:
            key = str(file)
        found.append(numbers.setdefault(key, len(numbers)))
    return np.array(found, np.int64)
