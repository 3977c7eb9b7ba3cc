"""Cut people out of a picture as the pose network wants to see them."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from .geometry import BOX_PADDING, box_center_scale, fix_aspect

# ImageNet statistics in 0..255, RGB (data_preprocessor of DWPose's configs).
IMAGE_MEAN: Final = (123.675, 116.28, 103.53)
IMAGE_STD: Final = (58.395, 57.12, 57.375)
# Normalised value of each grey level, by channel: one look-up instead of two passes.
LEVELS: Final = tuple(
    ((np.arange(256) - mean) / std).astype(np.float32)
    for mean, std in zip(IMAGE_MEAN, IMAGE_STD, strict=True)
)
_GAIN = (1.0 / np.array(IMAGE_STD)).astype(np.float32)[:, None, None]
_OFFSET = (np.array(IMAGE_MEAN) / np.array(IMAGE_STD)).astype(np.float32)[:, None, None]


def crop_matrices(
    boxes: npt.NDArray[Any], size_hw: tuple[int, int], padding: float = BOX_PADDING
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Matrices from the source to each crop and back.

    Args:
        boxes: float [P, 4], xyxy in source pixels. A box without area is taken as 1 pixel wide.
        size_hw: height and width of the crops in pixels.
        padding: factor by which boxes are enlarged.

    Returns:
        forward and inverse, float64 [P, 2, 3] each.
    """
    middle = np.array((size_hw[1] * 0.5, size_hw[0] * 0.5))
    centers, scales = box_center_scale(np.asarray(boxes, np.float64), padding)
    widths = np.maximum(fix_aspect(scales, size_hw[1] / size_hw[0])[:, :1], 1.0)
    # `geometry.warp_matrix` without a turn, for all boxes at once.
    zoom = size_hw[1] / widths
    forward, inverse = np.zeros((2, len(centers), 2, 3))
    forward[:, 0, 0] = forward[:, 1, 1] = zoom[:, 0]
    forward[:, :, 2] = middle - zoom * centers
    inverse[:, 0, 0] = inverse[:, 1, 1] = 1 / zoom[:, 0]
    inverse[:, :, 2] = centers - middle / zoom
    return forward, inverse


def crop_people(
    image: npt.NDArray[np.uint8],
    boxes: npt.NDArray[Any],
    size_hw: tuple[int, int],
    padding: float = BOX_PADDING,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Crop every box of a picture, bilinear, black outside the picture.

    Args:
        image: uint8 [H, W, 3], RGB.
        boxes: float [P, 4], xyxy in source pixels.
        size_hw: height h and width w of the crops in pixels.
        padding: factor by which boxes are enlarged.

    Returns:
        crops uint8 [P, h, w, 3] and the matrices back to source pixels, float64 [P, 2, 3].
    """
    height, width = size_hw
    forward, inverse = crop_matrices(boxes, size_hw, padding)
    crops = np.empty((len(forward), height, width, 3), np.uint8)
    for crop, matrix in zip(crops, forward, strict=True):
        cv2.warpAffine(image, matrix, (width, height), dst=crop, flags=cv2.INTER_LINEAR)
    return crops, inverse


def normalize(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Turn uint8 [P, h, w, 3] RGB into the network's float32 [P, 3, h, w]."""
    images = crops.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    images *= _GAIN
    images -= _OFFSET
    return images
