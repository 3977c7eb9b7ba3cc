"""One training batch: what a loader yields, and what the networks and losses take.

A loader yields mappings of tensors, so that pictures travel to the device as bytes and labels as
points; the rest happens there. Shapes: N crops, K keypoints, H and W the crop's size in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from ..crop import IMAGE_MEAN, IMAGE_STD
from ..simcc import SPLIT, sigma_xy

RawBatch = Mapping[str, Tensor]
"""`image` uint8 [N, H, W, 3] RGB; `keypoints` float32 [N, K, 2] in crop pixels; `weights`
float32 [N, K]: 0 leaves a point out, below 0.5 it is taught to be absent, else its weight."""


class BatchSource(Protocol):
    """Where batches come from; batch `i` of an epoch depends on the seed, the epoch and `i`.

    Attributes:
        batch: crops a batch, in this process.
    """

    batch: int

    def __len__(self) -> int:
        """Batches of an epoch."""
        ...

    def batches(self, epoch: int, start: int = 0) -> Iterator[RawBatch]:
        """Yield the batches of an epoch from the `start`-th on."""
        ...


class CropSource(Protocol):
    """Where rendered crops come from: `rendered.RenderedSource` or `pool.PoolSource`.

    Attributes:
        batch: crops a batch.
    """

    batch: int

    def __len__(self) -> int:
        """Return the batches that are called an epoch."""
        ...

    @property
    def crops(self) -> int:
        """Different crops that were rendered so far."""
        ...

    def at(self, step: int) -> RawBatch:
        """Return the batch of a step, counted from the run's beginning."""
        ...


@dataclass(frozen=True)
class PoseBatch:
    """A batch on the device, ready for networks and losses.

    Attributes:
        images: float32 [N, 3, H, W] in channels-last layout, normalised RGB.
        simcc_x: float32 [N, K, 2W], label curves over x.
        simcc_y: float32 [N, K, 2H], over y.
        weights: float32 [N, K].
    """

    images: Tensor
    simcc_x: Tensor
    simcc_y: Tensor
    weights: Tensor


def prepare(raw: RawBatch, device: torch.device | str) -> PoseBatch:
    """Bring a loader's batch to the device, normalise its pictures and draw its label curves.

    Raises:
        KeyError: an entry of `RawBatch` is missing.
    """
    images, keypoints, weights = (
        raw[name].to(device, non_blocking=True) for name in ("image", "keypoints", "weights")
    )
    height, width = images.shape[1:3]
    return PoseBatch(normalize_images(images), *encode_labels(keypoints, weights, (height, width)))


def normalize_images(images: Tensor) -> Tensor:
    """Turn uint8 [N, H, W, 3] RGB into what `crop.normalize` makes of it, channels last."""
    mean, scale = _mean_scale(images.device)
    # The permuted view of [N, H, W, 3] is channels last as it is: nothing is moved.
    return ((images.float() - mean) * scale).permute(0, 3, 1, 2)


@cache
def _mean_scale(device: torch.device) -> tuple[Tensor, Tensor]:
    # Kept, because bringing numbers from Python to a GPU makes it wait.
    # Whoever asks first may be measuring: such tensors could not be trained with afterwards.
    with torch.inference_mode(False):
        return torch.tensor(IMAGE_MEAN, device=device), 1 / torch.tensor(IMAGE_STD, device=device)


def encode_labels(
    keypoints: Tensor, weights: Tensor, size_hw: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `simcc.encode` does, on the device of the points.

    Args:
        keypoints: float32 [N, K, 2] in pixels of the crop.
        weights: float32 [N, K]; below 0.5 a point gets zero labels and keeps its weight.
        size_hw: H and W in pixels.

    Returns:
        float32 label curves [N, K, 2W] and [N, K, 2H], and weights [N, K], which are 0 where a
        curve's 3-sigma box misses the crop.
    """
    bins = [round(size_hw[1] * SPLIT), round(size_hw[0] * SPLIT)]
    spread = sigma_xy(size_hw)
    centre = torch.round(keypoints * SPLIT)
    hidden = weights < 0.5
    taught = ~hidden
    for axis in range(2):
        place = centre[..., axis]
        taught &= (place - 3 * spread[axis] < bins[axis]) & (place + 3 * spread[axis] + 1 >= 0)
    curves: list[Tensor] = []
    for axis in range(2):
        steps = torch.arange(bins[axis], device=keypoints.device, dtype=torch.float32)
        apart = steps - centre[..., axis, None]
        curve = torch.exp(-apart.square() / (2 * spread[axis] ** 2))
        curves.append(curve * taught[..., None])
    return curves[0], curves[1], torch.where(hidden | taught, weights, 0.0)
