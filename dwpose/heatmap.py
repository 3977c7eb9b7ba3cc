"""Heatmaps: a point as the peak of a small picture, as ViTPose answers.

Shapes: N crops, K points, h and w a heatmap's size (a quarter of the input's for ViTPose).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .skeleton import FLIP_INDICES

Array = npt.NDArray[Any]

# Width of the smoothing before a peak is placed between cells: mmpose's modulate_kernel of 11
# cells, which stands for a standard deviation of 0.3 * ((11 - 1) / 2 - 1) + 0.8 = 2, that of the
# labels ViTPose was trained with.
_SIGMA: Final = 2.0
_REACH: Final = 5
# The peak's surroundings that its second derivatives need.
_AROUND: Final = 2
# Keeps the logarithm finite where nothing is; mmpose's constant.
_LEAST: Final = 1e-10


def _smoothing() -> Array:
    """float32 [5, 15]: weights that smooth the middle 5 of 15 cells."""
    steps = np.arange(-_REACH, _REACH + 1)
    kernel = np.exp(-np.square(steps) / (2 * _SIGMA**2))
    weights = np.zeros((2 * _AROUND + 1, 2 * (_AROUND + _REACH) + 1))
    for row in range(len(weights)):
        weights[row, row : row + len(kernel)] = kernel / kernel.sum()
    return weights.astype(np.float32)


_SMOOTHING: Final = _smoothing()


def decode_heatmaps(
    heatmaps: Array, size_hw: tuple[int, int], udp: bool = False
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Points at the peaks, placed between cells by the shape of the peak (DARK).

    The logarithm of a smoothed peak is nearly a parabola; its top is found from the first and
    second differences, two cells apart, as in mmpose's "unbiased" decoding and Wan-Animate's
    own program. Within two cells of the border the cell itself counts.

    Args:
        heatmaps: float [N, K, h, w].
        size_hw: height and width of the network's input in pixels.
        udp: the last cell lies on the input's last pixel (networks trained with unbiased data
            processing) instead of the next cell on its border (the published whole-body ViTPose).

    Returns:
        keypoints float32 [N, K, 2] in pixels of the input and scores float32 [N, K], the peaks.
        Where a peak is not above 0 both coordinates are -1 cell.
    """
    heatmaps = np.asarray(heatmaps, np.float32)
    count, points, height, width = heatmaps.shape
    flat = heatmaps.reshape(count * points, height * width)
    best = flat.argmax(axis=1)
    scores = flat[np.arange(len(flat)), best]
    y, x = np.divmod(best, width)
    keypoints = np.stack((x, y), axis=-1).astype(np.float32)
    middle = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2) & (scores > 0)
    rows = np.flatnonzero(middle)
    keypoints[rows] += _shift(heatmaps.reshape(-1, height, width), rows, x[rows], y[rows])
    keypoints[scores <= 0] = -1
    cells = np.array((width, height), np.float32)
    pixels = np.array(size_hw[::-1], np.float32)
    keypoints *= (pixels - 1) / (cells - 1) if udp else pixels / cells
    return keypoints.reshape(count, points, 2), scores.reshape(count, points)


def _shift(maps: Array, rows: Array, x: Array, y: Array) -> Array:
    """float32 [R, 2]: from the peak's cell to its top, in cells, for some maps [M, h, w]."""
    far = _AROUND + _REACH
    padded = np.pad(maps[rows], ((0, 0), (far, far), (far, far)))
    offsets = np.arange(2 * far + 1)
    patches = padded[
        np.arange(len(rows))[:, None, None],
        (y[:, None] + offsets)[:, :, None],
        (x[:, None] + offsets)[:, None, :],
    ]
    peak = np.log(np.maximum(_SMOOTHING @ patches @ _SMOOTHING.T, _LEAST))
    here = peak[:, 2, 2]
    dx = 0.5 * (peak[:, 2, 3] - peak[:, 2, 1])
    dy = 0.5 * (peak[:, 3, 2] - peak[:, 1, 2])
    dxx = 0.25 * (peak[:, 2, 4] - 2 * here + peak[:, 2, 0])
    dyy = 0.25 * (peak[:, 4, 2] - 2 * here + peak[:, 0, 2])
    dxy = 0.25 * (peak[:, 3, 3] - peak[:, 1, 3] - peak[:, 3, 1] + peak[:, 1, 1])
    bent = dxx * dyy - dxy**2
    # A flat or saddle-shaped top says nothing about where it is.
    known = bent != 0
    bent = np.where(known, bent, 1)
    shift = np.stack((dxy * dy - dyy * dx, dxy * dx - dxx * dy), axis=-1) / bent[:, None]
    return np.where(known[:, None], shift, 0)


def merge_flipped_heatmaps(heatmaps: Array, mirrored: Array) -> Array:
    """Average heatmaps [N, K, h, w] with those of the mirror images.

    Left and right points and the x axis of the second are swapped back, and it is moved by one
    cell (mmpose's shift_heatmap): a cell stands for its left border, whose mirror image is its
    right one.
    """
    back = mirrored[:, FLIP_INDICES, :, ::-1]
    back = np.concatenate((back[..., :1], back[..., :-1]), axis=-1)
    return (heatmaps + back) * np.float32(0.5)
