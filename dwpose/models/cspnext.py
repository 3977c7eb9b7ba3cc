"""CSPNeXt (P5), the backbone of RTMPose.

Keys and shapes equal mmdet's ``CSPNeXt``. Batch norm uses torch's defaults (eps 1e-5, momentum
0.1), as DWPose's configs override mmdet's own ``norm_cfg``; see ``ConvBNAct``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import SPP, ChannelAttention, ConvBNAct, scaled_depth, scaled_width

STAGE_CHANNELS = (64, 128, 256, 512, 1024)
"""Channels of stem and stages at width 1 (RTMPose's CSPNeXt-P5 configuration)."""

STAGE_BLOCKS = (3, 6, 6, 3)
"""Blocks of the four stages at depth 1 (the same configuration)."""


class DepthwiseSeparable(nn.Module):
    """Depthwise convolution and pointwise convolution, each with batch norm and SiLU."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise_conv = ConvBNAct(channels, channels, kernel, groups=channels)
        self.pointwise_conv = ConvBNAct(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,C,H,W] to [N,C,H,W]."""
        return self.pointwise_conv(self.depthwise_conv(x))


class CSPNeXtBlock(nn.Module):
    """Convolution 3x3, then depthwise 5x5 with pointwise; optionally added to the input."""

    def __init__(self, channels: int, identity: bool) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(channels, channels, 3)
        self.conv2 = DepthwiseSeparable(channels, 5)
        self.identity = identity

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,C,H,W] to [N,C,H,W]."""
        out = self.conv2(self.conv1(x))
        return out + x if self.identity else out


class CSPNeXtLayer(nn.Module):
    """Cross-stage partial layer: a deep and a short half, joined, gated and mixed."""

    def __init__(self, channels: int, blocks: int, identity: bool) -> None:
        super().__init__()
        half = channels // 2
        self.main_conv = ConvBNAct(channels, half, 1)
        self.short_conv = ConvBNAct(channels, half, 1)
        self.final_conv = ConvBNAct(2 * half, channels, 1)
        self.blocks = nn.Sequential(*(CSPNeXtBlock(half, identity) for _ in range(blocks)))
        self.attention = ChannelAttention(2 * half)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,C,H,W] to [N,C,H,W]."""
        joined = torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), dim=1)
        return self.final_conv(self.attention(joined))


class CSPNeXt(nn.Module):
    """The backbone: stem (stride 2) and four stages (stride 2 each).

    Args:
        deepen: Depth factor.
        widen: Width factor.
    """

    def __init__(self, deepen: float, widen: float) -> None:
        super().__init__()
        widths = [scaled_width(channels, widen) for channels in STAGE_CHANNELS]
        half = widths[0] // 2
        self.stem = nn.Sequential(
            ConvBNAct(3, half, 3, stride=2),
            ConvBNAct(half, half, 3),
            ConvBNAct(half, widths[0], 3),
        )
        stages: list[nn.Sequential] = []
        for index, blocks in enumerate(STAGE_BLOCKS):
            cin, cout = widths[index], widths[index + 1]
            last = index == len(STAGE_BLOCKS) - 1
            layers: list[nn.Module] = [ConvBNAct(cin, cout, 3, stride=2)]
            if last:
                layers.append(SPP(cout, cout))
            # Only the last stage, after SPP, works without the identity path.
            layers.append(CSPNeXtLayer(cout, scaled_depth(blocks, deepen), identity=not last))
            stages.append(nn.Sequential(*layers))
        self.stage1, self.stage2, self.stage3, self.stage4 = stages
        self.out_channels = widths[-1]
        self.inner_channels = (widths[2], widths[3])

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N,3,H,W] to the last map [N,out_channels,H/32,W/32]."""
        return self.inner_maps(x)[1]

    def inner_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the maps at strides 8 and 16, of `inner_channels`, and the last map."""
        middle = self.stage2(self.stage1(self.stem(x)))
        late = self.stage3(middle)
        return [middle, late], self.stage4(late)
