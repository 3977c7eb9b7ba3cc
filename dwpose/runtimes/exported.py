"""ONNX files of networks that came in another format, exported once and kept."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..models.export import export_onnx
from ..weights.store import default_folder, sha256_of

# Raise it whenever export_onnx writes something else for the same weights.
_FORMAT = 3


def exported_path(weights: Path, half: bool = False) -> Path:
    """Where the ONNX form of a weights file is or would be kept, named by its content.

    It is the folder `exported` beside the models, in the default place.
    """
    precision = "fp16" if half else "fp32"
    name = f"{weights.stem}-{precision}-{sha256_of(weights)[:16]}-v{_FORMAT}.onnx"
    return default_folder() / "exported" / name


def export_once(module: nn.Module, weights: Path, half: bool = False) -> Path:
    """Return the ONNX form of a network, exporting it only where that was not done before.

    Args:
        module: our RTMPose or YOLOX.
        weights: the file its weights came from; the export is kept under its content's hash.
        half: float16 instead of float32.

    Raises:
        TypeError: the module is neither.
        OSError: the cache folder cannot be written.
        RuntimeError: this torch cannot export.
    """
    path = exported_path(weights, half)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        export_onnx(module, path, half=half)
    return path
