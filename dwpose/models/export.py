"""ONNX files of our networks, under the names the official files use.

Exported by torch's TorchScript exporter, the one that made the official files: it alone writes
opset 11 as well as 17, and its graphs are the ones other programs expect. torch calls it legacy;
where a later torch has dropped it, the error says so.
"""

from __future__ import annotations

import inspect
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .fold import fold_batchnorm
from .rtmpose import RTMPose
from .yolox import YOLOX


def export_onnx(
    module: nn.Module, path: str | os.PathLike[str], opset: int = 17, half: bool = False
) -> Path:
    """Write a network to an ONNX file with folded batch norms and a dynamic batch.

    RTMPose gets ``input`` -> ``simcc_x``, ``simcc_y``, YOLOX ``images`` -> ``output``, as the
    official DWPose files have. What `Usage` says goes into the metadata.

    Args:
        module: `RTMPose` or `YOLOX`, folded or not; left as it is.
        path: File to write. It appears complete or not at all.
        opset: ONNX operator set, 11 to 17.
        half: Weights, input and outputs in float16.

    Returns:
        The path.

    Raises:
        TypeError: ``module`` is neither.
        ValueError: ``opset`` is outside 11..17.
        RuntimeError: This torch has no TorchScript exporter any more.
    """
    if isinstance(module, RTMPose):
        inputs, outputs = ["input"], ["simcc_x", "simcc_y"]
    elif isinstance(module, YOLOX):
        inputs, outputs = ["images"], ["output"]
    else:
        raise TypeError(f"module must be an RTMPose or a YOLOX, got {type(module).__name__}")
    if not 11 <= opset <= 17:
        raise ValueError(f"opset must be 11 to 17, got {opset}")
    target = Path(path)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    folded = fold_batchnorm(module).cpu()
    folded = folded.half() if half else folded.float()
    example = torch.zeros(
        1, 3, *module.config.input_size_hw, dtype=torch.float16 if half else torch.float32
    )
    # Older torch has no other exporter, and no `dynamo` to say so.
    parameters = inspect.signature(torch.onnx.export).parameters
    legacy: dict[str, Any] = {"dynamo": False} if "dynamo" in parameters else {}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                folded,
                (example,),
                str(partial),
                input_names=inputs,
                output_names=outputs,
                dynamic_axes={name: {0: "batch"} for name in inputs + outputs},
                opset_version=opset,
                **legacy,
            )
        _note(partial, module.config.usage.notes())
        os.replace(partial, target)
    except (ImportError, NotImplementedError, TypeError) as error:
        raise RuntimeError(
            f"torch {torch.__version__} cannot write opset {opset} files ({error}); "
            "export with torch 2.13 or older"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def _note(path: Path, notes: dict[str, str]) -> None:
    """Add entries to a file's metadata."""
    if not notes:
        return
    import onnx

    model = onnx.load(str(path))
    for key, value in notes.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
