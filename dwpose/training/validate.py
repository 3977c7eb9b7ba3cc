"""Measuring a network while it is trained: on held-out crops, and as COCO-WholeBody does it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..estimator import Estimator
from ..io.coco import CocoDataset, CocoImage, CocoInstance
from ..models.rtmpose import RTMPose
from ..pipeline import DWPose
from ..runtimes.torch_session import TorchSession
from ..simcc import decode
from ..skeleton import PARTS
from ..types import Boxes, People
from .batch import RawBatch, normalize_images
from .coco_metric import BOX_SHARE, Predictions, evaluate_coco
from .evaluate import Pair, estimate, measure_points, pairs, readable
from .pool import CropPool, VariationConfig
from .rendered import as_labels, render_crops
from .synthetic import SyntheticPeople

# A point of a crop counts as found within this share of the crop's width.
NEAR_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class CropEstimates:
    """What a network said of held-out crops; N crops, K points.

    Attributes:
        keypoints: float32 [N, K, 2], crop pixels.
        scores: float32 [N, K], raw.
        truth: float32 [N, K, 2], crop pixels.
        weights: float32 [N, K]; 1 where a point is labelled and seen.
        size_hw: height and width of the crops in pixels.
    """

    keypoints: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    truth: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    size_hw: tuple[int, int]


@torch.inference_mode()
def estimate_crops(
    model: RTMPose, batches: Iterable[RawBatch], device: torch.device | str = "cpu"
) -> CropEstimates:
    """Run a network over held-out crops, in fp32.

    Args:
        model: in eval mode; it comes back on the device.
        batches: the crops, as stored.
        device: where to run.

    Raises:
        ValueError: there is no crop.
    """
    model = model.to(device)
    columns: list[tuple[Any, ...]] = []
    for raw in batches:
        curves = model(normalize_images(raw["image"].to(device)))
        guess, scores = decode(*(curve.float().cpu().numpy() for curve in curves))
        columns.append(
            (guess, scores, raw["keypoints"].cpu().numpy(), raw["weights"].cpu().numpy())
        )
    if not columns:
        raise ValueError(
            "none of the pictures to measure on could be read; see what is missing with: dwpose "
            "data check"
        )
    guess, scores, truth, weights = (np.concatenate(c) for c in zip(*columns, strict=True))
    return CropEstimates(guess, scores, truth, weights, model.config.input_size_hw)


def crop_pck(found: CropEstimates, share: float = NEAR_SHARE) -> dict[str, float]:
    """Share of seen points that lie within `share` of the crop's width, by part and "pck" of all.

    A part without a seen point is left out.
    """
    apart = np.linalg.norm(found.keypoints - found.truth, axis=-1)
    near = (apart <= share * found.size_hw[1]).astype(np.float32)
    near[found.weights < 1] = np.nan
    spans: Mapping[str, slice] = {"pck": slice(None), **{f"pck_{k}": s for k, s in PARTS.items()}}
    return {
        name: round(float(np.nanmean(near[:, span])), 4)
        for name, span in spans.items()
        if np.isfinite(near[:, span]).any()
    }


def crop_people(found: CropEstimates) -> tuple[CocoDataset, dict[int, People]]:
    """Return labels and estimates as if each crop were a picture of one person, by its index.

    The person's area, which OKS needs, is 0.53 of the box around the labelled points that lie in
    the crop, as xtcocotools takes it where areas are not known. Crops without any are left out.
    """
    height, width = found.size_hw
    images: dict[int, CocoImage] = {}
    instances: list[CocoInstance] = []
    people: dict[int, People] = {}
    whole = np.array([[0, 0, width - 1, height - 1]], np.float32)
    for i, (points, weights) in enumerate(zip(found.truth, found.weights, strict=True)):
        labelled = weights >= 0.5
        if not labelled.any():
            continue
        low, high = points[labelled].min(axis=0), points[labelled].max(axis=0)
        box = np.concatenate([low, np.maximum(high, low + 1)]).astype(np.float32)
        area = float((box[2:] - box[:2]).prod()) * BOX_SHARE
        visible = np.where(labelled, 2, 0).astype(np.float32)
        valid = {part: bool(labelled[span].any()) for part, span in PARTS.items()}
        images[i] = CocoImage(i, str(i), height, width)
        instances.append(CocoInstance(i, i, points, visible, box, area, False, valid))
        people[i] = People(
            found.keypoints[i : i + 1], found.scores[i : i + 1], Boxes(whole), (height, width)
        )
    return CocoDataset(images, tuple(instances)), people


def measure_crops(found: CropEstimates) -> dict[str, float]:
    """Return AP of the whole ("ap") and of each part, mean OKS ("oks") and PCK likewise."""
    dataset, people = crop_people(found)
    precision = evaluate_coco(dataset, Predictions.from_people(people, found.size_hw))
    points = measure_points(
        [
            Pair(person, people[person.image_id].keypoints[0], people[person.image_id].scores[0])
            for person in dataset.instances
        ]
    )
    numbers = {"ap": precision["whole"].ap, "oks": points["whole"].oks}
    for part in PARTS:
        numbers |= {f"ap_{part}": precision[part].ap, f"oks_{part}": points[part].oks}
    finite = {name: round(value, 4) for name, value in numbers.items() if math.isfinite(value)}
    return {**finite, **crop_pck(found)}


class PoolMeasure:
    """AP and PCK on held-out crops of a pool, for `trainer.Trainer` and `ablation.Ablation`.

    Args:
        pool: crops that are never learned from.
        device: where to run.
        limit: crops to look at.
        batch: crops at once.
    """

    def __init__(
        self, pool: CropPool, device: torch.device | str = "cpu", limit: int = 512, batch: int = 64
    ) -> None:
        count = min(limit, len(pool))
        self._rows = [np.arange(s, min(s + batch, count)) for s in range(0, count, batch)]
        self._pool, self._device = pool, device

    def __call__(self, model: RTMPose) -> dict[str, float]:
        """Measure a network; see `measure_crops`."""
        batches = (self._pool.batch(rows) for rows in self._rows)
        return measure_crops(estimate_crops(model, batches, self._device))


class RenderedMeasure:
    """AP and PCK on a fixed set of rendered crops, for `trainer.Trainer` and `ablation.Ablation`.

    Args:
        engine: what renders, at best with bodies, poses and backgrounds of the split "val".
        count: crops.
        batch: crops at once.
        seed: of the first pictures; other runs with it are measured on the same ones.
    """

    def __init__(
        self, engine: SyntheticPeople, count: int = 2000, batch: int = 64, seed: int = 987_654
    ) -> None:
        settings = VariationConfig()
        self._device = engine.device
        self._batches: list[RawBatch] = []
        for start in range(0, count, batch):
            crops = render_crops(engine, min(batch, count - start), seed + start)
            self._batches.append(as_labels(crops, settings))

    def __call__(self, model: RTMPose) -> dict[str, float]:
        """Measure a network; see `measure_crops`."""
        return measure_crops(estimate_crops(model, self._batches, self._device))


class CocoMeasure:
    """AP, PCK and OKS on labelled photos, for `trainer.Trainer`.

    Args:
        dataset: labels.
        images: folder of the pictures.
        device: where to run.
        boxes: as `evaluate.estimate` takes them.
        flip_test: average with the mirror image, as the paper does.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        images: Path,
        device: torch.device | str = "cpu",
        boxes: str | Mapping[int, Boxes] = "gt",
        flip_test: bool = False,
    ) -> None:
        self.dataset, self.images, self.boxes, self.flip_test = dataset, images, boxes, flip_test
        self._device = str(device)

    def __call__(self, model: RTMPose) -> dict[str, float]:
        """Measure a network: "ap", "pck" and "oks" of the whole, and likewise of each part."""
        size_hw = model.config.input_size_hw
        pose = DWPose(Estimator(TorchSession(model, size_hw, self._device)))
        found = estimate(pose, self.dataset, self.images, self.boxes, self.flip_test)
        predictions = Predictions.from_people(found.people, size_hw, pose.estimator.padding)
        precision = evaluate_coco(readable(self.dataset, found), predictions)
        points = measure_points(list(pairs(self.dataset, found)))
        numbers = {"ap": precision["whole"].ap}
        numbers |= {f"ap_{part}": precision[part].ap for part in PARTS}
        numbers |= {"pck": points["whole"].pck, "oks": points["whole"].oks}
        for part in PARTS:
            numbers |= {f"pck_{part}": points[part].pck, f"oks_{part}": points[part].oks}
        # Parts that nobody has labelled are not numbers.
        return {name: round(value, 4) for name, value in numbers.items() if math.isfinite(value)}
