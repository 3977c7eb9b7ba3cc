"""What learns: losses, optimizer, averaged weights and their state; it knows no files nor loops."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..models.rtmpose import RTMPose
from .batch import PoseBatch
from .distill import Taught
from .distributed import Ranks, share_batchnorm
from .schedule import WeightAverage, learning_rate, parameter_groups

_AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_TEACHER = "teacher."


class Objective(Protocol):
    """`supervised.StudentAlone`, `distill.StageOne` and `distill.StageTwo`, all modules."""

    student: nn.Module

    def plain_model(self, student: nn.Module | None = None) -> RTMPose:
        """Return the network that the run is about, a copy in eval mode."""
        ...


@dataclass(frozen=True)
class LearnerConfig:
    """How weights are changed; the defaults are those of DWPose's distillation configs.

    Attributes:
        rate: full learning rate.
        warm_up: iterations of warm-up.
        weight_decay: AdamW's, on weights but not on norms and biases.
        decay_scalars: let the head's scalars decay too, as the released code does.
        backbone_rate: factor on the rate of the backbone, for one that knows something already.
        clip: largest gradient norm; 0 turns clipping off.
        loss_batch: batch that the labels' loss is scaled to. It grows with the batch of a process,
            and the others do not: this keeps their balance, whatever the batch, at that of the
            configs' 64 crops a GPU. None leaves it as released.
        precision: fp32, bf16 or fp16, of the networks; losses are computed in fp32.
        compile: let torch compile the networks.

    Raises:
        ValueError: a number is out of range, or the precision is unknown.
    """

    rate: float = 4e-3
    warm_up: int = 1000
    weight_decay: float = 0.05
    decay_scalars: bool = False
    backbone_rate: float = 1.0
    clip: float = 1.0
    loss_batch: int | None = 64
    precision: str = "fp32"
    compile: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if self.precision not in _AUTOCAST:
            raise ValueError(
                f"precision must be one of {', '.join(_AUTOCAST)}, got {self.precision!r}"
            )
        if min(self.rate, self.backbone_rate) <= 0 or self.warm_up < 2 or self.clip < 0:
            raise ValueError(
                "rate and backbone_rate must be above 0, warm_up at least 2 and clip at least 0; "
                f"got rate={self.rate}, backbone_rate={self.backbone_rate}, "
                f"warm_up={self.warm_up}, clip={self.clip}"
            )


class Learner:
    """An objective with its optimizer and averaged weights.

    Args:
        objective: what is trained; it is moved to the device.
        config: how.
        schedule: iterations over which the learning rate goes through its course.
        ranks: this process and its device.

    Attributes:
        objective: as given.
        average: moving average of the objective's student.
        iteration: steps that were taken.
    """

    def __init__(
        self, objective: nn.Module, config: LearnerConfig, schedule: int, ranks: Ranks
    ) -> None:
        self.config, self.schedule, self.ranks = config, schedule, ranks
        objective.to(ranks.device)
        self.objective = objective.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average = WeightAverage(self._objective.student)
        for name, part in objective.named_children():
            if name != "teacher":
                share_batchnorm(part, ranks)
        on_cuda = ranks.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            parameter_groups(
                objective, config.weight_decay, config.decay_scalars, config.backbone_rate
            ),
            lr=config.rate,
            # On the CPU its result depends on where the tensors lie, so resuming were not exact.
            fused=on_cuda,
        )
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=config.precision == "fp16")
        if config.compile:
            _compile(objective)
        self._run: nn.Module = objective
        if ranks.world > 1:
            self._run = self._spread(objective)
        self.iteration = 0

    def _spread(self, objective: nn.Module) -> nn.Module:
        """Let all processes go down on the mean of their gradients."""
        device = self.ranks.device
        with warnings.catch_warnings():
            # torch 2.13 renames broadcast_buffers; older versions know no other name.
            warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")
            return DistributedDataParallel(
                objective,
                device_ids=[device.index] if device.type == "cuda" else None,
                # Shared batch norms have the same buffers everywhere.
                broadcast_buffers=False,
                # Coarse maps fade out of the loss while their heads stay.
                find_unused_parameters=getattr(objective, "coarse", None) is not None,
            )

    @property
    def _objective(self) -> Objective:
        return cast(Objective, self.objective)

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        return learning_rate(
            min(self.iteration, self.schedule - 1),
            self.schedule,
            self.config.rate,
            self.config.warm_up,
        )

    @property
    def used_rate(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def losses(
        self, batch: PoseBatch, epoch: float, taught: Taught | None = None
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch: those of the objective, and their sum as "loss"."""
        self._run.train()
        dtype = _AUTOCAST[self.config.precision]
        mixed = (
            contextlib.nullcontext()
            if dtype is None
            else torch.autocast(self.ranks.device.type, dtype)
        )
        with mixed:
            losses = self._run(
                batch.images,
                batch.simcc_x,
                batch.simcc_y,
                batch.weights,
                epoch=epoch,
                taught=taught,
            )
        if "loss_kpt" in losses and self.config.loss_batch:
            factor = self.config.loss_batch / len(batch.images)
            losses["loss_kpt"] = losses["loss_kpt"] * factor
        losses["loss"] = torch.stack(list(losses.values())).sum()
        return losses

    def descend(self, loss: Tensor) -> Tensor:
        """Take a step down on a loss of `losses` and return the norm of its gradient."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip or torch.inf)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self._objective.student)
        self.iteration += 1
        return norm.detach()

    def plain_model(self) -> RTMPose:
        """Return the averaged network alone, a copy in eval mode on the CPU."""
        return self._objective.plain_model(self.average.module).cpu()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a run needs to go on, as tensors and as facts for JSON.

        A frozen teacher is left out: it does not change, and is there again when the run goes on.
        """
        tensors = {f"objective.{k}": v for k, v in self._taught_state().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.module.state_dict().items()}
        for name, parameter in self.objective.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
        facts = {
            "iteration": self.iteration,
            "average_steps": self.average.steps,
            "scaler": self.scaler.state_dict(),
        }
        return tensors, facts

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from `state`.

        Raises:
            RuntimeError: it is of other networks.
        """
        parts: dict[str, dict[str, Tensor]] = {"objective": {}, "average": {}, "optimizer": {}}
        for name, value in tensors.items():
            part, key = name.split(".", 1)
            parts[part][key] = value
        own = self.objective.state_dict()
        kept = {k: v for k, v in own.items() if k not in self._taught_state()}
        self.objective.load_state_dict(kept | parts["objective"])
        self.average.module.load_state_dict(parts["average"])
        self.average.steps = facts["average_steps"]
        self.iteration = facts["iteration"]
        if facts["scaler"]:
            self.scaler.load_state_dict(facts["scaler"])
        names = {id(parameter): name for name, parameter in self.objective.named_parameters()}
        order = [p for group in self.optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for place, parameter in enumerate(order):
            prefix = f"{names[id(parameter)]}."
            found = {
                key.removeprefix(prefix): _laid_out(value, parameter)
                for key, value in parts["optimizer"].items()
                if key.startswith(prefix) and "." not in key.removeprefix(prefix)
            }
            if found:
                moments[place] = found
        # The optimizer puts each tensor on the device and into the precision that it needs.
        state = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**state, "state": moments})

    def _taught_state(self) -> dict[str, Tensor]:
        moves = getattr(self.objective, "teacher_training", False)
        state = self.objective.state_dict()
        return {k: v for k, v in state.items() if moves or not k.startswith(_TEACHER)}


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """Give a loaded tensor the memory layout of its parameter, as the fused optimizer asks for."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def _compile(objective: nn.Module) -> None:
    """Compile networks and curves' losses in place; names of weights stay."""
    for name in ("label_loss", "curve_loss"):
        if hasattr(objective, name):
            setattr(objective, name, torch.compile(getattr(objective, name)))
    coarse = getattr(objective, "coarse", None)
    if isinstance(coarse, nn.Module):
        coarse.compile()
    for owner in (getattr(objective, name, None) for name in ("student", "teacher")):
        for part in ("backbone", "head"):
            network = getattr(owner, part, None)
            if isinstance(network, nn.Module):
                network.compile()
