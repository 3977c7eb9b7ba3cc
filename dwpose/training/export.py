"""Model files for use elsewhere, compared with the network they came from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..models.export import export_onnx
from ..models.yolox import YOLOX
from ..runtimes.session import Outputs
from ..weights.load import load_file

# Largest difference as a share of the largest output. Measured on RTMPose t, m and l and YOLOX nano
# and s, trained and untrained: up to 7e-6 in float32 (the order of additions), up to 5e-3 in half
# precision (11 bits, and rounding adds up over some hundred layers).
LIMIT = 1e-4
LIMIT_HALF = 3e-2


@dataclass(frozen=True)
class Parity:
    """How far a file's network is from its source.

    Attributes:
        difference: the largest difference of an output on random inputs, as a share of the
            largest value of that output.
        runtime: what ran the file: "onnxruntime", "torch" for weights, "onnx on torch" for an
            ONNX file where onnxruntime is not installed.
    """

    difference: float
    runtime: str


def write_onnx(
    module: nn.Module, path: str | os.PathLike[str], opset: int = 17, half: bool = False
) -> Parity:
    """Write an ONNX file that is known to answer as the network does.

    Args:
        module: our RTMPose or YOLOX, fp32 on the CPU.
        path: the new file; it appears only when it has been compared.
        opset: ONNX operator set, 11 to 17.
        half: weights, input and outputs in float16.

    Raises:
        TypeError: the module is neither.
        ValueError: an opset out of range.
        RuntimeError: the file answers otherwise, or this torch cannot export.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unchecked = target.with_name(f".{target.stem}.{os.getpid()}.onnx")
    try:
        export_onnx(module, unchecked, opset, half)
        parity = check_parity(module, unchecked, half)
        os.replace(unchecked, target)
    finally:
        unchecked.unlink(missing_ok=True)
    return parity


def check_parity(
    module: nn.Module, path: str | os.PathLike[str], half: bool = False, seed: int = 0
) -> Parity:
    """Run a file and the network it came from on the same random inputs.

    Args:
        module: the network, fp32 on the CPU.
        path: an ONNX or safetensors file.
        half: the file is in half precision, whose rounding is allowed for.
        seed: of the inputs.

    Raises:
        RuntimeError: they differ by more than rounding.
    """
    path = Path(path)
    images = _inputs(module, seed)
    with torch.inference_mode():
        wanted = _arrays(module.eval()(torch.from_numpy(images)))
    got, runtime = _run(path, images)
    difference = 0.0
    for a, b in zip(got, wanted, strict=True):
        apart = np.abs(a.astype(np.float64) - b).max() / np.abs(b).max()
        # Not a number, which half precision may overflow to, is no parity.
        difference = max(difference, float(np.nan_to_num(apart, nan=np.inf)))
    limit = LIMIT_HALF if half else LIMIT
    if not difference <= limit:
        hint = "; leave half precision out" if half else ""
        raise RuntimeError(
            f"the exported network differs from its source by {difference:.1e} of the largest "
            f"output, run by {runtime}, where {limit:.0e} is allowed{hint}"
        )
    return Parity(difference, runtime)


def _inputs(module: Any, seed: int) -> npt.NDArray[np.float32]:
    """Two inputs, so that a batch that was frozen into the graph shows."""
    random = np.random.default_rng(seed)
    images = random.standard_normal((2, 3, *module.config.input_size_hw)).astype(np.float32)
    # A detector takes pixels as they are.
    return np.clip(images * 50 + 120, 0, 255) if isinstance(module, YOLOX) else images


def _arrays(outputs: Any) -> Outputs:
    outputs = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
    return tuple(output.float().numpy() for output in outputs)


def _run(path: Path, images: npt.NDArray[np.float32]) -> tuple[Outputs, str]:
    if path.suffix.lower() != ".onnx":
        with torch.inference_mode():
            return _arrays(load_file(path).module(torch.from_numpy(images))), "torch"
    try:
        import onnxruntime
    except ImportError:
        from ..models.onnx_graph import load_onnx

        network = load_onnx(path, match=False).float()
        with torch.inference_mode():
            return _arrays(network(torch.from_numpy(images))), "onnx on torch"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    dtype = np.float16 if "float16" in entry.type else np.float32
    outputs = session.run(None, {entry.name: images.astype(dtype)})
    return tuple(np.asarray(output, np.float32) for output in outputs), "onnxruntime"
