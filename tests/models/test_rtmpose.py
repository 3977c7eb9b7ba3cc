"""RTMPose against the numbers of the original programs, within the reference's tolerances."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from dwpose.models.rtmpose import SIZES, RTMPose, rtmpose_config
from dwpose.simcc import decode
from dwpose.skeleton import FLIP_INDICES

ATOL = 1e-3  # README of the reference fixtures: feat, simcc and scores
MARGIN = 2e-3  # below this the place of the maximum may differ

FIXTURES = {"t": (256, 192), "s": (256, 192), "m": (256, 192), "l": (384, 288)}


@pytest.fixture(scope="module", params=FIXTURES)
def case(request, load_reference, name_seeded, named_input, meta_of):
    size, size_hw = request.param, FIXTURES[request.param]
    arrays = load_reference(f"rtmpose_{size}_{size_hw[0]}x{size_hw[1]}.npz")
    meta = meta_of(arrays)
    images = named_input(meta["input_name"], meta["input_shape"])
    return name_seeded("rtmpose", size, size_hw, 133), arrays, meta, images


@pytest.fixture(scope="module")
def run(case):
    """Outputs of every stage of one pass."""
    module, _, _, images = case
    stages: dict[str, torch.Tensor] = {}
    parts = {
        **{n: getattr(module.backbone, n) for n in ("stem", *(f"stage{i}" for i in range(1, 5)))},
        **{f"head.{n}": getattr(module.head, n) for n in ("final_layer", "mlp", "gau")},
    }
    handles = [
        part.register_forward_hook(
            lambda _m, _i, out, name=name: stages.update({name: out.clone()})
        )
        for name, part in parts.items()
    ]
    with torch.no_grad():
        simcc_x, simcc_y = module(images)
    for handle in handles:
        handle.remove()
    return stages, simcc_x.numpy(), simcc_y.numpy()


def test_the_generated_input_is_the_references(case):
    _, _, meta, images = case
    assert hashlib.sha256(images.numpy().tobytes()).hexdigest() == meta["input_sha256"]


def test_keys_shapes_and_their_order_are_the_originals(case, weights_by_name):
    module, arrays, meta, _ = case
    ours = [(key, tuple(value.shape)) for key, value in module.state_dict().items()]
    assert ours == weights_by_name.shapes_from(arrays)
    assert sum(p.numel() for p in module.parameters()) == meta["params"]


def test_every_stage(case, run, stage_statistics):
    _, arrays, _, _ = case
    stages = run[0]
    assert set(stages) == set(arrays["stage_names"])
    for index, name in enumerate(arrays["stage_names"]):
        out = stages[str(name)]
        np.testing.assert_allclose(
            out.flatten()[:8].numpy(), arrays["stage_first8"][index], atol=ATOL, err_msg=name
        )
        mean, deviation, magnitude, low, high = stage_statistics(out)
        expected = arrays["stage_stats"][index]
        np.testing.assert_allclose(
            (mean, deviation, magnitude / out.numel(), low, high),
            (*expected[:2], expected[2] / out.numel(), *expected[3:]),
            atol=ATOL,
            err_msg=name,
        )


def test_features_and_simcc(case, run):
    _, arrays, _, _ = case
    stages, simcc_x, simcc_y = run
    np.testing.assert_allclose(stages["stage4"].numpy(), arrays["feat"], atol=ATOL, rtol=0)
    np.testing.assert_allclose(simcc_x, arrays["simcc_x"], atol=ATOL, rtol=0)
    np.testing.assert_allclose(simcc_y, arrays["simcc_y"], atol=ATOL, rtol=0)


def compare_decoded(simcc_x, simcc_y, arrays, prefix=""):
    keypoints, scores = decode(simcc_x, simcc_y)
    np.testing.assert_allclose(scores, arrays[f"{prefix}scores"], atol=ATOL, rtol=0)
    sure = (arrays[f"{prefix}margin_x"] > MARGIN) & (arrays[f"{prefix}margin_y"] > MARGIN)
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(keypoints[sure], arrays[f"{prefix}keypoints"][sure])


def test_keypoints_and_scores(case, run):
    compare_decoded(run[1], run[2], case[1])


def test_flip_test(case, run):
    module, arrays, _, images = case
    flipped_x, flipped_y = (out.numpy() for out in module(images.flip(3)))
    x = (run[1] + flipped_x[:, FLIP_INDICES, ::-1]) / 2
    y = (run[2] + flipped_y[:, FLIP_INDICES]) / 2
    np.testing.assert_allclose(x[:, ::8], arrays["flip_simcc_x_every8"], atol=ATOL, rtol=0)
    np.testing.assert_allclose(y[:, ::8], arrays["flip_simcc_y_every8"], atol=ATOL, rtol=0)
    compare_decoded(x, y, arrays, "flip_")


def test_batch_norm_settings_are_the_originals(case):
    module, _, meta, _ = case
    ours = {(m.eps, m.momentum) for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert ours == {(entry["eps"], entry["momentum"]) for entry in meta["batchnorm"]}


def test_a_wrong_checkpoint_is_refused():
    module = RTMPose(rtmpose_config("t"))
    state = module.state_dict()
    state["head.mlp.0.gg"] = state.pop("head.mlp.0.g")
    with pytest.raises(RuntimeError, match=r"head\.mlp\.0\.gg?"):
        module.load_state_dict(state, strict=True)


@pytest.mark.parametrize("size_hw", [(256, 192), (384, 288)])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_the_right_output_shape(size, size_hw):
    with torch.device("meta"):
        x, y = RTMPose(rtmpose_config(size, size_hw)).eval()(torch.empty(2, 3, *size_hw))
    assert tuple(x.shape) == (2, 133, 2 * size_hw[1])
    assert tuple(y.shape) == (2, 133, 2 * size_hw[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("q",), "size must be one of t, s"), (("t", (250, 192)), "multiples of 32"),
     (("t", (256, 192), 0), "num_keypoints")],
)  # fmt: skip
def test_bad_configurations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        rtmpose_config(*arguments)


def test_gradients_reach_every_parameter():
    module = RTMPose(rtmpose_config("t", (64, 64)))
    with torch.enable_grad():
        x, y = module(torch.randn(2, 3, 64, 64))
        (x.square().mean() + y.square().mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
