"""The backbone of the built-in network: weights for ImageNet, and the pyramid."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from dwpose.crop import IMAGE_MEAN, IMAGE_STD  # noqa: E402
from dwpose.models.efficientnet import STAGES, EfficientNetLite  # noqa: E402
from dwpose.models.export import export_onnx  # noqa: E402
from dwpose.models.onnx_graph import load_onnx  # noqa: E402
from dwpose.models.rtmpose import LITE, RTMPose, rtmpose_config  # noqa: E402
from dwpose.weights.load import infer_rtmpose  # noqa: E402

from .imagenet import published_state  # noqa: E402


def published_forward(
    state: dict[str, torch.Tensor], x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the published network makes of (p - 127) / 128, step by step: stem and last map."""

    def layer(x, conv, norm, stride=1, depthwise=False, act=True):
        weight = state[f"{conv}.weight"]
        kernel = weight.shape[-1]
        # TensorFlow's SAME.
        around = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:]]
        (high, wide) = around
        x = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] if depthwise else 1)
        statistics = (state[f"{norm}.running_mean"], state[f"{norm}.running_var"])
        x = F.batch_norm(x, *statistics, state[f"{norm}.weight"], state[f"{norm}.bias"], eps=1e-3)
        return F.relu6(x) if act else x

    x = stem = layer(x, "_conv_stem", "_bn0", 2)
    index = 0
    for expand, _, repeats, stride, _ in STAGES:
        for repeat in range(repeats):
            name, start = f"_blocks.{index}.", x
            if expand > 1:
                x = layer(x, name + "_expand_conv", name + "_bn0")
            step = 1 if repeat else stride
            x = layer(x, name + "_depthwise_conv", name + "_bn1", step, depthwise=True)
            x = layer(x, name + "_project_conv", name + "_bn2", act=False)
            x = x + start if repeat else x
            index += 1
    return stem, x


def test_imagenet_weights_give_the_published_features():
    state = published_state()
    backbone = EfficientNetLite().eval()
    backbone.load_imagenet(state)
    pixels = torch.rand(1, 3, 128, 96, generator=torch.Generator().manual_seed(1)) * 255
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    stem, last = published_forward(state, (pixels - 127) / 128)
    with torch.no_grad():
        own = backbone.stem((pixels - mean) / deviation)
        # The last row and column see the padding, which is another grey to us.
        torch.testing.assert_close(own[..., :-1, :-1], stem[..., :-1, :-1], rtol=1e-4, atol=1e-4)
        x = stem
        for block in backbone.blocks:
            x = block(x)
    torch.testing.assert_close(x, last, rtol=1e-3, atol=1e-3)


def test_a_missing_tensor_is_named():
    state = published_state()
    del state["_blocks.7._bn1.running_var"]
    with pytest.raises(KeyError, match=r"_blocks\.7\._bn1\.running_var"):
        EfficientNetLite().load_imagenet(state)


@pytest.mark.parametrize("size_hw", [(256, 192), (128, 96)])
def test_the_pyramid_ends_at_stride_16(size_hw):
    model = RTMPose(rtmpose_config(LITE, size_hw)).eval()
    images = torch.zeros(2, 3, *size_hw)
    with torch.no_grad():
        assert model.features(images).shape == (2, 128, size_hw[0] // 16, size_hw[1] // 16)
        x, y = model(images)
    assert x.shape == (2, 133, size_hw[1] * 2)
    assert y.shape == (2, 133, size_hw[0] * 2)


def test_the_shapes_of_weights_tell_the_network():
    config = rtmpose_config(LITE, (128, 96), 17)
    assert infer_rtmpose(RTMPose(config).state_dict()) == config


def test_frozen_blocks_do_not_learn():
    backbone = EfficientNetLite()
    backbone.freeze(5)
    assert not any(p.requires_grad for p in backbone.stem.parameters())
    learns = [all(p.requires_grad for p in block.parameters()) for block in backbone.blocks]
    assert learns == [False] * 5 + [True] * 11
    assert all(p.requires_grad for p in backbone.lateral.parameters())
    backbone.freeze(0)
    assert all(p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize("frozen", [0, 2, 5])
def test_the_rest_goes_on_from_the_trunk(frozen):
    torch.manual_seed(0)
    backbone = EfficientNetLite().eval()
    images = torch.randn(2, 3, 64, 64)
    whole = backbone(images)
    backbone.freeze(frozen)
    assert torch.equal(backbone(backbone.trunk(images)), whole)
    assert torch.equal(backbone(images), whole)
    with pytest.raises(ValueError, match="0 to 5 blocks"):
        backbone.freeze(6)


@pytest.mark.parametrize("opset", [11, 17])
def test_its_onnx_file_gives_the_same_curves(tmp_path, opset):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = RTMPose(rtmpose_config(LITE, (64, 64))).eval()
    path = export_onnx(model, tmp_path / "lite.onnx", opset)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images)
        again = load_onnx(path).eval()(images)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(["simcc_x", "simcc_y"], {"input": images.numpy()})
    for curves, by_onnxruntime, by_torch in zip(expected, got, again, strict=True):
        torch.testing.assert_close(torch.from_numpy(by_onnxruntime), curves, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(by_torch, curves, rtol=1e-4, atol=1e-5)
