"""Networks filled from their names, made once per session."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.models.yolox import YOLOX, yolox_config


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def name_seeded(weights_by_name) -> Callable[..., torch.nn.Module]:
    """A function (kind, size, input_size_hw, classes or keypoints) -> filled eval module."""

    @cache
    def make(kind: str, size: str, size_hw: tuple[int, int], count: int) -> torch.nn.Module:
        if kind == "rtmpose":
            module: torch.nn.Module = RTMPose(rtmpose_config(size, size_hw, count))
        else:
            module = YOLOX(yolox_config(size, count, size_hw))
        return weights_by_name.fill_module(module, torch.from_numpy).eval()

    return make


@pytest.fixture(scope="session")
def named_input(weights_by_name) -> Callable[..., torch.Tensor]:
    """A function (name, shape) -> the reference's input, standard normal."""
    return lambda name, shape: torch.from_numpy(weights_by_name.input_for(name, shape))


@pytest.fixture(scope="session")
def meta_of() -> Callable[[dict[str, np.ndarray]], dict]:
    """A function from a fixture's arrays to its facts."""
    return lambda arrays: json.loads(str(arrays["meta"]))


@pytest.fixture(scope="session")
def stage_statistics() -> Callable[[torch.Tensor], list[float]]:
    """Mean, deviation, sum of magnitudes, minimum and maximum, as the fixtures record them."""

    def statistics(x: torch.Tensor) -> list[float]:
        x = x.double()
        spread = x.std(correction=0)
        return [float(v) for v in (x.mean(), spread, x.abs().sum(), x.min(), x.max())]

    return statistics


@pytest.fixture(scope="session")
def run_onnxruntime() -> Callable[..., tuple[np.ndarray, ...]]:
    """A function (path or bytes, *inputs) -> outputs by onnxruntime on one CPU thread."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime to compare with")

    def run(model: object, *values: torch.Tensor) -> tuple[np.ndarray, ...]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=["CPUExecutionProvider"],
        )
        feed = {p.name: v.numpy() for p, v in zip(session.get_inputs(), values, strict=True)}
        return tuple(session.run(None, feed))

    return run


@pytest.fixture(scope="session")
def tuple_of() -> Callable[[object], tuple[torch.Tensor, ...]]:
    """A function that wraps a single output."""
    return lambda value: value if isinstance(value, tuple) else (value,)
