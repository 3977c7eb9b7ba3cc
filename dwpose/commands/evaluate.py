"""``dwpose evaluate``: how well a model finds labelled people, part by part."""

from __future__ import annotations

import argparse
import json
import sys

EXAMPLES = """examples:
  dwpose evaluate coco_wholebody_val_v1.0.json --images val2017 --model dw-ll-384
  dwpose evaluate labels.json --images photos --json result.json
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on labelled photos",
        description="Measure a pose model on photos labelled like COCO or COCO-WholeBody: mean "
        "OKS, PCK (share of points within a tenth of the longer side of the person's box) and "
        "mean error (over that side), from the labelled boxes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("annotations", nargs="+", help="COCO or COCO-WholeBody annotation files")
    parser.add_argument("--images", required=True, help="folder of the pictures")
    parser.add_argument("--model", default="auto", help="id or path of the pose model")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--flip-test", action="store_true", help="average with the mirror image")
    parser.add_argument("--min-points", type=int, default=6, help="labelled body points a person")
    parser.add_argument("--json", help="also write the numbers to this file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 1 when a picture could not be read, 2 for bad arguments."""
    from dataclasses import asdict
    from pathlib import Path

    from ..errors import WeightsError
    from ..io.atomic import write_atomically
    from ..io.coco import load_annotations
    from ..pipeline import DWPose
    from ..training.evaluate import measure

    try:
        pose = DWPose.from_pretrained(
            args.model,
            detector="none",
            runtime=args.runtime,
            device=args.device,
            precision=args.precision,
        )
        reports = {}
        faults: dict[str, str] = {}
        for path in args.annotations:
            results, missing = measure(
                pose, load_annotations(path), Path(args.images), args.min_points, args.flip_test
            )
            reports[Path(path).name] = {part: asdict(result) for part, result in results.items()}
            faults.update(missing)
    except (OSError, ValueError, WeightsError) as fault:
        sys.stderr.write(f"dwpose evaluate: {fault}\n")
        return 2
    for name, report in reports.items():
        sys.stdout.write(f"{name}\n{'part':<12}{'OKS':>8}{'PCK':>8}{'error':>8}{'people':>8}\n")
        for part, row in report.items():
            sys.stdout.write(
                f"{part:<12}{row['oks']:8.3f}{row['pck']:8.3f}{row['error']:8.3f}"
                f"{row['people']:8d}\n"
            )
    for picture, reason in faults.items():
        sys.stderr.write(f"skipped {picture}: {reason}\n")
    if args.json:
        write_atomically(args.json, json.dumps(reports, indent=1).encode())
    return 1 if faults else 0
