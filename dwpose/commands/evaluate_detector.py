"""``dwpose evaluate-detector``: how many labelled people a detector finds."""

from __future__ import annotations

import argparse
import json
import sys

from .options import number

EXAMPLES = """examples:
  dwpose evaluate-detector labels.json --images photos
  dwpose evaluate-detector person_keypoints_val2017.json --images val2017 --detector yolox-nano

A person counts if their box is at least a quarter as tall as the picture, and is found if a box
overlaps theirs by half. Boxes that fit smaller people or crowds count for neither side.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate-detector",
        help="measure a person detector on labelled photos",
        description="Recall, precision and average precision of a person detector on photos "
        "labelled like COCO keypoints.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("annotations", nargs="+", help="COCO or COCO-WholeBody annotation files")
    add("--images", required=True, metavar="DIR", help="folder of the pictures")
    add("--detector", metavar="ID|FILE", default="auto", help="(see: dwpose models list)")
    add("--models-folder", metavar="DIR", help="where model files are kept")
    add("--runtime", choices=("auto", "torch", "onnxruntime"), default="auto")
    add("--device", metavar="NAME", default="auto", help="cpu, cuda, cuda:1, mps ... (auto)")
    add("--precision", choices=("auto", "fp32", "fp16", "bf16"), default="auto")
    add(
        "--score",
        type=number(0, 1),
        default=0.3,
        help="threshold of recall and precision, 0 to 1 (0.3)",
    )
    add("--json", metavar="FILE", help="also write the numbers to this file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 1 when a picture could not be read, 2 for bad arguments."""
    from dataclasses import asdict
    from pathlib import Path

    from ..detector import PersonDetector
    from ..io.atomic import check_place, write_atomically
    from ..io.coco import load_annotations
    from ..runtimes.pretrained import open_detector
    from ..training.detection.recall import score_photos
    from .evaluate import set_names

    sets, unread = {}, {}
    try:
        if args.json:
            check_place(args.json)
        detector = PersonDetector(
            open_detector(
                args.detector, args.runtime, args.device, args.precision, args.models_folder
            )
        )
        for name, path in set_names(args.annotations).items():
            scores, faults = score_photos(
                detector, load_annotations(path), Path(args.images), args.score
            )
            sets[name] = asdict(scores)
            unread |= faults
            sys.stdout.write(
                f"{name}: {scores.people} people in {scores.pictures} pictures\n"
                f"  recall {scores.recall:.3f}, precision {scores.precision:.3f}, "
                f"{scores.false_per_picture:.2f} false boxes a picture, AP50 {scores.ap50:.3f}\n"
            )
    # TypeError is of label files, WeightsError a RuntimeError.
    except (OSError, TypeError, ValueError, RuntimeError) as fault:
        sys.stderr.write(f"dwpose evaluate-detector: {fault}\n")
        return 2
    for picture, reason in unread.items():
        sys.stderr.write(f"skipped {picture}: {reason}\n")
    if args.json:
        report = {"detector": args.detector, "score": args.score, "sets": sets}
        write_atomically(Path(args.json), json.dumps(report, indent=1).encode())
    return 1 if unread else 0
