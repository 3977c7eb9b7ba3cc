"""Model files: what exists (catalogue), how it gets here (hub), how it is read and loaded.

Importing this package costs neither torch nor a network library; ``load_model`` brings them in
when it is called.
"""

from __future__ import annotations

from .catalogue import CATALOGUE, DEFAULT_DETECTOR, DEFAULT_ESTIMATOR, ModelEntry, find
from .hub import fetch
from .load import LoadedModel, load_model
from .store import FileState, default_folder, locate, state, verify

__all__ = [
    "CATALOGUE",
    "DEFAULT_DETECTOR",
    "DEFAULT_ESTIMATOR",
    "FileState",
    "LoadedModel",
    "ModelEntry",
    "default_folder",
    "fetch",
    "find",
    "load_model",
    "locate",
    "state",
    "verify",
]
