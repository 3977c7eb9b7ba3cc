"""What the networks are taught with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Sharpness of both softmaxes (`beta` of KLDiscretLoss in DWPose's configs).
BETA = 10.0


def kl_discrete_loss(
    simcc_x: Tensor,
    simcc_y: Tensor,
    labels_x: Tensor,
    labels_y: Tensor,
    weights: Tensor,
    beta: float = BETA,
) -> Tensor:
    """Compare predicted with labelled curves (mmpose's KLDiscretLoss with label_softmax).

    Args:
        simcc_x: float [N, K, 2W], raw predictions over x.
        simcc_y: float [N, K, 2H], over y.
        labels_x: float [N, K, 2W] as `simcc.encode` makes them.
        labels_y: float [N, K, 2H].
        weights: float [N, K]; 0 leaves a point out.
        beta: factor on predictions and labels before their softmax.

    Returns:
        One number: the mean over bins, times the weights, summed over batch and points, divided
        by K. It grows with the batch, as the original does.
    """
    total = simcc_x.new_zeros(())
    for predicted, label in ((simcc_x, labels_x), (simcc_y, labels_y)):
        log_guess = F.log_softmax(predicted * beta, dim=-1)
        truth = F.softmax(label * beta, dim=-1)
        apart = F.kl_div(log_guess, truth, reduction="none").mean(dim=-1)
        total = total + (apart * weights).sum()
    return total / weights.shape[1]


def coarse_map_loss(
    maps: Tensor, keypoints: Tensor, size_hw: tuple[int, int], weights: Tensor
) -> Tensor:
    """Teach the head's first convolution where points are, on its own coarse grid.

    A SimCC head that starts from random numbers has no idea of place in its tokens and stays
    near its uniform loss for a long while. This cross-entropy between the softmax of each map and
    the bilinear share of the point in the nearest cells gives it one; it is meant to fade out.

    Args:
        maps: float [N, K, h, w], output of the head's `final_layer`.
        keypoints: float [N, K, 2] in pixels of the crop.
        size_hw: height and width of the crop in pixels.
        weights: float [N, K]; points outside the crop must have 0.

    Returns:
        One number, reduced like `kl_discrete_loss` (mean over cells).
    """
    rows, columns = maps.shape[-2:]

    def share(place: Tensor, length: int, cells: int) -> Tensor:
        centre = (place * (cells / length) - 0.5).clamp(0, cells - 1)
        grid = torch.arange(cells, device=place.device, dtype=maps.dtype)
        return (1 - (grid - centre[..., None]).abs()).clamp(min=0)

    x = share(keypoints[..., 0], size_hw[1], columns)
    y = share(keypoints[..., 1], size_hw[0], rows)
    truth = (y[..., :, None] * x[..., None, :]).flatten(2)
    log_guess = F.log_softmax(maps.flatten(2), dim=-1)
    return -((truth * log_guess).mean(dim=-1) * weights).sum() / weights.shape[1]
