"""Weights like those for ImageNet that EfficientNet-Lite0 starts from."""

from __future__ import annotations

import torch

from dwpose.models.efficientnet import STAGES


def published_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the names of the published file."""
    dice = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}

    def layer(conv: str, norm: str, cin: int, cout: int, kernel: int) -> None:
        fan = cin * kernel**2
        state[f"{conv}.weight"] = torch.randn(cout, cin, kernel, kernel, generator=dice) / fan**0.5
        state[f"{norm}.weight"] = torch.rand(cout, generator=dice) + 0.5
        state[f"{norm}.bias"] = torch.randn(cout, generator=dice) * 0.2
        state[f"{norm}.running_mean"] = torch.randn(cout, generator=dice) * 0.2
        state[f"{norm}.running_var"] = torch.rand(cout, generator=dice) + 0.5

    layer("_conv_stem", "_bn0", 3, 32, 3)
    cin, index = 32, 0
    for expand, cout, repeats, _, kernel in STAGES:
        for _ in range(repeats):
            name, inner = f"_blocks.{index}.", cin * expand
            if expand > 1:
                layer(name + "_expand_conv", name + "_bn0", cin, inner, 1)
            layer(name + "_depthwise_conv", name + "_bn1", 1, inner, kernel)
            layer(name + "_project_conv", name + "_bn2", inner, cout, 1)
            cin, index = cout, index + 1
    return state
