"""`dwpose convert`: the same network from every form of file."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest
import torch

from dwpose.commands import convert
from dwpose.models.export import export_onnx
from dwpose.models.rtmpose import RTMPose, RTMPoseConfig, rtmpose_config
from dwpose.models.usage import Usage
from dwpose.models.yolox import YOLOX, yolox_config
from dwpose.weights.load import load_model
from dwpose.weights.readers import read_checkpoint, write_safetensors

TINY = RTMPoseConfig("custom", 0.167, 0.125, (64, 64), num_keypoints=7, dim=32, attention_dim=16)


def run(*args: str) -> int:
    parser = argparse.ArgumentParser()
    convert.add_parser(parser.add_subparsers())
    return convert.run(parser.parse_args(["convert", *args]))


@pytest.fixture(scope="module")
def network() -> RTMPose:
    torch.manual_seed(5)
    return RTMPose(TINY).eval()


def outputs(module: torch.nn.Module, size: int = 64) -> tuple[torch.Tensor, ...]:
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        out = module(images)
    return out if isinstance(out, tuple) else (out,)


def test_a_training_checkpoint_becomes_small_and_stays_exact(network, tmp_path, capsys):
    source = tmp_path / "epoch.pth"
    torch.save({"state_dict": network.state_dict(), "optimizer": {"m": torch.zeros(10**6)}}, source)
    target = tmp_path / "net.safetensors"
    assert run(str(source), "-o", str(target), "--note", "a test") == 0
    assert str(target) in capsys.readouterr().out
    assert target.stat().st_size < source.stat().st_size / 2
    assert read_checkpoint(target).meta == {
        "family": "rtmpose", "size": "custom", "input_size_hw": [64, 64],
        "num_keypoints": 7, "note": "a test",
    }  # fmt: skip
    for got, want in zip(outputs(load_model(target).module), outputs(network), strict=True):
        assert torch.equal(got, want)


def test_half_precision_halves_the_file(network, tmp_path):
    source = write_safetensors(tmp_path / "net.safetensors", network.state_dict(), {"note": "kept"})
    target = tmp_path / "half.safetensors"
    assert run(str(source), "-o", str(target), "--half") == 0
    assert target.stat().st_size < 0.7 * source.stat().st_size
    checkpoint = read_checkpoint(target)
    assert checkpoint.meta["note"] == "kept"
    dtypes = {value.dtype for value in checkpoint.state.values()}
    assert dtypes == {torch.float16, torch.int64}
    for got, want in zip(outputs(load_model(target).module), outputs(network), strict=True):
        # Rounding weights to 11 bits, through some twenty layers.
        torch.testing.assert_close(got, want, rtol=0, atol=0.02 * float(want.abs().max()))


@pytest.mark.parametrize(
    ("module", "size"),
    [(RTMPose(rtmpose_config("t", (64, 64))), 64), (YOLOX(yolox_config("nano", 1, (64, 64))), 64)],
    ids=["rtmpose", "yolox"],
)
def test_an_onnx_file_becomes_safetensors(module, size, tmp_path):
    source = export_onnx(module.eval(), tmp_path / "net.onnx")
    target = tmp_path / "net.safetensors"
    assert run(str(source), "-o", str(target)) == 0
    checkpoint = read_checkpoint(target)
    assert checkpoint.meta["note"] == "converted from net.onnx"
    assert checkpoint.meta["input_size_hw"] == [64, 64]
    # Batch norms are folded in ONNX files, so the sums are formed in another order.
    pairs = zip(outputs(load_model(target).module, size), outputs(module, size), strict=True)
    for got, want in pairs:
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4 * float(want.abs().max()))


def test_a_detector_keeps_its_input_size(tmp_path):
    module = YOLOX(yolox_config("nano", 1, (64, 64))).eval()
    source = write_safetensors(
        tmp_path / "det.safetensors", module.state_dict(), {"input_size_hw": [64, 64]}
    )
    target = tmp_path / "new.safetensors"
    assert run(str(source), "-o", str(target)) == 0
    model = load_model(target)
    assert (model.role, model.input_size_hw) == ("detector", (64, 64))
    assert model.meta["num_classes"] == 1
    for got, want in zip(outputs(model.module), outputs(module), strict=True):
        assert torch.equal(got, want)


def test_what_a_file_says_of_its_use_goes_along(tmp_path):
    config = replace(yolox_config("nano", 1, (64, 64)), rough_boxes=True)
    paths = [export_onnx(YOLOX(config), tmp_path / "det.onnx"), tmp_path / "det.safetensors"]
    assert run(str(paths[0]), "-o", str(paths[1])) == 0
    paths.append(export_onnx(load_model(paths[1]).module, tmp_path / "again.onnx"))
    assert [load_model(path).usage for path in paths] == [Usage(rough_boxes=True)] * 3


def test_weights_beyond_half_precision_stay_as_they_are(network, tmp_path):
    # Such as variances of pixels 0..255: infinity would silence their channels.
    state = dict(network.state_dict())
    large = "backbone.stem.0.bn.running_var"
    state[large] = torch.full_like(state[large], 1e5)
    source = write_safetensors(tmp_path / "net.safetensors", state, {})
    assert run(str(source), "-o", str(tmp_path / "half.safetensors"), "--half") == 0
    kept = read_checkpoint(tmp_path / "half.safetensors").state
    assert kept[large].dtype == torch.float32
    assert torch.equal(kept[large], state[large])
    assert kept["head.final_layer.bias"].dtype == torch.float16


def test_wrong_calls(tmp_path, capsys):
    assert run("whatever.pth", "-o", str(tmp_path / "net.pth")) == 2
    assert "must end in .safetensors" in capsys.readouterr().err
    assert run(str(tmp_path / "absent.pth"), "-o", str(tmp_path / "net.safetensors")) == 1
    assert "absent.pth" in capsys.readouterr().err
