"""Measure a pose network on labelled photographs: OKS, PCK and error, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..io.coco import CocoDataset, CocoInstance
from ..io.images import load_image
from ..pipeline import DWPose
from ..skeleton import PARTS, SIGMAS

# COCO leaves people with fewer labelled body points than this out of such comparisons here:
# their OKS rests on a handful of clicks.
MIN_POINTS = 6
# A point counts as found within this share of the longer side of the person's box.
PCK_SHARE = 0.1


def object_keypoint_similarity(
    guess: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    labelled: npt.NDArray[np.bool_],
    area: float,
    sigmas: npt.NDArray[Any],
) -> float:
    """COCO's OKS of one person over the labelled points; NaN where nothing is labelled.

    Args:
        guess: float [K, 2], pixels.
        truth: float [K, 2], pixels.
        labelled: bool [K].
        area: square pixels.
        sigmas: float [K], `skeleton.SIGMAS`.
    """
    if not labelled.any():
        return float("nan")
    squared = np.square(guess - truth)[labelled].sum(axis=-1)
    variance = np.square(2 * np.asarray(sigmas, np.float64)[labelled])
    return float(np.exp(-squared / (2 * variance * (area + np.spacing(1.0)))).mean())


@dataclass(frozen=True)
class PartResult:
    """How well one part was found.

    Attributes:
        oks: mean OKS over people with a labelled point of the part.
        pck: share of labelled points within `PCK_SHARE` of the longer side of the box.
        error: mean distance over the longer side of the box.
        people: how many people were counted.
        points: how many points were counted.
    """

    oks: float
    pck: float
    error: float
    people: int
    points: int


def measure(
    pose: DWPose,
    dataset: CocoDataset,
    images: Path,
    min_points: int = MIN_POINTS,
    flip_test: bool = False,
) -> tuple[dict[str, PartResult], dict[str, str]]:
    """Estimate everybody from their labelled boxes and compare.

    Args:
        pose: the pipeline; its detector is not asked.
        dataset: labelled people.
        images: folder that the dataset's file names are relative to; a picture is also looked
            for by its bare name.
        min_points: people with fewer labelled body points, and crowds, are left out.
        flip_test: average with the mirror image.

    Returns:
        results by part (those of `skeleton.PARTS` and "whole"), and the pictures that could not
        be read with the reason.

    Raises:
        ValueError: no person was left to measure on.
    """
    rows: list[tuple[CocoInstance, npt.NDArray[Any]]] = []
    faults: dict[str, str] = {}
    for entry in dataset.images.values():
        chosen = [
            person
            for person in dataset.instances_of(entry.id)
            if not person.iscrowd and (person.visible[PARTS["body"]] > 0).sum() >= min_points
        ]
        if not chosen:
            continue
        path = images / entry.file_name
        try:
            picture = load_image(path if path.exists() else images / Path(entry.file_name).name)
        except (OSError, ValueError) as fault:
            faults[entry.file_name] = str(fault)
            continue
        boxes = np.stack([person.xyxy for person in chosen])
        people = pose(picture, boxes=boxes, nms_threshold=None, order="given", flip_test=flip_test)
        rows.extend(zip(chosen, people.keypoints, strict=True))
    if not rows:
        raise ValueError(
            "no labelled person could be measured; check the folder of images and min_points"
        )
    spans: Mapping[str, slice] = {**PARTS, "whole": slice(0, len(SIGMAS))}
    return {part: _summary(rows, span) for part, span in spans.items()}, faults


def _summary(rows: list[tuple[CocoInstance, npt.NDArray[Any]]], span: slice) -> PartResult:
    oks: list[float] = []
    apart: list[npt.NDArray[Any]] = []
    for person, guess in rows:
        labelled = person.visible[span] > 0
        if not labelled.any():
            continue
        truth = person.keypoints[span]
        oks.append(
            object_keypoint_similarity(guess[span], truth, labelled, person.area, SIGMAS[span])
        )
        side = float((person.xyxy[2:] - person.xyxy[:2]).max())
        apart.append(np.linalg.norm(guess[span] - truth, axis=-1)[labelled] / side)
    if not oks:
        return PartResult(float("nan"), float("nan"), float("nan"), 0, 0)
    distances = np.concatenate(apart)
    return PartResult(
        oks=float(np.mean(oks)),
        pck=float((distances <= PCK_SHARE).mean()),
        error=float(distances.mean()),
        people=len(oks),
        points=len(distances),
    )
