"""Networks on a GPU: people and pictures a second, and milliseconds for one, beside its ceilings.

    python benchmarks/gpu.py                                   # on a GPU, some minutes
    python benchmarks/gpu.py --device cpu --sizes t --detectors "" --batches 1,2 --repeats 1

RTMPose t, s, m and l at 256x192 and l at 384x288, and YOLOX-l at 640x640, in fp16 and bf16: run
eagerly, as CUDA graphs, and compiled (`runtimes.graphs`). Weights do not matter for time, so they
are random. "network" is the network alone with its batch on the device; "session" is what the
library calls: float32 arrays in, float32 arrays out, with both copies. Beside them stand the
largest matrix product and the fastest copies that this device does, and the share of the first
that a network reaches. Written to results/gpu.json and results/gpu.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from video import facts

from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.models.yolox import YOLOX, yolox_config
from dwpose.runtimes.graphs import MODES
from dwpose.runtimes.torch_session import DTYPES, TorchSession

RESULTS = Path(__file__).resolve().parent / "results"
SIZES = ("t", "s", "m", "l-256x192", "l-384x288")
# The project's targets on one large GPU.
TARGETS = {
    "rtmpose-l-384x288": "8000 people/s, 1.5 ms for one",
    "yolox-l": "1000 images/s",
}


def main() -> int:
    """Measure everything, write both files, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--detectors", default="l")
    parser.add_argument("--precisions", default="fp16,bf16")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--batches", default="1,16,64")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    args = parser.parse_args()
    batches = [int(b) for b in args.batches.split(",")]
    ceilings = measure_ceilings(args.device, args.precisions.split(","), args.repeats)
    rows = []
    for name, module, size_hw in networks(args.sizes, args.detectors):
        flops = count_flops(module, size_hw)
        for precision in args.precisions.split(","):
            for mode in args.modes.split(","):
                row = {"network": name, "precision": precision, "mode": mode, "gflops": flops / 1e9}
                try:
                    row |= measure(module, size_hw, args.device, precision, mode, batches, args)
                except RuntimeError as error:  # out of memory, or what a compiler cannot do
                    row["error"] = str(error).strip().splitlines()[0]
                best = max((b["per_s"] for b in row.get("network_ms", {}).values()), default=0.0)
                row["share_of_matmul"] = best * flops / 1e12 / ceilings["matmul_tflops"][precision]
                rows.append(row)
                print(json.dumps(row), flush=True)
    about = facts() | {"device": device_name(args.device)}
    report = {"about": about, "ceilings": ceilings, "networks": rows}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (args.out / "gpu.md").write_text(to_markdown(report), encoding="utf-8")
    print(to_markdown(report))
    return 0


def networks(sizes: str, detectors: str) -> list[tuple[str, nn.Module, tuple[int, int]]]:
    """Name, network and input height and width of all that is measured."""
    found: list[tuple[str, nn.Module, tuple[int, int]]] = []
    for text in filter(None, sizes.split(",")):
        size, _, side = text.partition("-")
        height, width = (int(n) for n in (side or "256x192").split("x"))
        config = rtmpose_config(size, (height, width))  # type: ignore[arg-type]
        found.append((f"rtmpose-{size}-{height}x{width}", RTMPose(config).eval(), (height, width)))
    for size in filter(None, detectors.split(",")):
        config = yolox_config(size)  # type: ignore[arg-type]
        found.append((f"yolox-{size}", YOLOX(config).eval(), config.input_size_hw))
    return found


def count_flops(module: nn.Module, size_hw: tuple[int, int]) -> int:
    """Floating point operations for one input: two for each multiplication and addition."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, *size_hw))
    return counter.get_total_flops()


def spend(device: str, work: Callable[[], Any], repeats: int, inner: int = 1) -> float:
    """Median milliseconds of some work, waited for."""

    def wait() -> None:
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()

    work()
    wait()
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(inner):
            work()
        wait()
        spent.append((time.perf_counter() - start) / inner * 1e3)
    return float(np.median(spent))


def measure_ceilings(device: str, precisions: list[str], repeats: int) -> dict[str, Any]:
    """Fastest matrix product (TFLOP/s) and copies (GB/s) of the device."""
    large = torch.device(device).type == "cuda"
    side, bytes_ = (8192, 2**30) if large else (512, 2**24)
    products = {}
    for precision in precisions:
        a, b = (torch.randn(side, side, device=device, dtype=DTYPES[precision]) for _ in range(2))
        ms = spend(device, lambda a=a, b=b: a @ b, repeats, 5)
        products[precision] = 2 * side**3 / ms / 1e9
    here = torch.zeros(bytes_, dtype=torch.uint8, device=device)
    there, host = torch.empty_like(here), torch.zeros(bytes_, dtype=torch.uint8)
    pinned = host.pin_memory() if large else host
    copies = {
        # Reads and writes each byte once.
        "on_device": 2 * bytes_ / spend(device, lambda: there.copy_(here), repeats) / 1e6,
        "to_device_pinned": bytes_ / spend(device, lambda: here.copy_(pinned), repeats) / 1e6,
        "to_device": bytes_ / spend(device, lambda: here.copy_(host), repeats) / 1e6,
        "to_host": bytes_ / spend(device, lambda: host.copy_(here), repeats) / 1e6,
    }
    return {"matmul_tflops": products, "copy_gb_s": copies}


def measure(
    module: nn.Module,
    size_hw: tuple[int, int],
    device: str,
    precision: str,
    mode: str,
    batches: list[int],
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Time one network at some batch sizes, alone and through its session."""
    start = time.perf_counter()
    session = TorchSession(module, size_hw, device, precision, mode=mode)
    inner, whole = {}, {}
    for count in batches:
        images = np.zeros((count, 3, *size_hw), np.float32)
        batch = torch.zeros(count, 3, *size_hw, device=device, dtype=DTYPES[precision])
        batch = batch.contiguous(memory_format=session.layout)
        with torch.inference_mode():
            ms = spend(device, lambda b=batch: session._forward(b), args.repeats, 5)
        inner[count] = {"ms": ms, "per_s": count / ms * 1e3}
        ms = spend(device, lambda i=images: session(i), args.repeats)
        whole[count] = {"ms": ms, "per_s": count / ms * 1e3}
    return {
        "info": str(session.info),
        "seconds_to_prepare_and_measure": round(time.perf_counter() - start, 1),
        "network_ms": inner,
        "session_ms": whole,
    }


def device_name(device: str) -> str:
    """What the device calls itself."""
    found = torch.device(device)
    return torch.cuda.get_device_name(found) if found.type == "cuda" else found.type


def to_markdown(report: dict[str, Any]) -> str:
    """Lay the report out as a table."""
    about, ceilings = report["about"], report["ceilings"]
    products = ", ".join(f"{v:.1f} ({k})" for k, v in ceilings["matmul_tflops"].items())
    copies = ", ".join(f"{k} {v:.1f}" for k, v in ceilings["copy_gb_s"].items())
    lines = [
        f"{about['device']}, torch {about['versions']['torch']}, {about['date']}, "
        f"{about['commit']}. Largest matrix product: {products} TFLOP/s; copies in GB/s: {copies}.",
        "",
        "| network | precision | mode | ms for one | most a second | share of the matrix product "
        "| through the session, a second |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["networks"]:
        name = f"{row['network']}, {row['precision']}".replace(", ", " | ")
        if "error" in row:
            lines.append(f"| {name} | {row['mode']} | {row['error']} | | | |")
            continue
        one = row["network_ms"].get(1)
        best = max(b["per_s"] for b in row["network_ms"].values())
        through = max(b["per_s"] for b in row["session_ms"].values())
        alone = f"{one['ms']:.2f}" if one else ""
        lines.append(
            f"| {name} | {row['mode']} | {alone} | {best:.0f} "
            f"| {row['share_of_matmul']:.0%} | {through:.0f} |"
        )
    lines += ["", "Targets: " + "; ".join(f"{k} {v}" for k, v in TARGETS.items()) + "."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
