"""Losses against the originals, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.training.losses import FeaLoss, coarse_map_loss, fade, kd_loss, kl_discrete_loss


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
    names = ("student_x", "student_y", "label_x", "label_y")
    cases = {
        "kl_value_weight_ones": kl(tensors, ones),
        "kl_value_weight_3d": kl(tensors, tensors["weight"][..., None]),
        "kl_value_no_target_weight": kl_discrete_loss(*(tensors[n] for n in names), None),
        "kl_value_first_sample_only": kl(tensors, tensors["weight"], first),
    }
    for name, got in cases.items():
        np.testing.assert_allclose(got.item(), tensors[name].item(), rtol=1e-5)


def close(got, expected):
    """The stated tolerance of gradients: rtol 1e-5, atol 1e-6 times the largest."""
    atol = 1e-6 * expected.abs().max().item()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=atol)


CURVES = ("student_x", "student_y", "teacher_x", "teacher_y")


@pytest.mark.parametrize(("stage", "weight"), [("s1", 0.1), ("s2", 1.0)])
def test_kd_equals_the_original_with_its_gradients(tensors, stage, weight):
    curves = [tensors[n].clone().requires_grad_() for n in CURVES]
    loss = kd_loss(*curves, weight=weight)
    loss.backward()
    np.testing.assert_allclose(loss.item(), tensors[f"kd_{stage}_value"].item(), rtol=1e-5)
    close(curves[0].grad, tensors[f"kd_{stage}_grad_x"])
    close(curves[1].grad, tensors[f"kd_{stage}_grad_y"])
    assert curves[2].grad is None
    assert curves[3].grad is None


def test_kd_depends_on_batch_and_beta_as_the_original(tensors):
    first = kd_loss(*(tensors[n][:1] for n in CURVES))
    soft = kd_loss(*(tensors[n] for n in CURVES), weight=1, beta=1)
    expected = tensors["kd_s1_value_first_sample_only"].item()
    np.testing.assert_allclose(first.item(), expected, rtol=1e-5)
    np.testing.assert_allclose(soft.item(), tensors["kd_value_beta1_weight1"].item(), rtol=1e-5)


def test_feature_loss_equals_the_original_with_its_gradients(tensors):
    loss = FeaLoss(12, 20)
    loss.load_state_dict(
        {"align.weight": tensors["fea_align_weight"], "align.bias": tensors["fea_align_bias"]}
    )
    student = tensors["fea_student"].clone().requires_grad_()
    teacher = tensors["fea_teacher"].clone().requires_grad_()
    value = loss(student, teacher)
    value.backward()
    np.testing.assert_allclose(value.item(), tensors["fea_value"].item(), rtol=1e-5)
    close(student.grad, tensors["fea_grad_student"])
    close(teacher.grad, tensors["fea_grad_teacher_undetached"])
    close(loss.align.weight.grad, tensors["fea_grad_align_weight"])
    close(loss.align.bias.grad, tensors["fea_grad_align_bias"])


def test_feature_loss_without_alignment(tensors):
    loss = FeaLoss(20, 20)
    assert list(loss.parameters()) == []
    student = tensors["fea_same_student"].clone().requires_grad_()
    value = loss(student, tensors["fea_teacher"])
    value.backward()
    np.testing.assert_allclose(value.item(), tensors["fea_same_value"].item(), rtol=1e-5)
    close(student.grad, tensors["fea_same_grad_student"])


def test_feature_loss_at_real_size(tensors, weights_by_name):
    loss = FeaLoss(384, 1024)
    state = {
        f"align.{n}": torch.from_numpy(
            weights_by_name.value_for(f"losses_public_real_align.align.{n}", shape)
        )
        for n, shape in (("weight", (1024, 384, 1, 1)), ("bias", (1024,)))
    }
    loss.load_state_dict(state)
    student, teacher = (
        torch.from_numpy(weights_by_name.input_for(f"losses_public_real_{name}", [2, c, 8, 6]))
        for name, c in (("fs", 384), ("ft", 1024))
    )
    student.requires_grad_()
    value = loss(student, teacher)
    value.backward()
    np.testing.assert_allclose(value.item(), tensors["fea_real_value"].item(), rtol=1e-5)
    absolute = student.grad.double().abs()
    np.testing.assert_allclose(
        absolute.sum().item(), tensors["fea_real_grad_student_abs_sum"].item(), rtol=1e-5
    )
    for got, name in (
        (student.grad, "fea_real_grad_student_first64"),
        (loss.align.weight.grad, "fea_real_grad_align_weight_first64"),
        (loss.align.bias.grad, "fea_real_grad_align_bias"),
    ):
        expected = tensors[name]
        # The stated tolerance is a share of the largest gradient of the whole tensor.
        np.testing.assert_allclose(
            got.flatten()[: len(expected)],
            expected,
            rtol=1e-5,
            atol=1e-6 * got.abs().max().item(),
        )


def test_distillation_fades_as_in_the_original(load_reference):
    arrays = load_reference("losses.npz")
    for epoch, longest, factor in zip(
        arrays["decay_epoch"], arrays["decay_max_epochs"], arrays["decay_factor"], strict=True
    ):
        assert fade(int(epoch), int(longest)) == pytest.approx(factor, rel=1e-12)
    for epoch in (-1, 271):
        with pytest.raises(ValueError, match="epoch"):
            fade(epoch, 270)


def test_coarse_maps_learn_the_place_of_a_point():
    keypoints = torch.tensor([[[100.0, 40.0], [20.0, 200.0]]])
    weights = torch.tensor([[1.0, 0.0]])
    maps = torch.zeros(1, 2, 8, 6, requires_grad=True)
    optimizer = torch.optim.SGD([maps], lr=5.0)
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
