"""Films: following people against a detector and a pose network on each frame, in one run.

    python benchmarks/video.py --estimator l-384x288 --detector l-640 [--clips FOLDER]

The clips are rendered people with exact truth (`dwpose.training.synthetic.clips`), kept in FOLDER
for the next run. Weights cannot be had here, so the networks are seeded by name, and their answers
are replaced by the truth with a network's noise (`oracle.Oracle`). What they cost is measured: each
kind of call (a picture searched, one to four poses of a frame) with its preparation, some times, on
frames of the clip. A way's cost is that of the calls it made, and its own code's time without
them. The way of each frame is our own pipeline; controlnet_aux's preparation around the same
networks takes longer. CPU time is compared, which other programs on the machine change little; wall
time is recorded too. Written to results/video.json and results/video.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import scene

from dwpose.following import Follower, FollowOptions
from dwpose.io.frames import Pictures
from dwpose.pipeline import DWPose
from dwpose.training.synthetic.clips import ClipConfig, render_clip
from dwpose.training.synthetic.numeric_clips import score_tracks
from dwpose.training.synthetic.oracle import Oracle, write_number
from dwpose.types import Boxes, People

RESULTS = Path(__file__).resolve().parent / "results"
# People, least factor on the frame rate (the project's targets).
CASES = ((1, 10.0), (4, 3.0))
TARGET_PX = 1.0
FPS = 25.0


def main() -> int:
    """Measure both ways on both clips, write both files, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--estimator", default="l-384x288", help="such as t-256x192")
    parser.add_argument("--detector", default="l-640", help="such as nano-640")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each clip")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind of call")
    parser.add_argument("--poses", type=Path, help="a motion library (.npz)")
    parser.add_argument("--clips", type=Path, help="folder where rendered clips are kept")
    parser.add_argument("--render-only", action="store_true", help="only fill that folder")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        args.clips = args.clips or Path(folder)
        clips = {people: load_clip(people, args) for people, _ in CASES}
        if args.render_only:
            return 0
        paths = scene.export_networks(Path(folder), args.estimator, args.detector)
        pose = DWPose.from_pretrained(*paths)
        cases = [measure(pose, *clips[people], people, factor, args) for people, factor in CASES]
        about = facts() | {"networks": {k: str(v) for k, v in pose.info.items()}}
    about |= {"estimator": args.estimator, "detector": args.detector}
    about["load"] = list(os.getloadavg())
    args.out.mkdir(parents=True, exist_ok=True)
    report = {"about": about, "clips": cases}
    (args.out / "video.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    table = to_markdown(report)
    (args.out / "video.md").write_text(table, encoding="utf-8")
    print(table)
    return 0


def load_clip(count: int, args: argparse.Namespace) -> tuple[list[np.ndarray], list[People]]:
    """Render a clip, or take it from the folder where it was kept."""
    moving = "library" if args.poses else "made-up"
    path = args.clips / f"{count}_people_{args.seconds:g}s_{moving}.npz"
    if not path.exists():
        config = ClipConfig(
            people=count, seconds=args.seconds, fps=FPS, sway_deg=0.3, hold_s=1.0, poses=args.poses
        )
        frames = list(render_clip(config, seed=7))
        values: dict[str, np.ndarray] = {"images": np.stack([image for image, _ in frames])}
        for i, (_, p) in enumerate(frames):
            ids = np.arange(len(p)) if p.track_ids is None else p.track_ids
            values |= {f"p{i}": p.keypoints, f"s{i}": p.scores, f"b{i}": p.boxes.xyxy, f"i{i}": ids}
        args.clips.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **values)
    with np.load(path) as kept:
        images = kept["images"]
        hw = images.shape[1:3]
        truth = [
            People(kept[f"p{i}"], kept[f"s{i}"], Boxes(kept[f"b{i}"]), hw, kept[f"i{i}"])
            for i in range(len(images))
        ]
    for number, image in enumerate(images):
        write_number(image, number)
    return list(images), truth


def facts() -> dict[str, Any]:
    """Say what was measured, on what, with which versions."""
    git = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    packages = ("numpy", "opencv-python", "opencv-python-headless", "onnxruntime", "torch")
    versions = {}
    for name in packages:  # not all of them are everywhere
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    commit = ""
    with contextlib.suppress(OSError):
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "versions": versions,
    }


class Prices:
    """What calls of the networks cost: medians of CPU and wall milliseconds."""

    def __init__(self, pose: DWPose, pictures: list[np.ndarray], rounds: int) -> None:
        self.pose, self.pictures, self.rounds = pose, pictures, rounds
        self.known: dict[str, dict[str, list[float]]] = {}

    def of(self, what: str, boxes: list[Boxes]) -> str:
        """Measure a call of this kind, unless that was done; returns its name."""
        count = sum(len(b) for b in boxes)
        name = what if what == "detect" else f"estimate {count}"
        if name not in self.known:
            spent: dict[str, list[float]] = {"cpu_ms": [], "wall_ms": []}
            for turn in range(self.rounds + 1):
                image = self.pictures[turn * 7 % len(self.pictures)]
                cpu, wall = time.process_time(), time.perf_counter()
                self._call(what, image, boxes)
                if turn:  # the first one warms up
                    spent["cpu_ms"].append((time.process_time() - cpu) * 1e3)
                    spent["wall_ms"].append((time.perf_counter() - wall) * 1e3)
            self.known[name] = spent
        return name

    def _call(self, what: str, image: np.ndarray, boxes: list[Boxes]) -> None:
        finder = self.pose.detector
        assert finder is not None
        if what == "detect":
            # A network that knows nothing finds thousands; a trained one leaves little to sort.
            finder([image], score_threshold=1.0)
        else:
            self.pose.estimator([image], [Boxes(np.concatenate([b.xyxy for b in boxes]))])

    def total(self, calls: list[str], kind: str) -> float:
        """Milliseconds of all these calls."""
        return sum(statistics.median(self.known[name][kind]) for name in calls)


def measure(
    pose: DWPose,
    pictures: list[np.ndarray],
    truth: list[People],
    count: int,
    factor: float,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Run one clip both ways."""
    prices = Prices(pose, pictures, args.rounds)
    calls: list[str] = []

    def pay(what: str, images: Sequence[Any], boxes: Any) -> None:
        calls.append(prices.of(what, list(boxes or [])))

    each = Oracle(truth, pay=pay)
    single = [each.estimate([p], each.detect([p]))[0] for p in pictures]
    slow = {kind: prices.total(calls, kind) / len(pictures) for kind in ("cpu_ms", "wall_ms")}
    calls = []
    oracle = Oracle(truth, pay=pay)
    follower = Follower(oracle.detect, oracle.estimate, FollowOptions())
    followed = [people for _, people in follower.follow(Pictures(pictures, FPS))]
    free = Oracle(truth)
    own = Follower(free.detect, free.estimate, FollowOptions())
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in own.follow(Pictures(pictures, FPS)):
        pass
    spent = {
        "cpu_ms": (time.process_time() - cpu) / len(pictures) * 1e3,
        "wall_ms": (time.perf_counter() - wall) / len(pictures) * 1e3,
    }
    fast = {kind: prices.total(calls, kind) / len(pictures) + spent[kind] for kind in spent}
    ratio, apart = slow["cpu_ms"] / fast["cpu_ms"], difference(followed, single)
    return {
        "people": count,
        "frames": len(pictures),
        "calls": prices.known,
        "each_frame": slow,
        "followed": fast,
        "followed_without_networks": spent,
        "factor": ratio,
        "factor_wall": slow["wall_ms"] / fast["wall_ms"],
        "target_factor": factor,
        "apart_px": apart,
        "met": ratio >= factor and apart <= TARGET_PX,
        "work": vars(follower.counts),
        "score_followed": vars(score_tracks(truth, followed)),
        "score_each_frame": vars(score_tracks(truth, single)),
    }


def difference(followed: Sequence[People], single: Sequence[People]) -> float:
    """Mean distance in px of the same people's visible points, both ways."""
    away: list[float] = []
    for a, b in zip(followed, single, strict=True):
        for i in range(len(b)):
            seen = b.visible()[i]
            gap = np.hypot(*np.moveaxis(a.keypoints[:, seen] - b.keypoints[i, seen], -1, 0))
            if seen.any() and len(gap) and np.median(gap, axis=1).min() < 20:
                away += gap[np.median(gap, axis=1).argmin()].tolist()
    return float(np.mean(away)) if away else float("nan")


def to_markdown(report: dict[str, Any]) -> str:
    """Lay the report out as a table."""
    about = report["about"]
    rows = [
        f"Films at 480p, {about['estimator']} and {about['detector']}, {about.get('cpu', '')}, "
        f"load {about['load'][0]:.1f}, {about['date']}, {about['commit']}. Milliseconds of CPU "
        "time a frame.",
        "",
        "| people | each frame | followed (of that our own code) | factor (target; by wall time) | "
        "apart, px | detector runs / poses / filled | id switches | missed (each frame) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in report["clips"]:
        work, score = case["work"], case["score_followed"]
        slow, fast, own = (
            case[name]["cpu_ms"] for name in ("each_frame", "followed", "followed_without_networks")
        )
        rows.append(
            f"| {case['people']} | {slow:.0f} | {fast:.0f} ({own:.1f}) "
            f"| {case['factor']:.1f} ({case['target_factor']:.0f}; {case['factor_wall']:.1f}) "
            f"| {case['apart_px']:.2f} "
            f"| {work['detections']} / {work['crops']} / {work['filled']} of {case['frames']} "
            f"| {score['switches']} | {score['missed']} ({case['score_each_frame']['missed']}) "
            f"of {score['total']} |"
        )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
