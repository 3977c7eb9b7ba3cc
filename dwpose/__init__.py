"""Whole-body pose (133 keypoints per person) for image and video generation.

The names below are imported when first used, so that ``import dwpose`` costs neither torch nor
a download.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import DWPose
    from .render import draw_pose_map, overlay
    from .types import Boxes, People

__version__ = "0.1.0"

_HOMES = {
    "Boxes": ".types",
    "People": ".types",
    "DWPose": ".pipeline",
    "draw_pose_map": ".render",
    "overlay": ".render",
}

__all__ = ["Boxes", "DWPose", "People", "__version__", "draw_pose_map", "overlay"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
