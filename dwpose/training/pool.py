"""Rendered crops on disk, drawn at random and varied, for machines that render slower than learn.

A pool is a folder of shards, see `shards`: ``NAME.images.npy`` (uint8 [N, H, W, 3] RGB) and
``NAME.labels.npz`` (`keypoints` float32 [N, 133, 2] in crop pixels, `visibility` uint8 [N, 133]:
0 outside the crop, 1 hidden, 2 seen; `padding` float and `at_once` integer, where known).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ..geometry import transform_points, warp_matrix
from ..skeleton import FLIP_INDICES
from .batch import RawBatch
from .restyle import restyle
from .shards import open_shards, save_shard

SEEN, HIDDEN, OUTSIDE = 2, 1, 0
KINDS = ("images", "labels")


@dataclass(frozen=True)
class VariationConfig:
    """How a stored crop is varied each time it is shown.

    Attributes:
        flip: share of crops that are mirrored.
        rotate: share that is turned.
        rotation_deg: largest turn in degrees.
        zoom: smallest and largest factor on the shown area; above 1 shows more.
        shift: largest shift as a share of the crop's size.
        colour: largest change of brightness and contrast as a share.
        drop: share of crops in which a rectangle is painted over.
        style: share of crops whose manner is changed, see `restyle`.
        hidden_weight: weight of points that something covers.
        outside_weight: weight with which points beyond the crop are taught to be absent.
    """

    flip: float = 0.5
    rotate: float = 0.3
    rotation_deg: float = 25.0
    zoom: tuple[float, float] = (0.8, 1.25)
    shift: float = 0.08
    colour: float = 0.25
    drop: float = 0.2
    style: float = 0.0
    hidden_weight: float = 0.5
    outside_weight: float = 0.15


def write_shard(
    folder: Path,
    name: str,
    images: npt.NDArray[np.uint8],
    keypoints: npt.NDArray[Any],
    visibility: npt.NDArray[Any],
    padding: float | None = None,
    at_once: int | None = None,
) -> None:
    """Add a shard to a pool; half-written files are never left under the final names.

    Args:
        folder: the pool; made when absent.
        name: stem of the shard's files.
        images: uint8 [N, H, W, 3], RGB.
        keypoints: float [N, K, 2] in crop pixels.
        visibility: integer [N, K], 0 outside, 1 hidden, 2 seen.
        padding: crops are boxes enlarged by this; None where nobody knows.
        at_once: how many were rendered at once; None where nobody knows.
    """
    facts = {"padding": padding, "at_once": at_once}
    known = {fact: np.array(value) for fact, value in facts.items() if value is not None}
    save_shard(
        folder,
        name,
        KINDS,
        images,
        keypoints=np.asarray(keypoints, np.float32),
        visibility=np.asarray(visibility, np.uint8),
        **known,
    )


class CropPool:
    """All crops of a folder of shards.

    Args:
        folder: the pool.
        padding: what a network wants its boxes enlarged by; None takes any crops.

    Raises:
        FileNotFoundError: the folder holds no shard.
        ValueError: the crops are known to be of another padding.
    """

    def __init__(self, folder: Path, padding: float | None = None) -> None:
        self._images, labels = open_shards(
            folder,
            KINDS,
            f"no rendered crops in {folder}; make some with `dwpose synth render -o {folder}`",
        )
        self.keypoints = np.concatenate([part["keypoints"] for part in labels])
        self.visibility = np.concatenate([part["visibility"] for part in labels])
        self._starts = np.cumsum([0, *(len(part) for part in self._images)])
        known = {float(part["padding"]) for part in labels if "padding" in part}
        if padding is not None and known - {padding}:
            others = ", ".join(f"{one:g}" for one in sorted(known))
            raise ValueError(
                f"{folder} holds crops of boxes enlarged by {others}, the network wants "
                f"{padding:g}; make others with `dwpose synth render --padding {padding:g}`"
            )

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the crops in pixels."""
        return self._images[0].shape[1], self._images[0].shape[2]

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return one crop, uint8 [H, W, 3] RGB (a copy)."""
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return np.array(self._images[shard][index - self._starts[shard]])

    def batch(
        self,
        indices: npt.NDArray[np.int64],
        rng: np.random.Generator | None = None,
        variation: VariationConfig | None = None,
    ) -> RawBatch:
        """Put crops together; as stored when `rng` is None, else varied."""
        settings = variation or VariationConfig()
        images = np.empty((len(indices), *self.size_hw, 3), np.uint8)
        keypoints = self.keypoints[indices].copy()
        visibility = self.visibility[indices].copy()
        for i, index in enumerate(indices):
            image = self.image(int(index))
            if rng is not None:
                image, keypoints[i], visibility[i] = vary(
                    image, keypoints[i], visibility[i], rng, settings
                )
                if rng.random() < settings.style:
                    image = restyle(image, self.image(int(rng.integers(len(self)))), rng)
            images[i] = image
        strength = np.array((settings.outside_weight, settings.hidden_weight, 1.0), np.float32)
        return {
            "image": torch.from_numpy(images),
            "keypoints": torch.from_numpy(keypoints),
            "weights": torch.from_numpy(strength[visibility]),
        }


class PoolSource:
    """Varied crops of a pool, drawn at random, as a `batch.BatchSource`.

    Args:
        pool: the crops.
        batch: crops a batch.
        epoch_length: batches that are called an epoch.
        seed: of draws and variation.
        variation: how crops are varied.
    """

    def __init__(
        self,
        pool: CropPool,
        batch: int,
        epoch_length: int,
        seed: int = 0,
        variation: VariationConfig | None = None,
    ) -> None:
        self.pool, self.batch, self.seed = pool, batch, seed
        self.epoch_length, self.variation = epoch_length, variation

    def __len__(self) -> int:
        return self.epoch_length

    @property
    def crops(self) -> int:
        """Different crops that there are to draw from."""
        return len(self.pool)

    def batches(self, epoch: int, start: int = 0) -> Iterator[RawBatch]:
        """Yield the batches of an epoch from the `start`-th on."""
        first = epoch * self.epoch_length
        for step in range(first + start, first + self.epoch_length):
            yield self.at(step)

    def at(self, step: int) -> RawBatch:
        """Return the batch of a step, counted from the run's beginning."""
        rng = np.random.default_rng((self.seed, step))
        chosen = rng.integers(0, len(self.pool), self.batch)
        return self.pool.batch(chosen, rng, self.variation)


def vary(
    image: npt.NDArray[np.uint8],
    keypoints: npt.NDArray[np.float32],
    visibility: npt.NDArray[np.uint8],
    rng: np.random.Generator,
    settings: VariationConfig,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Mirror, turn, zoom, shift, recolour and cover one crop, and its points with it."""
    height, width = image.shape[:2]
    if rng.random() < settings.flip:
        image = np.ascontiguousarray(image[:, ::-1])
        keypoints = keypoints[FLIP_INDICES]
        keypoints[:, 0] = width - 1 - keypoints[:, 0]
        visibility = visibility[FLIP_INDICES]
    turn = 0.0
    if rng.random() < settings.rotate:
        turn = float(rng.uniform(-settings.rotation_deg, settings.rotation_deg))
    zoom = rng.uniform(*settings.zoom)
    shift = rng.uniform(-settings.shift, settings.shift, 2) * (width, height)
    matrix = warp_matrix(
        np.array((width, height)) / 2 + shift,
        np.array((width, height)) * zoom,
        (width, height),
        turn,
    )
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    keypoints = transform_points(keypoints, matrix).astype(np.float32)
    inside = ((keypoints >= 0) & (keypoints < (width, height))).all(axis=-1)
    # A point that the stored crop does not show may come into the frame, but its pixels do not.
    visibility = np.where(inside, visibility, OUTSIDE).astype(np.uint8)
    gain = 1 + rng.uniform(-settings.colour, settings.colour, 3) * (1, 0.4, 0.4)
    offset = 255 * rng.uniform(-settings.colour, settings.colour) / 2
    tint = gain[0] * np.array((gain[1], 1.0, gain[2]))
    image = np.clip(warped * tint.astype(np.float32) + np.float32(offset), 0, 255).astype(np.uint8)
    if rng.random() < settings.drop:
        high, wide = (np.array((height, width)) * rng.uniform(0.15, 0.35, 2)).astype(int)
        top, left = rng.integers(0, height - high), rng.integers(0, width - wide)
        image[top : top + high, left : left + wide] = rng.integers(0, 256, 3)
        x, y = keypoints.T
        covered = (x >= left) & (x < left + wide) & (y >= top) & (y < top + high)
        visibility = np.where(covered & (visibility == SEEN), HIDDEN, visibility).astype(np.uint8)
    return image, keypoints, visibility
