"""Model files: what exists (catalogue), how it gets here (hub), how it is read and loaded.

The names below are imported when first used: ComfyUI's node lists need the catalogue alone, and
the network's modules take longer to import than a whole pack should take to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import CATALOGUE, DEFAULT_DETECTOR, DEFAULT_ESTIMATOR, ModelEntry, find
    from .hub import fetch
    from .load import LoadedModel, load_model
    from .store import FileState, default_folder, locate, state, verify

_HOMES = {
    "CATALOGUE": ".catalogue",
    "DEFAULT_DETECTOR": ".catalogue",
    "DEFAULT_ESTIMATOR": ".catalogue",
    "FileState": ".store",
    "LoadedModel": ".load",
    "ModelEntry": ".catalogue",
    "default_folder": ".store",
    "fetch": ".hub",
    "find": ".catalogue",
    "load_model": ".load",
    "locate": ".store",
    "state": ".store",
    "verify": ".store",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
