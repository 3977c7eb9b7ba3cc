"""COCO-WholeBody's average precision and recall, as DWPose is measured.

Equal to mmpose's ``CocoWholeBodyMetric`` on xtcocotools 1.14.3. That package is not used: its last
release is of October 2023, its wheels stop at Python 3.11 and do not import beside numpy 2, it
wants Cython and setuptools at run time, and what is needed of it is the arithmetic below.

Shapes: D predictions in all pictures; d predictions and g labelled people of one picture;
K = 133 points, k of one part; T = 10 thresholds of OKS; R = 101 recalls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..geometry import BOX_PADDING, OKS_NMS_THRESHOLD, box_center_scale, fix_aspect, oks_matrix
from ..geometry import oks_nms as hard_oks_nms
from ..io.coco import CocoDataset, CocoInstance
from ..skeleton import NUM_KEYPOINTS, PARTS, SIGMAS
from ..types import People

Array = npt.NDArray[Any]

# COCO's settings for keypoints: thresholds of OKS, recalls at which precision is read, and the
# areas in square pixels that count as medium and large.
THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)
RECALLS: Final = np.linspace(0.0, 1.0, 101)
AREAS: Final = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
# Share of a box that stands for the person's area where areas are not used (xtcocotools).
BOX_SHARE: Final = 0.53
# soft_oks_nms of mmpose keeps at most so many.
_SOFT_LIMIT: Final = 20
SPANS: Final[Mapping[str, slice]] = {**PARTS, "whole": slice(0, NUM_KEYPOINTS)}


@dataclass(frozen=True)
class CocoMetric:
    """How predictions are ranked, thinned out and compared; the defaults are DWPose's.

    Attributes:
        score: "box_keypoint" ranks people by the box's score times the mean of the keypoint
            scores above `keypoint_threshold`, "keypoint" by that mean, "box" by the box's score.
        keypoint_threshold: see `score`.
        nms: "oks" removes all but the best of poses that are alike, "soft_oks" sorts them
            anew (the original does not keep its rescored scores, so little changes), "none".
        nms_threshold: OKS over all 133 points above which poses are alike.
        use_area: take the label's area, else 0.53 of its box. The released code passes True to
            the evaluation even where its metric is told False.
        max_people: predictions of a picture that count, best first.

    Raises:
        ValueError: an unknown `score` or `nms`.
    """

    score: str = "box_keypoint"
    keypoint_threshold: float = 0.2
    nms: str = "oks"
    nms_threshold: float = OKS_NMS_THRESHOLD
    use_area: bool = True
    max_people: int = 20

    def __post_init__(self) -> None:
        """Check the values."""
        if self.score not in ("box_keypoint", "keypoint", "box"):
            raise ValueError(f"score must be box_keypoint, keypoint or box, got {self.score!r}")
        if self.nms not in ("oks", "soft_oks", "none"):
            raise ValueError(f"nms must be oks, soft_oks or none, got {self.nms!r}")


@dataclass(frozen=True)
class PartPrecision:
    """COCO's ten numbers of one part, 0..1; -1 where nobody of that size is labelled.

    Attributes:
        ap, ap50, ap75: average precision over OKS 0.5, 0.55 ... 0.95, at 0.5, and at 0.75.
        ap_medium, ap_large: of people of 32^2 to 96^2 square pixels, and of larger ones.
        ar, ar50, ar75, ar_medium, ar_large: average recall, likewise.
    """

    ap: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar: float
    ar50: float
    ar75: float
    ar_medium: float
    ar_large: float

    def as_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Estimated people of many pictures.

    Attributes:
        image_ids: int64 [D], each one's picture.
        keypoints: float [D, 133, 2], pixels of the picture.
        scores: float [D, 133], raw keypoint scores.
        box_scores: float [D], the detector's, 1 for boxes that were given.
        nms_areas: float [D], square pixels; the areas of the crops that were looked at.
    """

    image_ids: Array
    keypoints: Array
    scores: Array
    box_scores: Array
    nms_areas: Array

    @classmethod
    def from_people(
        cls,
        people: Mapping[int, People],
        input_size_hw: tuple[int, int],
        padding: float = BOX_PADDING,
    ) -> Predictions:
        """Collect pictures' people.

        Args:
            people: those of each picture by its id.
            input_size_hw: height and width of the pose network's input, whose shape the crops
                have.
            padding: factor by which boxes were enlarged.
        """
        found = [(i, p) for i, p in people.items() if len(p)]
        if not found:
            empty = np.zeros(0)
            points = np.zeros((0, NUM_KEYPOINTS, 2))
            return cls(empty.astype(np.int64), points, points[..., 0], empty, empty)
        _, scale = box_center_scale(np.concatenate([p.boxes.xyxy for _, p in found]), padding)
        height, width = input_size_hw
        return cls(
            np.repeat([i for i, _ in found], [len(p) for _, p in found]),
            np.concatenate([p.keypoints for _, p in found]),
            np.concatenate([p.scores for _, p in found]),
            np.concatenate([p.boxes.scores for _, p in found]),
            fix_aspect(scale, width / height).prod(axis=-1),
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, rows: Array) -> Predictions:
        """Return the predictions at indices or under a mask, in that order."""
        return Predictions(
            self.image_ids[rows],
            self.keypoints[rows],
            self.scores[rows],
            self.box_scores[rows],
            self.nms_areas[rows],
        )


def rank(predictions: Predictions, metric: CocoMetric) -> Array:
    """Score of each person as a whole, float64 [D]; 0 where no keypoint counts."""
    box_scores = predictions.box_scores.astype(np.float64)
    if metric.score == "box":
        return box_scores
    scores = predictions.scores.astype(np.float64)
    counted = scores > metric.keypoint_threshold
    mean = np.where(counted, scores, 0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    return mean if metric.score == "keypoint" else mean * box_scores


def thin_out(predictions: Predictions, ranks: Array, metric: CocoMetric) -> Array:
    """Indices of the people who stay, int64, picture by picture in rising id."""
    kept: list[Array] = [np.zeros(0, np.int64)]
    for image_id in np.unique(predictions.image_ids):
        rows = np.flatnonzero(predictions.image_ids == image_id)
        if metric.nms != "none":
            thin = hard_oks_nms if metric.nms == "oks" else _soft_oks_nms
            rows = rows[
                thin(
                    predictions.keypoints[rows],
                    ranks[rows],
                    predictions.nms_areas[rows],
                    metric.nms_threshold,
                )
            ]
        kept.append(rows)
    return np.concatenate(kept)


def _soft_oks_nms(keypoints: Array, ranks: Array, areas: Array, threshold: float) -> Array:
    """Take the best, lower the others by their likeness to it, and so on."""
    likeness = oks_matrix(keypoints, areas, keypoints, areas)
    order = ranks.argsort()[::-1]
    left = ranks[order]
    kept: list[int] = []
    while len(order) and len(kept) < _SOFT_LIMIT:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        left = left[1:] * np.exp(-np.square(likeness[best, order]) / threshold)
        again = left.argsort()[::-1]
        order, left = order[again], left[again]
    return np.array(kept, np.int64)


def evaluate_coco(
    dataset: CocoDataset,
    predictions: Predictions,
    metric: CocoMetric | None = None,
    parts: Sequence[str] = tuple(SPANS),
) -> dict[str, PartPrecision]:
    """Compare predictions with labels.

    Quirks of the original that are kept: each part is matched on its own; the labels' flags of
    validity are not read, a part counts where one of its points is labelled; the area is the
    whole person's for every part; a prediction's own area is that of its 17 body points.

    Args:
        dataset: labelled people, crowds included. All its pictures count.
        predictions: in any order of pictures; for equal ranks the earlier comes first.
        metric: settings; DWPose's when None.
        parts: names of `skeleton.PARTS`, and "whole" for all 133 points at once.

    Returns:
        the numbers of each part.

    Raises:
        ValueError: an unknown part, or predictions of a picture that the dataset lacks.
    """
    metric = metric or CocoMetric()
    if unknown := [part for part in parts if part not in SPANS]:
        raise ValueError(f"parts must be of {', '.join(SPANS)}, got {', '.join(unknown)}")
    strange = sorted(set(predictions.image_ids.tolist()) - set(dataset.images))
    if strange:
        raise ValueError(f"predictions must be of the dataset's pictures, {strange[0]} is not")
    ranks = rank(predictions, metric)
    kept = thin_out(predictions, ranks, metric)
    predictions, ranks = predictions[kept], ranks[kept]
    body = predictions.keypoints[:, PARTS["body"]].astype(np.float64)
    areas = (body.max(axis=1) - body.min(axis=1)).prod(axis=-1)
    ids = predictions.image_ids
    rows_of = {int(i): np.flatnonzero(ids == i) for i in np.unique(ids)}
    results: dict[str, PartPrecision] = {}
    for part in parts:
        span = SPANS[part]
        seen = np.asarray((predictions.scores[:, span] > 0).any(axis=1))
        pictures: list[_Picture] = []
        for image_id in sorted(dataset.images):
            rows = rows_of.get(image_id, np.zeros(0, np.int64))
            rows = rows[seen[rows]]
            rows = rows[np.argsort(-ranks[rows], kind="stable")][: metric.max_people]
            truth = dataset.instances_of(image_id)
            if not truth and not len(rows):
                continue
            likeness = part_oks(predictions.keypoints[rows, span], truth, span, metric.use_area)
            pictures.append(_Picture(ranks[rows], areas[rows], truth, likeness, span))
        results[part] = _summarise(pictures, metric.use_area)
    return results


def _area(person: CocoInstance, use_area: bool) -> float:
    if use_area:
        return person.area
    width, height = (person.xyxy[2:] - person.xyxy[:2]).astype(np.float64)
    return float(width * height * BOX_SHARE)


def part_oks(
    guesses: Array, truth: Sequence[CocoInstance], span: slice, use_area: bool = True
) -> Array:
    """OKS of each prediction and each labelled person over one part.

    Args:
        guesses: float [d, k, 2], the part's points in pixels.
        truth: g labelled people.
        span: the part's place among the 133 points.
        use_area: see `CocoMetric`.

    Returns:
        float64 [d, g]. Where nothing of the part is labelled, points count by their distance to
        the person's box made three times as large, which lets predictions there be forgiven.
    """
    guesses = guesses.astype(np.float64)
    likeness = np.zeros((len(guesses), len(truth)))
    variance = np.square(SIGMAS[span].astype(np.float64) * 2)
    for column, person in enumerate(truth):
        labelled = person.visible[span] > 0
        if labelled.any():
            apart = guesses - person.keypoints[span].astype(np.float64)
        else:
            labelled = np.ones_like(labelled)
            size = (person.xyxy[2:] - person.xyxy[:2]).astype(np.float64)
            low, high = person.xyxy[:2] - size, person.xyxy[2:] + size
            apart = np.maximum(low - guesses, 0) + np.maximum(guesses - high, 0)
        squared = np.square(apart).sum(axis=-1)
        error = squared / variance / (_area(person, use_area) + np.spacing(1.0)) / 2
        likeness[:, column] = np.exp(-error[:, labelled]).mean(axis=1)
    return likeness


@dataclass(frozen=True, eq=False)
class _Picture:
    """One picture's predictions, best first, and its labels, for one part."""

    ranks: Array  # float [d]
    areas: Array  # float [d]
    truth: Sequence[CocoInstance]
    likeness: Array  # float [d, g]
    span: slice

    def match(self, area: tuple[float, float], use_area: bool) -> tuple[Array, Array, int]:
        """Give predictions to labels.

        Returns:
            matched bool [T, d], ignored bool [T, d] (neither right nor wrong), and the number of
            labels that count.
        """
        low, high = area
        ignored = np.array(
            [
                person.iscrowd
                or not (person.visible[self.span] > 0).any()
                or not low <= _area(person, use_area) <= high
                for person in self.truth
            ],
            dtype=bool,
        )
        # Labels that count come first, so that one of them wins over one that does not.
        order = np.argsort(ignored, kind="stable").tolist()
        crowd = [person.iscrowd for person in self.truth]
        shape = (len(THRESHOLDS), len(self.ranks))
        matched, forgiven = np.zeros(shape, bool), np.zeros(shape, bool)
        rows = self.likeness.tolist()
        hopeful = [i for i, row in enumerate(rows) if row and max(row) >= THRESHOLDS[0]]
        for t, threshold in enumerate(THRESHOLDS.tolist()):
            taken: set[int] = set()
            for i in hopeful:
                best, least = -1, min(threshold, 1 - 1e-10)
                for j in order:
                    if j in taken and not crowd[j]:
                        continue
                    if best >= 0 and not ignored[best] and ignored[j]:
                        break
                    if rows[i][j] >= least:
                        best, least = j, rows[i][j]
                if best >= 0:
                    taken.add(best)
                    matched[t, i] = True
                    forgiven[t, i] = ignored[best]
        outside = (self.areas < low) | (self.areas > high)
        return matched, forgiven | (~matched & outside), int((~ignored).sum())


def _summarise(pictures: Sequence[_Picture], use_area: bool) -> PartPrecision:
    precision: dict[str, Array] = {}
    recall: dict[str, Array] = {}
    for name, area in AREAS.items():
        precision[name], recall[name] = _curves(pictures, area, use_area)
    at50 = 0
    at75 = int(np.argmin(np.abs(THRESHOLDS - 0.75)))
    numbers = [
        part
        for curves in (precision, recall)
        for part in (
            curves["all"].mean(),
            curves["all"][at50].mean(),
            curves["all"][at75].mean(),
            curves["medium"].mean(),
            curves["large"].mean(),
        )
    ]
    return PartPrecision(*(float(number) for number in numbers))


def _curves(
    pictures: Sequence[_Picture], area: tuple[float, float], use_area: bool
) -> tuple[Array, Array]:
    """Precision [T, R] and final recall [T, 1]; -1 everywhere where no label counts."""
    precision = np.full((len(THRESHOLDS), len(RECALLS)), -1.0)
    recall = np.full((len(THRESHOLDS), 1), -1.0)
    found = [picture.match(area, use_area) for picture in pictures]
    labels = sum(count for _, _, count in found)
    if not labels:
        return precision, recall
    order = np.argsort(-np.concatenate([p.ranks for p in pictures]), kind="stable")
    matched = np.concatenate([m for m, _, _ in found], axis=1)[:, order]
    ignored = np.concatenate([i for _, i, _ in found], axis=1)[:, order]
    right = np.cumsum(matched & ~ignored, axis=1).astype(np.float64)
    wrong = np.cumsum(~matched & ~ignored, axis=1).astype(np.float64)
    for t in range(len(THRESHOLDS)):
        reached = right[t] / labels
        exact = right[t] / (wrong[t] + right[t] + np.spacing(1.0))
        # Precision never rises with recall: each gets the best that comes later.
        falling = np.maximum.accumulate(exact[::-1])[::-1]
        places = np.searchsorted(reached, RECALLS, side="left")
        precision[t] = np.append(falling, 0.0)[places]
        recall[t] = reached[-1] if len(reached) else 0.0
    return precision, recall
