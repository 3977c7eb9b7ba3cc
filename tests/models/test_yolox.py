"""YOLOX against the numbers of the original program, within the reference's tolerances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.models.yolox import SIZES, YOLOX, decode_boxes, yolox_config

ATOL = 2e-4  # README of the reference fixtures: raw output


@pytest.fixture(scope="module")
def arrays(load_reference):
    return load_reference("yolox.npz")


@pytest.fixture(scope="module")
def meta(arrays, meta_of):
    return meta_of(arrays)


@pytest.mark.parametrize("size", ["nano", "tiny", "s", "m", "l"])
def test_keys_shapes_and_their_order_are_the_originals(size, arrays, meta, weights_by_name):
    with torch.device("meta"):
        module = YOLOX(yolox_config(size))
    ours = [(key, tuple(value.shape)) for key, value in module.state_dict().items()]
    assert ours == weights_by_name.shapes_from(arrays, f"{size}_")
    facts = meta["models"][size]
    assert sum(p.numel() for p in module.parameters()) == facts["params"]
    norms = {(m.eps, m.momentum) for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert norms == {tuple(pair) for pair in facts["bn_eps_momentum"]}


@pytest.fixture(scope="module", params=["nano", "s"])
def run(request, meta, name_seeded, named_input):
    size, facts = request.param, meta["outputs"][request.param]
    size_hw = (facts["size"], facts["size"])
    module = name_seeded("yolox", size, size_hw, 80)
    with torch.no_grad():
        dark = module.backbone.backbone(
            images := named_input(f"yolox_{size}_public", (1, 3, *size_hw))
        )
        raw = module(images)
        pan = module.backbone(images)
    return size, facts, dark, pan, raw


def test_every_stage(run, arrays, stage_statistics):
    size, _, dark, pan, _ = run
    stages = {
        **{f"dark:dark{i + 3}": out for i, out in enumerate(dark)},
        **{f"pan:{i}": out for i, out in enumerate(pan)},
    }
    names = [str(name) for name in arrays[f"{size}_stage_names"]]
    assert set(names) == set(stages)
    for index, name in enumerate(names):
        out = stages[name]
        np.testing.assert_allclose(
            out.flatten()[:8].numpy(), arrays[f"{size}_stage_first8"][index], atol=ATOL
        )
        got, expected = stage_statistics(out), arrays[f"{size}_stage_stats"][index].copy()
        got[2] /= out.numel()
        expected[2] /= out.numel()
        np.testing.assert_allclose(got, expected, atol=ATOL, err_msg=name)


def test_raw_rows(run, arrays):
    size, facts, _, _, raw = run
    assert raw.shape == (1, facts["rows"], 85)
    expected = arrays[f"{size}_raw_every"]
    np.testing.assert_allclose(raw[0, :: facts["every"]].numpy(), expected, atol=ATOL, rtol=0)


def test_sums_over_all_rows_and_columns(run, arrays):
    size, facts, _, _, raw = run
    rows = raw[0].double()
    np.testing.assert_allclose(
        rows.abs().sum(1).numpy(), arrays[f"{size}_raw_row_abs_sum"], atol=ATOL * 85, rtol=0
    )
    np.testing.assert_allclose(
        rows.sum(0).numpy(), arrays[f"{size}_raw_column_sum"], atol=ATOL * facts["rows"], rtol=0
    )


def test_decoded_boxes(run, arrays):
    size, facts, _, _, raw = run
    boxes = decode_boxes(raw, (facts["size"], facts["size"]))[0, :: facts["every"]].numpy()
    np.testing.assert_allclose(boxes, arrays[f"{size}_decoded_boxes_every"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_takes_any_multiple_of_32(size):
    with torch.device("meta"):
        raw = YOLOX(yolox_config(size, 3)).eval()(torch.empty(2, 3, 96, 160))
    assert tuple(raw.shape) == (2, 12 * 20 + 6 * 10 + 3 * 5, 8)


def test_boxes_of_another_input_size_are_refused():
    with pytest.raises(ValueError, match="84"):
        decode_boxes(torch.zeros(1, 85, 6), (64, 64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("xl",), "size must be one of nano"), (("s", 80, (600, 640)), "multiples of 32"),
     (("s", 0), "num_classes")],
)  # fmt: skip
def test_bad_configurations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        yolox_config(*arguments)
