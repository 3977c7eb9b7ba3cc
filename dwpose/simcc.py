"""SimCC: a point as two one-dimensional curves, one over x and one over y.

One file for training and inference, so that what is learned is what is read out.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Bins per pixel of the input (simcc_split_ratio of all DWPose configs).
SPLIT: Final = 2.0
# Standard deviation of the label curves in bins, (x, y), by input height and width (`sigma` of
# DWPose's configs).
SIGMAS_XY: Final[dict[tuple[int, int], tuple[float, float]]] = {
    (256, 192): (4.9, 5.66),
    (384, 288): (6.0, 6.93),
}


def sigma_xy(size_hw: tuple[int, int]) -> tuple[float, float]:
    """Label width for an input size: the configs' own, else scaled by the square root of size.

    6.0 / 4.9 and 6.93 / 5.66 are both the square root of 1.5, the ratio of the two input sizes.
    """
    if size_hw in SIGMAS_XY:
        return SIGMAS_XY[size_hw]
    x, y = SIGMAS_XY[(256, 192)]
    return x * (size_hw[1] / 192) ** 0.5, y * (size_hw[0] / 256) ** 0.5


def encode(
    keypoints: npt.NDArray[Any],
    visible: npt.NDArray[Any],
    size_hw: tuple[int, int],
    split: float = SPLIT,
    sigma: tuple[float, float] | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Label curves of points.

    Args:
        keypoints: float [N, K, 2], x and y in pixels of the crop.
        visible: float [N, K], the weight of each point; points below 0.5 get zero labels (their
            weight stays the value itself, as in the original).
        size_hw: height H and width W of the crop in pixels.
        split: bins per pixel.
        sigma: standard deviation of the curves in bins (x, y); by `sigma_xy` when None.

    Returns:
        labels_x [N, K, W * split], labels_y [N, K, H * split] with peak 1, and weights [N, K]:
        `visible`, but 0 where the curve's 3-sigma box misses the crop; all float32.
    """
    height, width = size_hw
    bins = np.array((round(width * split), round(height * split)))
    spread = np.array(sigma or sigma_xy(size_hw))
    centre = np.rint(np.asarray(keypoints, np.float64) * split)
    inside = (centre - 3 * spread < bins) & (centre + 3 * spread + 1 >= 0)
    hidden = visible < 0.5
    taught = inside.all(axis=-1) & ~hidden
    weights = np.where(hidden | taught, visible, 0).astype(np.float32)

    def curve(axis: int) -> npt.NDArray[np.float32]:
        steps = np.arange(bins[axis], dtype=np.float32)
        apart = steps - centre[..., axis, None].astype(np.float32)
        label = np.exp(-np.square(apart) / np.float32(2 * spread[axis] ** 2))
        return np.where(taught[..., None], label, np.float32(0))

    return curve(0), curve(1), weights


def decode(
    simcc_x: npt.NDArray[Any], simcc_y: npt.NDArray[Any], split: float = SPLIT
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Points at the maxima of the curves.

    Args:
        simcc_x: float [..., K, W * split], the network's raw curves over x.
        simcc_y: float [..., K, H * split], over y.
        split: bins per pixel.

    Returns:
        keypoints float32 [..., K, 2] in pixels of the crop and scores float32 [..., K], the
        smaller of both maxima. Where that is not above 0 both coordinates are -1 / split, as in
        the original; equal maxima give the first.
    """
    best_x, best_y = simcc_x.argmax(axis=-1), simcc_y.argmax(axis=-1)
    scores = np.minimum(_peaks(simcc_x, best_x), _peaks(simcc_y, best_y)).astype(np.float32)
    keypoints = np.empty((*best_x.shape, 2), np.float32)
    keypoints[..., 0], keypoints[..., 1] = best_x, best_y
    keypoints[scores <= 0] = -1
    keypoints /= np.float32(split)
    return keypoints, scores


def _peaks(curves: Any, best: Any) -> npt.NDArray[Any]:
    """Look the maxima up, instead of searching twice in most of what is read here."""
    flat = curves.reshape(-1, curves.shape[-1])
    return flat[np.arange(len(flat)), best.reshape(-1)].reshape(best.shape)
