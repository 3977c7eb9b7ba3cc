"""What is made on the device equals what numpy makes of the same pictures and points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.crop import normalize
from dwpose.simcc import encode
from dwpose.training.batch import encode_labels, normalize_images, prepare


@pytest.mark.parametrize("size_hw", [(256, 192), (384, 288)])
def test_labels_equal_the_fixtures(load_reference, size_hw):
    arrays = load_reference("simcc_codec.npz")
    name = f"{size_hw[0]}x{size_hw[1]}"
    keypoints = torch.from_numpy(arrays[f"{name}_keypoints"])
    visible = torch.from_numpy(arrays[f"{name}_visible"])
    x, y, weights = encode_labels(keypoints, visible, size_hw)
    np.testing.assert_allclose(x.numpy(), arrays[f"{name}_x_labels"], atol=1e-6)
    np.testing.assert_allclose(y.numpy(), arrays[f"{name}_y_labels"], atol=1e-6)
    np.testing.assert_array_equal(weights.numpy(), arrays[f"{name}_weights"].squeeze())


def test_labels_equal_the_numpy_encoder_at_another_size():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(-30, 130, (50, 133, 2)).astype(np.float32)
    visible = rng.choice([0.0, 0.15, 0.5, 1.0], (50, 133)).astype(np.float32)
    expected = encode(keypoints, visible, (64, 96))
    got = encode_labels(torch.from_numpy(keypoints), torch.from_numpy(visible), (64, 96))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b, atol=1e-6)


def test_images_equal_the_numpy_normalisation_and_lie_channels_last():
    images = np.random.default_rng(1).integers(0, 256, (2, 8, 6, 3), dtype=np.uint8)
    got = normalize_images(torch.from_numpy(images))
    np.testing.assert_allclose(got.numpy(), normalize(images), atol=1e-5)
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_that_lacks_something_is_refused():
    with pytest.raises(KeyError, match="weights"):
        prepare({"image": torch.zeros(1, 8, 8, 3), "keypoints": torch.zeros(1, 1, 2)}, "cpu")
