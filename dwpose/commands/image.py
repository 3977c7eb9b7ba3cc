"""`dwpose image`: pictures in, pose maps, keypoints and overlays out."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .image_paths import MAP_SUFFIX, OVERLAY_SUFFIX, collect, output_stems

if TYPE_CHECKING:
    from ..pipeline import DWPose

# The names of render.STYLES, repeated because --help must not load numpy; a test compares them.
STYLES = (
    "dwpose",
    "controlnet-aux",
    "xinsir",
    "xinsir-joints",
    "comfy-core",
    "wan-animate",
    "mimic-motion",
    "musepose",
    "musepose-own-hands",
    "dwpose-feet",
)
# Each part, and what render calls its threshold.
PARTS = {
    "body": "body_threshold",
    "hands": "hand_threshold",
    "face": "face_threshold",
    "feet": "feet_threshold",
}
ORDERS = ("left-to-right", "size", "score")

_EPILOG = """\
examples:
  dwpose image photo.jpg -o out
      out/photo_pose.png
  dwpose image holiday/ "more/*.png" -o out --json --overlay
      every picture of a folder and of a pattern, with keypoints and overlays
  dwpose image photo.jpg -o out --style xinsir --size 1024
      a map with a longer side of 1024 pixels, drawn at that size
  dwpose image photo.jpg -o out --parts body,hands --threshold body=0.3,hands=0.5
  dwpose image photo.jpg -o out --model dw-ll-384 --detector yolox-l
      the official models (dwpose models fetch dw-ll-384 yolox-l)

exit codes: 0 all pictures done, 1 a picture or the model failed, 2 wrong call or nothing to do
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the dispatcher's parser."""
    parser = subparsers.add_parser(
        "image",
        help="draw pose maps of pictures",
        description="Find the people in pictures and draw their pose maps.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="files, folders or glob patterns")
    add("-o", "--output", metavar="DIR", default="out", help="folder for results (default: out)")
    add("-r", "--recursive", action="store_true", help="take the subfolders of folders too")
    add("--skip-existing", action="store_true", help="leave pictures whose results are all there")

    group = parser.add_argument_group("what to write")
    add = group.add_argument
    add("--json", action="store_true", help="also NAME_keypoints.json (POSE_KEYPOINT, OpenPose)")
    add("--overlay", action="store_true", help="also NAME_overlay.png, the map over the picture")
    add("--style", choices=STYLES, default="dwpose", help="whose drawing (default: dwpose)")
    add(
        "--size",
        type=parse_size,
        metavar="N|WxH",
        help="size of the map: its longer side, or width x height (default: the picture's)",
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

    group = parser.add_argument_group("models")
    add = group.add_argument
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

    group = parser.add_argument_group("people")
    add = group.add_argument
    add("--max-people", type=parse_count, metavar="N", help="keep the first N of the order")
    add("--order", choices=ORDERS, default=ORDERS[0], help=f"order of people ({ORDERS[0]})")


def parse_size(text: str) -> int | tuple[int, int]:
    """Read `--size`: a longer side in pixels, or (height, width) from WIDTHxHEIGHT."""
    match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", text)
    if match is None or not all(0 < int(n) <= 16384 for n in match.groups() if n is not None):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a size (1024) nor WxH (768x1024)")
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
    thresholds: dict[str, float] = {}
    for item in text.split(","):
        name, equals, number = item.rpartition("=")
        name = name.strip()
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not 0 <= value <= 1 or (equals and name not in PARTS):
            raise argparse.ArgumentTypeError(
                f"{item!r} is neither a number in 0..1 nor PART=NUMBER with a part of "
                + ", ".join(PARTS)
            )
        thresholds.update({name: value} if equals else dict.fromkeys(PARTS, value))
    return thresholds


def parse_count(text: str) -> int:
    """Read a number of at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def map_size(size: int | tuple[int, int] | None, image_hw: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the pose map of a picture.

    Args:
        size: what `parse_size` gave; None is the picture's own size.
        image_hw: height and width of the picture in pixels.
    """
    if size is None:
        return image_hw
    if isinstance(size, tuple):
        return size
    factor = size / max(image_hw)
    return max(round(image_hw[0] * factor), 1), max(round(image_hw[1] * factor), 1)


def run(args: argparse.Namespace) -> int:
    """Draw the pictures that the arguments name and return the exit code."""
    folder = Path(args.output)
    sources, missing = collect(args.paths, args.recursive, output=folder)
    for pattern in missing:
        _say(f"no file fits {pattern!r}")
    if not sources:
        _say("there is no picture to work on; name files, folders or patterns")
        return 2
    jobs = [
        _Job(source.path, outputs_of(stem, args.json, args.overlay))
        for source, stem in zip(sources, output_stems(sources, folder), strict=True)
    ]
    inputs = {job.path.resolve() for job in jobs}
    for job in jobs:
        for output in job.outputs.values():
            if output.resolve() in inputs:
                _say(f"the result of {job.path} would overwrite {output}, which is to be read too")
                return 2
    if args.skip_existing:
        todo = [job for job in jobs if not all(p.is_file() for p in job.outputs.values())]
        _say(f"{len(jobs) - len(todo)} of {len(jobs)} pictures are done already")
        jobs = todo
    if not jobs:
        return 1 if missing else 0
    try:
        model = _open_model(args)
    except (ValueError, FileNotFoundError) as error:
        _say(str(error))
        return 2
    except (RuntimeError, OSError) as error:  # WeightsError and RuntimeUnavailable are the first
        _say(str(error))
        return 1
    counts = list(_work(model, jobs, args))
    done = [count for count in counts if count is not None]
    failed = len(counts) - len(done) + len(missing)
    _say(
        f"{_plural(len(done), 'picture')} with {_plural(sum(done), 'person', 'people')} "
        f"done in {folder}" + (f", {failed} failed" if failed else "")
    )
    return 1 if failed else 0


@dataclass(frozen=True)
class _Job:
    path: Path
    outputs: dict[str, Path]  # by kind: "map", "json", "overlay"


def outputs_of(stem: Path, json: bool, overlay: bool) -> dict[str, Path]:
    """Return the files to write for one picture, by kind."""
    outputs = {"map": stem.with_name(stem.name + MAP_SUFFIX)}
    if json:
        outputs["json"] = stem.with_name(f"{stem.name}_keypoints.json")
    if overlay:
        outputs["overlay"] = stem.with_name(stem.name + OVERLAY_SUFFIX)
    return outputs


def drawing_options(parts: frozenset[str] | None, thresholds: dict[str, float]) -> dict[str, Any]:
    """Return the keyword arguments of `render.draw_pose_map` for `--parts` and `--threshold`."""
    options: dict[str, Any] = {PARTS[part]: value for part, value in thresholds.items()}
    if parts is not None:
        options |= {part: part in parts for part in PARTS}
    return options


def _open_model(args: argparse.Namespace) -> DWPose:
    """Open the networks and tell the user in a line which, on what, and why."""
    from ..pipeline import DWPose
    from ..runtimes.pretrained import choose_detector, choose_estimator

    names = {"estimator": args.model, "detector": args.detector}
    model = DWPose.from_pretrained(
        args.model,
        args.detector,
        runtime=args.runtime,
        device=args.device,
        precision=args.precision,
        folder=args.models_folder,
    )
    for role, choose in (("estimator", choose_estimator), ("detector", choose_detector)):
        if names[role] == "auto":
            names[role] = str(choose(args.models_folder)[0])
    running = [f"{names[role]} with {info}" for role, info in model.info.items()]
    _say("; ".join(running if "detector" in model.info else [*running, "no detector"]))
    if model.notice:
        _say(model.notice)
    return model


def _work(model: DWPose, jobs: list[_Job], args: argparse.Namespace) -> Iterator[int | None]:
    """Do the pictures one by one; yields how many people each has, or None where it failed."""
    from tqdm import tqdm

    # On a terminal only: elsewhere each step of the bar would be a line of a log.
    with tqdm(jobs, unit="picture", file=sys.stderr, disable=None) as bar:
        for job in bar:
            try:
                yield _do(model, job, args)
            except Exception as error:  # whatever is wrong with one picture, the rest is done
                bar.clear()
                _say(f"{job.path}: {_first_line(error)}")
                yield None


def _do(model: DWPose, job: _Job, args: argparse.Namespace) -> int:
    from ..io import openpose_json
    from ..io.images import load_image, save_image
    from ..render import draw_pose_map, overlay
    from ..types import DEFAULT_THRESHOLD

    image = load_image(job.path)
    people = model.pose(image, max_people=args.max_people, order=args.order)
    options = drawing_options(args.parts, args.threshold)
    size_hw = map_size(args.size, people.image_hw)
    # The map comes last: a picture whose map is there is done.
    if "json" in job.outputs:
        threshold = args.threshold.get("body", DEFAULT_THRESHOLD)
        openpose_json.save(people, job.outputs["json"], threshold=threshold)
    if "overlay" in job.outputs:
        drawn = overlay(image, people, style=args.style, **options)
        save_image(job.outputs["overlay"], drawn)
    save_image(job.outputs["map"], draw_pose_map(people, size_hw, args.style, **options))
    return len(people)


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n", 1)[0]
    expected = isinstance(error, (ValueError, OSError, RuntimeError)) and text
    return text if expected else f"{type(error).__name__}: {text}"


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _say(text: str) -> None:
    print(f"dwpose image: {text}", file=sys.stderr)
