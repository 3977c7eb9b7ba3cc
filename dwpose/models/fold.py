"""The inference form of a network: every batch norm folded into its convolution.

The folded network has the same classes and names; each ``conv`` has gained a bias and each ``bn``
has become an identity. It runs in float32, float16 or bfloat16, contiguous or channels-last, and
is what ONNX files of these networks hold. ``benchmarks/precision.py`` measures how far each form
is from the float32 network.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from .layers import ConvBNAct

Module = TypeVar("Module", bound=nn.Module)


def fold_batchnorm(module: Module) -> Module:
    """Copy a network with its batch norms folded into the convolutions before them.

    Args:
        module: RTMPose, YOLOX or a part of one; left as it is. A folded one is copied unchanged.

    Returns:
        An eval-mode copy with the same dtypes and device. Parameters do not require gradients:
        without batch norm the network is not meant to be trained.
    """
    folded = copy.deepcopy(module).eval()
    for part in folded.modules():
        if isinstance(part, ConvBNAct) and isinstance(part.bn, nn.BatchNorm2d):
            part.conv = _folded_conv(part.conv, part.bn)
            part.bn = nn.Identity()
    return folded.requires_grad_(False)


@torch.no_grad()
def _folded_conv(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("module has a batch norm without running statistics; it cannot be folded")
    # In float64, so that folding costs one rounding of each weight and no more. Apple's GPUs have
    # no float64; the few weights are folded on the CPU wherever the module lives.
    device = conv.weight.device if conv.weight.is_meta else torch.device("cpu")
    weight, mean, variance, gamma, beta = (
        tensor.detach().to(device=device, dtype=torch.float64)
        for tensor in (conv.weight, mean, variance, norm.weight, norm.bias)
    )
    factor = gamma / torch.sqrt(variance + norm.eps)
    kernel: tuple[int, int] = conv.kernel_size  # pyright: ignore[reportAssignmentType]
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        kernel,
        conv.stride,  # pyright: ignore[reportArgumentType]
        conv.padding,  # pyright: ignore[reportArgumentType]
        groups=conv.groups,
        device="meta",
    )
    like = conv.weight
    folded.weight = nn.Parameter((weight * factor.view(-1, 1, 1, 1)).to(like.device, like.dtype))
    folded.bias = nn.Parameter((beta - mean * factor).to(like.device, like.dtype))
    return folded.eval()
