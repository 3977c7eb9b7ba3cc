"""Rendering into a pool: it continues, and hides what nobody can see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.cli import main
from dwpose.training import render_pool as module
from dwpose.training.pool import CropPool
from dwpose.training.synthetic import SyntheticBatch, SyntheticConfig


class StandIn:
    """Renders flat pictures; the third point is hidden and has no weight."""

    config = SyntheticConfig()

    def __init__(self):
        self.seeds = []

    def sample(self, count, seed):
        self.seeds.append(seed)
        visibility = torch.full((count, 133), 2)
        visibility[:, 1:3] = 1
        weights = torch.where(visibility == 2, 1.0, 0.5)
        weights[:, 2] = 0
        fields = dict.fromkeys(SyntheticBatch.__dataclass_fields__)
        fields |= {
            "images": torch.full((count, 3, 8, 6), seed % 256, dtype=torch.uint8),
            "keypoints": torch.ones(count, 133, 2),
            "visibility": visibility,
            "weights": weights,
        }
        return SyntheticBatch(**fields)


def test_shards_continue_and_depend_on_their_number(tmp_path):
    engine = StandIn()
    module.render_pool(engine, tmp_path, range(2), shard_size=4, batch=2)
    assert len(set(engine.seeds)) == 4
    module.render_pool(engine, tmp_path, range(3), shard_size=4, batch=2)
    assert len(engine.seeds) == 6
    pool = CropPool(tmp_path)
    assert len(pool) == 12
    np.testing.assert_array_equal(pool.visibility[:, :4], np.tile([2, 1, 0, 2], (12, 1)))


def test_a_folder_goes_on_with_as_many_at_once_as_it_began_with(tmp_path, monkeypatch):
    numbers = []
    write = module.render_pool
    monkeypatch.setattr(module, "render_pool", lambda *_, batch, **__: numbers.append(batch))
    call = ["synth", "render", "-o", str(tmp_path), "--count", "1", "--size", "64x64"]
    assert main([*call, "--device", "cpu"]) == 0
    write(StandIn(), tmp_path, range(1), shard_size=8, batch=4)
    assert main([*call, "--device", "cpu"]) == 0
    assert numbers == [16, 4]


def test_command_renders_a_pool_that_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_SIZE", 16)
    monkeypatch.setattr(module.render_pool, "__defaults__", (16, 16, 0, None))
    arguments = ["synth", "render", "-o", str(tmp_path), "--count", "16", "--size", "64x64"]
    assert main(arguments) == 0
    pool = CropPool(tmp_path)
    assert len(pool) == 16
    assert pool.size_hw == (64, 64)
    assert pool.keypoints[pool.visibility == 2].min() >= -0.5
    assert len(CropPool(tmp_path, 1.25)) == 16
    with pytest.raises(ValueError, match=r"enlarged by 1\.25, the network wants 1\.1; make"):
        CropPool(tmp_path, 1.1)
