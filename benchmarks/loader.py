"""Does the loader feed the training step? Images a second of both, side by side.

    python benchmarks/loader.py [--photos FOLDER --labels FILE] [--workers 0 2 4] [--device cuda]

Without photos it draws some of COCO's usual size (640x480 JPEG), with one labelled person each.
Recorded: images a second of the loader for each number of workers, the CPU time of one image and
of its parts (reading the picture, varying it), and the training step of the paper's first stage
(a teacher and a student, bf16 on CUDA, fp32 elsewhere) on a batch that is there already. The
loader has to make more images a second than the step takes; `cores_needed` is the number of CPU
cores at which it does. CPU time is hardly changed by other programs, wall time is.
Written to results/loader.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from dwpose import __version__
from dwpose.io.images import save_image
from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.training.batch import prepare
from dwpose.training.data import STRONG, LabelledPeople, build_loader, load_own_folder, vary
from dwpose.training.data.photos import read_photo
from dwpose.training.distill import StageOne
from dwpose.training.distributed import Ranks
from dwpose.training.learner import Learner, LearnerConfig

ROOT = Path(__file__).resolve().parent.parent
PHOTO_HW = (480, 640)


def draw_photos(folder: Path, count: int) -> LabelledPeople:
    """Write photos as detailed as real ones (about 150 kB), and label one person on each."""
    height, width = PHOTO_HW
    files = []
    rng = np.random.default_rng(0)
    for i in range(count):
        noise = rng.normal(0, 1, (height // 4, width // 4, 3)).astype(np.float32)
        coarse = cv2.resize(cv2.GaussianBlur(noise, (0, 0), 6), (width, height)) * 400
        fine = cv2.resize(noise, (width, height)) * 12
        image = np.clip(128 + coarse + fine, 0, 255).astype(np.uint8)
        files.append(save_image(folder / f"{i}.jpg", image))
    box = np.array([200, 60, 420, 450], np.float32)
    return LabelledPeople(
        "drawn",
        "drawn",
        tuple(files),
        np.arange(count),
        np.arange(count),
        np.arange(count),
        np.tile(box, (count, 1)),
        rng.uniform(box[:2], box[2:], (count, 133, 2)).astype(np.float32),
        np.ones((count, 133), bool),
    )


def cpu_ms(work: Callable[[int], Any], count: int) -> float:
    """Median CPU time of one call in milliseconds."""
    times = []
    for i in range(count):
        start = time.process_time()
        work(i)
        times.append((time.process_time() - start) * 1e3)
    return statistics.median(times)


def measure_parts(people: LabelledPeople, size_hw: tuple[int, int], count: int) -> dict[str, float]:
    """CPU time of one image, and of its parts, in milliseconds."""
    images = [read_photo(people.file(i % len(people))) for i in range(min(count, len(people)))]

    def read(i: int) -> None:
        read_photo(people.file(i % len(people)))

    def change(i: int) -> None:
        row = i % len(images)
        rng = np.random.default_rng(i)
        box, points, visible = people.boxes[row], people.keypoints[row], people.visible[row]
        vary(images[row], box, points, visible, size_hw, rng, STRONG)

    return {"read": cpu_ms(read, count), "vary": cpu_ms(change, count)}


def measure_loader(
    people: LabelledPeople, size_hw: tuple[int, int], batch: int, workers: int, batches: int
) -> dict[str, float]:
    """Images a second of a loader, after its workers have started."""
    loader = build_loader([people], size_hw, batch, 0, workers=workers, iterations=batches + 2)
    source = loader.batches(0)
    for _ in range(2):
        next(source)
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(batches):
        next(source)
    wall, own = time.perf_counter() - start, time.process_time() - cpu
    row = {"workers": workers, "images_per_s": batches * batch / wall}
    if workers == 0:
        row["cpu_ms_per_image"] = own * 1e3 / (batches * batch)
    return row


def measure_step(
    people: LabelledPeople, teacher: str, student: str, batch: int, device: str, steps: int
) -> dict[str, Any]:
    """Images a second of one training step of the first stage, its batch lying ready."""
    size_hw = (256, 192)
    precision = "bf16" if device.startswith("cuda") else "fp32"
    raw = next(build_loader([people], size_hw, batch, 0, workers=0, iterations=1).batches(0))
    taught, pupil = (RTMPose(rtmpose_config(size, size_hw)) for size in (teacher, student))
    ranks = Ranks(torch.device(device))
    learner = Learner(StageOne(taught, pupil, 1), LearnerConfig(precision=precision), 1000, ranks)
    times, cpu = [], []
    for step in range(steps + 2):
        start, used = time.perf_counter(), time.process_time()
        losses = learner.losses(prepare(raw, ranks.device), 0)
        learner.descend(losses["loss"])
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if step >= 2:  # the first ones choose kernels
            times.append(time.perf_counter() - start)
            cpu.append(time.process_time() - used)
    row = {
        "teacher": teacher,
        "student": student,
        "batch": batch,
        "precision": precision,
        "images_per_s": batch / statistics.median(times),
    }
    if device == "cpu":
        row["cpu_ms_per_image"] = statistics.median(cpu) * 1e3 / batch
    return row


def main() -> None:
    """Measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--photos", type=Path, help="a folder of labelled photos")
    parser.add_argument("--labels", help="the COCO file in it")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=8, help="measured for each row")
    parser.add_argument("--teacher", default="l")
    parser.add_argument("--student", default="m")
    parser.add_argument("--step-batch", type=int, help="(default: --batch)")
    parser.add_argument("--steps", type=int, default=5, help="training steps; 0 for none")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/loader.json")
    args = parser.parse_args()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        people = (
            load_own_folder(args.photos, args.labels)
            if args.photos
            else draw_photos(Path(folder), args.batch)
        )
        sizes = [file.stat().st_size for file in people.files]
        parts = measure_parts(people, (256, 192), 64)
        rows = [
            measure_loader(people, (256, 192), args.batch, workers, args.batches)
            for workers in args.workers
        ]
        step = None
        if args.steps:
            batch = args.step_batch or args.batch
            step = measure_step(people, args.teacher, args.student, batch, args.device, args.steps)
    made = sum(parts.values())
    if step is not None:
        step["cores_needed"] = step["images_per_s"] * made / 1e3
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    record = {
        "commit": commit,
        "version": __version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, load {load}",
        "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else args.device,
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "photos": {"count": len(sizes), "median_bytes": statistics.median(sizes)},
        "crop_hw": [256, 192],
        "cpu_ms_per_image": parts,
        "loader": rows,
        "step": step,
    }
    text = json.dumps(record, indent=1)
    print(text)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
