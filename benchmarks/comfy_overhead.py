"""What the pack costs in ComfyUI: time to load, milliseconds a frame, and memory of a batch.

COMFYUI_PATH names a ComfyUI checkout; run it with an interpreter that has ComfyUI's requirements:

    COMFYUI_PATH=... python benchmarks/comfy_overhead.py

The networks are replaced by ones that answer at once (the same person in the middle of every
frame), so that everything around them is seen. "Unavoidable" are the two conversions between
ComfyUI's float pictures and the library's bytes. Memory and the time to load (from the import of
the pack to its last schema, ComfyUI and torch being there already) are measured in processes of
their own.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PACK = "/custom_nodes/a pack"
TARGET_MS = 3.0
TARGET_LOAD_MS = 50.0
CROP_HW = (384, 288)


class Poser:
    """Answers at once: 133 points spread over the crop, all sure."""

    max_batch = None
    input_dtype = "float32"
    input_size_hw = CROP_HW

    def __init__(self, info: Any) -> None:
        self.info = info
        rng = np.random.default_rng(0)
        self._x = np.zeros((64, 133, CROP_HW[1] * 2), np.float32)
        self._y = np.zeros((64, 133, CROP_HW[0] * 2), np.float32)
        points = np.arange(133)
        self._x[:, points, rng.integers(100, CROP_HW[1] * 2 - 100, 133)] = 0.9
        self._y[:, points, rng.integers(100, CROP_HW[0] * 2 - 100, 133)] = 0.9

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return SimCC curves."""
        return self._x[: len(images)], self._y[: len(images)]


class Finder:
    """Answers at once: one person in the middle."""

    max_batch = None
    input_dtype = "float32"
    input_size_hw = (640, 640)

    def __init__(self, info: Any) -> None:
        self.info = info

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return boxes with scores, and labels."""
        one = np.array([[[200, 100, 440, 560, 0.9]]], np.float32)
        return np.repeat(one, len(images), 0), np.zeros((len(images), 1))


def load_comfyui() -> None:
    """Import what ComfyUI has imported when it comes to its packs."""
    comfyui = os.environ.get("COMFYUI_PATH")
    if not comfyui:
        raise SystemExit("COMFYUI_PATH must name a ComfyUI checkout")
    sys.path.insert(0, comfyui)
    sys.argv = sys.argv[:1]
    importlib.import_module("comfy.cli_args").args.cpu = True
    for name in ("torch", "comfy.model_management", "comfy.utils", "comfy_api.latest"):
        importlib.import_module(name)


def load_pack() -> Callable[[str], Any]:
    """Import ComfyUI and the pack, the pack as ComfyUI does; returns its modules by name."""
    load_comfyui()
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[PACK] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACK])
    return lambda name: importlib.import_module(f"{PACK}.{name}" if name else PACK)


def measure_load() -> dict[str, float]:
    """Milliseconds from the import of the pack to its last schema."""
    load_comfyui()
    wall, processor = time.perf_counter(), time.process_time()
    extension = asyncio.run(load_pack()("").comfy_entrypoint())
    for node in asyncio.run(extension.get_node_list()):
        node.GET_SCHEMA()
    found = {"processor": time.process_time() - processor, "clock": time.perf_counter() - wall}
    return {name: seconds * 1000 for name, seconds in found.items()}


def make_model(pack: Callable[[str], Any]) -> Any:
    """A DWPOSE_MODEL that costs nothing to run."""
    info = pack("dwpose.runtimes.session").RuntimeInfo("onnxruntime", "cpu", "fp32", "a stub")
    memory = pack("nodes.memory")
    return memory.PoseModel(
        memory.Network(Poser(info), "estimator"), memory.Network(Finder(info), "detector")
    )


def milliseconds(work: Callable[[], Any], rounds: int) -> list[float]:
    """Processor time of some rounds, which other work disturbs less than it does the clock."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append((time.process_time() - start) * 1000)
    return taken


def measure_time(frames: int, side: int, rounds: int) -> dict[str, float]:
    """Milliseconds a frame: the node, the library alone, the conversions alone."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pack = load_pack()
    model, node = make_model(pack), pack("nodes.estimate").PoseEstimator
    sockets, draw = pack("nodes.sockets"), pack("dwpose.render").draw_pose_map
    image = torch.rand(frames, side, side, 3)
    pictures = [sockets.Frames(image)[i] for i in range(frames)]

    def library() -> None:
        for people in model.pipeline.pose(pictures):
            draw(people, (side, side))

    def conversions() -> None:
        writer = sockets.ImageWriter(frames, (side, side))
        source = sockets.Frames(image)
        for index in range(frames):
            writer.put(index, source[index])

    with torch.inference_mode():
        works = {
            "node": lambda: node.execute(image, model=model),
            "library": library,
            "conversions": conversions,
        }
        for work in works.values():
            work()
        taken: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):  # interleaved, so that a busy moment meets all
            for name, work in works.items():
                taken[name] += milliseconds(work, 1)
    found = {name: statistics.median(values) / frames for name, values in taken.items()}
    rests = [(n - a - c) / frames for n, a, c in zip(*(taken[name] for name in works), strict=True)]
    return {**found, "overhead": statistics.median(rests), "best_overhead": min(rests)}


def measure_memory(frames: int, side: int) -> dict[str, float]:
    """Megabytes while a batch is worked on, besides its input and output."""
    import torch

    pack = load_pack()
    model, node = make_model(pack), pack("nodes.estimate").PoseEstimator
    node.execute(torch.rand(4, side, side, 3), model=model)
    image = torch.rand(frames, side, side, 3)
    before, peak, done = _resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with torch.inference_mode():
        out = node.execute(image, model=model)
    done.set()
    watcher.join()
    bytes_out = out.args[0].numel() * 4
    return {
        "input_mb": image.numel() * 4 / 1e6,
        "output_mb": bytes_out / 1e6,
        "extra_mb": (peak - before - bytes_out) / 1e6,
    }


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    """Measure both, print, and write what was measured where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=8, help="of a timed batch")
    parser.add_argument("--batch", type=int, default=100, help="of the batch for memory")
    parser.add_argument("--side", type=int, default=1024, help="of a frame in pixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--only", choices=("memory", "load"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        found = measure_load() if args.only == "load" else measure_memory(args.batch, args.side)
        print(json.dumps(found))
        return 0

    def in_a_process(what: str) -> dict[str, float]:
        again = [sys.executable, __file__, "--only", what]
        again += ["--batch", str(args.batch), "--side", str(args.side)]
        # Compiled once and kept, as on a user's machine.
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        kept["PYTHONPYCACHEPREFIX"] = compiled
        done = subprocess.run(again, capture_output=True, text=True, check=True, env=kept)
        return json.loads(done.stdout.splitlines()[-1])

    with tempfile.TemporaryDirectory() as compiled:
        loads = [in_a_process("load") for _ in range(args.rounds + 1)][1:]
        memory = in_a_process("memory")
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    report: dict[str, Any] = {
        "commit": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "frame": f"{args.side}x{args.side}",
        "processor_ms_per_frame": measure_time(args.frames, args.side, args.rounds),
        f"memory_of_{args.batch}_frames": memory,
        "load_ms": {
            name: {"median": statistics.median(load[name] for load in loads)}
            | {"best": min(load[name] for load in loads)}
            for name in loads[0]
        },
        "target_ms": TARGET_MS,
        "target_load_ms": TARGET_LOAD_MS,
    }
    text = json.dumps(report, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
