"""ONNX files of networks that came in another format, exported once and kept."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from torch import nn

from ..models.export import export_onnx

# Raise it whenever export_onnx writes something else for the same weights.
_FORMAT = 1


def cache_folder() -> Path:
    """Folder of exported files: $DWPOSE_CACHE, or `dwpose/onnx` in the user's cache folder."""
    if asked := os.environ.get("DWPOSE_CACHE"):
        return Path(asked).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dwpose" / "onnx"


def exported_path(weights: Path, half: bool = False) -> Path:
    """Where the ONNX form of a weights file is or would be kept; named by its content."""
    digest = hashlib.sha256()
    with open(weights, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    precision = "fp16" if half else "fp32"
    return cache_folder() / f"{weights.stem}-{precision}-{digest.hexdigest()[:16]}-v{_FORMAT}.onnx"


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
