"""Schedule, averaged weights and weight decay against mmengine's own traces."""

from __future__ import annotations

import numpy as np
import torch

from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.training.schedule import WeightAverage, learning_rate, parameter_groups


def test_learning_rate_equals_mmengine(load_reference):
    expected = load_reference("schedule.npz")["base_lr"]
    got = [learning_rate(i, len(expected), 4e-3) for i in range(len(expected))]
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_average_equals_mmengine(load_reference, weights_by_name):
    expected = load_reference("schedule.npz")["ema_weight_after"]
    module = torch.nn.Linear(3, 2)
    average = WeightAverage(module)
    for i, after in enumerate(expected):
        step = weights_by_name.input_for(f"ema_step{i}_weight", (2, 3))
        module.weight.data = torch.from_numpy(step)
        average.update(module)
        np.testing.assert_allclose(average.module.weight.numpy(), after, rtol=1e-5, atol=1e-7)


def test_weight_decay_of_every_parameter(load_reference):
    arrays = load_reference("schedule.npz")
    expected = dict(zip(arrays["wd_keys_t"].tolist(), arrays["wd_value_t"].tolist(), strict=True))
    model = RTMPose(rtmpose_config("t"))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    got = {
        names[id(parameter)]: group["weight_decay"]
        for group in parameter_groups(model, decay_scalars=True)
        for parameter in group["params"]
    }
    assert got == expected


def test_scalars_of_the_head_decay_only_where_asked(load_reference):
    model = RTMPose(rtmpose_config("t"))
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    def decayed(asked):
        groups = parameter_groups(model, decay_scalars=asked)
        return {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}

    scalars = {"mlp.0.g", "gau.ln.g", "gau.gamma", "gau.beta", "gau.res_scale.scale"}
    assert decayed(True) - decayed(False) == {f"head.{name}" for name in scalars}


def test_a_backbone_learns_at_its_own_rate():
    model = RTMPose(rtmpose_config("t", (64, 64)))
    groups = parameter_groups(torch.nn.ModuleDict({"student": model}), backbone_rate=0.2)
    factor = {id(p): group["factor"] for group in groups for p in group["params"]}
    assert {factor[id(p)] for p in model.backbone.parameters()} == {0.2}
    assert {factor[id(p)] for p in model.head.parameters()} == {1.0}
    usual = parameter_groups(model)
    assert [group["factor"] for group in usual] == [1.0, 1.0]
    decays = {id(p): group["weight_decay"] for group in usual for p in group["params"]}
    assert decays == {id(p): group["weight_decay"] for group in groups for p in group["params"]}
