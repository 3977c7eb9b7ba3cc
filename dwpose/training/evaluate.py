"""Measure a pose network on labelled photographs: OKS, PCK and error, part by part.

`estimate` runs a pipeline over a dataset's pictures once; what it found then goes to
`measure_points` here, to `coco_metric.evaluate_coco`, and to `worst_cases.save_sheet`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..io.coco import PERSON_CATEGORY, CocoDataset, CocoImage, CocoInstance
from ..io.images import load_image
from ..pipeline import DWPose, pose_scores
from ..skeleton import PARTS, SIGMAS
from ..types import Boxes, People

# COCO leaves people with fewer labelled body points than this out of such comparisons here:
# their OKS rests on a handful of clicks.
MIN_POINTS = 6
# A point counts as found within this share of the longer side of the person's box.
PCK_SHARE = 0.1
# A person counts as found by a pose whose OKS is at least this.
FOUND_OKS = 0.1
# Pictures that are in memory at once.
_GROUP = 16


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
        oks: mean OKS over people with a labelled point of the part; 0 for those not found.
        pck: share of labelled points within `PCK_SHARE` of the longer side of the box; points of
            people who were not found are missed.
        error: mean distance over the longer side of the box, of people who were found.
        people: how many people were counted.
        points: how many points were counted.
        found: how many of the people were found; all of them where their boxes were given.
    """

    oks: float
    pck: float
    error: float
    people: int
    points: int
    found: int


@dataclass(frozen=True, eq=False)
class Estimates:
    """What a pipeline said of a dataset's pictures.

    Attributes:
        people: those of each picture by its id.
        given: where the labels' own boxes were given, whose: the labelled people of each
            picture, in the order of `people`; otherwise None.
        paths: the file of each picture by its id.
        faults: pictures that could not be read, with the reason; they are left out.
    """

    people: dict[int, People]
    given: dict[int, list[CocoInstance]] | None
    paths: dict[int, Path]
    faults: dict[str, str]


def estimate(
    pose: DWPose,
    dataset: CocoDataset,
    images: Path,
    boxes: str | Mapping[int, Boxes] = "gt",
    flip_test: bool = False,
    on_picture: Callable[[int, int], None] | None = None,
) -> Estimates:
    """Run a pipeline over a dataset.

    Args:
        pose: the pipeline.
        dataset: pictures and labels.
        images: folder that the dataset's file names are relative to; a picture is also looked
            for by its bare name.
        boxes: where people are: "gt" gives the labels' boxes, cut at the picture's last pixels,
            of everybody with a labelled body point who is no crowd and whose box has an area
            there, as DWPose's data loader does; "detector" asks the pipeline's; or boxes by
            picture id.
        flip_test: average with the mirror image.
        on_picture: called with the pictures done and all pictures.

    Raises:
        ValueError: `boxes` is another text, or the pipeline has no detector to ask.
    """
    if isinstance(boxes, str) and boxes not in ("gt", "detector"):
        raise ValueError(f"boxes must be gt, detector or boxes by picture id, got {boxes!r}")
    if boxes == "detector" and pose.detector is None:
        raise ValueError("there is no detector to ask; name one, or give boxes")
    found = Estimates({}, {} if boxes == "gt" else None, {}, {})
    todo: list[tuple[int, npt.NDArray[np.uint8], Boxes | None]] = []

    def work() -> None:
        if not todo:
            return
        pictures, given = [t[1] for t in todo], [t[2] for t in todo]
        options = {"nms_threshold": None, "order": "given", "flip_test": flip_test}
        results = pose(pictures, boxes=None if given[0] is None else given, **options)
        found.people.update(zip((t[0] for t in todo), results, strict=True))
        todo.clear()

    for done, entry in enumerate(dataset.images.values(), start=1):
        where: Boxes | None = None
        if boxes == "gt":
            limit = np.array([entry.width - 1, entry.height - 1] * 2, np.float32)
            cut = [(p, np.clip(p.xyxy, 0, limit)) for p in dataset.instances_of(entry.id)]
            cut = [(p, box) for p, box in cut if _can_be_given(p, box)]
            chosen = [p for p, _ in cut]
            where = Boxes(np.array([box for _, box in cut], np.float32))
            if found.given is not None and chosen:
                found.given[entry.id] = chosen
        elif not isinstance(boxes, str):
            where = boxes.get(entry.id, Boxes.empty())
        if where is None or len(where):
            path = images / entry.file_name
            path = path if path.exists() else images / Path(entry.file_name).name
            try:
                todo.append((entry.id, _load(path, entry), where))
                found.paths[entry.id] = path
            except (OSError, ValueError) as fault:
                found.faults[entry.file_name] = str(fault)
        if len(todo) == _GROUP:
            work()
        if on_picture is not None:
            on_picture(done, len(dataset.images))
    work()
    return found


def _load(path: Path, entry: CocoImage) -> npt.NDArray[np.uint8]:
    image = load_image(path)
    height, width = image.shape[:2]
    if (entry.height, entry.width) != (height, width):
        raise ValueError(
            f"{path.name} has {width}x{height} pixels and its labels are of "
            f"{entry.width}x{entry.height}; give the picture that was labelled"
        )
    return image


def _can_be_given(person: CocoInstance, box: npt.NDArray[np.float32]) -> bool:
    return not person.iscrowd and bool(_body_points(person)) and _has_area(box)


def _has_area(box: npt.NDArray[np.float32]) -> bool:
    return bool((box[2:] > box[:2]).all())


def _body_points(person: CocoInstance) -> int:
    return int((person.visible[PARTS["body"]] > 0).sum())


def load_detections(
    path: str | os.PathLike[str], dataset: CocoDataset, least_score: float = 0.0
) -> dict[int, Boxes]:
    """Read person boxes from a COCO file of detection results.

    Args:
        path: a JSON list of objects with image_id, category_id, bbox (x, y, w, h) and score.
        dataset: the pictures; boxes of others are left out.
        least_score: boxes that score lower are left out.

    Returns:
        boxes of category 1 by picture id, in the file's order; those without area are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such list, or holds no box for these pictures.
    """
    try:
        rows = json.loads(Path(path).read_bytes())
        found: dict[int, list[tuple[npt.NDArray[np.float32], float]]] = {}
        for row in rows:
            image_id, score = row["image_id"], float(row["score"])
            if row["category_id"] != PERSON_CATEGORY or image_id not in dataset.images:
                continue
            if score >= least_score:
                x, y, width, height = (float(n) for n in row["bbox"])
                box = np.array((x, y, x + width, y + height), np.float32)
                if _has_area(box):
                    found.setdefault(image_id, []).append((box, score))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no COCO file of detection results, a list of objects with image_id, "
            f"category_id, bbox and score ({error})"
        ) from error
    if not found:
        raise ValueError(f"{path} has no box of a person in the annotated pictures")
    return {
        i: Boxes(
            np.array([b for b, _ in rows], np.float32), np.array([s for _, s in rows], np.float32)
        )
        for i, rows in found.items()
    }


def readable(dataset: CocoDataset, estimates: Estimates) -> CocoDataset:
    """Return the dataset without the pictures that could not be read."""
    images = {i: e for i, e in dataset.images.items() if e.file_name not in estimates.faults}
    return CocoDataset(images, tuple(p for p in dataset.instances if p.image_id in images))


@dataclass(frozen=True, eq=False)
class Pair:
    """A labelled person and who was found in their place.

    Attributes:
        person: the label.
        keypoints: float32 [133, 2] in pixels, or None for a person who was not found.
        scores: float32 [133], raw, or None likewise.
    """

    person: CocoInstance
    keypoints: npt.NDArray[np.float32] | None
    scores: npt.NDArray[np.float32] | None

    def oks(self, span: slice = slice(None)) -> float:
        """OKS over a part; 0 for a person not found, NaN where nothing is labelled."""
        person = self.person
        labelled = person.visible[span] > 0
        if self.keypoints is None:
            return 0.0 if labelled.any() else float("nan")
        return object_keypoint_similarity(
            self.keypoints[span], person.keypoints[span], labelled, person.area, SIGMAS[span]
        )


def pairs(
    dataset: CocoDataset, estimates: Estimates, min_points: int = MIN_POINTS
) -> Iterator[Pair]:
    """Pair labels with what was found.

    Where the labels' boxes were given that is clear. Otherwise poses take, best first, the label
    that they are most like by OKS and that is still free, if it is at least `FOUND_OKS`. (Boxes
    would not do: those of a search lie tightly around the points that were seen.)

    Args:
        dataset: labels.
        estimates: what was found in its pictures.
        min_points: people with fewer labelled body points, crowds and people whose box has no
            area are left out.

    Yields:
        one pair a labelled person, of every picture that could be read.
    """
    for image_id in readable(dataset, estimates).images:
        people = estimates.people.get(image_id, People.empty((1, 1)))
        if estimates.given is not None:
            truth = estimates.given.get(image_id, [])
            partners: list[int | None] = list(range(len(truth)))
        else:
            truth = dataset.instances_of(image_id)
            partners = _pair_poses(truth, people)
        for person, row in zip(truth, partners, strict=True):
            if person.iscrowd or _body_points(person) < min_points or not _has_area(person.xyxy):
                continue
            if row is None:
                yield Pair(person, None, None)
            else:
                yield Pair(person, people.keypoints[row], people.scores[row])


def _pair_poses(truth: Sequence[CocoInstance], people: People) -> list[int | None]:
    partners: list[int | None] = [None] * len(truth)
    rows = list(zip(people.keypoints, people.scores, strict=True))
    near = np.array([[Pair(person, *row).oks() for person in truth] for row in rows])
    near = np.nan_to_num(near.reshape(len(rows), len(truth)))
    for row in np.argsort(-pose_scores(people), kind="stable").tolist() if truth else []:
        best = int(near[row].argmax())
        if near[row, best] >= FOUND_OKS:
            partners[best] = row
            near[:, best] = -1
    return partners


def measure_points(found: Sequence[Pair]) -> dict[str, PartResult]:
    """Summarise pairs by part (those of `skeleton.PARTS` and "whole").

    Raises:
        ValueError: there is no pair.
    """
    if not found:
        raise ValueError(
            "no labelled person could be measured; check the folder of images and min_points"
        )
    spans: Mapping[str, slice] = {**PARTS, "whole": slice(0, len(SIGMAS))}
    return {part: _summary(found, span) for part, span in spans.items()}


def measure(
    pose: DWPose,
    dataset: CocoDataset,
    images: Path,
    min_points: int = MIN_POINTS,
    flip_test: bool = False,
) -> tuple[dict[str, PartResult], dict[str, str]]:
    """Estimate everybody from their labelled boxes and compare; see `estimate`.

    Returns:
        results by part (see `measure_points`), and the pictures that could not be read with the
        reason.

    Raises:
        ValueError: no person was left to measure on.
    """
    estimates = estimate(pose, dataset, images, "gt", flip_test)
    found = list(pairs(dataset, estimates, min_points))
    return measure_points(found), estimates.faults


def _summary(rows: Sequence[Pair], span: slice) -> PartResult:
    counted = [row for row in rows if (row.person.visible[span] > 0).any()]
    if not counted:
        return PartResult(float("nan"), float("nan"), float("nan"), 0, 0, 0)
    apart: list[npt.NDArray[Any]] = [np.zeros(0)]
    for row in counted:
        if row.keypoints is not None:
            person, labelled = row.person, row.person.visible[span] > 0
            side = float((person.xyxy[2:] - person.xyxy[:2]).max())
            distance = np.linalg.norm(row.keypoints[span] - person.keypoints[span], axis=-1)
            apart.append(distance[labelled] / side)
    distances = np.concatenate(apart)
    points = sum(int((row.person.visible[span] > 0).sum()) for row in counted)
    return PartResult(
        oks=float(np.mean([row.oks(span) for row in counted])),
        pck=float((distances <= PCK_SHARE).sum() / points),
        error=float(distances.mean()) if len(distances) else float("nan"),
        people=len(counted),
        points=points,
        found=sum(row.keypoints is not None for row in counted),
    )
