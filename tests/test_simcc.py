"""SimCC against the original codec."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose import simcc

SIZES = [(256, 192), (384, 288)]


@pytest.mark.parametrize("size_hw", SIZES)
def test_encode_equals_original(load_reference, size_hw):
    arrays = load_reference("simcc_codec.npz")
    name = f"{size_hw[0]}x{size_hw[1]}"
    x, y, weights = simcc.encode(arrays[f"{name}_keypoints"], arrays[f"{name}_visible"], size_hw)
    np.testing.assert_allclose(x, arrays[f"{name}_x_labels"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(y, arrays[f"{name}_y_labels"], atol=1e-6, rtol=0)
    np.testing.assert_array_equal(weights, arrays[f"{name}_weights"])


@pytest.mark.parametrize("size_hw", SIZES)
def test_encode_with_all_points_visible(load_reference, size_hw):
    arrays = load_reference("simcc_codec.npz")
    name = f"{size_hw[0]}x{size_hw[1]}"
    expected = arrays[f"{name}_weights_visible_none"]
    keypoints = arrays[f"{name}_keypoints"][: len(expected)]
    weights = simcc.encode(keypoints, np.ones(keypoints.shape[:2]), size_hw)[2]
    np.testing.assert_array_equal(weights, expected)


@pytest.mark.parametrize("size_hw", SIZES)
def test_labels_decode_to_their_points(load_reference, size_hw):
    arrays = load_reference("simcc_codec.npz")
    name = f"{size_hw[0]}x{size_hw[1]}"
    keypoints, scores = simcc.decode(arrays[f"{name}_x_labels"], arrays[f"{name}_y_labels"])
    np.testing.assert_array_equal(keypoints, arrays[f"{name}_roundtrip_keypoints"])
    np.testing.assert_array_equal(scores, arrays[f"{name}_roundtrip_scores"])


def test_decode_ties_zeros_negatives_and_nan(load_reference):
    arrays = load_reference("simcc_codec.npz")
    keypoints, scores = simcc.decode(arrays["decode_simcc_x"], arrays["decode_simcc_y"])
    np.testing.assert_array_equal(keypoints, arrays["decode_keypoints"])
    np.testing.assert_array_equal(scores, arrays["decode_scores"])


def test_sigma_of_other_sizes_follows_the_configs():
    assert simcc.sigma_xy((256, 192)) == (4.9, 5.66)
    np.testing.assert_allclose(simcc.sigma_xy((384, 287)), (6.0, 6.93), rtol=5e-3)
