"""Learning rate, weight decay and averaged weights of DWPose's training settings."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

# LinearLR start_factor and eta_min / base_lr of DWPose's configs.
WARM_UP_START = 1e-5
FINAL_SHARE = 0.05
# EMAHook of DWPose's configs, and ExpMomentumEMA's default gamma.
EMA_MOMENTUM = 2e-4
EMA_GAMMA = 2000
# Last parts of the names of `models.rtmcc`'s gains and offsets.
_SCALARS = {"g", "gamma", "beta", "scale"}


def learning_rate(iteration: int, total: int, base: float, warm_up: int = 1000) -> float:
    """Learning rate used at an iteration.

    Linear warm-up that reaches the full rate at iteration `warm_up` - 1, constant until half
    of the run, then a cosine down to a twentieth.

    Args:
        iteration: 0 to `total` - 1.
        total: iterations of the whole run.
        base: full rate; 4e-3 for a batch of 512 and 1024 in DWPose's configs.
        warm_up: iterations of warm-up, at least 2.
    """
    rate = base
    half = total // 2
    if iteration >= half:
        turn = math.pi * (iteration - half) / (total - half)
        rate = base * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(turn)) / 2)
    share = min(iteration / (warm_up - 1), 1.0)
    return rate * (WARM_UP_START + (1 - WARM_UP_START) * share)


def parameter_groups(
    module: nn.Module,
    weight_decay: float = 0.05,
    decay_scalars: bool = False,
    backbone_rate: float = 1.0,
) -> list[dict]:
    """Split parameters for AdamW: no decay on norms and biases.

    Args:
        module: what is trained; frozen parameters are left out.
        weight_decay: of all other parameters.
        decay_scalars: whether the gains and offsets of the head's own norms (`g`, `gamma`,
            `beta`, `res_scale.scale`) decay. They do in the released code, which exempts only
            norms that torch knows as such, and names that end in `bias`; that was hardly meant,
            as its settings ask for no decay on norms.
        backbone_rate: entry "factor" of the groups of what lies below a `backbone`; 1 for the rest.
            At 1 there are no groups of their own.
    """
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm)
    exempt = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, norms)
        for parameter in part.parameters(recurse=False)
    }
    factors = [1.0] if backbone_rate == 1 else [1.0, backbone_rate]
    groups: list[dict] = [
        {"params": [], "weight_decay": decay, "factor": factor}
        for factor in factors
        for decay in (weight_decay, 0.0)
    ]
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            last = name.rsplit(".", 1)[-1]
            free = id(parameter) in exempt or last == "bias"
            free = free or (not decay_scalars and last in _SCALARS)
            slow = len(factors) > 1 and "backbone" in name.split(".")
            groups[2 * slow + free]["params"].append(parameter)
    return groups


class WeightAverage:
    """Exponential moving average of weights and buffers whose memory grows with time.

    Args:
        module: the network to follow; a detached copy is kept in `module` of this object.
        momentum: share of the newest weights in the long run.
        gamma: iterations over which the average is still short (ExpMomentumEMA).
    """

    def __init__(
        self, module: nn.Module, momentum: float = EMA_MOMENTUM, gamma: int = EMA_GAMMA
    ) -> None:
        self.module = deepcopy(module).eval().requires_grad_(False)
        self.momentum = momentum
        self.gamma = gamma
        self.steps = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the network's present weights; the first call copies them."""
        share = (1 - self.momentum) * math.exp(-(1 + self.steps) / self.gamma) + self.momentum
        if self.steps == 0:
            share = 1.0
        self.steps += 1
        present = module.state_dict()
        averages: list[Tensor] = []
        newest: list[Tensor] = []
        for name, average in self.module.state_dict().items():
            if average.is_floating_point():
                averages.append(average)
                newest.append(present[name])
            else:
                average.copy_(present[name])
        # All at once: one by one this is hundreds of launches on a GPU.
        torch._foreach_lerp_(averages, newest, share)  # pyright: ignore[reportPrivateImportUsage]
