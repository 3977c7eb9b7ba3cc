"""The rules of `auto`, on machines that are only described, and the way it falls through."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import dwpose.runtimes.auto as auto
from dwpose.errors import WeightsError
from dwpose.models.usage import Usage
from dwpose.runtimes.auto import candidates, choose, open_session
from dwpose.runtimes.machine import Machine, has_bf16, inspect_machine
from dwpose.runtimes.session import RuntimeInfo, RuntimeUnavailable

CPU = ("CPUExecutionProvider",)
PLAIN = Machine()
WITH_ONNX = Machine(providers=CPU)
BF16 = Machine(providers=CPU, cpu_bf16=True)
NVIDIA = Machine(accelerators=("cuda",), fast_half=True, providers=("CUDAExecutionProvider", *CPU))
PASCAL = Machine(accelerators=("cuda",), fast_half=False, providers=CPU)
APPLE = Machine(accelerators=("mps",), providers=("CoreMLExecutionProvider", *CPU))
WINDOWS_AMD = Machine(providers=("DmlExecutionProvider", *CPU))


def plan(machine, *arguments, **asked):
    info = choose(*arguments, machine=machine, **asked)
    return info.runtime, info.device, info.precision


@pytest.mark.parametrize(
    ("machine", "size", "expected"),
    [
        (PLAIN, "l", ("torch", "cpu", "fp32")),
        (WITH_ONNX, "l", ("onnxruntime", "cpu", "fp32")),
        (WITH_ONNX, "t", ("onnxruntime", "cpu", "fp32")),
        (BF16, "t", ("onnxruntime", "cpu", "fp32")),
        (BF16, "m", ("onnxruntime", "cpu", "fp32")),
        (BF16, "l", ("torch", "cpu", "bf16")),
        (BF16, None, ("onnxruntime", "cpu", "fp32")),
        (Machine(cpu_bf16=True), "m", ("torch", "cpu", "bf16")),
        (Machine(cpu_bf16=True), "t", ("torch", "cpu", "fp32")),
        (NVIDIA, "l", ("torch", "cuda", "fp16")),
        (PASCAL, "l", ("torch", "cuda", "fp32")),
        (APPLE, "l", ("torch", "mps", "fp32")),
        (WINDOWS_AMD, "l", ("onnxruntime", "dml", "fp32")),
    ],
)
def test_what_auto_takes(machine, size, expected):
    assert plan(machine, "rtmpose", size) == expected


def test_detectors_stay_in_fp32_on_a_cpu():
    assert plan(BF16, "yolox", "l") == ("onnxruntime", "cpu", "fp32")


def test_what_is_asked_is_what_is_offered():
    assert plan(NVIDIA, device="cpu") == ("onnxruntime", "cpu", "fp32")
    assert plan(NVIDIA, runtime="onnxruntime") == ("onnxruntime", "cuda", "fp32")
    assert plan(NVIDIA, runtime="torch", device="cuda:1", precision="bf16") == (
        "torch",
        "cuda:1",
        "bf16",
    )
    assert plan(WITH_ONNX, runtime="torch") == ("torch", "cpu", "fp32")
    assert plan(WITH_ONNX, precision="bf16") == ("torch", "cpu", "bf16")
    assert plan(WINDOWS_AMD, device="dml") == ("onnxruntime", "dml", "fp32")
    assert plan(WITH_ONNX, device="OpenVINOExecutionProvider")[0] == "onnxruntime"
    for device in ("cuda", "cuda:0"):
        assert {c.device for c in candidates(NVIDIA, device=device)} == {device}
    assert all(c.device == "cpu" for c in candidates(NVIDIA, device="cpu"))


def test_every_plan_has_a_reason():
    for machine in (PLAIN, WITH_ONNX, BF16, NVIDIA, PASCAL, APPLE, WINDOWS_AMD):
        for family in ("rtmpose", "yolox", "onnx"):
            plans = candidates(machine, family, "l")
            assert plans[-1].device == "cpu"  # there is always a last resort
            assert all(len(p.reason) > 8 for p in plans)
            assert len({(p.runtime, p.device, p.precision) for p in plans}) == len(plans)


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        ({"runtime": "tensorflow"}, ValueError, "runtime"),
        ({"precision": "fp8"}, ValueError, "precision"),
        ({"runtime": "onnxruntime", "precision": "bf16"}, RuntimeUnavailable, "bf16"),
        ({"runtime": "torch", "device": "dml"}, RuntimeUnavailable, "torch on dml"),
    ],
)
def test_what_cannot_be_is_said(asked, kind, words):
    with pytest.raises(kind, match=words):
        choose(machine=WITH_ONNX, **asked)
    with pytest.raises(RuntimeUnavailable, match="onnxruntime is not installed"):
        choose(machine=PLAIN, runtime="onnxruntime")


def test_bfloat16_is_read_from_the_flags():
    assert has_bf16({"avx512f", "avx512_bf16"})
    assert has_bf16({"amx_bf16"})
    assert not has_bf16({"avx2", "avx512f", "avx512_vnni"})


def test_this_machine_can_be_inspected():
    pytest.importorskip("torch")
    machine = inspect_machine()
    assert isinstance(machine, Machine)
    assert inspect_machine(accelerators=False).accelerators == ()
    assert choose(machine=machine).reason


def model(**changes):
    facts = {
        "module": object(),
        "path": Path("weights.safetensors"),
        "entry": None,
        "role": "estimator",
        "family": "rtmpose",
        "input_size_hw": (64, 48),
        "onnx_path": None,
        "meta": {"size": "l"},
        "usage": Usage(padding=1.1),
    }
    return SimpleNamespace(**{**facts, **changes})


def test_a_failing_start_falls_through_and_is_remembered(monkeypatch, caplog):
    def start(_, plan, reason, mode, exact):
        if plan.runtime == "onnxruntime" or plan.device != "cpu":
            raise (WeightsError if plan.device == "cpu" else RuntimeUnavailable)("it is broken")
        return SimpleNamespace(info=RuntimeInfo(plan.runtime, plan.device, plan.precision, reason))

    monkeypatch.setattr(auto, "_open", start)
    with caplog.at_level("INFO", "dwpose"):
        session = open_session(model(), machine=NVIDIA)
    assert (session.info.runtime, session.info.device) == ("torch", "cpu")
    assert session.usage.padding == 1.1
    assert "torch on cuda failed: it is broken" in session.info.reason
    assert "onnxruntime on cpu failed: it is broken" in session.info.reason
    assert len(caplog.records) == 1
    assert "torch on cpu in fp32" in caplog.records[0].message
    with pytest.raises(RuntimeUnavailable, match=r"torch on cuda failed: it is broken; onnx"):
        open_session(model(), device="cuda", machine=NVIDIA)
    with pytest.raises(RuntimeUnavailable, match="it is broken"):
        open_session(model(), runtime="onnxruntime", machine=WITH_ONNX)


def test_wrong_arguments_do_not_fall_through(monkeypatch):
    def start(*_, **__):
        raise ValueError("device must be")

    monkeypatch.setattr(auto, "_open", start)
    with pytest.raises(ValueError, match="device must be"):
        open_session(model(), machine=WITH_ONNX)


@pytest.fixture
def small_model(tmp_path, monkeypatch):
    """A tiny RTMPose in a file, as `load_model` gives it; exports go to a folder of their own."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from dwpose.models.rtmpose import RTMPose, RTMPoseConfig

    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path / "models"))
    torch.manual_seed(0)
    config = RTMPoseConfig("tiny", 0.1, 0.125, (64, 32), num_keypoints=5, dim=32, attention_dim=16)
    path = tmp_path / "small.safetensors"
    path.write_bytes(b"what is hashed for the export's name")
    return model(module=RTMPose(config).eval(), path=path, input_size_hw=(64, 32))


def test_runtimes_give_the_same_and_exports_are_kept(small_model, monkeypatch):
    images = np.random.default_rng(0).standard_normal((3, 3, 64, 32)).astype(np.float32)
    by_torch = open_session(small_model, "torch", "cpu")
    by_onnx = open_session(small_model, "onnxruntime", "cpu")
    for one, other in zip(by_torch(images), by_onnx(images), strict=True):
        assert one.shape[0] == 3
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert by_onnx.input_size_hw == (64, 32)
    assert by_onnx.max_batch is None

    def forbidden(*_, **__):
        raise AssertionError("exported again")

    monkeypatch.setattr("dwpose.runtimes.exported.export_onnx", forbidden)
    again = open_session(small_model, "onnxruntime", "cpu")
    np.testing.assert_array_equal(again(images)[0], by_onnx(images)[0])
    small_model.path.write_bytes(b"other weights")
    with pytest.raises(AssertionError, match="exported again"):
        open_session(small_model, "onnxruntime", "cpu")


def test_a_mode_is_no_reason_to_choose_and_is_told(small_model):
    by_torch = open_session(small_model, "torch", "cpu", mode="graph")
    assert "graph needs an NVIDIA GPU, so it runs eagerly on cpu" in by_torch.info.reason
    by_onnx = open_session(small_model, "auto", "cpu", "fp32", mode="compile", machine=WITH_ONNX)
    assert by_onnx.info.runtime == "onnxruntime"
    assert "compile is torch's on an NVIDIA GPU and not used here" in by_onnx.info.reason
    plain = open_session(small_model, "auto", "cpu", "fp32", machine=WITH_ONNX)
    assert "NVIDIA" not in plain.info.reason
    with pytest.raises(ValueError, match="mode must be one of eager, graph, compile"):
        open_session(small_model, mode="fast")


def test_half_precision_onnx(small_model):
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 32)).astype(np.float32)
    full = open_session(small_model, "torch", "cpu")
    half = open_session(small_model, "onnxruntime", "cpu", "fp16")
    assert half.info.precision == "fp16"
    assert half.input_dtype == "float16"
    for one, other in zip(full(images), half(images), strict=True):
        assert other.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=0.05)
    # A half file asked for in fp32 is not passed off as fp32.
    from dwpose.runtimes.exported import exported_path

    small_model.onnx_path = exported_path(small_model.path, half=True)
    info = open_session(small_model, "onnxruntime", "cpu").info
    assert info.precision == "fp16"
    assert info.reason.endswith("; the file itself is fp16")
    with pytest.raises(RuntimeUnavailable, match="fp16 graph"):
        open_session(small_model, "onnxruntime", "cpu", "fp32")
    assert open_session(small_model, "auto", "cpu", "fp32").info.runtime == "torch"


def test_a_cache_that_cannot_be_written_leads_to_torch(small_model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path / "file"))
    session = open_session(small_model, "auto", "cpu", machine=WITH_ONNX)
    assert session.info.runtime == "torch"
    assert "no ONNX form of it could be made" in session.info.reason
