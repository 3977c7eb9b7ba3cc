"""Options that several commands share: what to draw, which networks to run and on what."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..style_names import STYLE_NAMES

if TYPE_CHECKING:
    from ..pipeline import DWPose

# Those of runtimes.session, repeated because --help must not load numpy; a test compares them.
MODES = ("eager", "graph", "compile")

# Each part, and what render calls its threshold.
PARTS = {
    "body": "body_threshold",
    "hands": "hand_threshold",
    "face": "face_threshold",
    "feet": "feet_threshold",
}


def add_drawing(group: Any, size_of: str) -> None:
    """Add `--style`, `--size`, `--parts` and `--threshold` to a group of a parser.

    Args:
        group: the group.
        size_of: whose size the map has by default, for the help.
    """
    add = group.add_argument
    add("--style", choices=STYLE_NAMES, default="dwpose", help="whose drawing (default: dwpose)")
    add(
        "--size",
        type=parse_size,
        metavar="N|WxH",
        help=f"size of the map: its longer side, or width x height (default: {size_of})",
    )
    add(
        "--parts",
        type=parse_parts,
        metavar="LIST",
        help=f"draw only these of {','.join(PARTS)} (default: the style's)",
    )
    add(
        "--threshold",
        type=parse_thresholds,
        default={},
        metavar="T|PART=T,..",
        help="least score of a drawn point, for all parts or for each (default: the style's); "
        "the body's also decides which points the keypoint file shows",
    )


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the options that `open_model` reads."""
    add = parser.add_argument_group("models").add_argument
    add("--model", metavar="ID|FILE", default="auto", help="pose network (see: dwpose models list)")
    add(
        "--detector",
        metavar="ID|FILE|none",
        default="auto",
        help="person detector; none looks at the whole picture",
    )
    add("--models-folder", metavar="DIR", help="where model files are kept")
    add("--runtime", choices=("auto", "torch", "onnxruntime"), default="auto")
    add("--device", metavar="NAME", default="auto", help="cpu, cuda, cuda:1, mps ... (auto)")
    add("--precision", choices=("auto", "fp32", "fp16", "bf16"), default="auto")
    add(
        "--mode",
        choices=MODES,
        default="eager",
        help="how torch runs networks on an NVIDIA GPU: graph starts each as one CUDA graph, "
        "compile also compiles it, for minutes (eager)",
    )


def parse_size(text: str) -> int | tuple[int, int]:
    """Read `--size`: a longer side in pixels, or (height, width) from WIDTHxHEIGHT."""
    match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", text)
    if match is None or not all(0 < int(n) <= 16384 for n in match.groups() if n is not None):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a size (1024) nor WxH (768x1024), each 1 to 16384 pixels"
        )
    if match[2] is None:
        return int(match[1])
    return int(match[2]), int(match[1])


def parse_parts(text: str) -> frozenset[str]:
    """Read `--parts`: names with commas between."""
    parts = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not parts or not parts <= set(PARTS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(PARTS)}")
    return parts


def parse_thresholds(text: str) -> dict[str, float]:
    """Read `--threshold`: one number for every part, or PART=NUMBER with commas between."""
    return _by_part(text, 1.0)


def parse_strengths(text: str) -> dict[str, float]:
    """Read `--strength`: the same with numbers up to 100."""
    return _by_part(text, 100.0)


def _by_part(text: str, most: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in text.split(","):
        name, equals, number = item.rpartition("=")
        name = name.strip()
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not 0 <= value <= most or (equals and name not in PARTS):
            raise argparse.ArgumentTypeError(
                f"{item!r} is neither a number in 0..{most:g} nor PART=NUMBER with a part of "
                + ", ".join(PARTS)
            )
        found.update({name: value} if equals else dict.fromkeys(PARTS, value))
    return found


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number of a range, as `type` of an option."""
    span = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {span}")
        return value

    return read


def number(least: float, most: float, *, above: bool = False) -> Callable[[str], float]:
    """Return what reads a number of a range, as `type` of an option; `above` leaves `least` out."""
    span = f"{'above' if above else 'from'} {least:g} to {most:g}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or (above and value == least):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {span}")
        return value

    return read


parse_count = whole(1)


def drawing_options(parts: frozenset[str] | None, thresholds: dict[str, float]) -> dict[str, Any]:
    """Return the keyword arguments of `render.draw_pose_map` for `--parts` and `--threshold`."""
    options: dict[str, Any] = {PARTS[part]: value for part, value in thresholds.items()}
    if parts is not None:
        options |= {part: part in parts for part in PARTS}
    return options


def model_files(args: argparse.Namespace) -> list[list[str | int]]:
    """Return what tells the chosen networks from others: names, sizes and times of their files.

    To be called when they are open, so that files which had to be fetched are there.
    """
    from pathlib import Path

    from ..weights import catalogue, store

    found: list[list[str | int]] = []
    for name in _chosen(args).values():
        path = Path(name).expanduser()
        if name in catalogue.CATALOGUE:
            path = store.locate(catalogue.find(name), args.models_folder)
        file = None if path is None or not path.is_file() else path.stat()
        found.append([name] if file is None else [name, file.st_size, file.st_mtime_ns])
    return found


def _chosen(args: argparse.Namespace) -> dict[str, str]:
    """What `--model` and `--detector` name, by role, with "auto" resolved."""
    from ..runtimes.pretrained import choose_detector, choose_estimator

    names = {"estimator": args.model, "detector": args.detector}
    for role, choose in (("estimator", choose_estimator), ("detector", choose_detector)):
        if names[role] == "auto":
            names[role] = str(choose(args.models_folder)[0])
    return names


def open_model(args: argparse.Namespace, say: Callable[[str], None]) -> DWPose:
    """Open the networks and tell the user in a line which, on what, and why."""
    from ..pipeline import DWPose

    model = DWPose.from_pretrained(
        args.model,
        args.detector,
        runtime=args.runtime,
        device=args.device,
        precision=args.precision,
        mode=args.mode,
        folder=args.models_folder,
    )
    names = _chosen(args)
    running = [f"{names[role]} with {info}" for role, info in model.info.items()]
    say("; ".join(running if "detector" in model.info else [*running, "no detector"]))
    if model.notice:
        say(model.notice)
    return model
