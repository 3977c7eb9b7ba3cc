"""Whether memory stays flat over a long film: `video.run_film` from decoder to encoder.

    python benchmarks/film_memory.py [--frames 10000]

Small frames of two walking figures, cuts every 40 s. Decoder, follower, journal, smoothing,
drawing, encoder and keypoint file are the real ones; the networks know the truth
(`dwpose.training.synthetic.oracle`). Recorded are the process's resident megabytes along each pass,
and CPU time. Written to results/film_memory.json.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from video import facts

from dwpose.io.film import FilmWriter
from dwpose.training.synthetic.numeric_clips import NumericClip, Walker, walk
from dwpose.training.synthetic.oracle import Oracle, draw_clip
from dwpose.types import People
from dwpose.video import FilmOptions, run_film

RESULTS = Path(__file__).resolve().parent / "results"
HW = (96, 160)
FPS = 25
SCENE = 1000  # frames
EVERY = 250


def scene(number: int, frames: int) -> NumericClip:
    """One scene of two people; another for each number."""
    x = 30 + 7 * (number % 5)
    walkers = [
        Walker((x, 52), (x + 60, 52), 64, phase=number),
        Walker((140 - x // 2, 54), (90, 54), 60, phase=number + 1),
    ]
    return walk(walkers, frames / FPS, image_hw=HW, seed=number)


class Known:
    """Networks that know the truth of the whole film, made scene by scene."""

    def __init__(self, frames: int) -> None:
        clips = [scene(k, min(SCENE, frames - k * SCENE)) for k in range(-(-frames // SCENE))]
        self.truth: list[People] = [people for clip in clips for people in clip.truth]
        self.clips = clips
        oracle = Oracle(self.truth, 0.003)
        self.detector, self.estimator = oracle.detect, oracle.estimate
        self.searches = False

    def __call__(self, images: Any, **options: Any) -> Any:
        """Not asked: there is a detector."""
        raise NotImplementedError

    def pictures(self) -> Iterator[np.ndarray]:
        """Every frame with its number."""
        whole = NumericClip(
            self.truth,
            np.arange(len(self.truth)) / FPS,
            HW,
            [k * SCENE for k in range(1, len(self.clips))],
        )
        yield from draw_clip(whole)


def resident_mb() -> float:
    """Resident set of this process in megabytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    """Run, write JSON, print a line a pass."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=10_000, help=f"at least {EVERY}")
    parser.add_argument("--out", type=Path, default=RESULTS / "film_memory.json")
    args = parser.parse_args()
    if args.frames < EVERY:
        parser.error(f"--frames must be at least {EVERY}, got {args.frames}")
    about = facts()
    samples: dict[str, list[tuple[int, float]]] = {}

    def progress(phase: str, done: int, total: int | None) -> None:
        if done % EVERY == 0:
            gc.collect()
            samples.setdefault(phase, []).append((done, round(resident_mb(), 1)))

    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "in.mp4"
        pose = Known(args.frames)
        with FilmWriter(film, HW, Fraction(1, FPS), FPS) as writer:
            for ticks, image in enumerate(pose.pictures()):
                writer.add(image, ticks)
        cpu, wall = time.process_time(), time.perf_counter()
        report = run_film(
            pose,
            film,
            Path(folder) / "out.mp4",
            Path(folder) / "out.json",
            film=FilmOptions(overlay=True),
            progress=progress,
        )
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    fifth = args.frames // 5
    growth = {
        phase: round(rows[-1][1] - next(mb for done, mb in rows if done >= fifth), 1)
        for phase, rows in samples.items()
    }
    record = {
        "about": about,
        "frames": report.frames,
        "people": report.people,
        "work": vars(report.counts),
        "cpu_s": round(cpu, 1),
        "wall_s": round(wall, 1),
        "growth_mb_after_the_first_fifth": growth,
        "resident_mb": samples,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record) + "\n", encoding="utf-8")
    for phase, rows in samples.items():
        print(f"{phase}: {rows[0][1]} MB at {rows[0][0]}, {rows[-1][1]} at {rows[-1][0]} frames")
    print(f"growth after the first fifth: {growth}; {cpu:.0f} s of CPU, {wall:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
