"""Exported files answer as their networks do, and load by their path."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn

from dwpose.cli import main
from dwpose.estimator import Estimator
from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.models.yolox import YOLOX, yolox_config
from dwpose.pipeline import DWPose
from dwpose.training.checkpoint import save_network
from dwpose.training.distill import StageTwo
from dwpose.training.export import check_parity, write_onnx
from dwpose.weights.load import load_model
from dwpose.weights.readers import write_safetensors

pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Exports that a session makes for itself stay out of the user's cache."""
    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path_factory.getbasetemp() / "onnx-cache"))


def trained(seed=0):
    """A small network whose batch norms have seen something."""
    torch.manual_seed(seed)
    model = RTMPose(rtmpose_config("t", (64, 64)))
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=part.in_features**-0.5)
    with torch.no_grad():  # peaks of about 1, as labels have them
        model.head.cls_x.weight.mul_(1e-3)
        model.head.cls_y.weight.mul_(1e-3)
    return model.eval()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    save_network(path, trained(), note="a test")
    return path


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_exports_load_by_path_and_find_the_same(source, tmp_path, suffix, half, capsys):
    output = tmp_path / "new" / f"student{suffix}"
    output.parent.mkdir()
    assert main(["export", str(source), "-o", str(output), *(["--half"] if half else [])]) == 0
    assert "of the largest output" in capsys.readouterr().out
    picture = np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8)
    boxes = np.array([[5, 5, 60, 80]], np.float32)
    people = [
        DWPose.from_pretrained(path, "none", device="cpu")(picture, boxes=boxes)
        for path in (source, output)
    ]
    np.testing.assert_allclose(people[0].scores, people[1].scores, atol=5e-3 if half else 1e-4)
    if not half:
        np.testing.assert_array_equal(people[0].keypoints, people[1].keypoints)
    assert [p.name for p in output.parent.iterdir()] == [output.name]


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
@pytest.mark.parametrize("name", ["a.onnx", "a.safetensors"])
def test_exports_of_the_built_in_kind_are_shown_its_crops_and_their_mirror_images(
    tmp_path, name, runtime
):
    path = tmp_path / name
    assert main(["export", "builtin-lite", "-o", str(path)]) == 0
    pose = DWPose.from_pretrained(path, "none", runtime=runtime, device="cpu")
    assert pose.estimator.padding == 1.1
    assert pose.estimator.flip_test
    assert Estimator(pose.estimator.session, padding=1.4).padding == 1.4


def test_other_exports_are_shown_the_official_crops(source, tmp_path):
    assert main(["export", str(source), "-o", str(tmp_path / "a.onnx")]) == 0
    estimator = DWPose.from_pretrained(tmp_path / "a.onnx", "none").estimator
    assert (estimator.padding, estimator.flip_test) == (1.25, False)


def test_onnx_has_the_official_names_and_any_batch(source, tmp_path):
    import onnx

    output = tmp_path / "student.onnx"
    assert main(["export", str(source), "-o", str(output), "--opset", "11"]) == 0
    model = onnx.load(str(output))
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["simcc_x", "simcc_y"]
    assert model.opset_import[0].version == 11
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_a_file_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    from dwpose.training import export

    model = trained()
    other = trained(seed=1)
    keep = export.export_onnx
    monkeypatch.setattr(export, "export_onnx", lambda _, *rest: keep(other, *rest))
    with pytest.raises(RuntimeError, match="differs from its source"):
        write_onnx(model, tmp_path / "student.onnx")
    assert list(tmp_path.iterdir()) == []


def test_overflow_is_no_parity(tmp_path):
    model = trained()
    with torch.no_grad():
        model.head.cls_x.weight.mul_(1e6)
    with pytest.raises(RuntimeError, match="leave half precision out"):
        write_onnx(model, tmp_path / "student.onnx", half=True)


def test_parity_is_checked_without_onnxruntime(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    parity = write_onnx(trained(), tmp_path / "student.onnx", half=True)
    assert parity.runtime == "onnx on torch"
    assert parity.difference < 1e-2


def test_detectors_are_exported(tmp_path):
    torch.manual_seed(0)
    detector = YOLOX(yolox_config("nano", 1, (64, 64))).eval()
    config = detector.config
    meta = {"family": "yolox", "size": config.size, "input_size_hw": [64, 64], "num_classes": 1}
    write_safetensors(tmp_path / "find.safetensors", detector.state_dict(), meta)
    output = tmp_path / "find.onnx"
    assert main(["export", str(tmp_path / "find.safetensors"), "-o", str(output)]) == 0
    assert load_model(output).role == "detector"


def test_second_stages_are_joined(tmp_path):
    distiller = StageTwo(trained(), trained(seed=1).head)
    torch.save({"model": distiller.state_dict()}, tmp_path / "state.pt")
    output = tmp_path / "student.safetensors"
    assert main(["export", str(tmp_path / "state.pt"), "--stage", "2", "-o", str(output)]) == 0
    check_parity(distiller.plain_model(), output)


def test_wrong_calls(source, tmp_path, capsys):
    assert main(["export", str(source), "-o", str(tmp_path / "student.pth")]) == 2
    assert "must end in" in capsys.readouterr().err
    call = ["export", str(source), "-o", str(tmp_path / "student.onnx")]
    assert main([*call, "--opset", "5"]) == 1
    assert "opset must be 11 to 17" in capsys.readouterr().err
    assert main([*call, "--stage", "1"]) == 1
    assert "no distillation run" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "absent.pth"), *call[2:]]) == 1
