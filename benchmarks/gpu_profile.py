r"""Where a pose network's time on a GPU goes: kernel by kernel, and layer by layer.

    python benchmarks/gpu_profile.py                  # on a GPU
    python benchmarks/gpu_profile.py --device cpu --precision fp32 --size t --batch 2 --runs 1 \
        --modes eager --out FOLDER

The weights are random, as in `gpu.py`. Layers are told apart by the shapes of their inputs. Writes
results/gpu_profile.md, which is what to look at before anything is made faster.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from gpu import RESULTS, device_name, networks_of
from torch.profiler import ProfilerActivity, profile
from video import facts

from dwpose.runtimes.torch_session import DTYPES, TorchSession

ROWS = 25


def main() -> int:
    """Profile one network in each mode, write the tables, print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--device", default="cuda")
    add("--size", default="l-384x288")
    add("--batch", type=int, default=64)
    add("--precision", default="fp16", choices=tuple(DTYPES))
    add("--modes", nargs="+", choices=("eager", "compile"), default=["eager", "compile"])
    add("--runs", type=int, default=5)
    add("--out", type=Path, default=RESULTS, help="folder of the result")
    args = parser.parse_args()
    [(name, module, size_hw)] = networks_of(args.size, "")
    about = facts() | {"device": device_name(args.device)}
    lines = [
        f"# {name}, {args.precision}, batches of {args.batch}",
        "",
        ", ".join(f"{key}: {value}" for key, value in about.items()),
    ]
    for mode in args.modes:
        session = TorchSession(module, size_hw, args.device, args.precision)
        network = session.module if mode == "eager" else torch.compile(session.module)
        shape = (args.batch, 3, *size_hw)
        images = torch.zeros(shape, device=args.device, dtype=session.dtype)
        images = images.contiguous(memory_format=session.layout)
        lines += ["", f"## {mode}", "", *profiled(network, images, args.runs)]
    text = "\n".join(lines) + "\n"
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "gpu_profile.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def profiled(network: Any, images: torch.Tensor, runs: int) -> list[str]:
    """Two tables of what a run of the network spends on the device: by kernel and by layer."""
    on_gpu = images.device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu

    def run() -> None:
        with torch.inference_mode():
            for _ in range(runs):
                network(images)
        if on_gpu:
            torch.cuda.synchronize()

    run()
    with profile(activities=activities, record_shapes=True) as seen:
        run()

    def spent(event: Any) -> float:
        return event.self_device_time_total if on_gpu else event.self_cpu_time_total

    lines = []
    for title, by_shape in (("kernel or operator", False), ("layer", True)):
        events = seen.key_averages(group_by_input_shape=by_shape)
        # A layer's time on the device is its operator's; that of kernels is the kernels' own.
        kind = "CUDA" if on_gpu and not by_shape else "CPU"
        events = [e for e in events if e.device_type.name == kind and spent(e) > 0]
        events.sort(key=spent, reverse=True)
        total = sum(map(spent, events))
        lines += [f"| {title} | times a run | ms a run | share |", "|---|---|---|---|"]
        for event in events[:ROWS]:
            shapes = f" {event.input_shapes[:2]}" if by_shape else ""
            lines.append(
                f"| `{event.key[:90]}{shapes}` | {event.count // runs} "
                f"| {spent(event) / runs / 1e3:.3f} | {spent(event) / total:.1%} |"
            )
        lines += [f"| all | | {total / runs / 1e3:.3f} | |", ""]
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
