"""What the networks are taught with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Sharpness of both softmaxes (`beta` of KLDiscretLoss in DWPose's configs).
BETA = 10.0
# `alpha_fea` of FeaLoss, and KDLoss's `weight` in the first and second stage (DWPose's configs).
FEATURE_ALPHA = 7e-5
LOGIT_WEIGHT_ONE = 0.1
LOGIT_WEIGHT_TWO = 1.0


def kl_discrete_loss(
    simcc_x: Tensor,
    simcc_y: Tensor,
    labels_x: Tensor,
    labels_y: Tensor,
    weights: Tensor | None,
    beta: float = BETA,
) -> Tensor:
    """Compare predicted with labelled curves (mmpose's KLDiscretLoss with label_softmax).

    Args:
        simcc_x: float [N, K, 2W], raw predictions over x.
        simcc_y: float [N, K, 2H], over y.
        labels_x: float [N, K, 2W] as `simcc.encode` makes them.
        labels_y: float [N, K, 2H].
        weights: float [N, K] or [N, K, 1]; 0 leaves a point out. None counts all alike
            (`use_target_weight` off).
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
        total = total + (apart if weights is None else apart * weights.reshape(apart.shape)).sum()
    return total / simcc_x.shape[1]


def kd_loss(
    simcc_x: Tensor,
    simcc_y: Tensor,
    teacher_x: Tensor,
    teacher_y: Tensor,
    weight: float = LOGIT_WEIGHT_ONE,
    beta: float = BETA,
) -> Tensor:
    """Compare the student's curves with the teacher's (DWPose's KDLoss).

    Args:
        simcc_x: float [N, K, 2W], the student's raw predictions over x.
        simcc_y: float [N, K, 2H], over y.
        teacher_x: float [N, K, 2W], the teacher's; no gradient goes there.
        teacher_y: float [N, K, 2H].
        weight: factor on the result; 0.1 in the first stage and 1 in the second.
        beta: factor on both before their softmax.

    Returns:
        One number: the sum over bins and points, the mean over the batch, divided by K. Unlike
        `kl_discrete_loss` it does not grow with the batch and knows no weights of points: what
        the labels lack, such as hidden points, the teacher still teaches.
    """
    total = simcc_x.new_zeros(())
    for predicted, taught in ((simcc_x, teacher_x), (simcc_y, teacher_y)):
        log_guess = F.log_softmax(predicted * beta, dim=-1)
        truth = F.softmax(taught.detach() * beta, dim=-1)
        total = total + F.kl_div(log_guess, truth, reduction="sum")
    return weight * total / (simcc_x.shape[0] * simcc_x.shape[1])


class FeaLoss(nn.Module):
    """Compare the backbones' last feature maps (DWPose's FeaLoss).

    Args:
        student_channels: channels of the student's map.
        teacher_channels: channels of the teacher's.
        alpha: factor on the squared distance.
        always_align: align also where channels agree. DWPose's code does not, but its students
            have other channels than their teachers.

    Attributes:
        align: 1x1 convolution with bias to the teacher's channels, taught along with the student
            and dropped afterwards; an identity without parameters where channels agree, unless
            `always_align`.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        alpha: float = FEATURE_ALPHA,
        always_align: bool = False,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.align: nn.Module = nn.Identity()
        if always_align or student_channels != teacher_channels:
            self.align = nn.Conv2d(student_channels, teacher_channels, 1)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare maps [N, C, h, w] of the student and [N, D, h, w] of the teacher.

        Returns:
            One number: the sum of squares divided by N, times alpha; it grows with D * h * w. As
            in the original nothing is detached here: the distiller runs its teacher without
            gradients.
        """
        apart = self.align(student).float() - teacher.float()
        return apart.square().sum() / len(student) * self.alpha


def fade(epoch: float, max_epochs: float) -> float:
    """Factor on both distillation losses of the first stage.

    Args:
        epoch: zero-based; DWPose's are whole numbers, so it never reaches 0.
        max_epochs: length of the run.

    Returns:
        1 at the start, falling linearly.

    Raises:
        ValueError: `epoch` is outside the run.
    """
    if not 0 <= epoch <= max_epochs or max_epochs <= 0:
        raise ValueError(f"epoch must be in 0..max_epochs ({max_epochs}), got {epoch}")
    return 1 - epoch / max_epochs


def coarse_map_loss(
    maps: Tensor, keypoints: Tensor, size_hw: tuple[int, int], weights: Tensor
) -> Tensor:
    """Teach maps where points are, on their own coarse grid.

    A SimCC network that starts from random numbers has no idea of place and stays near the mean
    pose for a long while. This cross-entropy between the softmax of each map and the bilinear
    share of the point in the nearest cells gives it one; it is meant to fade out.

    Args:
        maps: float [N, K, h, w].
        keypoints: float [N, K, 2] in pixels of the crop.
        size_hw: height and width of the crop in pixels.
        weights: float [N, K]; points outside the crop must have 0.

    Returns:
        One number, the weighted mean in nats.
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
    return -((truth * log_guess).sum(dim=-1) * weights).sum() / weights.sum().clamp(min=1)
