"""Put a network's raw scores on the scale that everybody's threshold of 0.3 expects.

A SimCC maximum says how sharp the curve is: a small network that places points to within a few
pixels is right and still peaks at 0.2, where a large one peaks at 0.8. Multiplying both output
layers by one factor moves no maximum, so positions stay and only the scores change.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..models.rtmpose import RTMPose
from ..simcc import decode
from ..types import DEFAULT_THRESHOLD
from .batch import normalize_images
from .pool import OUTSIDE, SEEN, CropPool

# A seen point counts as found within this share of the crop's width, as missed beyond the other.
FOUND_SHARE = 0.08
MISSED_SHARE = 0.2


@torch.inference_mode()
def score_gain(
    model: RTMPose,
    pool: CropPool,
    threshold: float = DEFAULT_THRESHOLD,
    limit: int = 512,
    batch: int = 64,
) -> float:
    """Find the factor on the scores with which a threshold best tells found from missed points.

    Args:
        model: the network, in eval mode.
        pool: held-out crops.
        threshold: the threshold that will be used, in raw scores.
        limit: crops to look at.
        batch: crops at once.

    Returns:
        The factor: `threshold` over the score at which the share of found points at or above it
        exceeds the share of missed and absent points there by most (Youden's index).

    Raises:
        ValueError: the crops hold no found or no missed point.
    """
    scores: list[npt.NDArray[np.float32]] = []
    labels: list[npt.NDArray[np.int64]] = []
    count = min(limit, len(pool))
    for start in range(0, count, batch):
        indices = np.arange(start, min(start + batch, count))
        given = pool.batch(indices)
        curves = model(normalize_images(given["image"]))
        guess, score = decode(*(curve.float().numpy() for curve in curves))
        apart = np.linalg.norm(guess - given["keypoints"].numpy(), axis=-1) / pool.size_hw[1]
        seen = pool.visibility[indices]
        label = np.zeros(score.shape, np.int64)
        label[(seen == SEEN) & (apart <= FOUND_SHARE)] = 1
        label[(seen == OUTSIDE) | (apart > MISSED_SHARE)] = -1
        scores.append(score)
        labels.append(label)
    found = np.concatenate(scores)[np.concatenate(labels) == 1]
    missed = np.concatenate(scores)[np.concatenate(labels) == -1]
    return threshold / best_cut(found, missed)


def best_cut(found: npt.NDArray[np.float32], missed: npt.NDArray[np.float32]) -> float:
    """Return the score that parts two sets best, halfway between its neighbours.

    Raises:
        ValueError: one of the sets is empty.
    """
    if not found.size or not missed.size:
        raise ValueError("the held-out crops must hold found and missed points; render more")
    steps = np.unique(np.concatenate((found, missed)))
    kept = 1 - np.searchsorted(np.sort(found), steps) / found.size
    passed = 1 - np.searchsorted(np.sort(missed), steps) / missed.size
    best = int((kept - passed).argmax())
    return float((steps[max(best - 1, 0)] + steps[best]) / 2)


def scale_scores(model: RTMPose, gain: float) -> None:
    """Multiply all scores of a network by a factor, in place; positions do not change."""
    if not gain > 0:
        raise ValueError(f"gain must be above 0, got {gain}")
    with torch.no_grad():
        model.head.cls_x.weight.mul_(gain)
        model.head.cls_y.weight.mul_(gain)
