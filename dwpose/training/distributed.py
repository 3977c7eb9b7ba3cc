"""Several processes that train one network (torchrun): who is who, sums, and shared batch norms."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

# Others wait while the first process measures a validation set.
_PATIENCE = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        device: where this process computes.
        rank: its number; 0 writes files and talks.
        world: how many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Average a tensor over all processes; all of them have to call this."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.world
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all of them have to call this."""
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def wait(self) -> None:
        """Return when all processes have called this."""
        if self.world > 1:
            dist.barrier()


def join(device: str = "auto") -> Ranks:
    """Find out who this process is; torchrun's processes connect here.

    Args:
        device: a torch device string; "auto" takes a CUDA device if there is one. Without a
            number each of torchrun's processes takes the CUDA device of its local rank.

    Raises:
        ValueError: the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={device}: torch sees no CUDA device here; use device=cpu")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    try:
        chosen = torch.device("cuda", local) if device == "cuda" else torch.device(device)
    except RuntimeError:
        raise ValueError(f"device={device}: torch knows no such device; use cpu or cuda") from None
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world == 1:
        return Ranks(chosen)
    if not dist.is_initialized():
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
    return Ranks(chosen, dist.get_rank(), world)


def leave() -> None:
    """Disconnect from the other processes, if there are any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


class _SharedBatchNorm(nn.BatchNorm2d):
    """`nn.SyncBatchNorm` for devices other than CUDA, which is all that torch's own runs on."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        from torch.distributed.nn.functional import all_reduce

        count = input.numel() / input.shape[1]
        whole = input.double()
        sums = torch.stack([whole.sum((0, 2, 3)), whole.square().sum((0, 2, 3))])
        # One message; every process has a batch of the same size.
        mean, square = (all_reduce(sums) / (count * dist.get_world_size())).unbind()
        variance = square - mean.square()
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            total = count * dist.get_world_size()
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = variance * (total / (total - 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        gain = self.weight * (variance + self.eps).rsqrt().to(self.weight.dtype)
        offset = self.bias - mean.to(self.bias.dtype) * gain
        return input * gain[:, None, None] + offset[:, None, None]


def share_batchnorm(module: Module, ranks: Ranks) -> Module:
    """Let batch norms take their statistics over all processes, as the configs' SyncBN does.

    Args:
        module: changed in place; names of weights stay.
        ranks: of this process; nothing changes where it is alone.
    """
    if ranks.world == 1:
        return module
    if ranks.device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)  # pyright: ignore[reportReturnType]
    for part in module.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = _SharedBatchNorm
    return module
