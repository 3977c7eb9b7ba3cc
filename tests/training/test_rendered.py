"""Crops that are rendered while a network learns from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.training.pool import VariationConfig
from dwpose.training.rendered import RenderedSource, RingConfig, vary_on_device
from dwpose.training.synthetic import SyntheticConfig, SyntheticPeople

RING = RingConfig(batch=2, reuse=2, at_once=4, capacity=12, head_start=4, epoch_length=4)


@pytest.fixture(scope="module")
def engine():
    return SyntheticPeople(SyntheticConfig((64, 64)))


def test_batches_depend_on_their_number_alone(engine):
    source = RenderedSource(engine, RING, seed=3)
    run = [*source.batches(0), *source.batches(1)]
    # One rendering of 4 at first, one with the first step, one every fourth step.
    assert source.crops == 4 * (1 + 1 + 1)
    assert run[0]["image"].shape == (2, 64, 64, 3)
    assert run[0]["image"].dtype == torch.uint8
    resumed = next(RenderedSource(engine, RING, seed=3).batches(1, start=2))
    for name in ("image", "keypoints", "weights"):
        assert torch.equal(run[6][name], resumed[name])
    other = next(RenderedSource(engine, RING, seed=4).batches(1, start=2))
    assert not torch.equal(other["image"], resumed["image"])


def test_variation_moves_points_with_their_pixels(spots):
    images, keypoints, visibility = (torch.from_numpy(column) for column in spots(40, 4))
    settings = VariationConfig(colour=0.0, drop=0.0)
    dice = torch.Generator().manual_seed(0)
    crops = {"image": images, "keypoints": keypoints, "visibility": visibility}
    moved = vary_on_device(crops, dice, settings)
    found = 0
    for image, points, weights in zip(*moved.values(), strict=True):
        if weights[50] == 1:
            bright = np.argwhere(image[..., 0].numpy() > 128)
            np.testing.assert_allclose(bright.mean(axis=0)[::-1], points[50], atol=1.5)
            found += 1
        else:
            assert weights[50] == pytest.approx(settings.outside_weight)
        # Flipping exchanges left and right points, also their absence (the first ten are absent;
        # each of their partners is among them, but for the tenth's).
        assert (weights[:9] == settings.outside_weight).all()
    assert found > 20


def test_no_variation_changes_nothing(spots):
    images, keypoints, visibility = (torch.from_numpy(column) for column in spots(3, 4))
    still = VariationConfig(flip=0, rotate=0, zoom=(1, 1), shift=0, colour=0, drop=0)
    crops = {"image": images, "keypoints": keypoints, "visibility": visibility}
    same = vary_on_device(crops, torch.Generator().manual_seed(0), still)
    torch.testing.assert_close(same["image"], images, atol=1, rtol=0)
    torch.testing.assert_close(same["keypoints"], keypoints, atol=1e-3, rtol=0)


def test_what_is_painted_over_counts_less(spots):
    images, keypoints, visibility = (torch.from_numpy(column) for column in spots(40, 5))
    settings = VariationConfig(flip=0, rotate=0, zoom=(1, 1), shift=0, colour=0, drop=1.0)
    crops = {"image": images, "keypoints": keypoints, "visibility": visibility}
    out = vary_on_device(crops, torch.Generator().manual_seed(1), settings)
    hidden = out["weights"][:, 50] == settings.hidden_weight
    assert 1 <= hidden.sum() < 40
    x, y = keypoints[:, 50].round().long().unbind(-1)
    shown = out["image"][torch.arange(40), y, x].float().mean(-1)
    assert (shown[~hidden] > 250).all()
    assert (shown[hidden] < 250).float().mean() > 0.9
