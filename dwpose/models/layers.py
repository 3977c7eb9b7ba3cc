"""Building blocks shared by CSPNeXt (RTMPose) and CSPDarknet (YOLOX).

Attribute names are part of the interface: they spell the keys of the original checkpoints
(``conv``, ``bn``, ``conv1`` ...), so a renamed attribute is a checkpoint that no longer loads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def scaled_width(channels: int, widen: float) -> int:
    """Channels of a layer after the width factor (both families truncate)."""
    return int(channels * widen)


def scaled_depth(blocks: int, deepen: float) -> int:
    """Blocks of a stage after the depth factor (both families round, and keep at least one)."""
    return max(round(blocks * deepen), 1)


class ConvBNAct(nn.Module):
    """Convolution without bias, batch norm, SiLU; padding keeps the size at stride 1.

    Args:
        cin: Input channels.
        cout: Output channels.
        kernel: Odd kernel size.
        stride: Stride.
        groups: Groups of the convolution.
        eps: Batch norm epsilon (RTMPose 1e-5, YOLOX 1e-3).
        momentum: Batch norm momentum (RTMPose 0.1, YOLOX 0.03).

    After `fold.fold_batchnorm` the convolution has a bias and ``bn`` is an identity.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(cout, eps=eps, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,cin,H,W] to [N,cout,ceil(H/stride),ceil(W/stride)]."""
        x = self.bn(self.conv(x))
        # In place saves memory, but while learning it would copy its input first, for backward.
        return F.silu(x, inplace=not x.requires_grad)


class SPP(nn.Module):
    """Spatial pyramid pooling: windows of 5, 9 and 13 beside the map itself.

    The originals pool three times from the same map. Stride-1 maxima compose, so two windows of
    5 in a row are a window of 9 and three are one of 13: the same numbers, bit for bit, for a
    quarter of the comparisons.

    Args:
        cin: Input channels; the pools run on half of them.
        cout: Output channels.
        eps: Batch norm epsilon.
        momentum: Batch norm momentum.
    """

    def __init__(self, cin: int, cout: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(cin, cin // 2, 1, eps=eps, momentum=momentum)
        self.conv2 = ConvBNAct(cin // 2 * 4, cout, 1, eps=eps, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,cin,H,W] to [N,cout,H,W]."""
        x = self.conv1(x)
        pooled5 = F.max_pool2d(x, 5, stride=1, padding=2)
        pooled9 = F.max_pool2d(pooled5, 5, stride=1, padding=2)
        pooled13 = F.max_pool2d(pooled9, 5, stride=1, padding=2)
        return self.conv2(torch.cat((x, pooled5, pooled9, pooled13), dim=1))


class ChannelAttention(nn.Module):
    """Weighs every channel by a gate computed from the mean of all channels.

    Args:
        channels: Channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,C,H,W] to [N,C,H,W]."""
        return x * F.hardsigmoid(self.fc(F.adaptive_avg_pool2d(x, 1)))
