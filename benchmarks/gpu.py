"""Networks on a GPU: people and pictures a second, and milliseconds for one, beside its ceilings.

    python benchmarks/gpu.py --minutes 6        # on a GPU
    python benchmarks/gpu.py --device cpu --sizes t --detectors nano --batches 1,2 --repeats 1 \
        --precisions fp32 --frames 8 --clip-batches 4 --picture 360x640 --out FOLDER

RTMPose t, s, m and l at 256x192 and l at 384x288, and YOLOX-l at 640x640, in fp16 and bf16: run
eagerly, as CUDA graphs, and compiled (`runtimes.graphs`). Weights do not matter for time, so they
are random. What is timed:

- "network": the network alone, its batch on the device;
- "points": bytes in, points or rows out (`runtimes.on_device`), each run waited for; "streamed":
  the next run is started before the last one's answer is waited for, as the library does;
- "library": `Estimator` or `PersonDetector` from pictures in memory, with cutting out and reading;
- "session", eagerly alone: float32 arrays in, all that the network answers out;
- a clip, from frames in memory, by `batch_following`: both networks on every frame, ids, cuts.

Compiled networks are timed from bytes to points alone, because each kind of run is compiled anew.
Beside them stand the largest matrix product and the fastest copies that this device does, and the
share of the first that a network reaches. What matters most comes first, and every number is in
results/gpu.json and results/gpu.md at once; what --minutes left no time for is named there.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scene
import torch
from gpu_clip import measure_clip
from torch import nn
from video import facts

from dwpose.detector import PersonDetector
from dwpose.estimator import Estimator
from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.models.yolox import YOLOX, yolox_config
from dwpose.runtimes.graphs import MODES
from dwpose.runtimes.on_device import DeviceRun, crops_to_points, pictures_to_rows
from dwpose.runtimes.threads import overlap
from dwpose.runtimes.torch_session import DTYPES, TorchSession
from dwpose.simcc import SPLIT
from dwpose.types import Boxes

RESULTS = Path(__file__).resolve().parent / "results"
SIZES = ("l-384x288", "l-256x192", "m", "s", "t")
# The project's targets on one large GPU.
TARGETS = {
    "rtmpose-l-384x288": "8000 people/s, 1.5 ms for one",
    "yolox-l": "1000 images/s",
}
# Runs of a streamed measurement, and batches of the library's.
STREAMED, CALLED = 8, 4


def main() -> int:
    """Measure what there is time for, write both files after each number, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--device", default="cuda")
    add("--sizes", default=",".join(SIZES))
    add("--detectors", default="l")
    add("--precisions", default="fp16,bf16")
    add("--modes", default="graph,eager,compile", help=f"of {', '.join(MODES)}")
    add("--batches", default="1,64,16")
    add("--repeats", type=int, default=20)
    add("--most", type=float, default=1.5, help="seconds of one measurement, whatever the repeats")
    add("--minutes", type=float, default=60.0, help="start nothing new after so long")
    add("--people", default="1,4", help="in the clips; empty for no clips")
    add("--frames", type=int, default=192, help="of a clip")
    add("--clip-batches", default="32", help="frames together")
    add("--picture", default="1080x1920", help="height and width of pictures and frames")
    add("--out", type=Path, default=RESULTS, help="folder of the results")
    args = parser.parse_args()
    Report(args).measure()
    return 0


class Report:
    """All that is measured, written whenever something was added.

    Args:
        args: of the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.until = time.monotonic() + 60 * args.minutes
        about = facts() | {"device": device_name(args.device), "minutes": args.minutes}
        self.found: dict[str, Any] = {"about": about, "networks": [], "clips": [], "left_out": []}
        self.flops: dict[str, int] = {}
        self.picture_hw = tuple(int(n) for n in args.picture.split("x"))

    def measure(self) -> None:
        """Measure in the order of what matters."""
        args = self.args
        self.found["ceilings"] = measure_ceilings(
            args.device, args.precisions.split(","), Clock(args.device, args.repeats, args.most)
        )
        self.write()
        networks = list(networks_of(args.sizes, args.detectors))
        precisions = args.precisions.split(",")
        jobs = [
            (self._weight(name, precision, mode), name, precision, mode)
            for precision in precisions
            for name, _, _ in networks
            for mode in args.modes.split(",")
        ]
        known = {name: (module, size_hw) for name, module, size_hw in networks}
        clips_done = False
        for weight, name, precision, mode in sorted(jobs, key=lambda job: job[0]):
            if weight > 0 and not clips_done:
                clips_done = True
                self._clips(known, precisions[0])
            self._network(name, *known[name], precision, mode)
        if not clips_done:
            self._clips(known, precisions[0])
        self.write()
        print(to_markdown(self.found))

    def _weight(self, name: str, precision: str, mode: str) -> int:
        """Place in the order: targets first, then other networks; compiling takes longest."""
        other = self.args.precisions.split(",").index(precision) > 0
        return 4 * (mode == "compile") + 2 * (name not in TARGETS) + other

    def _late(self, what: str) -> bool:
        """Note what there is no time for."""
        if time.monotonic() < self.until:
            return False
        self.found["left_out"].append(what)
        return True

    def _network(
        self, name: str, module: nn.Module, size_hw: tuple[int, int], precision: str, mode: str
    ) -> None:
        if self._late(f"{name} {precision} {mode}"):
            return
        if name not in self.flops:
            self.flops[name] = count_flops(module, size_hw)
        flops = self.flops[name]
        row: dict[str, Any] = {"network_name": name, "precision": precision, "mode": mode}
        row["gflops"] = flops / 1e9
        self.found["networks"].append(row)
        start = time.perf_counter()
        try:
            session = TorchSession(module, size_hw, self.args.device, precision, mode=mode)
            row["info"] = str(session.info)
            # What one network's graphs held is given back before the next.
            gc.collect()
            torch.cuda.empty_cache()
            for count in (int(b) for b in self.args.batches.split(",")):
                if self._late(f"{name} {precision} {mode}, batch {count}"):
                    break
                for what, ms, done in self._timings(session, mode, size_hw, count):
                    row.setdefault(what, {})[count] = {"ms": ms, "per_s": done / ms * 1e3}
                    runs = [*row["points"].values(), *row.get("network", {}).values()]
                    best = max(b["per_s"] for b in runs)
                    product = self.found["ceilings"]["matmul_tflops"][precision]
                    row["share_of_matmul"] = best * flops / 1e12 / product
                    row["seconds"] = round(time.perf_counter() - start, 1)
                    self.write()
        except RuntimeError as error:  # out of memory, or what a compiler cannot do
            row["error"] = str(error).strip().splitlines()[0]
        self.write()
        print(json.dumps(row), flush=True)

    def _timings(
        self, session: TorchSession, mode: str, size_hw: tuple[int, int], count: int
    ) -> Iterator[tuple[str, float, int]]:
        """What, its milliseconds, and how many inputs were done in them."""
        device = self.args.device
        spend = Clock(device, self.args.repeats, self.args.most)
        run = points_run(session)
        buffer = run.new_buffer(count, size_hw)
        buffer[:] = 114
        yield "points", spend(lambda: run.start(buffer)()), count

        def stream() -> None:
            for _ in overlap((run.start(buffer) for _ in range(STREAMED)), 1):
                pass

        yield "streamed", spend(stream), count * STREAMED
        if mode == "compile":
            return
        batch = torch.zeros(count, 3, *size_hw, device=device, dtype=session.dtype)
        batch = batch.contiguous(memory_format=session.layout)
        with torch.inference_mode():
            ms = spend(lambda: session._forward(batch), 5)
        yield "network", ms, count
        call, done = self._library(session, count)
        yield "library", spend(call), done
        if mode == "eager":
            images = np.zeros((count, 3, *size_hw), np.float32)
            yield "session", spend(lambda: session(images)), count

    def _library(self, session: TorchSession, count: int) -> tuple[Callable[[], Any], int]:
        """A call of the library over some batches of pictures in memory, and what it does."""
        images = [scene.picture(self.picture_hw)] * CALLED  # type: ignore[arg-type]
        if isinstance(session.module, RTMPose):
            boxes = [Boxes(scene.boxes_of(self.picture_hw, count))] * CALLED  # type: ignore[arg-type]
            estimator = Estimator(session, batch_size=count, on_device=True)
            return lambda: estimator(images, boxes), count * CALLED
        detector = PersonDetector(session, batch_size=count, on_device=True)
        return lambda: detector(images * count), count * CALLED

    def _clips(self, known: dict[str, tuple[nn.Module, tuple[int, int]]], precision: str) -> None:
        """Frames a second of a film with the first pose network and the first detector."""
        posers = [name for name, (module, _) in known.items() if isinstance(module, RTMPose)]
        finders = [name for name, (module, _) in known.items() if isinstance(module, YOLOX)]
        if not self.args.people or not posers or not finders:
            return
        mode = self.args.modes.split(",")[0]
        names = (posers[0], finders[0])
        sessions = [
            TorchSession(*known[name], self.args.device, precision, mode=mode) for name in names
        ]
        for people in (int(n) for n in self.args.people.split(",")):
            for batch in (int(n) for n in self.args.clip_batches.split(",")):
                if self._late(f"clip of {people}, batch {batch}"):
                    continue
                row = {"networks": names, "precision": precision, "mode": mode, "people": people}
                row |= {"frame_hw": self.picture_hw, "batch": batch}
                try:
                    row |= measure_clip(
                        sessions[0], sessions[1], people, batch, self.args.frames, self.picture_hw
                    )
                except RuntimeError as error:
                    row["error"] = str(error).strip().splitlines()[0]
                self.found["clips"].append(row)
                self.write()
                print(json.dumps(row), flush=True)

    def write(self) -> None:
        """Write what there is so far."""
        self.args.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.found, indent=1) + "\n"
        (self.args.out / "gpu.json").write_text(text, encoding="utf-8")
        (self.args.out / "gpu.md").write_text(to_markdown(self.found), encoding="utf-8")


def networks_of(sizes: str, detectors: str) -> Iterator[tuple[str, nn.Module, tuple[int, int]]]:
    """Name, network and input height and width of all that is measured."""
    for text in filter(None, sizes.split(",")):
        size, _, side = text.partition("-")
        height, width = (int(n) for n in (side or "256x192").split("x"))
        config = rtmpose_config(size, (height, width))  # type: ignore[arg-type]
        yield f"rtmpose-{size}-{height}x{width}", RTMPose(config).eval(), (height, width)
    for size in filter(None, detectors.split(",")):
        config = yolox_config(size)  # type: ignore[arg-type]
        yield f"yolox-{size}", YOLOX(config).eval(), config.input_size_hw


def points_run(session: TorchSession) -> DeviceRun:
    """The session's network from bytes to points or rows."""
    run = crops_to_points(session, False, SPLIT) or pictures_to_rows(session, True)
    assert run is not None
    return run


def count_flops(module: nn.Module, size_hw: tuple[int, int]) -> int:
    """Floating point operations for one input: two for each multiplication and addition."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, *size_hw))
    return counter.get_total_flops()


class Clock:
    """Median milliseconds of some work, waited for.

    Args:
        device: what is waited for.
        repeats: of each work.
        most: seconds after which there are no more repeats.
    """

    def __init__(self, device: str, repeats: int, most: float) -> None:
        self.cuda = torch.device(device).type == "cuda"
        self.repeats, self.most = repeats, most

    def __call__(self, work: Callable[[], Any], inner: int = 1) -> float:
        """Time the work, `inner` times before each wait."""
        work()
        self._wait()
        spent: list[float] = []
        while len(spent) < self.repeats and sum(spent) * inner < self.most * 1e3:
            start = time.perf_counter()
            for _ in range(inner):
                work()
            self._wait()
            spent.append((time.perf_counter() - start) / inner * 1e3)
        return float(np.median(spent))

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()


def measure_ceilings(device: str, precisions: list[str], spend: Clock) -> dict[str, Any]:
    """Fastest matrix product (TFLOP/s) and copies (GB/s) of the device."""
    large = torch.device(device).type == "cuda"
    side, bytes_ = (8192, 2**28) if large else (512, 2**24)
    products = {}
    for precision in precisions:
        a, b = (torch.randn(side, side, device=device, dtype=DTYPES[precision]) for _ in range(2))
        ms = spend(lambda a=a, b=b: a @ b, 5)
        products[precision] = 2 * side**3 / ms / 1e9
    here = torch.zeros(bytes_, dtype=torch.uint8, device=device)
    there, host = torch.empty_like(here), torch.zeros(bytes_, dtype=torch.uint8)
    pinned = host.pin_memory() if large else host
    copies = {
        # Reads and writes each byte once.
        "on_device": 2 * bytes_ / spend(lambda: there.copy_(here), 5) / 1e6,
        "to_device_pinned": bytes_ / spend(lambda: here.copy_(pinned)) / 1e6,
        "to_device": bytes_ / spend(lambda: here.copy_(host)) / 1e6,
        "to_host_pinned": bytes_ / spend(lambda: pinned.copy_(here)) / 1e6,
        "to_host": bytes_ / spend(lambda: host.copy_(here)) / 1e6,
    }
    return {"matmul_tflops": products, "copy_gb_s": copies}


def device_name(device: str) -> str:
    """What the device calls itself."""
    found = torch.device(device)
    return torch.cuda.get_device_name(found) if found.type == "cuda" else found.type


def to_markdown(report: dict[str, Any]) -> str:
    """Lay the report out as tables."""
    about, ceilings = report["about"], report["ceilings"]
    products = ", ".join(f"{v:.1f} ({k})" for k, v in ceilings["matmul_tflops"].items())
    copies = ", ".join(f"{k} {v:.1f}" for k, v in ceilings["copy_gb_s"].items())
    lines = [
        f"{about['device']}, torch {about['versions']['torch']}, {about['date']}, "
        f"{about['commit']}. Largest matrix product: {products} TFLOP/s; copies in GB/s: {copies}.",
        "",
        "Milliseconds for one, and the most a second of all batches:",
        "",
        "| network | precision | mode | network, ms | points, ms | network | share of the product "
        "| points, streamed | library | session |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["networks"]:
        name = f"| {row['network_name']} | {row['precision']} | {row['mode']} |"
        if "error" in row:
            name += f" {row['error']} |"
            lines.append(name + " |" * 6)
            continue

        def one(what: str, row: dict[str, Any] = row) -> str:
            found = row.get(what, {}).get(1)
            return "" if found is None else f"{found['ms']:.2f}"

        def most(what: str, row: dict[str, Any] = row) -> str:
            best = max((b["per_s"] for b in row.get(what, {}).values()), default=None)
            return "" if best is None else f"{best:.0f}"

        share = f"{row['share_of_matmul']:.0%}" if "share_of_matmul" in row else ""
        cells = [one("network"), one("points"), most("network"), share]
        cells += [most(what) for what in ("streamed", "library", "session")]
        lines.append(" ".join([name, " | ".join(cells), "|"]))
    lines += ["", "Targets: " + "; ".join(f"{k} {v}" for k, v in TARGETS.items()) + "."]
    if report["clips"]:
        lines += ["", "| film, both networks on each frame | people | frames together | frames/s |"]
        lines += ["|---|---|---|---|"]
    for row in report["clips"]:
        what = f"{' and '.join(row['networks'])}, {row['precision']}, {row['mode']}, "
        what += "x".join(str(n) for n in row["frame_hw"])
        lines.append(
            f"| {what} | {row['people']} | {row['batch']} "
            f"| {row['error'] if 'error' in row else round(row['frames_per_s'], 1)} |"
        )
    if report["left_out"]:
        lines += ["", "No time was left for: " + "; ".join(report["left_out"]) + "."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
