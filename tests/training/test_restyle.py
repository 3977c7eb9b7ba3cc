"""Crops whose manner is changed: colours and texture differ, places stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.training.pool import CropPool, VariationConfig
from dwpose.training.rendered import RingConfig, crop_sources
from dwpose.training.restyle import restyle
from dwpose.training.synthetic import SyntheticConfig

STILL = {"flip": 0, "rotate": 0, "zoom": (1, 1), "shift": 0, "colour": 0, "drop": 0}


def test_edges_stay_where_they_are() -> None:
    picture = np.full((64, 48, 3), (60, 90, 110), np.uint8)
    picture[:, 30:] = (190, 170, 120)
    flat = np.full_like(picture, 128)
    before = picture.copy()
    kept = 0
    for seed in range(60):
        out = restyle(picture, flat, np.random.default_rng(seed))
        assert out.dtype == np.uint8
        assert out.shape == picture.shape
        steps = np.abs(np.diff(out.astype(float), axis=1)).sum(-1)
        # Down the columns, so that noise and the edge of a shadow count less than the picture's.
        kept += abs(int(np.median(steps, axis=0).argmax()) - 29) <= 1
    assert kept >= 54
    assert np.array_equal(picture, before)


def test_the_same_numbers_give_the_same_picture(spots) -> None:
    first, second = spots(2, 1)[0]
    one, again, other = (restyle(first, second, np.random.default_rng(s)) for s in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_every_change_changes_something(spots) -> None:
    from dwpose.training.restyle import _CHANGES

    picture, other = spots(2, 1)[0]
    picture = 0.2 + 0.6 / 255 * picture * np.array((1, 0.7, 0.4), np.float32)
    for change in _CHANGES:
        out = change(picture, other, np.random.default_rng(2))
        assert out.shape == picture.shape
        assert np.isfinite(out).all()
        assert np.abs(np.clip(out, 0, 1) - picture).max() > 0.02, change.__name__


@pytest.mark.parametrize("style", [0.0, 1.0])
def test_a_pool_changes_its_crops_and_not_their_points(spot_pool: CropPool, style: float) -> None:
    indices = np.arange(12)
    plain = spot_pool.batch(indices)
    changed = spot_pool.batch(
        indices, np.random.default_rng(0), VariationConfig(**STILL, style=style)
    )
    assert torch.allclose(changed["keypoints"], plain["keypoints"])
    assert torch.equal(changed["weights"], plain["weights"])
    different = (changed["image"] != plain["image"]).flatten(1).any(1)
    assert (different.sum() > 8) if style else not different.any()


def test_crops_rendered_on_the_way_keep_their_manner(spot_pool: CropPool, tmp_path) -> None:
    scenes, ring, cpu = SyntheticConfig((64, 64)), RingConfig(batch=2), torch.device("cpu")
    with pytest.raises(ValueError, match="give pool"):
        crop_sources("", scenes, ring, cpu, VariationConfig(style=0.5))(1)
    source = crop_sources(str(tmp_path / "pool"), scenes, ring, cpu, VariationConfig(style=0.5))
    assert source(1).variation == VariationConfig(style=0.5)
