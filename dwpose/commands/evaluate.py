"""``dwpose evaluate``: how well a model finds labelled people, part by part."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import number, parse_count, whole

if TYPE_CHECKING:
    from ..io.coco import CocoDataset
    from ..pipeline import DWPose
    from ..training.coco_metric import CocoMetric
    from ..types import Boxes

EXAMPLES = """examples:
  dwpose evaluate coco_wholebody_val_v1.0.json --images val2017 --model dw-ll-384 \\
      --boxes COCO_val2017_detections_AP_H_56_person.json --flip-test
          the official model as the paper's table measures it
  dwpose evaluate labels.json --images photos --worst worst
          one's own photos, and a picture of the people it gets most wrong
  dwpose evaluate labels.json --images photos --boxes detector --detector yolox-l
          detector and pose network together

boxes: gt gives the labels' own boxes. A FILE is a COCO list of detection results. With detector
or FILE, a labelled person counts as found where a pose reaches an OKS of 0.1; OKS is 0 for the
others.
AP and AR are COCO's, in percent ("-": nobody is labelled); OKS, PCK and error are means over
people with at least --min-points labelled body points.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on labelled photos",
        description="Measure a pose model on photos labelled like COCO or COCO-WholeBody: AP and "
        "AR of each part as COCO-WholeBody has them, mean OKS, PCK (share of points within a "
        "tenth of the longer side of the person's box) and mean error (over that side).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("annotations", nargs="+", help="COCO or COCO-WholeBody annotation files")
    add("--images", required=True, metavar="DIR", help="folder of the pictures")
    add(
        "--boxes",
        default="gt",
        metavar="gt|detector|FILE",
        help="where the people are: labelled, found by --detector, or in a file (default: gt)",
    )

    group = parser.add_argument_group("models")
    add = group.add_argument
    add("--model", metavar="ID|FILE", default="auto", help="pose network (see: dwpose models list)")
    add("--detector", metavar="ID|FILE", default="auto", help="for --boxes detector")
    add("--models-folder", metavar="DIR", help="where model files are kept")
    add("--runtime", choices=("auto", "torch", "onnxruntime"), default="auto")
    add("--device", metavar="NAME", default="auto", help="cpu, cuda, cuda:1, mps ... (auto)")
    add("--precision", choices=("auto", "fp32", "fp16", "bf16"), default="auto")
    add(
        "--batch-size",
        type=parse_count,
        metavar="N",
        help="crops that go through the network at once",
    )
    add("--flip-test", action="store_true", help="average with the mirror image")
    add(
        "--padding",
        type=number(0, 10, above=True),
        metavar="FACTOR",
        help="by which boxes are enlarged to crops (default: what the network is for, 1.25 or 1.1)",
    )

    group = parser.add_argument_group("how to count")
    add = group.add_argument
    add("--nms", choices=("oks", "soft_oks", "none"), default="oks", help="of poses that are alike")
    add(
        "--nms-threshold",
        type=number(0, 1),
        default=0.9,
        metavar="OKS",
        help="0 to 1 (default: 0.9)",
    )
    add(
        "--score",
        choices=("box_keypoint", "keypoint", "box"),
        default="box_keypoint",
        help="what ranks people (default: box score times mean keypoint score)",
    )
    add("--box-area", action="store_true", help="take 0.53 of the box for a person's area")
    add(
        "--min-points",
        type=whole(0, 17),
        default=6,
        metavar="N",
        help="labelled body points a person, of 17 (default: 6)",
    )

    group = parser.add_argument_group("what to write")
    add = group.add_argument
    add("--json", metavar="FILE", help="also write the numbers to this file")
    add("--worst", metavar="DIR", help="also write a picture of the worst cases there")
    add(
        "--worst-count",
        type=parse_count,
        default=24,
        metavar="N",
        help="people on it (default: 24)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 1 when a picture could not be read, 2 for bad arguments."""
    from ..estimator import Estimator
    from ..io.atomic import check_place, write_atomically
    from ..io.coco import load_annotations
    from ..pipeline import DWPose
    from ..training.coco_metric import CocoMetric

    sets: dict[str, Any] = {}
    faults: dict[str, str] = {}
    try:
        if args.json:
            check_place(args.json)
        metric = CocoMetric(
            score=args.score,
            nms=args.nms,
            nms_threshold=args.nms_threshold,
            use_area=not args.box_area,
        )
        pose = DWPose.from_pretrained(
            args.model,
            args.detector if args.boxes == "detector" else "none",
            runtime=args.runtime,
            device=args.device,
            precision=args.precision,
            folder=args.models_folder,
            batch_size=args.batch_size,
        )
        if args.padding is not None:
            pose.estimator = Estimator(
                pose.estimator.session, batch_size=args.batch_size, padding=args.padding
            )
        for name, path in set_names(args.annotations).items():
            stem = path.stem if name == path.name else f"{len(sets) + 1}_{path.stem}"
            sets[name] = _measure(pose, load_annotations(path), stem, metric, args)
            faults |= sets[name]["unread"]
            _print(name, sets[name])
    # TypeError is of label files, WeightsError a RuntimeError.
    except (OSError, TypeError, ValueError, RuntimeError) as fault:
        sys.stderr.write(f"dwpose evaluate: {fault}\n")
        return 2
    for picture, reason in faults.items():
        sys.stderr.write(f"skipped {picture}: {reason}\n")
    if args.json:
        report = {
            "model": args.model,
            "runtime": {role: str(info) for role, info in pose.info.items()},
            "boxes": args.boxes,
            "flip_test": args.flip_test,
            "padding": pose.estimator.padding,
            "metric": vars(metric),
            "sets": sets,
        }
        write_atomically(Path(args.json), json.dumps(_finite(report), indent=1).encode())
    return 1 if faults else 0


def set_names(files: Sequence[str]) -> dict[str, Path]:
    """What reports call annotation files: their bare names, or their paths where names are alike.

    Args:
        files: paths.

    Returns:
        the paths by name, in their order, each once.
    """
    paths = dict.fromkeys(Path(file) for file in files)
    counts = Counter(path.name for path in paths)
    return {path.name if counts[path.name] == 1 else str(path): path for path in paths}


def _measure(
    pose: DWPose, dataset: CocoDataset, stem: str, metric: CocoMetric, args: argparse.Namespace
) -> dict[str, Any]:
    """Measure one set and return its report."""
    from dataclasses import asdict

    from ..training.coco_metric import Predictions, evaluate_coco
    from ..training.evaluate import estimate, measure_points, pairs, readable
    from ..training.worst_cases import save_sheet

    folder = Path(args.images)
    boxes = _boxes(args.boxes, dataset)
    estimates = estimate(pose, dataset, folder, boxes, args.flip_test, _progress())
    found = list(pairs(dataset, estimates, args.min_points))
    points = measure_points(found)
    estimator = pose.estimator
    predictions = Predictions.from_people(estimates.people, estimator.size_hw, estimator.padding)
    precision = evaluate_coco(readable(dataset, estimates), predictions, metric)
    if args.worst:
        sheet = Path(args.worst) / f"{stem}_worst.jpg"
        drawn = save_sheet(sheet, found, estimates, args.worst_count)
        sys.stderr.write(f"{sheet}: {drawn} people\n")
    return {
        "pictures": len(dataset.images) - len(estimates.faults),
        "predictions": len(predictions),
        "coco": {part: numbers.as_dict() for part, numbers in precision.items()},
        "points": {part: asdict(numbers) for part, numbers in points.items()},
        "unread": estimates.faults,
    }


def _boxes(text: str, dataset: CocoDataset) -> str | dict[int, Boxes]:
    if text in ("gt", "detector"):
        return text
    from ..training.evaluate import load_detections

    return load_detections(text, dataset)


def _progress() -> Any:
    """Return a function that shows how far it is, where somebody watches."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r{done} of {total} pictures{end}")
        sys.stderr.flush()

    return show


def _print(name: str, report: dict[str, Any]) -> None:
    coco = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar", "ar50", "ar75")
    titles = ("AP", "AP50", "AP75", "AP(M)", "AP(L)", "AR", "AR50", "AR75")
    lines = [
        f"{name}: {report['pictures']} pictures, {report['predictions']} predictions",
        f"{'part':<12}" + "".join(f"{title:>7}" for title in titles),
    ]
    for part, row in report["coco"].items():
        cells = (f"{100 * row[key]:7.1f}" if row[key] >= 0 else f"{'-':>7}" for key in coco)
        lines.append(f"{part:<12}" + "".join(cells))
    lines.append(f"\n{'part':<12}{'OKS':>7}{'PCK':>7}{'error':>7}{'found':>7}{'people':>7}")
    for part, row in report["points"].items():
        if row["people"]:
            lines.append(
                f"{part:<12}{row['oks']:7.3f}{row['pck']:7.3f}{row['error']:7.3f}"
                f"{row['found']:7d}{row['people']:7d}"
            )
    sys.stdout.write("\n".join(lines) + "\n\n")


def _finite(value: Any) -> Any:
    """Replace numbers that JSON does not have by null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and value != value else value
