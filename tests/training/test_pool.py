"""Pools of stored crops: what is read, how it is varied and drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.training.batch import prepare
from dwpose.training.pool import CropPool, PoolSource, VariationConfig, vary


def test_pool_reads_across_shards_and_ignores_partial_ones(spot_pool, spots, tmp_path):
    images, keypoints, _ = spots(8, 1)
    assert len(spot_pool) == 32
    assert spot_pool.size_hw == (64, 64)
    np.testing.assert_array_equal(spot_pool.image(25), images[1])
    np.testing.assert_array_equal(spot_pool.keypoints[25], keypoints[1])
    (tmp_path / "pool" / "c.labels.npz").write_bytes(b"cut off")
    assert len(CropPool(tmp_path / "pool")) == 32
    with pytest.raises(FileNotFoundError, match="synth render"):
        CropPool(tmp_path / "nothing")


def test_batches_depend_on_seed_epoch_and_step_alone(spot_pool):
    def source(seed=5):
        return PoolSource(spot_pool, 3, 4, seed)

    whole = list(source().batches(1))
    assert len(whole) == len(source()) == 4
    again = next(source().batches(1, start=2))
    for name in ("image", "keypoints", "weights"):
        assert torch.equal(whole[2][name], again[name])
    assert not torch.equal(next(source(6).batches(1, 2))["image"], again["image"])
    assert not torch.equal(next(source().batches(0, 2))["image"], again["image"])


def test_absent_points_are_taught_flat_and_lightly(spot_pool):
    batch = prepare(spot_pool.batch(np.arange(2)), "cpu")
    assert batch.simcc_x[:, :10].max() == 0
    assert batch.simcc_x[:, 10:].amax(-1).min() == 1
    assert (batch.weights[:, :10] == VariationConfig().outside_weight).all()
    assert (batch.weights[:, 10:] == 1).all()


def test_variation_moves_points_with_their_pixels(spots):
    settings = VariationConfig(colour=0.0, drop=0.0)
    rng = np.random.default_rng(3)
    for image, points, visibility in zip(*spots(20, 4), strict=True):
        moved, keypoints, seen = vary(image, points, visibility, rng, settings)
        x, y = keypoints[20]
        if seen[20]:
            bright = np.argwhere(moved[..., 0] > 128)
            np.testing.assert_allclose(bright.mean(axis=0)[::-1], (x, y), atol=3.0)
        else:
            assert not (0 <= x < 64 and 0 <= y < 64)
