"""The facade made of real model files, on the runtimes that are here."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pytest

from dwpose.pipeline import DWPose
from dwpose.runtimes.pretrained import choose_detector, choose_estimator


@pytest.fixture
def model_files(tmp_path, monkeypatch):
    """A models folder with name-seeded networks in it; nothing else is seen, nothing fetched."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from dwpose.models.rtmpose import RTMPose, rtmpose_config
    from dwpose.models.yolox import YOLOX, yolox_config

    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)

    def meta(**facts):
        import json

        return {"dwpose": json.dumps(facts)}

    poser = tmp_path / "pose.safetensors"
    save_file(
        RTMPose(rtmpose_config("t")).half().state_dict(),
        poser,
        meta(family="rtmpose", size="t", input_size_hw=[256, 192], num_keypoints=133),
    )
    finder = tmp_path / "find.safetensors"
    save_file(
        YOLOX(yolox_config("nano", input_size_hw=(64, 64))).half().state_dict(),
        finder,
        meta(family="yolox", size="nano", input_size_hw=[64, 64], num_classes=80),
    )
    return poser, finder


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_from_files(model_files, runtime, caplog):
    pytest.importorskip(runtime)
    poser, finder = model_files
    with caplog.at_level(logging.INFO, "dwpose"):
        model = DWPose.from_pretrained(poser, finder, runtime=runtime, device="cpu")
    assert {info.runtime for info in model.info.values()} == {runtime}
    assert {info.device for info in model.info.values()} == {"cpu"}
    assert sum(f"{runtime} on cpu in fp32" in record.message for record in caplog.records) == 2
    assert model.notice == ""
    assert model.estimator.size_hw == (256, 192)
    assert model.detector.size_hw == (64, 64)
    people = model(np.zeros((128, 128, 3), np.uint8), boxes=[(10, 20, 40, 60)])
    assert people.keypoints.shape == (1, 133, 2)
    assert len(model([np.zeros((128, 128, 3), np.uint8)] * 2)) == 2


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_the_built_in_network_is_known_as_such(model_files, runtime):
    pytest.importorskip(runtime)
    poser, _ = model_files
    assert DWPose.from_pretrained("builtin-lite", None, runtime=runtime).estimator.flip_test
    assert not DWPose.from_pretrained(poser, None, runtime=runtime).estimator.flip_test


_WITHOUT_TORCH = """
import sys
import numpy as np
from dwpose.pipeline import DWPose
model = DWPose.from_pretrained(*sys.argv[1:], runtime="onnxruntime", device="cpu")
model(np.zeros((80, 60, 3), np.uint8))
model(np.zeros((80, 60, 3), np.uint8), boxes=[(10, 10, 50, 70)])
assert "torch" not in sys.modules, "torch was imported"
"""


def test_onnx_files_on_onnxruntime_do_without_torch(tmp_path):
    for library in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(library)
    from dwpose.models.export import export_onnx
    from dwpose.models.rtmpose import RTMPose, rtmpose_config
    from dwpose.models.yolox import YOLOX, yolox_config

    poser = export_onnx(RTMPose(rtmpose_config("t", (64, 64))), tmp_path / "pose.onnx")
    finder = export_onnx(YOLOX(yolox_config("nano", 80, (64, 64))), tmp_path / "find.onnx")
    call = [sys.executable, "-c", _WITHOUT_TORCH, str(poser), str(finder)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_mode_reaches_both_networks(model_files):
    poser, finder = model_files
    model = DWPose.from_pretrained(poser, finder, runtime="torch", device="cpu", mode="compile")
    for info in model.info.values():
        assert "compile needs an NVIDIA GPU" in info.reason
    with pytest.raises(ValueError, match="mode must be one of"):
        DWPose.from_pretrained(poser, "none", device="cpu", mode="fast")


def test_runtimes_agree(model_files):
    pytest.importorskip("onnxruntime")
    poser, _ = model_files
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (200, 200, 3), np.uint8)
    one, other = (
        DWPose.from_pretrained(poser, "none", runtime=runtime, device="cpu")(
            image, boxes=[(10, 10, 90, 190), (50, 0, 200, 200)]
        )
        for runtime in ("torch", "onnxruntime")
    )
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
    assert (np.abs(one.keypoints - other.keypoints).max(axis=-1) < 1e-3).mean() > 0.98


def test_roles_are_not_mixed_up(model_files):
    poser, finder = model_files
    with pytest.raises(ValueError, match="estimator must name a pose network"):
        DWPose.from_pretrained(finder, "none", device="cpu")
    with pytest.raises(ValueError, match="detector must name a person detector"):
        DWPose.from_pretrained(poser, poser, device="cpu")
    with pytest.raises(ValueError, match="estimator must name a pose network; yolox-l is a person"):
        DWPose.from_pretrained("yolox-l", "none", device="cpu")  # not here, and not asked for
    with pytest.raises(FileNotFoundError):
        DWPose.from_pretrained(poser.with_name("absent.onnx"), device="cpu")


def test_a_file_that_was_cut_off_is_named(model_files, tmp_path):
    (tmp_path / "dw-ll_ucoco_384.onnx").write_bytes(b"cut off")
    (tmp_path / "yolox_l.onnx").write_bytes(b"cut off")
    for (chosen, notice), file in zip(
        (choose_estimator(), choose_detector()), ("dw-ll_ucoco_384", "yolox_l"), strict=True
    ):
        assert chosen.startswith("builtin")
        assert f"{file}.onnx is not " in notice
        assert "7 bytes instead of" in notice
        assert "so it is passed over; using the small built-in" in notice
