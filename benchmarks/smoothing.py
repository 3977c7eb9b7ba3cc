"""How much smoothing steadies, and what it costs in error and lag, against exact truth.

    python benchmarks/smoothing.py [--seeds 2] [--frames 100] [--out FILE]

Skeletons that move at several speeds and frame rates (`dwpose.training.synthetic.motion`) are seen
with a network's noise, jumps and fading points, and smoothed with the default options: offline
(`smoothing`), as a stream (`one_euro`), and by the plain One-Euro filter for comparison (no lead,
no tracking signal). Beside them stands what linear estimators could do that know noise and movement
beforehand (`smoothing_bound`). Mean error in pixels over points that were seen; jitter is the mean
acceleration error (second difference against the truth's, pixels a frame squared); lag is the
shift in frames at which the smoothed wrists, elbows and ankles fit the truth best.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from smoothing_bound import Bounds

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dwpose.one_euro import OneEuroOptions, StreamSmoother  # noqa: E402
from dwpose.skeleton import PARTS  # noqa: E402
from dwpose.smoothing import smooth_sequence  # noqa: E402
from dwpose.training.synthetic.motion import (  # noqa: E402
    Act,
    as_people,
    move,
    observe,
    project,
    spread_px,
)
from dwpose.types import People  # noqa: E402

SCENES: dict[str, tuple[Act, float]] = {
    "still, 25 fps": (Act(amount=0.05, step=False, travel_m=0.0), 25.0),
    "everyday, 25 fps": (Act(), 25.0),
    "everyday, 30 fps": (Act(), 30.0),
    "everyday, 50 fps": (Act(), 50.0),
    "dance (twice as fast), 25 fps": (Act(speed=2.0, amount=1.2), 25.0),
    "dance (twice as fast), 30 fps": (Act(speed=2.0, amount=1.2), 30.0),
    "dance (twice as fast), 50 fps": (Act(speed=2.0, amount=1.2), 50.0),
    "everyday, 12 fps": (Act(), 12.0),
}
LIMBS = [7, 8, 9, 10, 15, 16]


def offline(frames: list[People], times: np.ndarray) -> list[People]:
    """The whole clip at once."""
    return smooth_sequence(frames, times).people


def stream(frames: list[People], times: np.ndarray) -> list[People]:
    """Frame by frame."""
    smoother = StreamSmoother()
    return [smoother.update(p, float(t)) for p, t in zip(frames, times, strict=True)]


def plain(frames: list[People], times: np.ndarray) -> list[People]:
    """The One-Euro filter as published, with the gain that lags about as much as it steadies."""
    smoother = StreamSmoother(
        OneEuroOptions(lead=0.0, follow_gain=0.0, score_power=0.0, speed_gain=6.0)
    )
    return [smoother.update(p, float(t)) for p, t in zip(frames, times, strict=True)]


METHODS: dict[str, Callable[[list[People], np.ndarray], list[People]]] = {
    "offline": offline,
    "stream": stream,
    "plain One-Euro": plain,
}


def lag_frames(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Shift of the estimate at which it fits best, by a parabola through whole shifts."""
    shifts = np.arange(-4, 9)
    inner = slice(10, len(truth) - 10)
    errors = np.array(
        [
            np.square(np.roll(estimate, -s, axis=0)[inner, LIMBS] - truth[inner, LIMBS]).mean()
            for s in shifts
        ]
    )
    best = int(np.clip(errors.argmin(), 1, len(shifts) - 2))
    low, mid, high = errors[best - 1 : best + 2]
    return float(shifts[best] + 0.5 * (low - high) / (low - 2 * mid + high))


def measure(estimate: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> dict[str, Any]:
    """Error, jitter by part and all, and lag."""
    error = np.linalg.norm(estimate - truth, axis=-1)
    shake = np.linalg.norm(np.diff(estimate - truth, 2, axis=0), axis=-1)
    parts = {**PARTS, "all": slice(None)}
    return {
        "error_px": {k: float(error[:, p][seen[:, p]].mean()) for k, p in parts.items()},
        "jitter_px": {k: float(shake[:, p].mean()) for k, p in parts.items()},
        "lag_frames": lag_frames(estimate, truth),
    }


def run_scene(act: Act, fps: float, frames: int, seeds: int) -> dict[str, Any]:
    """Means over seeds of every method's numbers."""
    times = np.arange(frames) / fps
    found: dict[str, list[dict[str, Any]]] = {}
    bounds = Bounds(act, fps, frames)
    best = {
        "best, each point alone": bounds.each_point,
        "best, all points together": bounds.all_points,
        "best stream, each point alone": bounds.each_point_causal,
    }
    for seed in range(seeds):
        truth = project(move(seed, times, act=act))
        noisy, scores = observe(truth, seed)
        seen = scores >= 0.3
        found.setdefault("raw", []).append(measure(noisy, truth, seen))
        people = as_people(noisy, scores)
        for name, method in METHODS.items():
            start = time.perf_counter()
            steady = method(people, times)
            spent = (time.perf_counter() - start) * 1e3 / frames
            got = measure(np.stack([p.keypoints[0] for p in steady]), truth, seen)
            found.setdefault(name, []).append({**got, "ms_per_frame": spent})
        spread = spread_px(truth, seed)
        for name, bound in best.items():
            found.setdefault(name, []).append(measure(bound(noisy, spread), truth, seen))
    return {name: mean(rows) for name, rows in found.items()}


def mean(rows: list[Any]) -> Any:
    """Mean of equal trees of numbers."""
    if isinstance(rows[0], dict):
        return {key: mean([row[key] for row in rows]) for key in rows[0]}
    return float(np.mean(rows))


def table(results: dict[str, Any]) -> str:
    """The numbers of all points as Markdown."""
    lines = [
        "| Scene | Method | Error px | vs raw | Jitter px | vs raw | Lag frames | ms a frame |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for scene, methods in results.items():
        error = methods["raw"]["error_px"]["all"]
        jitter = methods["raw"]["jitter_px"]["all"]
        for name, got in methods.items():
            e, j = got["error_px"]["all"], got["jitter_px"]["all"]
            lines.append(
                f"| {scene} | {name} | {e:.2f} | {e / error - 1:+.0%} | {j:.2f} "
                f"| {j / jitter - 1:+.0%} | {got['lag_frames']:.2f} "
                f"| {got.get('ms_per_frame', 0):.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run all scenes, write JSON, print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/smoothing.json")
    args = parser.parse_args()
    results = {
        scene: run_scene(act, fps, args.frames, args.seeds) for scene, (act, fps) in SCENES.items()
    }
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    record = {
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "frames": args.frames,
        "seeds": args.seeds,
        "results": results,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
