"""``dwpose data``: what is missing of the labelled photos, frames of videos, a look at crops."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .options import parse_count, whole

if TYPE_CHECKING:
    from ..training.data import LabelledPeople
    from ..training.data.check import Finding

_EPILOG = """examples:
  dwpose data check data/coco data/UBody
          what is missing of COCO-WholeBody and UBody, and how to get it
  dwpose data check --own photos
          one's own photos and keypoint files, for fine-tuning
  dwpose data ubody-frames data/UBody --workers 8 --jpeg 95
          the frames that training needs, out of UBody's videos
  dwpose data preview -o sheet.png --own photos
          crops as the network will see them, with their labels

Exit codes: 0 all well, 1 something is missing or could not be done, 2 wrong call.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `data` with `check`, `ubody-frames` and `preview` to the command line."""
    parser = subparsers.add_parser(
        "data",
        help="check and prepare labelled photos to train on",
        description="Labelled photos to train on: COCO-WholeBody, UBody or one's own folder.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="say what is missing and how to get it")
    check.add_argument("coco", nargs="?", metavar="COCO_DIR", help="the folder coco")
    check.add_argument("ubody", nargs="?", metavar="UBODY_DIR", help="the folder UBody")
    check.add_argument("--own", metavar="DIR", help="one's own photos and keypoint files")
    check.add_argument("--labels", metavar="FILE", help="name of the COCO file in it")
    check.add_argument(
        "--open",
        type=whole(0),
        default=100,
        metavar="N",
        help="pictures to open a set (default: 100)",
    )

    frames = actions.add_parser("ubody-frames", help="write the frames that training needs")
    frames.add_argument("ubody", metavar="UBODY_DIR", help="the folder UBody")
    frames.add_argument("--scenes", nargs="+", metavar="SCENE", help="only these")
    frames.add_argument("--all", action="store_true", help="every frame, not every tenth")
    frames.add_argument(
        "--jpeg",
        type=whole(1, 100),
        metavar="QUALITY",
        help="write .jpg of this quality, 1 to 100, in place of .png: a fifth of the room",
    )
    frames.add_argument(
        "--workers", type=parse_count, default=1, metavar="N", help="videos at a time"
    )

    preview = actions.add_parser("preview", help="write a sheet of crops with their labels")
    preview.add_argument("-o", "--output", required=True, metavar="FILE", help="the picture")
    preview.add_argument("--coco", metavar="COCO_DIR", help="the folder coco")
    preview.add_argument("--split", choices=("train", "val"), default="train", help="of COCO")
    preview.add_argument("--ubody", metavar="UBODY_DIR", help="the folder UBody")
    preview.add_argument("--own", metavar="DIR", help="one's own photos and keypoint files")
    preview.add_argument("--labels", metavar="FILE", help="name of the COCO file in it")
    preview.add_argument(
        "--count", type=parse_count, default=32, metavar="N", help="crops (default: 32)"
    )
    preview.add_argument(
        "--seed", type=whole(0, 2**31), default=0, help="of order and variation (default: 0)"
    )
    preview.add_argument(
        "--pipeline",
        choices=("strong", "gentle", "plain"),
        default="strong",
        help="as in most epochs, the last ones, or validation (default: strong)",
    )
    preview.add_argument("--bare", action="store_true", help="without the labels")
    preview.add_argument(
        "--size", default="256x192", help="crop HEIGHTxWIDTH in pixels (default: 256x192)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; see the help for its exit codes."""
    actions = {"check": _check, "ubody-frames": _frames, "preview": _preview}
    try:
        return actions[args.action](args)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"dwpose data: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


def _check(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ..training.data.check import check_coco, check_own, check_ubody

    if not (args.coco or args.own):
        raise ValueError("name the folders coco and UBody, or your own with --own")
    findings: list[Finding] = []
    if args.coco:
        findings += check_coco(Path(args.coco), args.open)
    if args.ubody:
        findings += check_ubody(Path(args.ubody), opened=args.open)
    if args.own:
        findings += check_own(Path(args.own), args.labels, args.open)
    for finding in findings:
        print(f"{'ok  ' if finding.fine else 'MISS'}  {finding.name}: {finding.detail}")
        if not finding.fine:
            print(f"      -> {finding.advice}")
    return 0 if all(finding.fine for finding in findings) else 1


def _frames(args: argparse.Namespace) -> int:
    from pathlib import Path

    from tqdm import tqdm

    from ..training.data.frames import convert_videos, find_videos, wanted_frames
    from ..training.data.ubody import SCENES

    root = Path(args.ubody)
    scenes = args.scenes or SCENES
    unknown = [scene for scene in scenes if scene not in SCENES]
    if unknown:
        raise ValueError(f"--scenes: UBody has no {unknown[0]}; it has {', '.join(SCENES)}")
    wanted = None if args.all else wanted_frames(root, scenes)
    videos = find_videos(root, scenes)
    if not videos:
        raise FileNotFoundError(f"there are no videos in {root / 'videos'}; see: dwpose data check")
    results = convert_videos(videos, wanted, args.jpeg, args.workers)
    total = len(videos) if wanted is None else len(videos.keys() & wanted.keys())
    written = present = missing = faults = 0
    for result in tqdm(results, total=total, unit="video", disable=not sys.stderr.isatty()):
        written, present = written + result.written, present + result.present
        missing += result.missing
        faults += result.fault is not None
        if result.fault or result.missing:
            reason = result.fault or "the video ends before them"
            print(f"{result.video}: {result.missing} frames missing: {reason}", file=sys.stderr)
    absent = [] if wanted is None else sorted(wanted.keys() - videos.keys())
    for folder in absent[:10]:
        print(f"no video for {folder}", file=sys.stderr)
    print(
        f"{written} frames written, {present} were there; {missing} missing, {faults} videos "
        f"unreadable, {len(absent)} absent"
    )
    return 1 if missing or faults or absent else 0


def _preview(args: argparse.Namespace) -> int:

    from ..io.images import save_image
    from ..training.data import GENTLE, PLAIN, STRONG, build_loader
    from ..training.data.sheet import draw_sheet

    height, _, width = args.size.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"--size must be HEIGHTxWIDTH such as 256x192, got {args.size}")
    people = _read(args)
    pipeline = {"strong": STRONG, "gentle": GENTLE, "plain": PLAIN}[args.pipeline]
    loader = build_loader(
        people,
        (int(height), int(width)),
        args.count,
        args.seed,
        workers=0,
        iterations=1,
        strong=pipeline,
    )
    sheet = draw_sheet(loader, args.count, labels=not args.bare)
    path = save_image(args.output, sheet)
    skipped = f", {loader.skipped} pictures could not be read" if loader.skipped else ""
    print(f"{path}: {args.count} crops of {loader.people} people{skipped}")
    return 0


def _read(args: argparse.Namespace) -> list[LabelledPeople]:
    from ..training.data import load_coco_wholebody, load_own_folder, load_ubody

    people: list[LabelledPeople] = []
    if args.coco:
        people.append(load_coco_wholebody(args.coco, args.split))
    if args.ubody:
        people += load_ubody(args.ubody)
    if args.own:
        people.append(load_own_folder(args.own, args.labels))
    if not people:
        raise ValueError("name a set with --coco, --ubody or --own")
    return people
