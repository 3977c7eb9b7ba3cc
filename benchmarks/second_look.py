"""What a second look at small hands and faces gains, on rendered people of exact truth.

    python benchmarks/second_look.py [--estimator ID_OR_FILE] [--count 24] [--out FILE]

People are rendered large, then made smaller (as in a picture of a crowd), estimated in their true
boxes, and looked at again (`dwpose.second_look`). Recorded for each height of the person in
pixels: mean error of face and hands in pixels of that picture over points that are in sight,
before and after, how many parts were looked at, and the time of both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dwpose.pipeline import DWPose  # noqa: E402
from dwpose.second_look import SecondLookOptions, find_looks, look_again  # noqa: E402
from dwpose.skeleton import FACE, LEFT_HAND, RIGHT_HAND  # noqa: E402
from dwpose.training.synthetic import SyntheticConfig, SyntheticPeople  # noqa: E402
from dwpose.types import Boxes  # noqa: E402

HEIGHTS = (80, 120, 180, 260, 400)
PARTS = {"face": FACE, "left_hand": LEFT_HAND, "right_hand": RIGHT_HAND}


def shrink(batch: Any, height_px: float) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, Boxes]]:
    """Pictures in which each subject is so high, with points, what is in sight, and the box."""
    out = []
    for i in range(len(batch.images)):
        image = np.ascontiguousarray(batch.images[i].permute(1, 2, 0).numpy())
        box = batch.boxes[i].numpy()
        factor = min(height_px / max(float(box[3] - box[1]), 1.0), 1.0)
        size = (max(round(image.shape[1] * factor), 8), max(round(image.shape[0] * factor), 8))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        scale = np.array(size) / (image.shape[1], image.shape[0])
        points = (batch.keypoints[i].numpy() + 0.5) * scale - 0.5
        seen = batch.visibility[i].numpy() == 2
        out.append((small.astype(np.uint8), points, seen, Boxes((box * np.tile(scale, 2))[None])))
    return out


def main() -> None:
    """Measure, write JSON, print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--estimator", default="auto")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--context", type=float, default=SecondLookOptions().context)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/second_look.json")
    args = parser.parse_args()
    options = SecondLookOptions(context=args.context)
    estimator = DWPose.from_pretrained(args.estimator, "none").estimator
    config = SyntheticConfig(
        size_hw=(640, 480),
        framing=(1, 0, 0, 0, 0, 0),
        neighbours=(1, 0, 0),
        occluders=0.0,
        whole_picture=0.0,
    )
    engine = SyntheticPeople(config)
    step = 4
    batches = [engine.sample(step, args.seed + k) for k in range(-(-args.count // step))]
    rows = []
    for height in HEIGHTS:
        scenes = [scene for batch in batches for scene in shrink(batch, height)]
        images, boxes = [s[0] for s in scenes], [s[3] for s in scenes]
        start = time.perf_counter()
        before = estimator(images, boxes)
        middle = time.perf_counter()
        after = look_again(images, before, estimator, options)
        end = time.perf_counter()
        row: dict[str, Any] = {
            "person_px": height,
            "looks_per_person": float(
                np.mean([len(find_looks(p, estimator.size_hw, options)) for p in before])
            ),
            "first_ms": (middle - start) * 1e3 / len(images),
            "second_ms": (end - middle) * 1e3 / len(images),
        }
        for name, part in PARTS.items():
            for when, people in (("before", before), ("after", after)):
                errors = [
                    np.linalg.norm(p.keypoints[0, part] - points[part], axis=-1)[seen[part]]
                    for p, (_, points, seen, _) in zip(people, scenes, strict=True)
                ]
                row[f"{name}_{when}_px"] = float(np.concatenate(errors).mean())
        rows.append(row)
        print(json.dumps({k: round(v, 2) for k, v in row.items()}))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    record = {
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "estimator": str(args.estimator),
        "input_hw": list(estimator.size_hw),
        "context": args.context,
        "count": args.count,
        "results": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
