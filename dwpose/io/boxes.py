"""Boxes and masks of the caller, checked and turned into `Boxes`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import Boxes


def read_boxes(boxes: Any, name: str = "boxes") -> Boxes:
    """Check the boxes of one picture: `Boxes`, or float [P, 4] or [4] xyxy in pixels.

    Raises:
        ValueError: another shape, or a box that is inside out or without area.
    """
    if not isinstance(boxes, Boxes):
        if hasattr(boxes, "detach"):
            boxes = boxes.detach().cpu().float().numpy()
        try:
            array = np.asarray(boxes, np.float32)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be numbers [P, 4], xyxy in pixels") from None
        array = array.reshape(0, 4) if array.size == 0 else array
        if array.shape == (4,):
            array = array[None]
        try:
            boxes = Boxes(array)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if (boxes.area <= 0).any():
        raise ValueError(f"{name} must have an area; remove boxes without width or height")
    return boxes


def boxes_of_masks(masks: Any, image_hw: tuple[int, ...], name: str = "masks") -> Boxes:
    """Boxes around the masks [H, W] or [N, H, W] of one picture; empty masks give none.

    Raises:
        ValueError: another shape than the picture's, or numbers that are not finite.
    """
    if hasattr(masks, "detach"):
        masks = masks.detach().cpu().float().numpy()
    array: npt.NDArray[Any] = np.asarray(masks)
    if array.shape == (0,):
        return Boxes.empty()
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or (len(array) and array.shape[1:] != image_hw):
        raise ValueError(
            f"{name} must have shape [H, W] or [N, H, W] with the picture's {image_hw[0]}x"
            f"{image_hw[1]} pixels, got {list(np.shape(masks))}"
        )
    if array.dtype != np.bool_:
        # Floats that were enlarged overshoot 1 a little; bytes reach from 0 to 255, or to 1.
        top = array.max() if array.size else 0
        if not np.isfinite(top):
            raise ValueError(f"{name} must be finite; it holds NaN or infinity")
        array = array > (127 if top > (2 if array.dtype.kind == "f" else 1) else 0.5)
    found = []
    for mask in array:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            found.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return Boxes(np.array(found, np.float32).reshape(-1, 4))
