"""The detector's trainer: composed scenes in, a one-class YOLOX out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...models.yolox import YOLOX, yolox_config
from ...weights.load import load_model
from ...weights.readers import halved, write_safetensors
from ..checkpoint import load_state, save_state
from ..schedule import WeightAverage, learning_rate, parameter_groups
from .assign import Cells
from .losses import detection_losses
from .recall import DetectorScores, score_scenes
from .scenes import Composer, SceneBatch

log = logging.getLogger("dwpose")

# May change between the parts of one run.
_FREE = {
    "iterations",
    "side",
    "sides",
    "device",
    "precision",
    "workers",
    "save_every",
    "measure_every",
}


@dataclass(frozen=True)
class DetectorConfig:
    """Settings of one run.

    Attributes:
        size: YOLOX size name; nano alone stays under 4 MB as fp16.
        side: the network's usual square input in px, a multiple of 32.
        sides: input sides that batches are drawn from, multiples of 32; `side` alone when empty.
        iterations: length of the schedule.
        batch: scenes a step.
        rate: full learning rate of AdamW.
        warm_up: iterations of warm-up.
        weight_decay: on weights but not on norms and biases; YOLOX's.
        clip: largest gradient norm.
        l1_from: share of the run from which the L1 loss is added (YOLOX: the last 15 epochs).
        average: share of the newest weights in the averaged ones in the long run.
        average_from: iterations over which the average is still short.
        seed: of weights and scenes.
        workers: processes that put scenes together; 0 does it in this one.
        device: torch device string.
        precision: fp32 or bf16 (autocast).
        save_every: seconds between resumable checkpoints.
        measure_every: iterations between measurements on held-out scenes.
    """

    size: str = "nano"
    side: int = 320
    sides: tuple[int, ...] = ()
    iterations: int = 6000
    batch: int = 16
    rate: float = 1e-3
    warm_up: int = 200
    weight_decay: float = 5e-4
    clip: float = 10.0
    l1_from: float = 0.85
    average: float = 1e-3
    average_from: int = 300
    seed: int = 0
    workers: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    save_every: float = 240.0
    measure_every: int = 250


def save_detector(path: Path, model: YOLOX, half: bool = False, note: str = "") -> None:
    """Write a network that `load_model` takes by path.

    Args:
        path: the new file, ``*.safetensors``.
        model: what to write.
        half: store floating point tensors as fp16, see `weights.readers.halved`.
        note: a sentence on where the weights come from.
    """
    state = halved(model.state_dict()) if half else model.state_dict()
    config = model.config
    facts = {
        "family": "yolox",
        "size": config.size,
        "input_size_hw": list(config.input_size_hw),
        "num_classes": config.num_classes,
        "rough_boxes": config.rough_boxes,
        "note": note,
    }
    write_safetensors(path, state, facts)


def _start_from(model: YOLOX, init: str) -> None:
    """Fill a network with the weights of a trained one."""
    found = load_model(init).module.float().state_dict()
    try:
        model.load_state_dict(found)
    except RuntimeError:
        raise ValueError(
            f"init: {init} holds no one-class YOLOX-{model.config.size} to go on from"
        ) from None


class _Steps(Dataset):
    """Batch `i` of the run; it depends on the seed and `i` alone."""

    def __init__(self, composer: Composer, config: DetectorConfig, start: int) -> None:
        self.composer = composer
        self.config = config
        self.start = start

    def __len__(self) -> int:
        return self.config.iterations - self.start

    def __getitem__(self, index: int) -> SceneBatch:
        config = self.config
        rng = np.random.default_rng((config.seed, self.start + index))
        sides = config.sides or (config.side,)
        return self.composer.batch(config.batch, int(rng.choice(sides)), rng)


class DetectorTrainer:
    """Trains one YOLOX; stops at any step and goes on from there.

    Args:
        config: settings.
        folder: where `state.safetensors`, `log.jsonl` and `model.safetensors` go. When it holds
            a state already the run continues from it.
        init: catalogue id or file of a trained detector of this size to go on from; None starts
            from random numbers.

    Raises:
        ValueError: the folder holds a run with other settings, or `init` is another network.
    """

    def __init__(self, config: DetectorConfig, folder: Path, init: str | None = None) -> None:
        self.config = config
        self.folder = folder
        torch.manual_seed(config.seed)
        self.device = torch.device(config.device)
        self._init = init
        shape = yolox_config(config.size, 1, (config.side, config.side))
        # It sees composed scenes alone, so on photos its boxes are a start.
        self.model = YOLOX(replace(shape, rough_boxes=True))
        if init is not None:
            _start_from(self.model, init)
        self.model.to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average = WeightAverage(self.model, config.average, config.average_from)
        groups = parameter_groups(self.model, config.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=config.rate)
        self.iteration = 0
        self._known_cells: dict[tuple[int, int], Cells] = {}
        if self._state_path.exists():
            self._resume(*load_state(self._state_path))

    @property
    def network(self) -> YOLOX:
        """The averaged network."""
        return cast(YOLOX, self.average.module)

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.safetensors"

    def _settings(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self.config)))

    def _resume(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        now = self._settings()
        changed = [k for k in now if k not in _FREE and now[k] != facts["config"].get(k)]
        if facts.get("init", self._init) != self._init:  # runs of old did not write it down
            changed.append("init")
        if changed:
            raise ValueError(
                f"{self.folder} holds a run with other settings ({', '.join(changed)}); "
                "name another folder or the same settings"
            )
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, key = name.split(".", 1)
            parts[part][key] = tensor
        self.model.load_state_dict(parts["model"])
        self.average.module.load_state_dict(parts["average"])
        self.average.steps = self.iteration = facts["iteration"]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            number, key = name.split(".")
            moments.setdefault(int(number), {})[key] = tensor
        state = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**state, "state": moments})
        log.info("continuing %s at iteration %d", self.folder, self.iteration)

    def save(self) -> None:
        """Write the resumable state and the averaged network."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.module.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{k}": v for k, v in moments.items()}
        facts = {"config": self._settings(), "init": self._init, "iteration": self.iteration}
        save_state(self._state_path, tensors, facts)
        save_detector(self.folder / "model.safetensors", self.network)

    def step(self, batch: SceneBatch) -> dict[str, float]:
        """Learn from one batch and return its losses.

        Raises:
            FloatingPointError: the loss is not finite; the weights are left as they were.
        """
        config = self.config
        rate = learning_rate(self.iteration, config.iterations, config.rate, config.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        images = self._images(batch.images)
        size_hw = (images.shape[2], images.shape[3])
        with torch.autocast(self.device.type, torch.bfloat16, config.precision == "bf16"):
            rows = self.model.head(self.model.backbone(images), logits=True)
        losses, matched = detection_losses(
            rows.float(),
            batch.boxes.to(self.device, non_blocking=True),
            batch.count.to(self.device, non_blocking=True),
            size_hw,
            self._cells(size_hw),
        )
        late = self.iteration >= config.l1_from * config.iterations
        loss = losses["box"] + losses["objectness"] + losses["class"]
        loss = loss + losses["l1"] if late else loss
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at iteration {self.iteration}; lower the rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.optimizer.step()
        self.average.update(self.model)
        self.iteration += 1
        parts = {name: float(value.detach()) for name, value in losses.items()}
        matches = matched / max(int(batch.count.sum()), 1)
        return {**parts, "cells": matches, "gradient": float(norm), "rate": rate}

    def _images(self, images: Tensor) -> Tensor:
        moved = images.to(self.device, non_blocking=True)
        return moved.float().to(memory_format=torch.channels_last)

    def _cells(self, size_hw: tuple[int, int]) -> Cells:
        if size_hw not in self._known_cells:
            self._known_cells[size_hw] = Cells.of(size_hw, self.device)
        return self._known_cells[size_hw]

    def run(
        self,
        scenes: Composer,
        held_out: Composer | None = None,
        minutes: float | None = None,
        on_step: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:
        """Train until the schedule or the time ends; Ctrl-C saves and stops.

        Args:
            scenes: what to learn from.
            held_out: scenes to measure on, or None.
            minutes: stop after this long, resumable; None for no limit.
            on_step: called with the iteration and the losses after each step.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        started = saved = time.monotonic()
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as journal:
            try:
                batches = self._batches(scenes)
                before = time.monotonic()
                for batch in batches:
                    waited = time.monotonic() - before
                    line: dict[str, Any] = {**self.step(batch), "waited_s": waited}
                    now = time.monotonic()
                    line["images_per_s"] = self.config.batch / (now - before)
                    if held_out is not None and self.iteration % self.config.measure_every == 0:
                        line["held_out"] = asdict(self.measure(held_out))
                        log.info("iteration %d: %s", self.iteration, line["held_out"])
                    journal.write(json.dumps({"iteration": self.iteration, **line}) + "\n")
                    journal.flush()
                    if on_step is not None:
                        on_step(self.iteration, line)
                    if now - saved > self.config.save_every:
                        self.save()
                        saved = now
                    if minutes is not None and now - started > minutes * 60:
                        break
                    before = time.monotonic()
            except KeyboardInterrupt:
                log.warning("stopped at iteration %d; run again to continue", self.iteration)
            self.save()

    def _batches(self, scenes: Composer) -> Iterator[SceneBatch]:
        steps = _Steps(scenes, self.config, self.iteration)
        workers = self.config.workers
        loader = DataLoader(
            steps,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )
        if workers == 0:
            return iter(loader)
        # OpenCV's threads do not survive the fork and its first call would wait for them forever;
        # without threads there is nothing to wait for.
        threads = cv2.getNumThreads()
        cv2.setNumThreads(0)
        try:
            return iter(loader)  # starts the processes
        finally:
            cv2.setNumThreads(threads)

    def measure(self, scenes: Composer, count: int = 96) -> DetectorScores:
        """Recall and precision of the averaged weights on scenes that are always the same."""
        network = self.network.eval()

        @torch.inference_mode()
        def answer(images: Tensor) -> np.ndarray:
            return network(self._images(images)).float().cpu().numpy()

        return score_scenes(answer, scenes, self.config.side, count)
