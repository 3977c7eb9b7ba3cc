"""The names of `render.STYLES`, for those who must not load the drawing for a list of names.

They are the command line's ``--help`` and ComfyUI's start; a test keeps them equal.
"""

from __future__ import annotations

from typing import Final

STYLE_NAMES: Final = (
    "dwpose",
    "controlnet-aux",
    "xinsir",
    "xinsir-joints",
    "comfy-core",
    "wan-animate",
    "mimic-motion",
    "musepose",
    "musepose-own-hands",
    "dwpose-feet",
    "comfy-core-feet",
)
