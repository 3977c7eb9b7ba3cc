"""Pose maps: what to draw (`styles`), where (`layout`), and onto what (`draw`, `svg`)."""

from __future__ import annotations

from .options import DrawOptions, map_size
from .pose_map import draw_keypoints, draw_pose_map, draw_pose_mask, draw_pose_rgba, overlay
from .styles import STYLES, PoseStyle, find_style
from .svg import draw_svg, save_svg

__all__ = [
    "STYLES",
    "DrawOptions",
    "PoseStyle",
    "draw_keypoints",
    "draw_pose_map",
    "draw_pose_mask",
    "draw_pose_rgba",
    "draw_svg",
    "find_style",
    "map_size",
    "overlay",
    "save_svg",
]
