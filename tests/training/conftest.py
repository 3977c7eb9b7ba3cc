"""Tiny training material: crops with a bright spot where all points are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dwpose.training.pool import CropPool, write_shard

SIDE = 64


def make_spots(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops of 64 x 64 with a bright spot; all points lie on it or, the first ten, outside."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (count, SIDE, SIDE, 3), dtype=np.uint8)
    centres = rng.integers(8, 56, (count, 2))
    for image, (x, y) in zip(images, centres, strict=True):
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
    keypoints = np.repeat(centres[:, None].astype(np.float32), 133, axis=1)
    visibility = np.full((count, 133), 2, np.uint8)
    visibility[:, :10] = 0
    return images, keypoints, visibility


@pytest.fixture
def spots() -> Callable[[int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A function from count and seed to images, keypoints and visibility."""
    return make_spots


@pytest.fixture
def spot_pool(tmp_path) -> CropPool:
    """A pool of two shards, 24 and 8 crops of 64 x 64."""
    write_shard(tmp_path / "pool", "a", *make_spots(24, 0))
    write_shard(tmp_path / "pool", "b", *make_spots(8, 1))
    return CropPool(tmp_path / "pool")
