"""Decoded frames of films to pictures as they are to be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .images import ImageArray

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# AVCOL_RANGE_JPEG of FFmpeg's pixfmt.h: brightness from 0 to 255 instead of 16 to 235.
_FULL_RANGE = 2


def upright(frame: VideoFrame) -> ImageArray:
    """Turn a decoded frame of any pixel format into RGB, turned as its film says.

    Args:
        frame: as PyAV decodes it; its own matrix (BT.601, BT.709, BT.2020) and range are used.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    if frame.format.is_rgb or len(frame.format.components) < 3:
        image = frame.to_ndarray(format="rgb24")
    else:
        # PyAV before 17 takes BT.601 and limited range for granted unless source and target differ
        # by what it is told, so both are told; RGB has neither.
        full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
        rgb = frame.reformat(
            format="rgb24",
            dst_colorspace="ITU601",
            src_color_range="JPEG" if full else "MPEG",
            dst_color_range="JPEG",
        )
        image = rgb.to_ndarray()
    return np.ascontiguousarray(np.rot90(image, quarter_turns(frame)), dtype=np.uint8)


def quarter_turns(frame: VideoFrame) -> int:
    """Return how often a decoded frame has to be turned counterclockwise, 0 to 3."""
    # Degrees counterclockwise; anything else than quarter turns is not a way to hold a camera.
    return round(getattr(frame, "rotation", 0) / 90) % 4
