"""Speed and memory of a training step: stage one, l teaches m at 256x192, ours and a naive one.

    python benchmarks/training.py [--device cuda] [--batch 64] [--compile] [--out FILE]

Both begin with the same uint8 crops and labelled points in the host's memory and end with changed
weights, clipped gradients and averaged weights; the losses are the very same functions. Reading
and augmenting photos is not part of it.

* naive: as a plain reproduction writes it: eager, planes one after the other, each sample
  normalised and its label curves drawn by numpy on the host, AdamW as it comes, the average tensor
  by tensor, the loss read at every step; in fp32, and in fp16 with autocast and a gradient scaler.
* ours: `dwpose.training.learner.Learner`: bytes to the device, labels drawn there, channels last,
  on CUDA a fused AdamW; in fp32 and in bf16, eager and with --compile compiled.

All take turns within one run, several rounds. The median and the spread of images/s are recorded,
and on CUDA the most memory that torch allocated. Each is warmed up first.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dwpose.crop import normalize  # noqa: E402
from dwpose.models.rtmpose import RTMPose, rtmpose_config  # noqa: E402
from dwpose.simcc import encode  # noqa: E402
from dwpose.training.batch import prepare  # noqa: E402
from dwpose.training.distill import StageOne  # noqa: E402
from dwpose.training.distributed import Ranks  # noqa: E402
from dwpose.training.learner import Learner, LearnerConfig  # noqa: E402
from dwpose.training.schedule import EMA_GAMMA, EMA_MOMENTUM, parameter_groups  # noqa: E402

SIZE_HW = (256, 192)
Step = Callable[[int], None]


class Data:
    """Batches of noise with points; made once, so that neither side waits for a loader."""

    def __init__(self, batch: int, size_hw: tuple[int, int], count: int = 4) -> None:
        rng = np.random.default_rng(0)
        height, width = size_hw
        self.images = rng.integers(0, 256, (count, batch, height, width, 3), dtype=np.uint8)
        self.keypoints = (rng.random((count, batch, 133, 2)) * (width, height)).astype(np.float32)
        self.weights = np.ones((count, batch, 133), np.float32)

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the arrays of a step."""
        i = step % len(self.images)
        return self.images[i], self.keypoints[i], self.weights[i]


def networks(teacher: str, student: str, size_hw: tuple[int, int]) -> StageOne:
    """A distiller of random networks; speed does not depend on what they know."""
    torch.manual_seed(0)
    teaching = RTMPose(rtmpose_config(teacher, size_hw))
    return StageOne(teaching, RTMPose(rtmpose_config(student, size_hw)), 270)


def naive_step(distiller: StageOne, data: Data, device: torch.device, half: bool) -> Step:
    """A step as a plain reproduction writes it."""
    distiller.to(device).train()
    average = deepcopy(distiller.student).eval()
    optimizer = torch.optim.AdamW(parameter_groups(distiller), lr=4e-3)
    scaler = torch.amp.GradScaler(device.type, enabled=half)
    trained = [p for p in distiller.parameters() if p.requires_grad]

    def run(step: int) -> None:
        images, keypoints, weights = data(step)
        rows = [
            (normalize(image[None]), *encode(points[None], seen[None], image.shape[:2]))
            for image, points, seen in zip(images, keypoints, weights, strict=True)
        ]
        columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
        batch = [torch.from_numpy(column).to(device) for column in columns]
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.float16, half):
            loss = torch.stack(list(distiller(*batch).values())).sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        scaler.step(optimizer)
        scaler.update()
        share = (1 - EMA_MOMENTUM) * math.exp(-(1 + step) / EMA_GAMMA) + EMA_MOMENTUM
        with torch.no_grad():
            newest = distiller.student.state_dict()
            for name, value in average.state_dict().items():
                if value.is_floating_point():
                    value.mul_(1 - share).add_(newest[name], alpha=share)
                else:
                    value.copy_(newest[name])
        # As every training loop does that prints its loss.
        loss.item()

    return run


def our_step(
    distiller: StageOne, data: Data, device: torch.device, precision: str, compiled: bool
) -> Step:
    """A step of the library's trainer."""
    config = LearnerConfig(precision=precision, compile=compiled)
    learner = Learner(distiller, config, 100_000, Ranks(device))
    pinned = device.type == "cuda"

    def run(step: int) -> None:
        raw = {}
        for name, array in zip(("image", "keypoints", "weights"), data(step), strict=True):
            tensor = torch.from_numpy(array)
            # The loader's workers hand batches over pinned.
            raw[name] = tensor.pin_memory() if pinned else tensor
        losses = learner.losses(prepare(raw, device), 0)
        learner.descend(losses["loss"])

    return run


def measure(step: Step, device: torch.device, steps: int, first: int) -> float:
    """Seconds that some steps take."""
    _wait(device)
    before = time.perf_counter()
    for number in range(first, first + steps):
        step(number)
    _wait(device)
    return time.perf_counter() - before


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all forms in turns."""
    device = torch.device(args.device)
    size_hw = (args.height, args.width)
    data = Data(args.batch, size_hw)
    ours = [(p, c) for p in ("fp32", "bf16") for c in (False, True) if args.compile or not c]
    makers: dict[str, Callable[[StageOne], Step]] = {
        f"ours, {p}{', compiled' if c else ''}": lambda d, p=p, c=c: our_step(d, data, device, p, c)
        for p, c in ours
    }
    makers["naive, fp32"] = lambda d: naive_step(d, data, device, half=False)
    makers["naive, fp16"] = lambda d: naive_step(d, data, device, half=True)
    if args.only:
        makers = {name: make for name, make in makers.items() if name in args.only.split("; ")}
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    memory: dict[str, float | None] = {}
    done = dict.fromkeys(makers, 0)
    # One network at a time lives on the device, or they would share its memory.
    for _ in range(args.rounds):
        for name, make in makers.items():
            step = make(networks(args.teacher, args.student, size_hw))
            for number in range(args.warm_up):
                step(number)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            seconds[name].append(measure(step, device, args.steps, args.warm_up))
            done[name] += args.steps
            memory[name] = (
                torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
            )
            del step
            if device.type == "cuda":
                torch.cuda.empty_cache()
    forms = {}
    for name, values in seconds.items():
        speeds = [args.steps * args.batch / value for value in values]
        forms[name] = {
            "images_per_s": statistics.median(speeds),
            "slowest": min(speeds),
            "fastest": max(speeds),
            "memory_mib": memory[name],
            "steps": done[name],
        }
    return {"facts": facts(device), "settings": vars(args), "forms": forms}


def facts(device: torch.device) -> dict[str, Any]:
    """Commit, machine and versions."""
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    on_cuda = device.type == "cuda"
    return {
        "commit": git.stdout.strip() or "unknown",
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(device) if on_cuda else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--teacher", default="l")
    add("--student", default="m")
    add("--height", type=int, default=SIZE_HW[0])
    add("--width", type=int, default=SIZE_HW[1])
    add("--batch", type=int, default=64)
    add("--steps", type=int, default=20)
    add("--rounds", type=int, default=3)
    add("--warm-up", type=int, default=5)
    add("--compile", action="store_true", help="measure compiled networks, too (minutes)")
    add("--only", help="forms by name, with semicolons")
    add("--out", default=str(ROOT / "benchmarks" / "results" / "training.json"))
    args = parser.parse_args()
    result = compare(args)
    forms = result["forms"]
    base = forms.get("naive, fp32", next(iter(forms.values())))["images_per_s"]
    print(f"{'':22} {'images/s':>10} {'to naive fp32':>14} {'MiB':>8}")
    for name, row in forms.items():
        memory = "" if row["memory_mib"] is None else f"{row['memory_mib']:.0f}"
        speed = row["images_per_s"]
        print(f"{name:22} {speed:10.1f} {speed / base:13.2f}x {memory:>8}")
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
