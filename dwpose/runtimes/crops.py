"""People cut out straight into a network's input."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from ..crop import LEVELS
from .scratch import scratch_planes

Array: TypeAlias = npt.NDArray[Any]


def write_crop(
    image: npt.NDArray[np.uint8],
    matrix: Array,
    out: npt.NDArray[np.float32],
    flipped: npt.NDArray[np.float32] | None = None,
) -> None:
    """Cut one person out and normalise, straight into the network's input.

    The same numbers as `crop.crop_people` and `crop.normalize`, several times faster: planes are
    split first, so that every step is vectorised and no picture-sized float array exists.

    Args:
        image: uint8 [H, W, 3] RGB, or with a fourth channel that is ignored.
        matrix: float64 [2, 3] from source pixels to the crop.
        out: float32 [3, h, w], written.
        flipped: float32 [3, h, w], written with the mirror image where given.
    """
    height, width = out.shape[1:]
    crop, *planes = scratch_planes("crop", height, width, image.shape[2])
    cv2.warpAffine(image, matrix, (width, height), dst=crop, flags=cv2.INTER_LINEAR)
    cv2.split(crop, planes)
    for plane, levels, target in zip(planes[:3], LEVELS, out, strict=True):
        cv2.LUT(plane, levels, dst=target)
    if flipped is not None:
        flipped[:] = out[:, :, ::-1]


def write_crop_bytes(
    image: npt.NDArray[np.uint8], matrix: Array, out: npt.NDArray[np.uint8]
) -> None:
    """Cut one person out, for a network that normalises on its device; see `write_crop`.

    Args:
        image: as in `write_crop`.
        matrix: the same.
        out: uint8 [h, w, 3], written.
    """
    height, width = out.shape[:2]
    if image.shape[2] == 3:
        cv2.warpAffine(image, matrix, (width, height), dst=out, flags=cv2.INTER_LINEAR)
        return
    crop = scratch_planes("crop", height, width, 4)[0]
    cv2.warpAffine(image, matrix, (width, height), dst=crop, flags=cv2.INTER_LINEAR)
    cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB, dst=out)
