"""Measuring on held-out crops."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.skeleton import SIGMAS
from dwpose.training.coco_metric import BOX_SHARE
from dwpose.training.validate import CropEstimates, estimate_crops, measure_crops


def estimates(shift_px: float) -> CropEstimates:
    """Four crops of 128 x 96 of which the last shows nobody; points lie too far right."""
    dice = np.random.default_rng(2)
    truth = dice.uniform((10, 10), (80, 110), (4, 133, 2)).astype(np.float32)
    weights = np.ones((4, 133), np.float32)
    weights[3] = 0.15
    guess = truth + np.float32((shift_px, 0))
    return CropEstimates(guess, np.ones((4, 133), np.float32), truth, weights, (128, 96))


def test_perfect_estimates_get_full_marks():
    numbers = measure_crops(estimates(0.0))
    assert {"ap", "ap_body", "oks", "oks_left_hand", "pck", "pck_feet"} <= numbers.keys()
    assert all(value == pytest.approx(1) for value in numbers.values())


def test_oks_and_pck_are_of_the_seen_points():
    found = estimates(3.0)
    numbers = measure_crops(found)
    # 3 px are within 5 % of 96.
    assert numbers["pck"] == 1
    sides = np.ptp(found.truth[:3], axis=1)
    area = sides.prod(axis=1) * BOX_SHARE
    expected = np.exp(-(3.0**2) / (2 * area[:, None] * (2 * np.asarray(SIGMAS)) ** 2)).mean()
    assert numbers["oks"] == pytest.approx(expected, abs=1e-4)
    assert numbers["ap"] < 1
    assert measure_crops(estimates(6.0))["pck"] == 0


def test_nothing_to_measure_on_is_one_sentence():
    with pytest.raises(ValueError, match="none of the pictures to measure on"):
        estimate_crops(RTMPose(rtmpose_config("t", (64, 64))), [])
