"""How many people a detector finds, and how often it sees somebody where nobody is.

Shapes: P people who are there, D detections, A rows of a raw output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...detector import SCORE_THRESHOLD, PersonDetector, read_outputs
from ...geometry import iou_matrix
from ...io.coco import CocoDataset
from ...io.images import load_image
from ...types import Boxes
from .scenes import Composer

Array = npt.NDArray[Any]

QUARTER = 0.25
"""Share of the picture's height from which a person counts as large."""


@dataclass(frozen=True)
class DetectorScores:
    """Counts and shares over a set of pictures.

    Attributes:
        pictures: how many.
        people: labelled ones that are large enough.
        recall: share of them that a box above the score threshold overlaps by half.
        precision: share of boxes above the threshold that belong to somebody; boxes that fit a
            small person or a crowd count for neither side.
        false_per_picture: boxes above the threshold that belong to nobody.
        ap50: average precision at IoU 0.5 over all scores, as COCO interpolates it.
    """

    pictures: int
    people: int
    recall: float
    precision: float
    false_per_picture: float
    ap50: float


@dataclass(frozen=True)
class Truth:
    """Who is in a picture.

    Attributes:
        boxes: float [P, 4] xyxy.
        counted: bool [P]; the others (small people, crowds) need not be found and may be.
    """

    boxes: Array
    counted: npt.NDArray[np.bool_]


def match_people(found: Boxes, truth: Truth, least_iou: float = 0.5) -> tuple[Array, Array]:
    """Give each detection, best first, the unmatched person whom it fits best.

    Returns:
        bool [D], whether it found a counted person; bool [D], whether it counts at all.
    """
    hit, counts = np.zeros(len(found), bool), np.ones(len(found), bool)
    free = truth.counted.copy()
    overlap = iou_matrix(found.xyxy, truth.boxes)
    for row in np.argsort(-found.scores, kind="stable"):
        fits = overlap[row] >= least_iou
        options = np.flatnonzero(fits & free)
        if len(options):
            free[options[np.argmax(overlap[row, options])]] = False
            hit[row] = True
        else:
            counts[row] = not (fits & ~truth.counted).any()
    return hit, counts


def detector_scores(
    found: Sequence[Boxes], truths: Sequence[Truth], threshold: float = SCORE_THRESHOLD
) -> DetectorScores:
    """Score detections; give them with low scores too, or `ap50` comes out too small.

    Args:
        found: detections of each picture.
        truths: who is there.
        threshold: of recall and precision.
    """
    scores: list[Array] = [np.zeros(0)]
    hits: list[Array] = [np.zeros(0, bool)]
    for boxes, truth in zip(found, truths, strict=True):
        hit, counts = match_people(boxes, truth)
        scores.append(boxes.scores[counts])
        hits.append(hit[counts])
    score, hit = np.concatenate(scores), np.concatenate(hits)
    people = int(sum(truth.counted.sum() for truth in truths))
    sure = score > threshold
    wrong = int((sure & ~hit).sum())
    return DetectorScores(
        pictures=len(truths),
        people=people,
        recall=float((sure & hit).sum() / max(people, 1)),
        precision=float((sure & hit).sum() / max(int(sure.sum()), 1)),
        false_per_picture=wrong / max(len(truths), 1),
        ap50=_average_precision(score, hit, people),
    )


def _average_precision(score: Array, hit: Array, people: int) -> float:
    order = np.argsort(-score, kind="stable")
    right = np.cumsum(hit[order])
    precision = right / np.arange(1, len(order) + 1)
    # Precision never rises with recall (COCO), read at 101 recalls.
    precision = np.concatenate((np.maximum.accumulate(precision[::-1])[::-1], [0.0]))
    at = np.searchsorted(right / max(people, 1), np.linspace(0, 1, 101), side="left")
    return float(precision[np.minimum(at, len(order))].mean())


def score_scenes(
    answer: Callable[[Tensor], Array], scenes: Composer, side: int, count: int, seed: int = 77
) -> DetectorScores:
    """Score a network on composed scenes.

    Args:
        answer: uint8 [N, 3, S, S] BGR to raw rows [N, A, 6].
        scenes: where scenes come from.
        side: of the input.
        count: scenes.
        seed: of the scenes.
    """
    found, truths = [], []
    rng = np.random.default_rng(seed)
    for _ in range(-(-count // 16)):
        batch = scenes.batch(16, side, rng)
        rows = answer(batch.images)
        with np.errstate(over="ignore"):  # early in training sizes overflow
            outputs = read_outputs((rows,), [1.0] * len(rows), (side, side), 0.01)
        for xyxy, scores in outputs:
            finite = np.isfinite(xyxy).all(axis=1)
            found.append(Boxes(xyxy[finite], scores[finite]))
        for image, boxes, number in zip(batch.images, batch.boxes, batch.count, strict=True):
            truths.append(_large(boxes[:number].numpy(), image.shape[1]))
    return detector_scores(found, truths)


def _large(boxes: Array, height: float) -> Truth:
    return Truth(boxes, boxes[:, 3] - boxes[:, 1] >= QUARTER * height)


def score_photos(
    detector: PersonDetector,
    dataset: CocoDataset,
    folder: Path,
    threshold: float = SCORE_THRESHOLD,
) -> tuple[DetectorScores, dict[str, str]]:
    """Score a detector on labelled photos; people from a quarter of the picture's height count.

    Args:
        detector: what is measured.
        dataset: pictures and labels; crowds may be found and need not be.
        folder: that the file names are relative to; a picture is also looked for by its bare
            name.
        threshold: of recall and precision.

    Returns:
        the scores, and pictures that could not be read with the reason; they are left out.
    """
    found, truths, faults = [], [], {}
    for entry in dataset.images.values():
        path = folder / entry.file_name
        try:
            image = load_image(path if path.exists() else folder / path.name)
        except (OSError, ValueError) as fault:
            faults[entry.file_name] = str(fault)
            continue
        found += detector([image], score_threshold=0.01)
        people = dataset.instances_of(entry.id)
        truth = _large(np.array([p.xyxy for p in people]).reshape(-1, 4), image.shape[0])
        crowd = np.array([p.iscrowd for p in people], bool)
        truths.append(Truth(truth.boxes, truth.counted & ~crowd))
    return detector_scores(found, truths, threshold), faults
