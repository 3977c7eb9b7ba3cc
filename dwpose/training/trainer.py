"""The trainer: batches from a source into a learner, until the end, a stop or a fault."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from ..models.rtmpose import RTMPose
from ..weights.readers import write_safetensors
from .batch import BatchSource, RawBatch, prepare
from .checkpoint import fingerprint, load_state, save_network, save_state
from .distributed import Ranks
from .journal import LOG, Journal, Stopwatch, peak_memory_mib, read_log
from .learner import Learner, LearnerConfig
from .plots import save_curves

log = logging.getLogger("dwpose")

STATE = "state.safetensors"
LAST = "model.safetensors"
BEST = "best.safetensors"
BAD_BATCH = "bad_batch.safetensors"
# Settings that may differ when a run goes on.
_FREE = ("epochs", "save_every", "measure_every", "log_every", "minutes", "tensorboard", "bar")
# Iterations between the questions of several GPU processes whether one of them was told to stop.
_VOTE_EVERY = 10


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run; the defaults are those of DWPose's distillation configs.

    Attributes:
        learner: how weights are changed.
        epochs: length of the run in epochs of its source.
        schedule_epochs: length of the learning rate's course, where it is not that of the run.
        note: where the weights come from, a sentence for the files' metadata.
        measure_every: epochs between measurements.
        best_by: the measured number that decides which weights are kept as the best.
        save_every: seconds between resumable checkpoints.
        log_every: iterations between lines of the log, which hold means over them.
        minutes: stop, resumable, after this long; None for no limit.
        tensorboard: also write event files.
        bar: show a progress bar on a terminal.

    Raises:
        ValueError: a number is out of range.
    """

    learner: LearnerConfig = field(default_factory=LearnerConfig)
    epochs: int = 270
    schedule_epochs: int | None = None
    note: str = ""
    measure_every: int = 10
    best_by: str = "ap"
    save_every: float = 300.0
    log_every: int = 50
    minutes: float | None = None
    tensorboard: bool = False
    bar: bool = True

    def __post_init__(self) -> None:
        """Check the numbers now: found out at the end of an epoch, they would cost its work."""
        for name in ("epochs", "schedule_epochs", "measure_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.minutes is not None and not self.minutes >= 0:
            raise ValueError(f"minutes must be 0 or more, got {self.minutes}")


class Trainer:
    """Trains one network; stops at any step and goes on from there.

    Files in the run's folder: ``state.safetensors`` (all that is needed to go on) with its
    ``state.json``, ``model.safetensors`` (the averaged network at that moment),
    ``best.safetensors`` (the best one measured), ``log.jsonl``, and ``curves.png`` at the end.

    Args:
        objective: `supervised.StudentAlone`, `distill.StageOne` or `distill.StageTwo`.
        source: batches of this process.
        config: settings.
        folder: of the run. When it holds a state already the run continues from it.
        ranks: this process and its device; alone on the CPU when None.
        measure: measures the averaged network on held-out pictures; called in the first process
            alone.

    Attributes:
        learner: networks, optimizer and averages.
        best: the best measured number so far, or None.

    Raises:
        ValueError: the folder holds a run with other settings or another teacher.
    """

    def __init__(
        self,
        objective: nn.Module,
        source: BatchSource,
        config: TrainConfig,
        folder: Path,
        ranks: Ranks | None = None,
        measure: Callable[[RTMPose], Mapping[str, float]] | None = None,
    ) -> None:
        self.config, self.source, self.folder = config, source, folder
        self.ranks = ranks = ranks or Ranks(torch.device("cpu"))
        self.measure = measure
        self.epoch_length = len(source)
        self.iterations = config.epochs * self.epoch_length
        schedule = (config.schedule_epochs or config.epochs) * self.epoch_length
        self.learner = Learner(objective, config.learner, schedule, ranks)
        teacher = getattr(objective, "teacher", None)
        self._teacher = fingerprint(teacher) if isinstance(teacher, nn.Module) else None
        self.best: float | None = None
        self._stop = False
        self._pending: tuple[RawBatch, _Arriving] | None = None
        if (folder / STATE).exists():
            self._resume()

    @property
    def iteration(self) -> int:
        """Steps that were taken."""
        return self.learner.iteration

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.iteration >= self.iterations

    def _facts(self) -> dict[str, Any]:
        facts = {
            "settings": asdict(self.config),
            "epoch_length": self.epoch_length,
            "teacher": self._teacher,
            "logit_weight": getattr(self.learner.objective, "logit_weight", None),
            "best": self.best,
        }
        return json.loads(json.dumps(facts))

    def _resume(self) -> None:
        tensors, facts = load_state(self.folder / STATE)
        now = self._facts()
        before, wanted = facts["settings"], now["settings"]
        changed = [k for k in wanted if k not in _FREE and wanted[k] != before.get(k)]
        changed += [k for k in ("epoch_length", "teacher") if now[k] != facts[k]]
        # Runs of old did not write it down.
        if facts.get("logit_weight", now["logit_weight"]) != now["logit_weight"]:
            changed.append("weight of the curves' loss")
        if changed:
            raise ValueError(
                f"{self.folder} holds a run with another {', '.join(changed)}; name another "
                "folder, or the same settings"
            )
        self.learner.load_state(tensors, facts["learner"])
        self.best = facts["best"]
        log.info("continuing %s at iteration %d", self.folder, self.iteration)

    def save(self) -> None:
        """Write the resumable state and the averaged network, in the first process."""
        self._settle()
        if self.ranks.first:
            tensors, facts = self.learner.state()
            save_state(self.folder / STATE, tensors, {**self._facts(), "learner": facts})
            save_network(self.folder / LAST, self.learner.plain_model(), note=self._note())

    def _note(self) -> str:
        parts = [self.config.note, f"{self.iteration} of {self.iterations} iterations"]
        return "; ".join(part for part in parts if part)

    def step(self, raw: RawBatch) -> dict[str, Tensor]:
        """Learn from one batch and return its losses, their sum and the gradient's norm.

        Raises:
            FloatingPointError: a loss is not finite. The batch lies in the run's folder.
        """
        losses = self.learner.losses(
            prepare(raw, self.ranks.device), self.iteration // self.epoch_length
        )
        values = {name: value.detach() for name, value in losses.items()}
        # On CUDA this looks at the step before, whose numbers are here by now: the GPU never waits.
        self._settle()
        self._pending = raw, _Arriving(values, self.iteration)
        if self.ranks.device.type != "cuda":
            self._settle()
        norm = self.learner.descend(losses["loss"])
        return {**values, "gradient": norm}

    def _settle(self) -> None:
        """Stop if a loss was not finite."""
        if self._pending is None:
            return
        raw, arriving = self._pending
        self._pending = None
        numbers = arriving.read()
        if all(map(math.isfinite, numbers.values())):
            return
        rank = "" if self.ranks.world == 1 else f"{self.ranks.rank}-"
        path = self.folder / f"{rank}{BAD_BATCH}"
        tensors = {name: value for name, value in raw.items() if isinstance(value, Tensor)}
        texts = {name: str(value) for name, value in numbers.items()}
        write_safetensors(path, tensors, {"iteration": arriving.iteration, "losses": texts})
        raise FloatingPointError(
            f"a loss is not finite at iteration {arriving.iteration} ({texts}); the batch is in "
            f"{path}, the last checkpoint is untouched: lower the rate, or look at the batch"
        )

    def run(self) -> bool:
        """Train until the end, the time's limit, Ctrl-C or SIGTERM; all can be continued.

        Returns:
            Whether the run came to its end.

        Raises:
            FloatingPointError: see `step`. On CUDA it comes a step late; the checkpoint on disk is
                of before.
        """
        config = self.config
        self._stop = stopped = False
        started = saved = time.monotonic()
        watch, totals = Stopwatch(), dict[str, Tensor]()
        with _Signals(self._ask_to_stop), self._journal() as journal:
            while not self.finished and not stopped:
                epoch, start = divmod(self.iteration, self.epoch_length)
                watch.skip()
                for raw in self.source.batches(epoch, start):
                    watch.lap(waiting=True)
                    values = self.step(raw)
                    for name, value in values.items():
                        totals[name] = totals[name] + value if name in totals else value
                    watch.lap()
                    if journal is not None:
                        journal.step()
                    if self.iteration % config.log_every == 0 or self.finished:
                        self._log(journal, watch, totals)
                    now = time.monotonic()
                    self._stop |= config.minutes is not None and now - started > config.minutes * 60
                    stopped = self._agreed_to_stop()
                    if stopped:
                        break
                    if now - saved > config.save_every:
                        self.save()
                        saved = time.monotonic()
                        watch.skip()
                self._settle()
                done, rest = divmod(self.iteration, self.epoch_length)
                if rest == 0 and (done % config.measure_every == 0 or self.finished):
                    self._measure(journal)
            self.save()
        self._tell_end()
        # One process writes the files. If another ends meanwhile and fails at that, all are ended.
        self.ranks.wait()
        return self.finished

    def _journal(self) -> AbstractContextManager[Journal | None]:
        if not self.ranks.first:
            return contextlib.nullcontext()
        return Journal(
            self.folder,
            self.iteration,
            self.iterations,
            self.source.batch * self.ranks.world,
            self.config.tensorboard,
            self.config.bar,
        )

    def _agreed_to_stop(self) -> bool:
        """Whether to stop now; processes stop at the same step, or the others would wait."""
        if self.ranks.world == 1:
            return self._stop
        if self.ranks.device.type != "cpu" and self.iteration % _VOTE_EVERY:
            return False
        return self.ranks.any(self._stop)

    def _tell_end(self) -> None:
        if not self.ranks.first:
            return
        if not self.finished:
            log.warning("stopped at iteration %d; run again to continue", self.iteration)
        lines = [line for line in read_log(self.folder / LOG) if "images_per_s" in line]
        if lines:
            speed = statistics.median(line["images_per_s"] for line in lines)
            share = statistics.median(line["data_share"] for line in lines)
            memory = peak_memory_mib(self.ranks.device)
            log.info(
                "%.1f images/s, %.0f %% of the time waiting for data, at most %.0f MiB",
                *(speed, 100 * share, memory),
            )
        if self.finished:
            save_curves(self.folder)

    def _ask_to_stop(self) -> None:
        self._stop = True

    def _log(self, journal: Journal | None, watch: Stopwatch, totals: dict[str, Tensor]) -> None:
        names = list(totals)
        means = self.ranks.mean(torch.stack([totals[name].float() for name in names]))
        values = dict(zip(names, (means / max(watch.steps, 1)).tolist(), strict=True))
        if journal is not None:
            memory = round(peak_memory_mib(self.ranks.device), 1)
            speed = watch.speed(self.source.batch * self.ranks.world)
            line = {**values, "rate": self.learner.used_rate, **speed, "memory_mib": memory}
            journal.write(self.iteration, line)
        totals.clear()
        watch.reset()

    def _measure(self, journal: Journal | None) -> None:
        if self.measure is None or journal is None:
            return
        model = self.learner.plain_model()
        numbers = dict(self.measure(model))
        journal.write(self.iteration, {"measured": numbers})
        # Parts are in the log's file.
        whole = ", ".join(f"{k} {v:.4f}" for k, v in numbers.items() if "_" not in k)
        log.info("iteration %d: %s", self.iteration, whole)
        if self.config.best_by not in numbers:
            raise ValueError(
                f"best_by must be one of {', '.join(numbers)}, got {self.config.best_by!r}"
            )
        value = numbers[self.config.best_by]
        if self.best is None or value > self.best:
            self.best = value
            note = f"{self._note()}; best {self.config.best_by} {value:.4f}"
            save_network(self.folder / BEST, model, note=note)


class _Arriving:
    """Numbers on their way from the device, so that nobody waits for them."""

    def __init__(self, values: Mapping[str, Tensor], iteration: int) -> None:
        self.iteration = iteration
        self._names = list(values)
        numbers = torch.stack([value.float() for value in values.values()])
        self._there = torch.cuda.Event() if numbers.is_cuda else None
        # Only a copy into pinned memory leaves the GPU's queue going.
        self._numbers = torch.empty(len(numbers), pin_memory=numbers.is_cuda)
        self._numbers.copy_(numbers, non_blocking=True)
        if self._there is not None:
            self._there.record()

    def read(self) -> dict[str, float]:
        """Return the numbers by name, once they are here."""
        if self._there is not None:
            self._there.synchronize()
        return dict(zip(self._names, self._numbers.tolist(), strict=True))


class _Signals:
    """Turns the first Ctrl-C or SIGTERM into a wish to stop; a second Ctrl-C interrupts at once."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        # Python lets only the main thread handle signals.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        log.warning("stopping after this step; once more to stop at once")
        self._ask()
        for one, handler in self._before.items():
            signal.signal(one, handler)
