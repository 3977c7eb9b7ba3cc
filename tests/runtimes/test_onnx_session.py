"""ONNX Runtime sessions: fixed and open batches, input types, providers and their failures."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from dwpose.runtimes.onnx_session import (  # noqa: E402
    PROVIDERS,
    OnnxSession,
    available_providers,
    pick_provider,
)
from dwpose.runtimes.session import RuntimeUnavailable, Session  # noqa: E402


def graph(path, batch="N", size=(4, 6), kind=TensorProto.FLOAT, rank=4):
    """A file that casts its input to float32 and sums each picture, and counts nothing else."""
    shape = [batch, 3, *size][:rank]
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["float", "axes"], ["sums"], keepdims=0),
        helper.make_node("Cast", ["sums"], ["total"], to=kind),
    ]
    body = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("total", kind, [batch])],
        [helper.make_tensor("axes", TensorProto.INT64, [rank - 1], list(range(1, rank)))],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 3, (5, 3, 4, 6)).astype(np.float32)


@pytest.mark.parametrize("batch", ["N", 1, 2, 8])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8])
def test_any_batch_through_any_graph(tmp_path, images, batch, kind):
    session = OnnxSession(graph(tmp_path / "模型.onnx", batch, kind=kind), reason="because")
    assert isinstance(session, Session)
    (total,) = session(images)
    np.testing.assert_array_equal(total, images.sum(axis=(1, 2, 3)))
    assert total.dtype == (np.uint8 if kind == TensorProto.UINT8 else np.float32)
    assert session.max_batch == (None if batch == "N" else batch)
    assert session.input_size_hw == (4, 6)
    assert session.info.precision == ("fp16" if kind == TensorProto.FLOAT16 else "fp32")
    assert (session.info.runtime, session.info.device) == ("onnxruntime", "cpu")
    assert session.info.reason == "because"


def test_open_sizes_take_the_callers(tmp_path, images):
    path = graph(tmp_path / "a.onnx", size=("H", "W"))
    assert OnnxSession(path).input_size_hw is None
    assert OnnxSession(path, input_size_hw=(4, 6)).input_size_hw == (4, 6)


def test_broken_absent_and_foreign_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.onnx"):
        OnnxSession(tmp_path / "absent.onnx")
    whole = graph(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "broken.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RuntimeUnavailable, match=r"cannot open broken\.onnx on CPU"):
        OnnxSession(tmp_path / "broken.onnx")
    with pytest.raises(RuntimeUnavailable, match=r"flat\.onnx takes .*not one picture"):
        OnnxSession(graph(tmp_path / "flat.onnx", rank=3))


def test_provider_names():
    assert pick_provider("cpu") == ("CPUExecutionProvider", {})
    assert pick_provider("CPUExecutionProvider") == ("CPUExecutionProvider", {})
    assert "CPUExecutionProvider" in available_providers()
    for device in ("toaster", "cuda:x", ""):
        with pytest.raises(ValueError, match="device must be one of"):
            pick_provider(device)
    for device in PROVIDERS:
        if not set(PROVIDERS[device]) & set(available_providers()):
            with pytest.raises(RuntimeUnavailable, match=f"none of which runs on '{device}'"):
                pick_provider(device)


def test_numbers_of_devices_reach_the_provider(monkeypatch):
    offered = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider")
    monkeypatch.setattr("dwpose.runtimes.onnx_session.available_providers", lambda: offered)
    assert pick_provider("cuda:1") == ("CUDAExecutionProvider", {"device_id": 1})
    assert pick_provider("cuda") == ("CUDAExecutionProvider", {})
    assert pick_provider("mps") == ("CoreMLExecutionProvider", {})


def test_without_onnxruntime_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert available_providers() == ()
    with pytest.raises(RuntimeUnavailable, match="pip install onnxruntime"):
        pick_provider("cpu")


def test_a_silent_fallback_to_the_cpu_is_an_error(tmp_path, monkeypatch):
    """A GPU wheel without its CUDA libraries starts on the CPU and only warns."""
    asked = []

    class InferenceSession:
        def __init__(self, path, sess_options, providers):
            asked.extend(providers)

        def disable_fallback(self):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider"]

    fake = SimpleNamespace(
        __version__="9.9",
        InferenceSession=InferenceSession,
        SessionOptions=SimpleNamespace,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        preload_dlls=lambda: asked.append("preloaded"),
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    with pytest.raises(RuntimeUnavailable, match="could not start CUDAExecutionProvider"):
        OnnxSession(graph(tmp_path / "a.onnx"), "cuda:1")
    assert asked == [
        "preloaded",
        ("CUDAExecutionProvider", {"device_id": 1}),
        "CPUExecutionProvider",
    ]
