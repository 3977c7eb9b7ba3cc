"""Losses against the originals, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.training.losses import coarse_map_loss, kl_discrete_loss


@pytest.fixture(scope="module")
def tensors(load_reference):
    arrays = load_reference("losses.npz")
    return {k: torch.from_numpy(v) for k, v in arrays.items() if v.dtype.kind == "f"}


def kl(t, weight, samples=slice(None)):
    names = ("student_x", "student_y", "label_x", "label_y")
    return kl_discrete_loss(*(t[n][samples] for n in names), weight[samples])


def test_kl_equals_the_original_with_its_gradients(tensors):
    x = tensors["student_x"].clone().requires_grad_()
    y = tensors["student_y"].clone().requires_grad_()
    loss = kl_discrete_loss(x, y, tensors["label_x"], tensors["label_y"], tensors["weight"])
    loss.backward()
    np.testing.assert_allclose(loss.item(), tensors["kl_value"].item(), rtol=1e-5)
    for got, name in ((x.grad, "kl_grad_x"), (y.grad, "kl_grad_y")):
        expected = tensors[name]
        atol = 1e-6 * expected.abs().max().item()
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=atol)


def test_kl_depends_on_weights_and_batch_as_the_original(tensors):
    ones = torch.ones_like(tensors["weight"])
    first = slice(0, 1)
    cases = {
        "kl_value_weight_ones": kl(tensors, ones),
        "kl_value_first_sample_only": kl(tensors, tensors["weight"], first),
    }
    for name, got in cases.items():
        np.testing.assert_allclose(got.item(), tensors[name].item(), rtol=1e-5)


def test_coarse_maps_learn_the_place_of_a_point():
    keypoints = torch.tensor([[[100.0, 40.0], [20.0, 200.0]]])
    weights = torch.tensor([[1.0, 0.0]])
    maps = torch.zeros(1, 2, 8, 6, requires_grad=True)
    optimizer = torch.optim.SGD([maps], lr=200.0)
    before = coarse_map_loss(maps, keypoints, (256, 192), weights)
    for _ in range(300):
        optimizer.zero_grad()
        coarse_map_loss(maps, keypoints, (256, 192), weights).backward()
        optimizer.step()
    after = coarse_map_loss(maps, keypoints, (256, 192), weights)
    assert after < before / 2
    share = maps[0, 0].flatten().softmax(0).detach().reshape(8, 6)
    centres_x = (torch.arange(6) + 0.5) * 32
    centres_y = (torch.arange(8) + 0.5) * 32
    assert (share.sum(0) @ centres_x).item() == pytest.approx(100, abs=3)
    assert (share.sum(1) @ centres_y).item() == pytest.approx(40, abs=3)
    assert maps[0, 1].abs().max() == 0
