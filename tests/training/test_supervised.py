"""The plain trainer learns, stops, continues and writes files that load."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.training.pool import CropPool, VariationConfig, vary, write_shard
from dwpose.training.supervised import SupervisedConfig, SupervisedTrainer

SIZE = (64, 64)


def spots(count, seed):
    """Crops with a bright spot; all 133 points lie on it or, for the first ten, outside."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (count, *SIZE, 3), dtype=np.uint8)
    centres = rng.integers(8, 56, (count, 2))
    for image, (x, y) in zip(images, centres, strict=True):
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
    keypoints = np.repeat(centres[:, None].astype(np.float32), 133, axis=1)
    visibility = np.full((count, 133), 2, np.uint8)
    visibility[:, :10] = 0
    return images, keypoints, visibility


@pytest.fixture
def pool(tmp_path):
    write_shard(tmp_path / "pool", "a", *spots(24, 0))
    write_shard(tmp_path / "pool", "b", *spots(8, 1))
    return CropPool(tmp_path / "pool")


def config(**changes):
    settings = {"size": "t", "input_size_hw": SIZE, "iterations": 6, "batch": 4, "warm_up": 2}
    return SupervisedConfig(**{**settings, "measure_every": 3, **changes})


def test_pool_reads_across_shards_and_ignores_partial_ones(pool, tmp_path):
    images, keypoints, _ = spots(8, 1)
    assert len(pool) == 32
    assert pool.size_hw == SIZE
    np.testing.assert_array_equal(pool.image(25), images[1])
    np.testing.assert_array_equal(pool.keypoints[25], keypoints[1])
    (tmp_path / "pool" / "c.labels.npz").write_bytes(b"cut off")
    assert len(CropPool(tmp_path / "pool")) == 32
    with pytest.raises(FileNotFoundError, match="synth render"):
        CropPool(tmp_path / "nothing")


def test_batches_depend_on_seed_and_step_alone(pool):
    stream = pool.batches(3, seed=5)
    next(stream)
    second = next(stream)
    again = next(pool.batches(3, seed=5, start=1))
    np.testing.assert_array_equal(second.images, again.images)
    np.testing.assert_array_equal(second.labels_x, again.labels_x)
    other = next(pool.batches(3, seed=6, start=1))
    assert not np.array_equal(second.images, other.images)


def test_absent_points_are_taught_flat_and_lightly(pool):
    batch = pool.batch(np.arange(2))
    assert batch.labels_x[:, :10].max() == 0
    assert batch.labels_x[:, 10:].max(axis=-1).min() == 1
    np.testing.assert_allclose(batch.weights[:, :10], VariationConfig().outside_weight)
    assert batch.inside[:, :10].max() == 0
    np.testing.assert_array_equal(batch.inside[:, 10:], 1)


def test_variation_moves_points_with_their_pixels():
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


def test_resuming_equals_never_having_stopped(pool, tmp_path):
    whole = SupervisedTrainer(config(), tmp_path / "whole")
    whole.run(pool, pool)
    SupervisedTrainer(config(), tmp_path / "parts").run(pool, minutes=0)
    parts = SupervisedTrainer(config(), tmp_path / "parts")
    assert parts.iteration == 1
    parts.run(pool)
    assert parts.iteration == whole.iteration == 6
    for a, b in zip(
        whole.model.state_dict().values(), parts.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    lines = (tmp_path / "whole" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert '"pck"' in lines[2]


def test_other_settings_are_refused_in_the_same_folder(pool, tmp_path):
    SupervisedTrainer(config(), tmp_path / "run").run(pool, minutes=0)
    with pytest.raises(ValueError, match="rate"):
        SupervisedTrainer(config(rate=1.0), tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(pool, tmp_path):
    trainer = SupervisedTrainer(config(), tmp_path / "run")
    before = trainer.model.head.cls_x.weight.detach().clone()
    batch = pool.batch(np.arange(2))
    batch.images[:] = np.nan
    with pytest.raises(FloatingPointError, match="iteration 0"):
        trainer.step(batch)
    torch.testing.assert_close(trainer.model.head.cls_x.weight.detach(), before)


def test_the_network_learns_the_spot(pool, tmp_path):
    trainer = SupervisedTrainer(config(iterations=60, rate=2e-3, batch=8), tmp_path / "run")
    still = VariationConfig(flip=0, rotate=0, zoom=(1, 1), shift=0, colour=0, drop=0)
    losses = []
    trainer.run(pool, variation=still, on_step=lambda _, parts: losses.append(parts["kl"]))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
