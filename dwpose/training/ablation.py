"""Variants of distillation trained side by side, on the same batches and with one teacher.

Pictures and the teacher's answers are paid once, and the comparison is paired: all variants start
from the same weights and see the same crops in the same order.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from ..io.atomic import write_atomically
from ..models.efficientnet import EfficientNetLite
from ..models.rtmpose import RTMPose
from .batch import CropSource, prepare
from .checkpoint import fingerprint, load_state, save_network, save_state
from .distill import StageOne, StageTwo, Taught
from .distributed import Ranks
from .journal import peak_memory_mib
from .learner import Learner, LearnerConfig
from .losses import FEATURE_ALPHA
from .variants import FRESH_HEAD, KEPT_HEAD, VARIANTS, shared_trunk, stage_one, stage_two

log = logging.getLogger("dwpose")

Measure = Callable[[RTMPose], Mapping[str, float]]
STATE: Final = "ablation.safetensors"
RESULTS: Final = "results.json"
# Share of the first stage's samples that the second takes: 60 of 270 epochs.
SECOND_SHARE: Final = 60 / 270
# The last steps of each epoch, which are timed.
TIMED: Final = 8


@dataclass(frozen=True)
class AblationConfig:
    """Settings of one comparison.

    Attributes:
        learner: how weights are changed, for all variants.
        epochs: length of the first stage, in epochs of the source.
        variants: names in `VARIANTS`.
        second_on: variants that the second stage follows on, once with a fresh head, as in the
            paper, and once with the first stage's.
        seed: of the first weights.
        alpha: factor on the feature loss.
        measure_every: epochs between measurements on rendered crops.
        save_every: seconds between checkpoints.
        minutes: stop, resumable, after this long; None for no limit.
    """

    learner: LearnerConfig
    epochs: int
    variants: tuple[str, ...] = tuple(VARIANTS)
    second_on: tuple[str, ...] = ("both",)
    seed: int = 0
    alpha: float = FEATURE_ALPHA
    measure_every: int = 5
    save_every: float = 400.0
    minutes: float | None = None

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ValueError: a variant is unknown, or the second stage follows on one that is left out.
        """
        unknown = [name for name in self.variants if name not in VARIANTS]
        absent = [name for name in self.second_on if name not in self.variants]
        if unknown or absent:
            raise ValueError(
                f"variants must be among {'; '.join(VARIANTS)}, and second_on among the variants; "
                f"got {'; '.join(unknown + absent)}"
            )


class Ablation:
    """One comparison, first and second stage; stops at any step and goes on from there.

    Args:
        teacher: a trained network.
        student: the network that all variants start from.
        source: crops to learn from.
        config: settings.
        folder: of the run: ``ablation.safetensors`` to go on from, ``results.json``, and a
            network for each variant. The results are also written after each measurement.
        measure: measures on fixed held-out crops, every now and then.
        measure_last: measures at the end of each stage alone, such as on real photos.
        device: where to train.

    Attributes:
        results: everything measured, as written to ``results.json``.
    """

    def __init__(
        self,
        teacher: RTMPose,
        student: RTMPose,
        source: CropSource,
        config: AblationConfig,
        folder: Path,
        measure: Measure,
        measure_last: Measure | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.config, self.source, self.folder = config, source, folder
        self.ranks = Ranks(device or torch.device("cpu"))
        self.measure, self.measure_last = measure, measure_last
        self.teacher = teacher.to(self.ranks.device)
        self._trunk = shared_trunk(self.teacher, student.to(self.ranks.device), config.learner)
        self.first = config.epochs * len(source)
        epochs_two = max(1, round(config.epochs * SECOND_SHARE))
        self.second = epochs_two * len(source) if config.second_on else 0
        self.epochs_two = epochs_two
        self.step = 0
        self._losses: dict[str, Tensor] = {}
        self._timed: list[list[float]] = []
        self._rendered = 0
        self._fingerprint = fingerprint(teacher)
        self.learners = {
            name: self._learner(
                stage_one(VARIANTS[name], self.teacher, student, config.epochs, config.alpha)
            )
            for name in config.variants
        }
        self.results: dict[str, Any] = {
            "settings": json.loads(json.dumps(asdict(config))),
            "batch": source.batch,
            "epoch_length": len(source),
            "teacher": {"fingerprint": self._fingerprint, "size": teacher.config.size},
            "student": {"size": student.config.size},
            "curves": {},
            "last": {},
            "timing": [],
        }
        if (folder / STATE).exists():
            self._resume()
        else:
            measured = dict(self.measure(deepcopy(teacher)))
            self.results["teacher"]["measured"] = {**measured, **self._on_photos(teacher)}

    def _learner(self, objective: nn.Module, stage: int = 1) -> Learner:
        config = self.config.learner
        if stage == 1:
            return Learner(objective, config, self.first, self.ranks)
        # The second stage is short: with the first's warm-up it might be over before it is warm.
        config = replace(config, warm_up=max(2, min(config.warm_up, self.second // 10)))
        return Learner(objective, config, self.second, self.ranks)

    def _start_second(self) -> None:
        """Put the second stage's learners, each on its first stage's outcome, in place."""
        learners: dict[str, Learner] = {}
        for name in self.config.second_on:
            first = self.learners[name].plain_model()
            if self._trunk is not None and isinstance(first.backbone, EfficientNetLite):
                first.backbone.freeze(self._trunk.frozen)
            for kept, text in ((False, FRESH_HEAD), (True, KEPT_HEAD)):
                learners[name + text] = self._learner(stage_two(first, self.config.seed, kept), 2)
        self.learners = learners

    @property
    def finished(self) -> bool:
        """Whether both stages are through."""
        return self.step >= self.first + self.second

    def run(self) -> bool:
        """Train until the end or the time's limit, and return whether it is the end."""
        started = saved = time.monotonic()
        over = False
        while not self.finished:
            epoch, start = divmod(self.step, len(self.source))
            for index in range(start, len(self.source)):
                self._step(epoch * len(self.source) + index, self._is_timed(index))
                now = time.monotonic()
                over = self.config.minutes is not None and now - started > self.config.minutes * 60
                # The last step of an epoch is saved with what follows on it.
                if index < len(self.source) - 1 and (over or now - saved > self.config.save_every):
                    self.save()
                    saved = time.monotonic()
                    if over:
                        break
            else:
                self._end_epoch(epoch)
                if over or self.finished or time.monotonic() - saved > self.config.save_every:
                    self.save()
                    saved = time.monotonic()
            if over and not self.finished:
                log.warning("stopped at step %d; run again to continue", self.step)
                return False
        return True

    def _end_epoch(self, epoch: int) -> None:
        if self.step == self.first or self.finished:
            self._end_stage()
            if not self.finished:
                self._start_second()
                self._note_curves()
        elif (epoch + 1) % self.config.measure_every == 0:
            self._note_curves()

    def _is_timed(self, index: int) -> bool:
        return index >= len(self.source) - TIMED

    def _step(self, step: int, timed: bool) -> None:
        marks, rendered = [self._clock(timed)], self.source.crops
        batch = prepare(self.source.at(step), self.ranks.device)
        marks.append(self._clock(timed))
        if self._trunk is not None:
            with torch.no_grad(), self._precision():
                batch = replace(batch, images=self._trunk.trunk(batch.images))
        taught = self._taught(batch.images)
        marks.append(self._clock(timed))
        stage_one = step < self.first
        epoch = (step if stage_one else step - self.first) // len(self.source)
        for name, learner in self.learners.items():
            teacher = getattr(learner.objective, "teacher", None)
            losses = learner.losses(batch, epoch, taught.get(teacher))
            learner.descend(losses["loss"])
            self._losses[name] = losses["loss"].detach()
        marks.append(self._clock(timed))
        self.step = step + 1
        if timed:
            self._timed.append([after - before for before, after in pairwise(marks)])
            self._rendered += self.source.crops - rendered
        if self._timed and self.step % len(self.source) == 0:
            self._note_timing()

    def _note_timing(self) -> None:
        steps = len(self._timed)
        data, teacher, students = (sum(part) / steps for part in zip(*self._timed, strict=True))
        rendered_per_s = self._rendered / max(data * steps, 1e-9)
        self._timed.clear()
        self._rendered = 0
        total = max(data + teacher + students, 1e-9)
        line = {
            "step": self.step,
            "data_s": data,
            "teacher_s": teacher,
            "students_s": students,
            "images_per_s": self.source.batch / total,
            "rendered_per_s": rendered_per_s,
            "memory_mib": peak_memory_mib(self.ranks.device),
        }
        self.results["timing"].append(line)
        log.info(
            "step %d of %d: %.0f ms, data %.0f %%, teacher %.0f %%; %d crops rendered, %.0f MiB",
            *(self.step, self.first + self.second, 1000 * total),
            *(100 * data / total, 100 * teacher / total, self.source.crops, line["memory_mib"]),
        )

    def _check(self) -> None:
        """Stop before a state is written that has learned from a loss that is not finite."""
        for name, loss in self._losses.items():
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss of {name!r} is not finite at step {self.step}; the checkpoint on "
                    "disk is of before: lower the rate"
                )

    def _clock(self, timed: bool) -> float:
        # Waiting for the GPU costs speed, so that is done at a few steps only.
        if timed and self.ranks.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def _taught(self, images: Tensor) -> dict[nn.Module | None, Taught]:
        """Ask each teacher once: all share one in the first stage, two heads one in the second."""
        taught: dict[nn.Module | None, Taught] = {}
        for learner in self.learners.values():
            objective = learner.objective
            if isinstance(objective, (StageOne, StageTwo)) and objective.teacher not in taught:
                with self._precision():
                    taught[objective.teacher] = objective.teach(images)
        return taught

    def _precision(self) -> torch.autocast:
        precision = self.config.learner.precision
        dtype = torch.float16 if precision == "fp16" else torch.bfloat16
        return torch.autocast(self.ranks.device.type, dtype, precision != "fp32")

    def _note_curves(self) -> None:
        for name, learner in self.learners.items():
            numbers = dict(self.measure(learner.plain_model()))
            line = {"samples": self.step * self.source.batch, **numbers}
            self.results["curves"].setdefault(name, []).append(line)
            whole = ", ".join(f"{k} {v:.4f}" for k, v in numbers.items() if "_" not in k)
            log.info("%d samples, %s: %s", line["samples"], name, whole)
        # Also of a run that is killed before its next checkpoint.
        self._write_results()

    def _end_stage(self) -> None:
        self._note_curves()
        for name, learner in self.learners.items():
            model = learner.plain_model()
            measured = {k: v for k, v in self.results["curves"][name][-1].items() if k != "samples"}
            self.results["last"][name] = {**measured, **self._on_photos(model)}
            path = self.folder / f"{name.replace(', ', '-').replace(' ', '_')}.safetensors"
            save_network(path, model, note=f"{name}, {self.step * self.source.batch} samples")

    def _on_photos(self, model: RTMPose) -> dict[str, float]:
        if self.measure_last is None:
            return {}
        return {f"photos_{k}": v for k, v in self.measure_last(deepcopy(model)).items()}

    def save(self) -> None:
        """Write the state to go on from, and the results so far."""
        self._check()
        self._write_results()
        tensors: dict[str, Tensor] = {}
        facts: dict[str, Any] = {"step": self.step, "results": self.results, "learners": {}}
        for name, learner in self.learners.items():
            own, facts["learners"][name] = learner.state()
            tensors |= {f"{name}/{key}": value for key, value in own.items()}
            if isinstance(learner.objective, StageTwo):
                # Its teacher is an outcome of this very run.
                teacher = learner.objective.teacher.state_dict()
                tensors |= {f"{name}/teacher.{key}": value for key, value in teacher.items()}
        save_state(self.folder / STATE, tensors, facts)

    def _write_results(self) -> None:
        self.results["samples"] = self.step * self.source.batch
        self.results["crops"] = self.source.crops
        write_atomically(self.folder / RESULTS, json.dumps(self.results, indent=1).encode())

    def _resume(self) -> None:
        tensors, facts = load_state(self.folder / STATE)
        before, now = facts["results"], self.results
        for key in ("variants", "second_on", "epochs", "learner", "seed", "alpha"):
            if before["settings"].get(key) != now["settings"][key]:
                raise ValueError(f"{self.folder} holds a run with another {key}; name another")
        if before["teacher"]["fingerprint"] != self._fingerprint:
            raise ValueError(f"{self.folder} holds a run with another teacher; name another")
        self.results, self.step = before, facts["step"]
        if any(name.endswith(FRESH_HEAD) for name in facts["learners"]):
            self._start_second()
        for name, learner in self.learners.items():
            own = {
                key.removeprefix(f"{name}/"): value
                for key, value in tensors.items()
                if key.startswith(f"{name}/")
            }
            teacher = {k: own.pop(k) for k in list(own) if k.startswith("teacher.")}
            if teacher:
                state = {key.removeprefix("teacher."): value for key, value in teacher.items()}
                learner.objective.get_submodule("teacher").load_state_dict(state)
            learner.load_state(own, facts["learners"][name])
        log.info("continuing %s at step %d", self.folder, self.step)
