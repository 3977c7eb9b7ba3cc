"""The folded form and its number types against the float32 network."""

from __future__ import annotations

import pytest
import torch

from dwpose.models.fold import fold_batchnorm
from dwpose.models.layers import ConvBNAct

CASES = {"rtmpose": ("t", (256, 192), 133), "yolox": ("nano", (416, 416), 80)}

# Largest difference to float32 over all outputs, relative to their standard deviation; twice what
# was measured on these two networks. Unrelated outputs are 5 to 8 apart.
LIMITS = {"folded": 2e-4, "channels_last": 2e-4, "fp16": 0.12, "bf16": 1.0}


@pytest.fixture(scope="module", params=CASES)
def case(request, name_seeded, named_input):
    module = name_seeded(request.param, *CASES[request.param])
    return module, named_input("fold", (1, 3, *CASES[request.param][1]))


def form_of(module, form):
    folded = fold_batchnorm(module)
    if form != "folded":
        folded = folded.to(memory_format=torch.channels_last)
    return folded.to({"fp16": torch.float16, "bf16": torch.bfloat16}.get(form, torch.float32))


@pytest.mark.parametrize("form", LIMITS)
def test_deviation_from_float32(case, form, tuple_of):
    module, images = case
    folded = form_of(module, form)
    dtype = next(folded.parameters()).dtype
    given = images.to(dtype)
    if form != "folded":
        given = given.contiguous(memory_format=torch.channels_last)
    for expected, got in zip(tuple_of(module(images)), tuple_of(folded(given)), strict=True):
        assert got.dtype == dtype
        assert (got.float() - expected).abs().max() <= LIMITS[form] * expected.std()


def test_nothing_of_batch_norm_is_left_and_the_original_stays(case):
    module, _ = case
    before = {key: value.clone() for key, value in module.state_dict().items()}
    folded = fold_batchnorm(module)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert all(m.conv.bias is not None for m in folded.modules() if isinstance(m, ConvBNAct))
    assert not any(p.requires_grad for p in folded.parameters())
    assert folded.config == module.config
    after = module.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_folding_twice_changes_nothing(case, tuple_of):
    folded = fold_batchnorm(case[0])
    for a, b in zip(
        tuple_of(folded(case[1])), tuple_of(fold_batchnorm(folded)(case[1])), strict=True
    ):
        assert torch.equal(a, b)


def test_the_networks_are_one_graph(case):
    """No step of them depends on the data, so torch.compile and CUDA graphs take them whole."""
    module, images = case
    exported = torch.export.export(fold_batchnorm(module), (images,))
    assert not any("aten.item" in str(node.target) for node in exported.graph.nodes)
