"""A plain supervised trainer: labelled crops in, a pose network out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..models.rtmpose import RTMPose, rtmpose_config
from ..simcc import decode
from ..skeleton import PARTS
from .checkpoint import load_state, save_network, save_state
from .losses import coarse_map_loss, kl_discrete_loss
from .pool import SEEN, Batch, CropPool, VariationConfig
from .schedule import WeightAverage, learning_rate, parameter_groups

log = logging.getLogger("dwpose")


@dataclass(frozen=True)
class SupervisedConfig:
    """Settings of one run.

    Attributes:
        size: RTMPose size letter.
        input_size_hw: input height and width in pixels; must be that of the pool's crops.
        iterations: length of the schedule.
        batch: crops a step.
        rate: full learning rate.
        warm_up: iterations of warm-up.
        weight_decay: AdamW's, on weights but not on norms and biases.
        clip: largest gradient norm; 0 turns it off (as in DWPose's own t, s, m and l).
        coarse: weight of `CoarseHeads` at the start; they fade out by `coarse_until`.
        coarse_until: share of the run after which the coarse loss is gone.
        seed: of weights and batches.
        device: torch device string.
        precision: fp32 or bf16 (autocast).
        save_every: seconds between resumable checkpoints.
        measure_every: iterations between measurements on held-out crops.
    """

    size: str = "t"
    input_size_hw: tuple[int, int] = (256, 192)
    iterations: int = 6000
    batch: int = 32
    rate: float = 1e-3
    warm_up: int = 200
    weight_decay: float = 0.05
    clip: float = 1.0
    coarse: float = 0.05
    coarse_until: float = 0.5
    seed: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    save_every: float = 300.0
    measure_every: int = 250


class CoarseHeads(nn.Module):
    """Deep supervision: coarse maps of all points from the middle of the backbone and its end.

    They are thrown away after training; `coarse_map_loss` says why they are there.

    Args:
        model: the network that is taught.
    """

    def __init__(self, model: RTMPose) -> None:
        super().__init__()
        widths = [stage[-1].final_conv.conv.out_channels for stage in self._stages(model)]
        points = model.config.num_keypoints
        self.maps = nn.ModuleList(nn.Conv2d(width, points, 1) for width in widths)

    @staticmethod
    def _stages(model: RTMPose) -> tuple[Any, Any]:
        return model.backbone.stage2, model.backbone.stage3

    def forward(self, model: RTMPose, images: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Run the network; coarse maps (stride 8, 16 and the head's own 32), SimCC x and y."""
        backbone = model.backbone
        middle = backbone.stage2(backbone.stage1(backbone.stem(images)))
        late = backbone.stage3(middle)
        own = model.head.final_layer(backbone.stage4(late))
        coarse = [head(part) for head, part in zip(self.maps, (middle, late), strict=True)]
        return [*coarse, own], *model.head.from_maps(own)


class SupervisedTrainer:
    """Trains one RTMPose on a pool of crops; stops at any step and goes on from there.

    Args:
        config: settings.
        folder: where `state.pt`, `log.jsonl` and `model.safetensors` go. When it holds a state
            already the run continues from it.

    Raises:
        ValueError: the folder holds a run with other settings.
    """

    def __init__(self, config: SupervisedConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        torch.manual_seed(config.seed)
        self.device = torch.device(config.device)
        self.model = RTMPose(rtmpose_config(config.size, config.input_size_hw))
        self.model.to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average = WeightAverage(self.model)
        self.coarse = CoarseHeads(self.model).to(self.device)
        self.optimizer = torch.optim.AdamW(
            [
                *parameter_groups(self.model, config.weight_decay),
                *parameter_groups(self.coarse, config.weight_decay),
            ],
            lr=config.rate,
        )
        self.iteration = 0
        if self._state_path.exists():
            self._resume(load_state(self._state_path))

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.pt"

    def _resume(self, state: dict[str, Any]) -> None:
        before, now = state["config"], json.loads(json.dumps(asdict(self.config)))
        free = {"iterations", "device", "save_every", "measure_every"}
        changed = [k for k in now if k not in free and now[k] != before.get(k)]
        if changed:
            raise ValueError(
                f"{self.folder} holds a run with other settings ({', '.join(changed)}); "
                "name another folder or the same settings"
            )
        self.model.load_state_dict(state["model"])
        self.coarse.load_state_dict(state["coarse"])
        self.average.module.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration = state["iteration"]
        log.info("continuing %s at iteration %d", self.folder, self.iteration)

    def save(self) -> None:
        """Write the resumable state and the averaged network."""
        state = {
            "config": json.loads(json.dumps(asdict(self.config))),
            "model": self.model.state_dict(),
            "coarse": self.coarse.state_dict(),
            "average": self.average.module.state_dict(),
            "average_steps": self.average.steps,
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
        }
        save_state(self._state_path, state)
        save_network(self.folder / "model.safetensors", self.average.module)

    def step(self, batch: Batch) -> dict[str, float]:
        """Learn from one batch and return its losses.

        Raises:
            FloatingPointError: the loss is not finite; the weights are left as they were.
        """
        config = self.config
        rate = learning_rate(self.iteration, config.iterations, config.rate, config.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        fade = 1 - self.iteration / max(config.coarse_until * config.iterations, 1)
        coarse = config.coarse * max(fade, 0.0)
        self.model.train()
        images = self._tensor(batch.images).to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, config.precision == "bf16"):
            maps, simcc_x, simcc_y = self.coarse(self.model, images)
        weights = self._tensor(batch.weights)
        kl = kl_discrete_loss(
            simcc_x.float(),
            simcc_y.float(),
            self._tensor(batch.labels_x),
            self._tensor(batch.labels_y),
            weights,
        )
        loss, parts = kl, {"kl": float(kl.detach())}
        if coarse > 0:
            inside = self._tensor(batch.inside)
            keypoints = self._tensor(batch.keypoints)
            for stride, part in zip((8, 16, 32), maps, strict=True):
                extra = coarse_map_loss(part.float(), keypoints, config.input_size_hw, inside)
                loss = loss + coarse * extra
                parts[f"coarse_{stride}"] = float(extra.detach())
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at iteration {self.iteration}; lower the rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if config.clip > 0:
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
            parts["gradient"] = float(norm)
        self.optimizer.step()
        self.average.update(self.model)
        self.iteration += 1
        return {**parts, "rate": rate}

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def run(
        self,
        pool: CropPool,
        held_out: CropPool | None = None,
        minutes: float | None = None,
        variation: VariationConfig | None = None,
        on_step: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:
        """Train until the schedule or the time ends; Ctrl-C saves and stops.

        Args:
            pool: crops to learn from.
            held_out: crops to measure on, or None.
            minutes: stop after this long, resumable; None for no limit.
            variation: how crops are varied.
            on_step: called with the iteration and the losses after each step.
        """
        if pool.size_hw != self.config.input_size_hw:
            raise ValueError(
                f"the pool's crops are {pool.size_hw}, the network's {self.config.input_size_hw}"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        started = saved = time.monotonic()
        batches = pool.batches(self.config.batch, self.config.seed, self.iteration, variation)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as journal:
            try:
                while self.iteration < self.config.iterations:
                    before = time.monotonic()
                    losses = self.step(next(batches))
                    now = time.monotonic()
                    line: dict[str, Any] = {"iteration": self.iteration, **losses}
                    line["images_per_s"] = self.config.batch / (now - before)
                    if held_out is not None and self.iteration % self.config.measure_every == 0:
                        line["pck"] = self.measure(held_out)
                        log.info("iteration %d: %s", self.iteration, line["pck"])
                    journal.write(json.dumps(line) + "\n")
                    journal.flush()
                    if on_step is not None:
                        on_step(self.iteration, losses)
                    if now - saved > self.config.save_every:
                        self.save()
                        saved = now
                    if minutes is not None and now - started > minutes * 60:
                        break
            except KeyboardInterrupt:
                log.warning("stopped at iteration %d; run again to continue", self.iteration)
            self.save()

    @torch.inference_mode()
    def measure(self, pool: CropPool, limit: int = 512, batch: int = 64) -> dict[str, float]:
        """PCK at 5 % of the crop's width on seen points, by part, of the averaged weights."""
        hits: list[np.ndarray] = []
        network = self.average.module.eval()
        count = min(limit, len(pool))
        for start in range(0, count, batch):
            indices = np.arange(start, min(start + batch, count))
            given = pool.batch(indices)
            images = self._tensor(given.images).to(memory_format=torch.channels_last)
            x, y = network(images)
            guess, _ = decode(x.float().cpu().numpy(), y.float().cpu().numpy())
            apart = np.linalg.norm(guess - given.keypoints, axis=-1)
            near = (apart <= 0.05 * self.config.input_size_hw[1]).astype(np.float32)
            hits.append(np.where(pool.visibility[indices] == SEEN, near, np.nan))
        share = np.concatenate(hits)
        return {part: round(float(np.nanmean(share[:, s])), 4) for part, s in PARTS.items()}
