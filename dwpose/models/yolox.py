"""YOLOX, the person detector of DWPose: CSPDarknet, PAFPN neck and decoupled head.

State dict keys and shapes are Megvii's, so an official checkpoint's ``model`` loads strictly.
Batch norm uses YOLOX's eps 1e-3 and momentum 0.03.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import SPP, ConvBNAct, scaled_depth, scaled_width
from .usage import Usage

STRIDES = (8, 16, 32)
"""Strides of the three output maps, in the order of the output rows."""

BN_EPS, BN_MOMENTUM = 1e-3, 0.03
"""Set by YOLOX's experiment class on every batch norm (its own value, not torch's)."""

PRIOR = 0.01
"""Initial probability of objectness and classes (focal loss initialisation, as YOLOX does)."""

SIZES: dict[str, tuple[float, float, bool]] = {
    "nano": (0.33, 0.25, True),
    "tiny": (0.33, 0.375, False),
    "s": (0.33, 0.5, False),
    "m": (0.67, 0.75, False),
    "l": (1.0, 1.0, False),
    "x": (1.33, 1.25, False),
}
"""Size name -> (deepen, widen, depthwise), from YOLOX's experiment files."""

_Conv = partial(ConvBNAct, eps=BN_EPS, momentum=BN_MOMENTUM)


@dataclass(frozen=True)
class YOLOXConfig:
    """Everything that shapes a YOLOX.

    Attributes:
        size: Name, nano to x; a label only, the factors below decide.
        deepen: Depth factor.
        widen: Width factor.
        depthwise: Depthwise-separable 3x3 convolutions (nano alone).
        num_classes: Classes C.
        input_size_hw: Usual input height and width in px; the network takes any multiple of 32.
        rough_boxes: See `Usage`.
    """

    size: str
    deepen: float
    widen: float
    depthwise: bool = False
    num_classes: int = 80
    input_size_hw: tuple[int, int] = (640, 640)
    rough_boxes: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A size that is no multiple of 32, or no classes.
        """
        height, width = self.input_size_hw
        if height <= 0 or width <= 0 or height % 32 or width % 32:
            raise ValueError(
                f"input_size_hw must be two positive multiples of 32, got {self.input_size_hw}"
            )
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")

    @property
    def usage(self) -> Usage:
        """How this network is to be used."""
        return Usage(rough_boxes=self.rough_boxes)


def yolox_config(
    size: str, num_classes: int = 80, input_size_hw: tuple[int, int] = (640, 640)
) -> YOLOXConfig:
    """Configuration of one of the six sizes.

    Args:
        size: One of nano, tiny, s, m, l, x.
        num_classes: Classes; 80 for COCO, 1 for the HumanArt detectors.
        input_size_hw: Input height and width in px (nano and tiny were made for 416).

    Raises:
        ValueError: Unknown size, or an input size that is no multiple of 32.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    deepen, widen, depthwise = SIZES[size]
    height, width = input_size_hw
    return YOLOXConfig(size, deepen, widen, depthwise, num_classes, (int(height), int(width)))


class DepthwiseConv(nn.Module):
    """Depthwise 3x3 and pointwise convolution, each with batch norm and SiLU."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = _Conv(cin, cin, kernel, stride, groups=cin)
        self.pconv = _Conv(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,cin,H,W] to [N,cout,H/stride,W/stride]."""
        return self.pconv(self.dconv(x))


def _spatial_conv(depthwise: bool, cin: int, cout: int, kernel: int, stride: int = 1) -> nn.Module:
    make = DepthwiseConv if depthwise else _Conv
    return make(cin, cout, kernel, stride)


class Focus(nn.Module):
    """Moves every 2x2 block of pixels into channels, then convolves."""

    def __init__(self, cin: int, cout: int, kernel: int) -> None:
        super().__init__()
        self.conv = _Conv(4 * cin, cout, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,C,H,W] to [N,cout,H/2,W/2]."""
        # Order of the four phases: top-left, bottom-left, top-right, bottom-right.
        phases = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        return self.conv(torch.cat(phases, dim=1))


class Bottleneck(nn.Module):
    """1x1 then 3x3 convolution; optionally added to the input."""

    def __init__(self, channels: int, identity: bool, depthwise: bool) -> None:
        super().__init__()
        self.conv1 = _Conv(channels, channels, 1)
        self.conv2 = _spatial_conv(depthwise, channels, channels, 3)
        self.identity = identity

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,C,H,W] to [N,C,H,W]."""
        out = self.conv2(self.conv1(x))
        return out + x if self.identity else out


class CSPLayer(nn.Module):
    """Cross-stage partial layer: a deep and a short half, joined and mixed."""

    def __init__(self, cin: int, cout: int, blocks: int, identity: bool, depthwise: bool) -> None:
        super().__init__()
        half = cout // 2
        self.conv1 = _Conv(cin, half, 1)
        self.conv2 = _Conv(cin, half, 1)
        self.conv3 = _Conv(2 * half, cout, 1)
        self.m = nn.Sequential(*(Bottleneck(half, identity, depthwise) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,cin,H,W] to [N,cout,H,W]."""
        return self.conv3(torch.cat((self.m(self.conv1(x)), self.conv2(x)), dim=1))


class CSPDarknet(nn.Module):
    """Backbone of YOLOX; see `YOLOXConfig` for the arguments."""

    def __init__(self, deepen: float, widen: float, depthwise: bool) -> None:
        super().__init__()
        base = scaled_width(64, widen)
        depth = scaled_depth(3, deepen)

        def stage(cin: int, blocks: int) -> nn.Sequential:
            return nn.Sequential(
                _spatial_conv(depthwise, cin, 2 * cin, 3, 2),
                CSPLayer(2 * cin, 2 * cin, blocks, True, depthwise),
            )

        self.stem = Focus(3, base, 3)
        self.dark2 = stage(base, depth)
        self.dark3 = stage(base * 2, depth * 3)
        self.dark4 = stage(base * 4, depth * 3)
        self.dark5 = nn.Sequential(
            _spatial_conv(depthwise, base * 8, base * 16, 3, 2),
            SPP(base * 16, base * 16, eps=BN_EPS, momentum=BN_MOMENTUM),
            CSPLayer(base * 16, base * 16, depth, False, depthwise),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images [N,3,H,W] to maps at strides 8, 16 and 32."""
        dark3 = self.dark3(self.dark2(self.stem(x)))
        dark4 = self.dark4(dark3)
        return dark3, dark4, self.dark5(dark4)


class PAFPN(nn.Module):
    """Backbone and path-aggregation neck; see `YOLOXConfig` for the arguments."""

    def __init__(self, deepen: float, widen: float, depthwise: bool) -> None:
        super().__init__()
        c3, c4, c5 = (scaled_width(channels, widen) for channels in (256, 512, 1024))
        # round, not scaled_depth: YOLOX forgets the minimum of one here; the factors never need it.
        blocks = round(3 * deepen)

        def csp(cin: int, cout: int) -> CSPLayer:
            return CSPLayer(cin, cout, blocks, False, depthwise)

        self.backbone = CSPDarknet(deepen, widen, depthwise)
        self.lateral_conv0 = _Conv(c5, c4, 1)
        self.C3_p4 = csp(2 * c4, c4)
        self.reduce_conv1 = _Conv(c4, c3, 1)
        self.C3_p3 = csp(2 * c3, c3)
        self.bu_conv2 = _spatial_conv(depthwise, c3, c3, 3, 2)
        self.C3_n3 = csp(2 * c3, c4)
        self.bu_conv1 = _spatial_conv(depthwise, c4, c4, 3, 2)
        self.C3_n4 = csp(2 * c4, c5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images [N,3,H,W] to neck outputs at strides 8, 16 and 32."""
        dark3, dark4, dark5 = self.backbone(x)
        top = self.lateral_conv0(dark5)
        middle = self.C3_p4(torch.cat((_double(top), dark4), dim=1))
        reduced = self.reduce_conv1(middle)
        pan2 = self.C3_p3(torch.cat((_double(reduced), dark3), dim=1))
        pan1 = self.C3_n3(torch.cat((self.bu_conv2(pan2), reduced), dim=1))
        pan0 = self.C3_n4(torch.cat((self.bu_conv1(pan1), top), dim=1))
        return pan2, pan1, pan0


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class YOLOXHead(nn.Module):
    """Decoupled head: a class tower and a box tower per stride."""

    def __init__(self, num_classes: int, widen: float, depthwise: bool) -> None:
        super().__init__()
        width = scaled_width(256, widen)

        def tower() -> nn.Sequential:
            return nn.Sequential(
                _spatial_conv(depthwise, width, width, 3),
                _spatial_conv(depthwise, width, width, 3),
            )

        def predictions(channels: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(width, channels, 1) for _ in STRIDES)

        self.cls_convs = nn.ModuleList(tower() for _ in STRIDES)
        self.reg_convs = nn.ModuleList(tower() for _ in STRIDES)
        self.cls_preds = predictions(num_classes)
        self.reg_preds = predictions(4)
        self.obj_preds = predictions(1)
        self.stems = nn.ModuleList(
            _Conv(scaled_width(channels, widen), width, 1) for channels in (256, 512, 1024)
        )
        prior_logit = -math.log((1 - PRIOR) / PRIOR)
        for conv in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(conv.bias, prior_logit)  # pyright: ignore[reportArgumentType]

    def forward(self, maps: tuple[Tensor, Tensor, Tensor], logits: bool = False) -> Tensor:
        """Map neck outputs to raw rows [N,A,5+C], sigmoid on all but the four box numbers.

        With `logits`, as training wants it, there is no sigmoid.
        """
        rows = []
        for level, features in enumerate(maps):
            x = self.stems[level](features)
            classes = self.cls_convs[level](x)
            boxes = self.reg_convs[level](x)
            found, kind = self.obj_preds[level](boxes), self.cls_preds[level](classes)
            if not logits:
                found, kind = found.sigmoid(), kind.sigmoid()
            rows.append(torch.cat((self.reg_preds[level](boxes), found, kind), 1).flatten(2))
        return torch.cat(rows, dim=2).permute(0, 2, 1)


class YOLOX(nn.Module):
    """Detector: BGR pictures in, raw rows out.

    Args:
        config: What to build; see `yolox_config`.
    """

    def __init__(self, config: YOLOXConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = PAFPN(config.deepen, config.widen, config.depthwise)
        self.head = YOLOXHead(config.num_classes, config.widen, config.depthwise)

    def forward(self, images: Tensor) -> Tensor:
        """Predict one row per cell of the three maps.

        Args:
            images: Float [N,3,H,W], BGR, 0..255, letterboxed; H and W multiples of 32.

        Returns:
            [N,A,5+C]: box (x and y offset in cells, log width and height in cells), objectness
            0..1, class scores 0..1. Rows run over strides 8, 16, 32, row-major in each;
            `decode_boxes` turns the box numbers into pixels.
        """
        return self.head(self.backbone(images))


def decode_boxes(raw: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Turn the box numbers of raw rows into pixels.

    Args:
        raw: Output of `YOLOX`, float [N,A,4 or more].
        size_hw: Height and width of the network's input in px.

    Returns:
        Centre x, centre y, width, height in px of the input, float [N,A,4].

    Raises:
        ValueError: A does not belong to ``size_hw``.
    """
    grids, strides = [], []
    for stride in STRIDES:
        height, width = size_hw[0] // stride, size_hw[1] // stride
        ys, xs = torch.meshgrid(
            torch.arange(height, device=raw.device),
            torch.arange(width, device=raw.device),
            indexing="ij",
        )
        grids.append(torch.stack((xs.flatten(), ys.flatten()), dim=1))
        strides.append(torch.full((height * width, 1), stride, device=raw.device))
    grid, step = torch.cat(grids).to(raw.dtype), torch.cat(strides).to(raw.dtype)
    if raw.shape[1] != len(grid):
        raise ValueError(f"raw has {raw.shape[1]} rows, but size_hw {size_hw} gives {len(grid)}")
    return torch.cat(((raw[..., :2] + grid) * step, raw[..., 2:4].exp() * step), dim=-1)
