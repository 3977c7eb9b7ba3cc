"""Speed beside rtmlib, easy-dwpose and controlnet_aux, in one run: `make bench`.

Every contender runs the same two name-seeded ONNX networks in ONNX Runtime on the CPU and gets the
same made-up detections; see `scene` and `contenders`. Rounds are interleaved, so that a busy moment
of the machine meets all of them. Of controlnet_aux only the drawing of one person is measured.
Written to results/speed.json and results/speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import scene

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
OURS = "dwpose-studio"
PEOPLE = (1, 4, 16)
SQUARE_HW = (1024, 1024)
# A drawing that takes seconds is repeated less often, but at least this often.
MIN_ROUNDS, DRAW_BUDGET_S, NO_WARM_UP_S = 2, 6.0, 1.0
TARGET_AROUND, TARGET_IMPORT_S, TARGET_DRAW_MS = 0.20, 0.3, 1.0
# What controlnet_aux took on the machine that the target for drawing was set on.
AUX, AUX_DRAW_MS = "controlnet_aux", 3.7


def main() -> int:
    """Measure everything, write both files, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--estimator", default="t-256x192", help="such as l-384x288")
    parser.add_argument("--detector", default="nano-640", help="such as l-640; rtmlib and "
                        "easy-dwpose take no other input than 640")  # fmt: skip
    parser.add_argument("--sizes", nargs="+", choices=list(scene.SIZES_HW), metavar="SIZE",
                        default=list(scene.SIZES_HW), help="must hold 1080p")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--models", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error(f"--rounds must be at least 2, got {args.rounds}")
    if args.memory:
        print(json.dumps(measure_memory(args.memory, sorted(args.models.glob("*.onnx")))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        paths = scene.export_networks(Path(folder), args.estimator, args.detector)
        report = {
            "about": facts(args),
            "import": measure_imports(args.rounds),
            "memory": measure_memories(Path(folder)),
            **measure_calls(list(paths), args.sizes, args.rounds),
        }
    report["about"]["load_average_end"] = load_average()
    report["targets"] = judge(report)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "speed.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    table = to_markdown(report)
    (args.out / "speed.md").write_text(table, encoding="utf-8")
    print(table)
    return 0


def facts(args: argparse.Namespace) -> dict[str, Any]:
    """Say what was measured, on what, with which versions."""
    git = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [s for s in info.read_text(encoding="utf-8").splitlines() if "model name" in s]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    theirs = ("rtmlib", "easy-dwpose", "controlnet-aux")
    packages = ("numpy", "opencv-python", "onnxruntime", "torch", *theirs)
    return {
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "load_average": load_average(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
        "estimator": args.estimator,
        "detector": args.detector,
        "rounds": args.rounds,
    }


def load_average() -> float | None:
    """Return how many processes wanted a core in the last minute; None where unknown."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def spread(seconds: list[float]) -> dict[str, float]:
    """Return median, 10th and 90th percentile in milliseconds, and how many."""
    tenths = statistics.quantiles(seconds, n=10, method="inclusive")
    return {
        "median_ms": round(statistics.median(seconds) * 1e3, 3),
        "p10_ms": round(tenths[0] * 1e3, 3),
        "p90_ms": round(tenths[-1] * 1e3, 3),
        "n": len(seconds),
    }


def measure_imports(rounds: int) -> dict[str, Any]:
    """Time the import of each package in fresh interpreters."""
    from contenders import IMPORTS

    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    torch_loaded = {}
    for _ in range(max(rounds // 3, 3)):
        for name, statement in IMPORTS.items():
            code = (
                f"import sys, time; t = time.perf_counter(); {statement};"
                "print(time.perf_counter() - t, 'torch' in sys.modules)"
            )
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            took, loaded = done.stdout.split()
            seconds[name].append(float(took))
            torch_loaded[name] = loaded == "True"
    return {name: {**spread(s), "loads_torch": torch_loaded[name]} for name, s in seconds.items()}


def measure_memories(models: Path) -> dict[str, float]:
    """Return the peak resident memory in MB of a process that handles one case."""
    from contenders import CONTENDERS

    peaks = {}
    for name in CONTENDERS:
        command = [sys.executable, __file__, "--memory", name, "--models", str(models)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[name] = json.loads(done.stdout)
    return peaks


def measure_memory(name: str, models: list[Path]) -> float:
    """Handle 4 people at 1080p in this process and return its peak in MB."""
    from contenders import CLOCK, CONTENDERS

    contender = CONTENDERS[name](*models)  # sorted: rtmpose-..., yolox-...
    image_hw = scene.SIZES_HW["1080p"]
    boxes = scene.boxes_of(image_hw, 4)
    CLOCK.detections = scene.raw_detections(image_hw, boxes, (640, 640))
    for _ in range(3):
        contender.pose(scene.picture(image_hw))
    return peak_memory_mb()


def peak_memory_mb() -> float:
    """Return the largest resident memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux's ru_maxrss would do, but a new program inherits it from the one that started it.
        lines = status.read_text(encoding="utf-8").splitlines()
        return round(int(next(s for s in lines if s.startswith("VmHWM")).split()[1]) / 1024)
    import resource  # absent on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024))


def measure_calls(paths: list[Path], sizes: list[str], rounds: int) -> dict[str, Any]:
    """Time networks, everything around them and drawing for these sizes and numbers of people."""
    from contenders import CLOCK, CONTENDERS, ControlnetAux, timed_opencv

    made = {name: kind(*paths) for name, kind in CONTENDERS.items()}
    poses: list[dict[str, Any]] = []
    draws: list[dict[str, Any]] = []
    for size in sizes:
        image_hw = scene.SIZES_HW[size]
        image = scene.picture(image_hw)
        for count in PEOPLE:
            boxes = scene.boxes_of(image_hw, count)
            CLOCK.detections = scene.raw_detections(image_hw, boxes, (640, 640))
            spent: dict[str, list[tuple[float, ...]]] = {name: [] for name in made}
            for round_ in range(rounds + 2):
                for name, contender in made.items():
                    CLOCK.reset()
                    start, cpu = time.perf_counter(), time.process_time()
                    with timed_opencv():
                        found = contender.pose(image)
                    took, cpu = time.perf_counter() - start, time.process_time() - cpu
                    if found != count:
                        raise RuntimeError(f"{name} found {found} people instead of {count}")
                    row = (
                        CLOCK.network_s,
                        took - CLOCK.network_s,
                        cpu - CLOCK.network_cpu_s,
                        CLOCK.opencv_cpu_s,
                    )
                    if round_ >= 2:  # two to warm up
                        spent[name].append(row)
            kinds = ("networks", "around", "around_cpu", "opencv_cpu")
            poses += [
                {"contender": name, "size": size, "people": count}
                | {kind: spread([row[i] for row in rows]) for i, kind in enumerate(kinds)}
                for name, rows in spent.items()
            ]
            draws += measure_drawing(made, size, image_hw, count, rounds)
    drawers = {**made, AUX: ControlnetAux()}
    draws += measure_drawing(drawers, "1024x1024", SQUARE_HW, 1, rounds)
    return {"poses": poses, "drawing": draws}


def measure_drawing(
    made: dict[str, Any], size: str, image_hw: tuple[int, int], count: int, rounds: int
) -> list[dict[str, Any]]:
    """Time the drawing of people, each with all points visible, on a new black picture."""
    boxes = scene.boxes_of(image_hw, count)
    drawers: dict[str, Callable[[], Any]] = {n: c.draw(boxes, image_hw) for n, c in made.items()}
    seconds: dict[str, list[float]] = {name: [] for name in made}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in made}
    for round_ in range(rounds + 1):
        for name, draw in drawers.items():
            if len(seconds[name]) >= MIN_ROUNDS and sum(seconds[name]) > DRAW_BUDGET_S:
                continue
            start, cpu = time.perf_counter(), time.process_time()
            draw()
            took, cpu = time.perf_counter() - start, time.process_time() - cpu
            if round_ >= 1 or took > NO_WARM_UP_S:
                seconds[name].append(took)
                cpu_seconds[name].append(cpu)
    return [
        {
            "contender": name,
            "size": size,
            "people": count,
            "drawing": spread(seconds[name]),
            "drawing_cpu": spread(cpu_seconds[name]),
        }
        for name in seconds
    ]


def judge(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare with the targets that this project set itself."""
    chosen = {
        row["contender"]: {k: row[k]["median_ms"] for k in ("around", "around_cpu", "opencv_cpu")}
        for row in report["poses"]
        if (row["size"], row["people"]) == ("1080p", 4)
    }
    ours = chosen[OURS]
    rows = [
        _target(
            f"{words} around the networks, 1080p with 4 people, beside {name}",
            f"at most {TARGET_AROUND:.0%}",
            f"{ours[kind] / theirs[kind]:.1%}",
            ours[kind] <= TARGET_AROUND * theirs[kind],
        )
        for kind, words in (("around", "time"), ("around_cpu", "CPU time"))
        for name, theirs in chosen.items()
        if name != OURS
    ]
    imported = report["import"][OURS]
    rows.append(
        _target(
            "import dwpose",
            f"under {TARGET_IMPORT_S:g} s, without torch",
            f"{imported['median_ms'] / 1e3:.3f} s",
            imported["median_ms"] < TARGET_IMPORT_S * 1e3 and not imported["loads_torch"],
        )
    )
    square = {row["contender"]: row for row in report["drawing"] if row["size"] == "1024x1024"}
    share = TARGET_DRAW_MS / AUX_DRAW_MS
    for kind, words in (("drawing", ""), ("drawing_cpu", ", CPU time")):
        took, theirs = (square[name][kind]["median_ms"] for name in (OURS, AUX))
        rows.append(
            _target(
                f"drawing one person at 1024x1024{words}",
                f"under {TARGET_DRAW_MS:g} ms",
                f"{took:.2f} ms",
                took < TARGET_DRAW_MS,
            )
        )
        rows.append(
            _target(
                f"drawing one person at 1024x1024{words}, beside {AUX}",
                f"at most {share:.0%}",
                f"{took / theirs:.0%} of {theirs:.1f} ms",
                took <= share * theirs,
            )
        )
    return rows


def _target(target: str, wanted: str, measured: str, met: bool) -> dict[str, Any]:
    return {"target": target, "wanted": wanted, "measured": measured, "met": met}


def floor(report: dict[str, Any]) -> str:
    """Say what the OpenCV calls that nobody can do without cost, at 1080p with 4 people."""
    rows = {
        row["contender"]: row
        for row in report["poses"]
        if (row["size"], row["people"]) == ("1080p", 4)
    }
    whole = rows["rtmlib"]["around_cpu"]["median_ms"]
    parts = [
        f"{row['opencv_cpu']['median_ms']:.2f} of {row['around_cpu']['median_ms']:.2f} ms in {name}"
        f" ({row['opencv_cpu']['median_ms'] / whole:.0%} of all of rtmlib's)"
        for name, row in rows.items()
        if name != "easy-dwpose"
    ]
    return (
        "The calls of cv2.resize and cv2.warpAffine alone, CPU time at 1080p with 4 people: "
        + ", ".join(parts) + "."
    )  # fmt: skip


def to_markdown(report: dict[str, Any]) -> str:
    """Lay the report out as Markdown."""
    about = report["about"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    names = list(report["import"])
    lines = [
        "# Speed",
        "",
        f"Written by `make bench` at commit {about['commit']}, {about['date']}. "
        f"{about['cpu']}, {about['cores']} cores (load {about['load_average']} at the start, "
        f"{about['load_average_end']} at the end), "
        f"Python {about['python']}, {versions}. Networks: RTMPose-{about['estimator']} and "
        f"YOLOX-{about['detector']}, seeded by name, in ONNX Runtime. Milliseconds: median "
        f"(10th to 90th percentile) of {about['rounds']} interleaved rounds; slow drawings fewer.",
        "",
        "Time is that of the clock on the wall; on a machine that does other things CPU time, of "
        "all threads, compares better.",
        "",
        "easy-dwpose reduces the picture to a shorter side of 512 before it looks at it.",
        "",
        floor(report),
        "",
    ]
    lines += _table(
        ["target", "wanted", "measured", "met"],
        [
            [r["target"], r["wanted"], r["measured"], "yes" if r["met"] else "**no**"]
            for r in report["targets"]
        ],
    )
    for title, rows, key in (
        ("Around the networks", report["poses"], "around"),
        ("Around the networks, CPU time", report["poses"], "around_cpu"),
        ("Networks alone", report["poses"], "networks"),
        ("Drawing", report["drawing"], "drawing"),
    ):
        cases = list(dict.fromkeys((r["size"], r["people"]) for r in rows))
        found = {(r["contender"], r["size"], r["people"]): r[key] for r in rows}
        lines += [f"## {title}", ""]
        lines += _table(
            ["picture", "people", *names],
            [
                [size, str(people), *(_cell(found[name, size, people]) for name in names)]
                for size, people in cases
            ],
        )
    lines += ["## Import and memory", ""]
    lines += _table(
        ["", "import", "loads torch", "peak memory, 1080p with 4 people"],
        [
            [
                name,
                _cell(report["import"][name]),
                "yes" if report["import"][name]["loads_torch"] else "no",
                f"{report['memory'][name]} MB",
            ]
            for name in names
        ],
    )
    return "\n".join(lines).rstrip() + "\n"


def _cell(s: dict[str, float]) -> str:
    digits = 2 if s["median_ms"] < 10 else 1 if s["median_ms"] < 100 else 0
    low, high = f"{s['p10_ms']:.{digits}f}", f"{s['p90_ms']:.{digits}f}"
    return f"{s['median_ms']:.{digits}f} ({low} to {high})"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    body = ["| " + " | ".join(row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body, ""]


if __name__ == "__main__":
    sys.exit(main())
