"""The gain on scores: found by hand-made sets, and harmless to positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.simcc import decode
from dwpose.training.calibrate import best_cut, scale_scores, score_gain
from dwpose.training.pool import CropPool, write_shard


def test_best_cut_parts_two_sets():
    found = np.array([0.2, 0.3, 0.4, 0.5], np.float32)
    missed = np.array([0.05, 0.1, 0.12, 0.25], np.float32)
    assert best_cut(found, missed) == pytest.approx(0.16)
    assert best_cut(found, missed / 10) == pytest.approx((0.2 + 0.025) / 2)
    with pytest.raises(ValueError, match="found and missed"):
        best_cut(found, missed[:0])


def test_scaling_moves_no_point():
    torch.manual_seed(0)
    model = RTMPose(rtmpose_config("t", (64, 64))).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        before = decode(*(curve.numpy() for curve in model(images)))
        scale_scores(model, 4.0)
        after = decode(*(curve.numpy() for curve in model(images)))
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_allclose(after[1], 4 * before[1], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="gain"):
        scale_scores(model, 0.0)


def test_after_scaling_the_threshold_is_the_best_cut(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (16, 64, 64, 3), dtype=np.uint8)
    keypoints = rng.uniform(0, 64, (16, 133, 2))
    visibility = rng.choice([0, 2], (16, 133))
    write_shard(tmp_path, "a", images, keypoints, visibility)
    pool = CropPool(tmp_path)
    torch.manual_seed(1)
    model = RTMPose(rtmpose_config("t", (64, 64))).eval()
    gain = score_gain(model, pool)
    scale_scores(model, gain)
    assert score_gain(model, pool) == pytest.approx(1.0, rel=1e-3)
