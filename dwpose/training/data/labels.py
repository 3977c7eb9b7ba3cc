"""Labelled people as columns: what every reader of a data set gives and the loader takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...skeleton import NUM_KEYPOINTS


@dataclass(frozen=True, eq=False)
class LabelledPeople:
    """People of one set, one row each; columns, so that workers share them cheaply.

    Attributes:
        name: what messages call the set, such as "coco train2017" or "UBody Movie".
        source: sets of one source share their image ids ("coco", "UBody Movie", ...).
        files: the pictures, each once.
        image_ids: int64 [M], the pictures' ids within the source.
        image_index: int64 [N], the picture of each person, an index into `files`.
        ids: int64 [N], the annotations' ids.
        boxes: float32 [N, 4], xyxy in pixels of the picture.
        keypoints: float32 [N, 133, 2], pixels of the picture; 0, 0 where not labelled.
        visible: bool [N, 133], whether a point is labelled and taught.
        dropped: annotations that were left out, counted by reason.
    """

    name: str
    source: str
    files: tuple[Path, ...]
    image_ids: npt.NDArray[np.int64]
    image_index: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    keypoints: npt.NDArray[np.float32]
    visible: npt.NDArray[np.bool_]
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the columns fit together."""
        count = len(self.ids)
        shapes = {
            "image_ids": (len(self.files),),
            "image_index": (count,),
            "boxes": (count, 4),
            "keypoints": (count, NUM_KEYPOINTS, 2),
            "visible": (count, NUM_KEYPOINTS),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must be {shape}, got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.ids)

    def file(self, row: int) -> Path:
        """Return the picture of a person."""
        return self.files[self.image_index[row]]

    def of_images(self, chosen: npt.NDArray[np.bool_], name: str) -> LabelledPeople:
        """Return the pictures where `chosen` (bool [M]) is true, and their people."""
        rows = chosen[self.image_index]
        places = np.cumsum(chosen) - 1
        return dataclasses.replace(
            self,
            name=name,
            files=tuple(file for file, keep in zip(self.files, chosen, strict=True) if keep),
            image_ids=self.image_ids[chosen],
            image_index=places[self.image_index[rows]],
            **{column: getattr(self, column)[rows] for column in _ROWS if column != "image_index"},
        )


_ROWS = ("image_index", "ids", "boxes", "keypoints", "visible")


class PeopleBuilder:
    """Collects people one by one, with the originals' rules for who is taught.

    Args:
        name: see `LabelledPeople`.
        source: see `LabelledPeople`.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source
        self._files: list[Path] = []
        self._image_ids: list[int] = []
        self._rows: list[tuple[int, int, Any, Any, Any]] = []
        self.dropped: dict[str, int] = {}

    def add_image(self, file: Path, image_id: int) -> int:
        """Add a picture and return its index."""
        self._files.append(file)
        self._image_ids.append(image_id)
        return len(self._files) - 1

    def drop(self, reason: str) -> None:
        """Count an annotation that is left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def add_person(self, image: int, annotation_id: int, xyxy: Any, points: Any) -> None:
        """Add a person.

        Args:
            image: the picture's index.
            annotation_id: its id.
            xyxy: float [4] in pixels, clipped to the picture.
            points: float [133, 3], x and y in pixels and v.
        """
        visible = points[:, 2] > 0
        keypoints = np.where(visible[:, None], points[:, :2], 0).astype(np.float32)
        box = np.asarray(xyxy, np.float32)
        self._rows.append((image, annotation_id, box, keypoints, visible))

    def build(self) -> LabelledPeople:
        """Put the columns together; pictures without people are left out."""
        count = len(self._rows)
        columns = list(zip(*self._rows, strict=True)) if count else [()] * 5
        index = np.array(columns[0], np.int64)
        used = np.zeros(len(self._files), bool)
        used[index] = True
        people = LabelledPeople(
            self.name,
            self.source,
            tuple(self._files),
            np.array(self._image_ids, np.int64),
            index,
            np.array(columns[1], np.int64),
            np.array(columns[2], np.float32).reshape(count, 4),
            np.array(columns[3], np.float32).reshape(count, NUM_KEYPOINTS, 2),
            np.array(columns[4], bool).reshape(count, NUM_KEYPOINTS),
            dict(self.dropped),
        )
        return people.of_images(used, self.name)


def check_disjoint(train: Sequence[LabelledPeople], val: Sequence[LabelledPeople]) -> None:
    """Make sure that nothing is measured on a picture that is learned from.

    Args:
        train: sets to learn from.
        val: sets to measure on.

    Raises:
        ValueError: they share a file, or an image id of one source.
    """
    shared = {file.resolve() for part in train for file in part.files} & {
        file.resolve() for part in val for file in part.files
    }
    if shared:
        raise ValueError(
            f"training and validation share {len(shared)} pictures, such as {min(shared)}; "
            "take them out of one of the two"
        )
    for a in train:
        for b in val:
            ids = np.intersect1d(a.image_ids, b.image_ids)
            if a.source == b.source and len(ids):
                raise ValueError(
                    f"{a.name} (training) and {b.name} (validation) share {len(ids)} image ids, "
                    f"such as {ids[0]}; take them out of one of the two"
                )
