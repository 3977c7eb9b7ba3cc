"""What a run tells while it goes on: a progress bar, a log of JSON lines, TensorBoard."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

LOG = "log.jsonl"


class Journal:
    """Progress of one run; the log is a file of one JSON object a line.

    Args:
        folder: of the run; the log is ``log.jsonl`` there.
        iteration: where the run goes on. Lines of later iterations, which a crash may have left
            behind, are dropped.
        total: iterations of the run.
        batch: crops a step, of all processes together.
        tensorboard: also write event files to ``tensorboard`` in the folder.
        bar: show a progress bar on a terminal.

    Raises:
        ValueError: TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        folder: Path,
        iteration: int,
        total: int,
        batch: int,
        tensorboard: bool = False,
        bar: bool = True,
    ) -> None:
        from tqdm import tqdm

        self.path = folder / LOG
        folder.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_log(self.path) if line["iteration"] <= iteration]
        self._file = self.path.open("w", encoding="utf-8")
        for line in kept:
            self._file.write(json.dumps(line) + "\n")
        self._writer: Any = _tensorboard(folder / "tensorboard") if tensorboard else None
        self._batch = batch
        # Counted in crops, so that the bar shows images/s and the time that is left.
        self._bar = tqdm(
            total=total * batch,
            initial=iteration * batch,
            unit="img",
            unit_scale=True,
            dynamic_ncols=True,
            disable=None if bar else True,
            file=sys.stderr,
        )

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def step(self) -> None:
        """Move the bar by one iteration."""
        self._bar.update(self._batch)

    def write(self, iteration: int, values: dict[str, Any]) -> None:
        """Log numbers, or groups of numbers by name, of an iteration (counted from 1)."""
        self._file.write(json.dumps({"iteration": iteration, **values}) + "\n")
        self._file.flush()
        if "loss" in values:
            self._bar.set_postfix(loss=f"{values['loss']:.4g}", refresh=False)
        if self._writer is not None:
            for name, value in values.items():
                group = value if isinstance(value, dict) else {"": value}
                for key, number in group.items():
                    self._writer.add_scalar(f"{name}/{key}".rstrip("/"), number, iteration)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read a log; a line that was cut off by a crash is left out, no file is an empty log."""
    lines: list[dict[str, Any]] = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue
    return lines


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "tensorboard=true needs the package tensorboard; install it with: "
            "pip install dwpose-studio[train]"
        ) from error
    return SummaryWriter(str(folder))


class Stopwatch:
    """Where the time of steps goes: in waiting for data, and in all."""

    def __init__(self) -> None:
        self._mark = time.perf_counter()
        self.reset()

    def reset(self) -> None:
        """Start counting anew."""
        self.waiting, self.working, self.steps = 0.0, 0.0, 0

    def lap(self, waiting: bool = False) -> None:
        """Count the time since the last call as waiting for data, or as the rest of a step."""
        now = time.perf_counter()
        if waiting:
            self.waiting += now - self._mark
        else:
            self.working += now - self._mark
            self.steps += 1
        self._mark = now

    def skip(self) -> None:
        """Leave the time since the last call out: it was spent on measuring or saving."""
        self._mark = time.perf_counter()

    def speed(self, batch: int) -> dict[str, float]:
        """Crops a second and the share of time that went into waiting for data."""
        total = max(self.waiting + self.working, 1e-9)
        return {
            "images_per_s": round(self.steps * batch / total, 2),
            "data_share": round(self.waiting / total, 4),
        }


def peak_memory_mib(device: torch.device) -> float:
    """Most memory used so far, in MiB: of the GPU as torch allocated it, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
