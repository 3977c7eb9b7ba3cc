"""The two arrays that flow through the library: boxes of people and their keypoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .skeleton import NUM_KEYPOINTS

FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int64]
Selection: TypeAlias = "int | slice | list[int] | npt.NDArray[Any]"

# A SimCC maximum is the peak of a regression, not a probability: networks trained with the
# paper's recipe peak near 1 where they are sure, and the field's threshold of 0.3 was chosen on
# that scale.  We therefore keep raw scores everywhere and only clip them for `confidence`.
DEFAULT_THRESHOLD = 0.3


def _as_float(name: str, value: npt.ArrayLike, one: tuple[int, ...]) -> FloatArray:
    """Copy to float32 [P, *one], frozen; `one` is the shape for one person."""
    array = np.array(value, dtype=np.float32)
    if array.size == 0 and array.ndim != len(one) + 1:
        array = np.zeros((0, *one), np.float32)
    if array.ndim != len(one) + 1 or array.shape[1:] != one:
        wanted = ", ".join(("P", *map(str, one)))
        raise ValueError(f"{name} must have shape [{wanted}], got {list(array.shape)}")
    array.flags.writeable = False
    return array


def _as_selection(index: Selection) -> slice | npt.NDArray[Any]:
    if isinstance(index, slice):
        return index
    array = np.atleast_1d(np.asarray(index))
    if array.size == 0 and array.dtype != np.bool_:
        return array.astype(np.int64)
    return array


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of people in one picture.

    Args:
        xyxy: float32 [P, 4], left, top, right, bottom in source pixels. Corners may lie outside
            the picture; right and bottom must not be less than left and top.
        scores: float32 [P], the detector's confidence in 0..1; ones when omitted.

    Raises:
        ValueError: shapes do not agree, a number is not finite, or a box is inside out.
    """

    xyxy: FloatArray
    scores: FloatArray = field(default=None)  # pyright: ignore[reportAssignmentType]

    def __post_init__(self) -> None:
        """Convert, validate and freeze the arrays."""
        xyxy = _as_float("xyxy", self.xyxy, (4,))
        given: Any = self.scores
        scores = np.ones(len(xyxy), np.float32) if given is None else given
        if not np.isfinite(xyxy).all():
            raise ValueError("xyxy must be finite; remove boxes with NaN or infinity")
        if (xyxy[:, 2:] < xyxy[:, :2]).any():
            raise ValueError("xyxy must be left, top, right, bottom; a box is inside out")
        object.__setattr__(self, "xyxy", xyxy)
        object.__setattr__(self, "scores", _as_float("scores", scores, ()))
        if len(self.scores) != len(xyxy):
            raise ValueError(f"scores must have one number a box, got {len(self.scores)}")

    @classmethod
    def empty(cls) -> Boxes:
        """No boxes at all."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, index: Selection) -> Boxes:
        """Return the boxes at an index, slice, list of indices or boolean mask [P]."""
        chosen = _as_selection(index)
        return Boxes(self.xyxy[chosen], self.scores[chosen])

    @property
    def area(self) -> FloatArray:
        """float32 [P], square pixels."""
        width_height: FloatArray = self.xyxy[:, 2:] - self.xyxy[:, :2]
        return width_height[:, 0] * width_height[:, 1]


@dataclass(frozen=True, eq=False)
class People:
    """The people found in one picture; nobody is ``len(people) == 0``, never None.

    Args:
        keypoints: float32 [P, 133, 2], x and y in source pixels, COCO-WholeBody order
            (`skeleton.KEYPOINT_NAMES`). Points may lie outside the picture.
        scores: float32 [P, 133], raw SimCC maxima (see `confidence`).
        boxes: the box that each person was estimated from.
        image_hw: height and width of the source picture in pixels.
        track_ids: int64 [P] or None where nobody was tracked.

    Raises:
        ValueError: counts or shapes do not agree.
    """

    keypoints: FloatArray
    scores: FloatArray
    boxes: Boxes
    image_hw: tuple[int, int]
    track_ids: IntArray | None = None

    def __post_init__(self) -> None:
        """Convert, validate and freeze the arrays."""
        set_field = object.__setattr__
        keypoints = _as_float("keypoints", self.keypoints, (NUM_KEYPOINTS, 2))
        set_field(self, "keypoints", keypoints)
        set_field(self, "scores", _as_float("scores", self.scores, (NUM_KEYPOINTS,)))
        height, width = (int(n) for n in self.image_hw)
        if height < 1 or width < 1:
            raise ValueError(f"image_hw must be at least 1x1 pixel, got {self.image_hw}")
        set_field(self, "image_hw", (height, width))
        if not len(keypoints) == len(self.scores) == len(self.boxes):
            raise ValueError(
                f"keypoints, scores and boxes must name the same people, got {len(keypoints)}, "
                f"{len(self.scores)} and {len(self.boxes)}"
            )
        if self.track_ids is not None:
            track_ids = np.array(self.track_ids, dtype=np.int64)
            if track_ids.shape != (len(keypoints),):
                raise ValueError(f"track_ids must have shape [{len(keypoints)}]")
            track_ids.flags.writeable = False
            set_field(self, "track_ids", track_ids)

    @classmethod
    def empty(cls, image_hw: tuple[int, int]) -> People:
        """Nobody in a picture of this height and width."""
        return cls(
            np.zeros((0, NUM_KEYPOINTS, 2), np.float32),
            np.zeros((0, NUM_KEYPOINTS), np.float32),
            Boxes.empty(),
            image_hw,
        )

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: Selection) -> People:
        """Return the people at an index, slice, list of indices or boolean mask [P]."""
        chosen = _as_selection(index)
        return People(
            self.keypoints[chosen],
            self.scores[chosen],
            self.boxes[chosen],
            self.image_hw,
            None if self.track_ids is None else self.track_ids[chosen],
        )

    @property
    def confidence(self) -> FloatArray:
        """float32 [P, 133] in 0..1: the raw score, clipped.

        SimCC networks trained with the paper's labels (a Gaussian of peak 1) answer about 1
        where they are sure and about 0 where the point is absent, and may overshoot slightly.
        """
        return np.minimum(np.maximum(self.scores, np.float32(0)), np.float32(1))

    def visible(self, threshold: float = DEFAULT_THRESHOLD) -> npt.NDArray[np.bool_]:
        """Return bool [P, 133]: the point is finite and its raw score reaches the threshold."""
        return (self.scores >= threshold) & np.isfinite(self.keypoints).all(axis=-1)
