"""What a caller may choose besides the style."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class DrawOptions:
    """What to draw, and how large.

    Args:
        body: draw the body's limbs and dots.
        hands: draw both hands.
        face: draw the face; None leaves it to the style (wan-animate has none).
        feet: draw feet; None leaves it to the style (dwpose-feet and wan-animate have them).
        body_threshold: least raw score of a body point; None is the style's own rule. Whether a
            score equal to it counts is the style's rule in any case.
        hand_threshold: least raw score of a hand point; None is the style's own rule.
        face_threshold: least raw score of a face point; None is the style's own rule.
        feet_threshold: least raw score of a foot point; None is the body's threshold.
        line_scale: factor on the width of limbs and hand lines, which otherwise have the same
            pixels on a canvas of any size (unless the style says differently).
        dot_scale: factor on the radius of all dots.
        confidence_alpha: a dot is as opaque as its point is confident, a line as opaque as its
            less confident end.

    Raises:
        ValueError: a scale is not a positive finite number or a threshold not a number.
    """

    body: bool = True
    hands: bool = True
    face: bool | None = None
    feet: bool | None = None
    body_threshold: float | None = None
    hand_threshold: float | None = None
    face_threshold: float | None = None
    feet_threshold: float | None = None
    line_scale: float = 1.0
    dot_scale: float = 1.0
    confidence_alpha: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("line_scale", "dot_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value}")
        for name in ("body_threshold", "hand_threshold", "face_threshold", "feet_threshold"):
            value = getattr(self, name)
            if value is not None and math.isnan(value):
                raise ValueError(f"{name} must be a number or None, got {value}")


def map_size(size: int | tuple[int, int] | None, image_hw: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the pose map of a picture.

    Args:
        size: longer side in pixels, or height and width; None is the picture's own size.
        image_hw: height and width of the picture in pixels.
    """
    if size is None:
        return image_hw
    if isinstance(size, tuple):
        return size
    factor = size / max(image_hw)
    return max(round(image_hw[0] * factor), 1), max(round(image_hw[1] * factor), 1)
