"""RTMCC head: keypoint maps, one gated attention unit over the keypoints, SimCC outputs.

Keys and shapes equal mmpose's ``RTMCCHead``. DWPose's configuration: no relative bias, no
positional encoding, no dropout.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ScaleNorm(nn.Module):
    """Divides a vector by its root mean square (at least 1e-5) and multiplies by one scalar.

    Args:
        dim: Length of the vectors.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = dim**-0.5
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [...,dim] to [...,dim]."""
        rms = torch.linalg.vector_norm(x, dim=-1, keepdim=True) * self.scale
        return x / rms.clamp(min=1e-5) * self.g


class ResidualScale(nn.Module):
    """One learned factor per channel on the residual path.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map [...,dim] to [...,dim]."""
        return x * self.scale


class GatedAttentionUnit(nn.Module):
    """Gated attention unit whose tokens are keypoints; squared ReLU instead of softmax.

    Args:
        dim: Token width in and out.
        attention_dim: Width of query and key.
        expansion: Width of gate and value as a multiple of ``dim``.
    """

    def __init__(self, dim: int = 256, attention_dim: int = 128, expansion: int = 2) -> None:
        super().__init__()
        inner = dim * expansion
        self.splits = (inner, inner, attention_dim)
        self.scale = 1.0 / math.sqrt(attention_dim)
        self.gamma = nn.Parameter(torch.rand(2, attention_dim))
        self.beta = nn.Parameter(torch.rand(2, attention_dim))
        self.o = nn.Linear(inner, dim, bias=False)
        self.uv = nn.Linear(dim, sum(self.splits), bias=False)
        self.ln = ScaleNorm(dim)
        self.res_scale = ResidualScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [N,K,dim] to [N,K,dim]."""
        gate, value, base = F.silu(self.uv(self.ln(x))).split(self.splits, dim=-1)
        # Query and key are two learned affine maps of one vector.
        query, key = (base.unsqueeze(2) * self.gamma + self.beta).unbind(dim=2)
        # Scaling the query, not the product, keeps fp16 away from its largest number.
        attention = F.relu(torch.matmul(query * self.scale, key.transpose(1, 2))).square()
        # The shortcut is taken before the norm.
        return self.res_scale(x) + self.o(gate * torch.matmul(attention, value))


class RTMCCHead(nn.Module):
    """Feature map to SimCC vectors.

    Args:
        channels: Channels of the feature map.
        map_hw: Height and width of the feature map (input size / 32).
        num_keypoints: Keypoints K.
        bins_wh: Length of the x and y vectors (input width and height times the split).
        dim: Token width.
        attention_dim: Width of query and key.
        expansion: Gate and value width as a multiple of ``dim``.
        kernel: Kernel of the convolution that makes the keypoint maps.
    """

    def __init__(
        self,
        channels: int,
        map_hw: tuple[int, int],
        num_keypoints: int,
        bins_wh: tuple[int, int],
        dim: int = 256,
        attention_dim: int = 128,
        expansion: int = 2,
        kernel: int = 7,
    ) -> None:
        super().__init__()
        pixels = map_hw[0] * map_hw[1]
        self.final_layer = nn.Conv2d(channels, num_keypoints, kernel, padding=kernel // 2)
        self.mlp = nn.Sequential(ScaleNorm(pixels), nn.Linear(pixels, dim, bias=False))
        self.gau = GatedAttentionUnit(dim, attention_dim, expansion)
        self.cls_x = nn.Linear(dim, bins_wh[0], bias=False)
        self.cls_y = nn.Linear(dim, bins_wh[1], bias=False)
        # mmpose's init_cfg of this head: normal, 0.001 for convolutions and 0.01 for linears.
        nn.init.normal_(self.final_layer.weight, std=0.001)
        nn.init.zeros_(self.final_layer.bias)  # pyright: ignore[reportArgumentType]
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map features [N,C,h,w] to raw SimCC vectors x [N,K,bins_w] and y [N,K,bins_h]."""
        return self.from_maps(self.final_layer(x))

    def from_maps(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Map keypoint maps [N,K,h,w], the output of ``final_layer``, to SimCC vectors."""
        tokens = self.gau(self.mlp(maps.flatten(2)))
        return self.cls_x(tokens), self.cls_y(tokens)
