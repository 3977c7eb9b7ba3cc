"""`dwpose image`: pictures in, pose maps, keypoints and overlays out."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .image_paths import ENDINGS, MAP_SUFFIX, OVERLAY_SUFFIX, collect, output_stems
from .options import add_drawing, add_models, drawing_options, open_model, parse_count

if TYPE_CHECKING:
    from ..pipeline import DWPose

# The key under which a map says what it comes from: the picture's hash, and the results made of it.
_ORIGIN = "dwpose-origin"

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
    add("--skip-existing", action="store_true", help="leave pictures that have all their results")

    group = parser.add_argument_group("what to write")
    add = group.add_argument
    add("--json", action="store_true", help="also NAME_keypoints.json (POSE_KEYPOINT, OpenPose)")
    add("--overlay", action="store_true", help="also NAME_overlay.png, the map over the picture")
    add_drawing(group, "the picture's")
    add_models(parser)

    group = parser.add_argument_group("people")
    add = group.add_argument
    add("--max-people", type=parse_count, metavar="N", help="keep the first N of the order")
    add("--order", choices=ORDERS, default=ORDERS[0], help=f"order of people ({ORDERS[0]})")


def run(args: argparse.Namespace) -> int:
    """Draw the pictures that the arguments name and return the exit code."""
    folder = Path(args.output)
    if not folder.is_dir() and (folder.exists() or folder.suffix.lower() in ENDINGS):
        _say(f"-o takes a folder, which results go into under names of their own; got {folder}")
        return 2
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
        todo = [job for job in jobs if not _is_done(job)]
        _say(f"{len(jobs) - len(todo)} of {len(jobs)} pictures are done already")
        jobs = todo
    if not jobs:
        return 1 if missing else 0
    try:
        model = open_model(args, _say)
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


def _is_done(job: _Job) -> bool:
    """All results are there, and of this very picture: another one may have had its name."""
    from ..io.images import read_text

    try:
        if not all(path.is_file() for path in job.outputs.values()):
            return False
        digest, *kinds = read_text(job.outputs["map"]).get(_ORIGIN, "none").split()
        return digest == _digest(job.path) and set(job.outputs) <= set(kinds)
    except OSError:  # what is wrong is said when its turn comes
        return False


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    from ..render import draw_pose_map, map_size, overlay
    from ..types import DEFAULT_THRESHOLD

    image = load_image(job.path)
    origin = " ".join([_digest(job.path), *job.outputs])
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
    drawn = draw_pose_map(people, size_hw, args.style, **options)
    save_image(job.outputs["map"], drawn, text={_ORIGIN: origin})
    return len(people)


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n", 1)[0]
    expected = isinstance(error, (ValueError, OSError, RuntimeError)) and text
    return text if expected else f"{type(error).__name__}: {text}"


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _say(text: str) -> None:
    print(f"dwpose image: {text}", file=sys.stderr)
