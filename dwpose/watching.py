"""What changed between two frames, cheaply: scene cuts, and motion where nobody is known.

Both look at thumbnails: a fraction of a millisecond for a frame, against hundreds for a detector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

_SIDE: Final = 128  # pixels of a thumbnail's longer side
# Below this response phase correlation has found no common motion (its peak's share, 0..1).
_SURE_SHIFT: Final = 0.15


@dataclass(frozen=True)
class WatchOptions:
    """When a change counts.

    Attributes:
        cut_change: least mean difference of two frames' thumbnails for a cut, as a share of full
            brightness, after the camera's shift was taken away.
        cut_colours: least distance (Bhattacharyya, 0..1) of their colours, as well.
        entry_change: least difference of a pixel that moved, as a share of full brightness.
        entry_area: least area of connected moving pixels outside everybody's boxes, as a share of
            the picture; 0.004 is a person of a seventh of the picture's height.
        border: what is added to each side of the known boxes, as a share of their longer side.

    Raises:
        ValueError: a number is outside 0..1.
    """

    cut_change: float = 0.07
    cut_colours: float = 0.3
    entry_change: float = 0.08
    entry_area: float = 0.004
    border: float = 0.15

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in 0..1, got {value}")


class Watch:
    """Compares each frame with the one before, or with a reference.

    Args:
        options: the numbers.
    """

    def __init__(self, options: WatchOptions | None = None) -> None:
        self.options = options or WatchOptions()
        self._last: Array | None = None
        self._reference: Array | None = None
        self._zoom = 1.0

    def is_cut(self, image: npt.NDArray[np.uint8]) -> bool:
        """Take in the next frame and tell whether a new scene starts with it.

        A new scene differs in place and in colours: a fast pan changes places alone, a flash or
        a fade mostly brightness in steps. The first frame is no cut; one of another size is.

        Args:
            image: uint8 [H, W, 3] RGB.
        """
        self._zoom = _SIDE / max(image.shape[:2])
        size = (
            max(round(image.shape[1] * self._zoom), 1),
            max(round(image.shape[0] * self._zoom), 1),
        )
        thumb = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        last, self._last = self._last, thumb
        if last is None:
            return False
        if last.shape != thumb.shape:
            self._reference = None
            return True
        change = cv2.absdiff(last, thumb).mean() / 255
        if change < self.options.cut_change:
            return False
        counts = [
            cv2.calcHist([t], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).reshape(-1)
            for t in (last, thumb)
        ]
        distance = cv2.compareHist(counts[0], counts[1], cv2.HISTCMP_BHATTACHARYYA)
        return bool(
            distance >= self.options.cut_colours
            and _residual(last, thumb, _plain).mean() / 255 >= self.options.cut_change
        )

    def state(self) -> dict[str, Any]:
        """Return what is remembered, as `restore` takes it."""
        return {"last": self._last, "reference": self._reference}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another one was when `state` was called."""
        self._last, self._reference = state["last"], state["reference"]

    def forget(self) -> None:
        """Start the search for motion anew, after a cut."""
        self._reference = None

    def moves_outside(self, boxes: Array) -> bool:
        """Tell whether something moved, since the last call, where nobody is known to be.

        The camera's own shift is found by phase correlation and taken away first.

        Args:
            boxes: float [P, 4] xyxy in pixels, of everybody now and at the last call.
        """
        now = self._last
        if now is None:
            return False
        last, self._reference = self._reference, now
        if last is None or last.shape != now.shape:
            return False
        moving = (_residual(last, now, _beyond) >= self.options.entry_change * 255).astype(np.uint8)
        for left, top, right, bottom in np.asarray(boxes, np.float64) * self._zoom:
            extra = self.options.border * max(right - left, bottom - top) + 1
            rows = slice(max(int(top - extra), 0), max(int(np.ceil(bottom + extra)), 0))
            columns = slice(max(int(left - extra), 0), max(int(np.ceil(right + extra)), 0))
            moving[rows, columns] = 0
        if not moving.any():
            return False
        moving = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(moving, connectivity=8)
        largest = stats[1:, cv2.CC_STAT_AREA].max(initial=0)
        return bool(largest >= self.options.entry_area * moving.size)


def _residual(last: Array, now: Array, difference: Callable[[Array, Array], Array]) -> Array:
    """Difference of two thumbnails, the camera's shift taken away, uint8 [h, w]."""
    grey = [cv2.cvtColor(t, cv2.COLOR_RGB2GRAY).astype(np.float32) for t in (last, now)]
    height, width = grey[0].shape
    plain = difference(last, now)
    if min(height, width) < 8 or not plain.any():
        return plain
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    (x, y), response = cv2.phaseCorrelate(grey[0], grey[1], window)
    if response < _SURE_SHIFT or max(abs(x), abs(y)) < 0.05:
        return plain
    matrix = np.array(((1, 0, x), (0, 1, y)))
    moved = cv2.warpAffine(last, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    inside = np.zeros((height, width), bool)
    edge_x, edge_y = int(np.ceil(abs(x))) + 1, int(np.ceil(abs(y))) + 1
    inside[edge_y : height - edge_y, edge_x : width - edge_x] = True
    shifted = np.where(inside, difference(moved, now), 0).astype(np.uint8)
    return shifted if shifted.mean() < plain.mean() else plain


def _plain(last: Array, now: Array) -> Array:
    """Difference of the channel that changed most."""
    return np.asarray(cv2.absdiff(last, now), np.uint8).max(axis=2)


def _beyond(last: Array, now: Array) -> Array:
    """How far each pixel lies outside the values around it in the other, largest channel.

    Edges that moved by a part of a pixel so make none.
    """
    around = np.ones((3, 3), np.uint8)
    above = cv2.subtract(now, cv2.dilate(last, around))
    below = cv2.subtract(cv2.erode(last, around), now)
    return np.asarray(cv2.max(above, below), np.uint8).max(axis=2)
