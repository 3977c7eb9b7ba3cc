"""Boxes, crops' affine matrices, letterbox, overlap and object keypoint similarity."""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .skeleton import SIGMAS

Array: TypeAlias = npt.NDArray[Any]

# A person's box is enlarged by this factor before it is cropped (mmpose's GetBBoxCenterScale).
BOX_PADDING: Final = 1.25
# Poses more alike than this are the same person (nms_thr of DWPose's evaluation settings).
OKS_NMS_THRESHOLD: Final = 0.9


def box_center_scale(xyxy: Array, padding: float = BOX_PADDING) -> tuple[Array, Array]:
    """Centre and padded size of boxes.

    Args:
        xyxy: float [..., 4] in pixels.
        padding: factor on width and height.

    Returns:
        center [..., 2] (x, y) and scale [..., 2] (width, height) in pixels.
    """
    return (xyxy[..., :2] + xyxy[..., 2:]) * 0.5, (xyxy[..., 2:] - xyxy[..., :2]) * padding


def fix_aspect(scale: Array, aspect: float) -> Array:
    """Grow the shorter side so that width / height becomes `aspect`.

    Args:
        scale: float [..., 2], width and height in pixels.
        aspect: width over height of the network's input, 0.75 for 256x192 and 384x288.

    Returns:
        float [..., 2] of the same dtype; nothing shrinks.
    """
    width, height = scale[..., 0], scale[..., 1]
    grown = np.empty_like(scale)
    grown[..., 0] = np.maximum(width, height * aspect)
    grown[..., 1] = np.maximum(height, width / aspect)
    return grown


def warp_matrix(
    center: Array,
    scale: Array,
    size_wh: tuple[int, int],
    rotation_deg: float = 0.0,
    inverse: bool = False,
) -> npt.NDArray[np.float64]:
    """Affine matrix from source pixels to the crop (the plain, not the unbiased, convention).

    The scale is that of the width alone, so pass a scale whose aspect is fixed.

    Args:
        center: float [2], x and y of the crop's centre in source pixels.
        scale: float [2], width and height of the cropped area in source pixels; width > 0.
        size_wh: width and height of the crop in pixels.
        rotation_deg: turn of the cropped area in degrees.
        inverse: return the matrix from the crop to the source instead.

    Returns:
        float64 [2, 3].

    Raises:
        ValueError: the cropped area has no width.
    """
    if not scale[0] > 0:
        raise ValueError("scale must have a positive width; drop boxes without area")
    zoom = size_wh[0] / float(scale[0])
    turn = math.radians(rotation_deg)
    cos, sin = math.cos(turn), math.sin(turn)
    middle = np.array((size_wh[0] * 0.5, size_wh[1] * 0.5))
    source = np.asarray(center, np.float64)
    if inverse:
        linear = np.array(((cos, -sin), (sin, cos))) / zoom
        return np.column_stack((linear, source - linear @ middle))
    linear = np.array(((cos, sin), (-sin, cos))) * zoom
    return np.column_stack((linear, middle - linear @ source))


def transform_points(points: Array, matrix: Array) -> Array:
    """Apply an affine matrix [..., 2, 3] to points [..., K, 2]; leading axes broadcast."""
    linear, offset = matrix[..., :2], matrix[..., 2]
    return points @ np.swapaxes(linear, -1, -2) + offset[..., None, :]


def letterbox_ratio(image_hw: tuple[int, int], size_hw: tuple[int, int]) -> float:
    """Factor by which a picture shrinks or grows to fit into `size_hw` (YOLOX's preproc)."""
    return min(size_hw[0] / image_hw[0], size_hw[1] / image_hw[1])


def iou_matrix(a: Array, b: Array, pixel: float = 0.0) -> Array:
    """Intersection over union of every pair of boxes.

    Args:
        a: float [N, 4] xyxy.
        b: float [M, 4] xyxy.
        pixel: added to every width and height; 1 counts corners as whole pixels (YOLOX's NMS).

    Returns:
        float [N, M] in 0..1; pairs without area give 0.
    """
    # Coordinate by coordinate: NumPy is several times slower along an axis of two.
    left: Array = np.maximum(a[:, 0, None], b[:, 0])
    top: Array = np.maximum(a[:, 1, None], b[:, 1])
    right: Array = np.minimum(a[:, 2, None], b[:, 2])
    bottom: Array = np.minimum(a[:, 3, None], b[:, 3])
    shared: Array = np.maximum(right - left + pixel, 0) * np.maximum(bottom - top + pixel, 0)
    area_a: Array = (a[:, 2] - a[:, 0] + pixel) * (a[:, 3] - a[:, 1] + pixel)
    area_b: Array = (b[:, 2] - b[:, 0] + pixel) * (b[:, 3] - b[:, 1] + pixel)
    union: Array = area_a[:, None] + area_b - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _greedy(overlap: Array, scores: Array, threshold: float) -> npt.NDArray[np.int64]:
    """Keep the best of every group: indices in falling score, ties in reverse input order.

    The tie rule is that of `scores.argsort()[::-1]`, which the originals use.
    """
    alike = ~(overlap <= threshold)
    gone = np.zeros(len(scores), np.bool_)
    kept: list[int] = []
    for i in scores.argsort()[::-1].tolist():
        if not gone[i]:
            kept.append(i)
            gone |= alike[i]
    return np.array(kept, dtype=np.int64)


def nms(xyxy: Array, scores: Array, threshold: float, pixel: float = 1.0) -> Array:
    """Non-maximum suppression of boxes.

    Args:
        xyxy: float [N, 4] in pixels.
        scores: float [N].
        threshold: boxes that overlap a better one by more than this IoU go.
        pixel: see `iou_matrix`; 1 is YOLOX's rule.

    Returns:
        int64 [K], indices of the boxes that stay, best first.
    """
    return _greedy(iou_matrix(xyxy, xyxy, pixel), scores, threshold)


def oks_matrix(
    a: Array, area_a: Array, b: Array, area_b: Array, sigmas: Array = SIGMAS
) -> npt.NDArray[np.float64]:
    """Object keypoint similarity of every pair of poses, areas averaged (mmpose's oks_iou).

    Args:
        a: float [N, K, 2] in pixels.
        area_a: float [N] in square pixels.
        b: float [M, K, 2] in pixels.
        area_b: float [M] in square pixels.
        sigmas: float [K].

    Returns:
        float64 [N, M] in 0..1, the mean over all K points.
    """
    # Plane by plane, as in `iou_matrix`.
    a_x, a_y, b_x, b_y = (p[..., i].astype(np.float64) for p in (a, b) for i in (0, 1))
    distance: Array = np.square(a_x[:, None] - b_x) + np.square(a_y[:, None] - b_y)
    area = (np.asarray(area_a)[:, None] + np.asarray(area_b)[None, :]) / 2 + np.spacing(1.0)
    variance = np.square(np.asarray(sigmas, np.float64) * 2)
    return np.exp(-distance / variance / area[..., None] / 2).mean(axis=-1)


def oks_nms(
    keypoints: Array,
    scores: Array,
    area: Array,
    threshold: float = OKS_NMS_THRESHOLD,
    sigmas: Array = SIGMAS,
) -> npt.NDArray[np.int64]:
    """Remove poses that say the same as a better one.

    Args:
        keypoints: float [P, K, 2] in pixels.
        scores: float [P], one number a pose.
        area: float [P], square pixels.
        threshold: poses with a larger OKS to a better one go.
        sigmas: float [K].

    Returns:
        int64 [Q], indices of the poses that stay, best first.
    """
    return _greedy(oks_matrix(keypoints, area, keypoints, area, sigmas), scores, threshold)
