"""Pose maps from people: on black, on a colour or photo, transparent, or as a mask."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..types import People
from .draw import paint, render
from .layout import Layout, lay_out
from .options import DrawOptions
from .styles import DWPOSE, PoseStyle, find_style

Image: TypeAlias = npt.NDArray[np.uint8]
Background: TypeAlias = "tuple[int, int, int] | npt.NDArray[np.uint8] | None"
Size: TypeAlias = "tuple[int, int]"


def check_size(size_hw: Size, name: str = "size_hw") -> Size:
    """Return a height and width as whole numbers.

    Raises:
        TypeError: not a pair of whole numbers.
        ValueError: a side is less than 1.
    """
    try:
        height, width = size_hw
        size = (height.__index__(), width.__index__())
    except (TypeError, ValueError, AttributeError):
        raise TypeError(
            f"{name} must be (height, width) in whole pixels, got {size_hw!r}"
        ) from None
    if min(size) < 1:
        raise ValueError(f"{name} must be at least (1, 1), got {size}")
    return size


def plan(
    people: People, size_hw: Size | None, style: str | PoseStyle, options: DrawOptions
) -> tuple[Layout, PoseStyle, Size]:
    """Lay people out for a picture of this size (None: that of their source)."""
    if not isinstance(people, People):
        raise TypeError(f"people must be a People, got {type(people).__name__}")
    size = people.image_hw if size_hw is None else check_size(size_hw)
    style = find_style(style)
    layout = lay_out(people.keypoints, people.scores, people.image_hw, size, style, options)
    return layout, style, size


def draw_pose_map(
    people: People,
    size_hw: Size | None = None,
    style: str | PoseStyle = DWPOSE,
    *,
    body: bool = True,
    hands: bool = True,
    face: bool | None = None,
    feet: bool | None = None,
    body_threshold: float | None = None,
    hand_threshold: float | None = None,
    face_threshold: float | None = None,
    feet_threshold: float | None = None,
    line_scale: float = 1.0,
    dot_scale: float = 1.0,
    confidence_alpha: bool = False,
    background: Background = None,
) -> Image:
    """Draw people as the picture that ControlNets and video models take.

    The picture is drawn at its own size, never enlarged afterwards, so lines have the widths
    that a model has learnt.

    Args:
        people: whom to draw; keypoints are scaled from `people.image_hw` to `size_hw`.
        size_hw: height and width of the pose map; None: those of the source picture.
        style: a name from `styles.STYLES`, or a `PoseStyle`.
        body: draw the body's limbs and dots.
        hands: draw both hands.
        face: draw the face; None leaves it to the style (wan-animate has none).
        feet: draw feet; None leaves it to the style (dwpose-feet and wan-animate have them).
        body_threshold: least raw score of a body point; None: the style's own rule.
        hand_threshold: the same for hands.
        face_threshold: the same for the face.
        feet_threshold: the same for feet; None: the body's threshold.
        line_scale: factor on the width of limbs and hand lines.
        dot_scale: factor on the radius of dots.
        confidence_alpha: let uncertain points and limbs fade into the background.
        background: None for black, an RGB colour, or an image uint8 [H, W, 3] of size `size_hw`.

    Returns:
        uint8 [H, W, 3], RGB. Nobody gives the bare background. Points that are NaN or infinite
        are skipped.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an unknown style, a size below 1, a background of another size.
    """
    options = DrawOptions(
        body=body,
        hands=hands,
        face=face,
        feet=feet,
        body_threshold=body_threshold,
        hand_threshold=hand_threshold,
        face_threshold=face_threshold,
        feet_threshold=feet_threshold,
        line_scale=line_scale,
        dot_scale=dot_scale,
        confidence_alpha=confidence_alpha,
    )
    layout, style, size = plan(people, size_hw, style, options)
    return _on_background(layout, style, size, options, background)


def draw_keypoints(
    keypoints: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    image_hw: Size,
    size_hw: Size | None = None,
    style: str | PoseStyle = DWPOSE,
    *,
    background: Background = None,
    **options: Any,
) -> Image:
    """Draw plain arrays, in double precision where they are float64.

    `People` holds float32; some originals computed in float64, and the last bit may decide on
    which side of a pixel's border a point falls.

    Args:
        keypoints: float32 or float64 [P, 133, 2], COCO-WholeBody order, pixels.
        scores: float32 or float64 [P, 133], raw.
        image_hw: height and width of the picture that the keypoints belong to.
        size_hw: see `draw_pose_map`.
        style: see `draw_pose_map`.
        background: see `draw_pose_map`.
        **options: see `DrawOptions`.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: shapes do not agree, or as in `draw_pose_map`.
    """
    keypoints, scores = np.asarray(keypoints), np.asarray(scores)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (133, 2):
        raise ValueError(f"keypoints must be [P, 133, 2], got {list(keypoints.shape)}")
    if scores.shape != keypoints.shape[:2]:
        raise ValueError(f"scores must be [{len(keypoints)}, 133], got {list(scores.shape)}")
    if keypoints.dtype.kind != "f" or scores.dtype.kind != "f":
        raise TypeError(
            f"keypoints and scores must be floats, got {keypoints.dtype} and {scores.dtype}"
        )
    source = check_size(image_hw, "image_hw")
    size = source if size_hw is None else check_size(size_hw)
    style, chosen = find_style(style), DrawOptions(**options)
    layout = lay_out(keypoints, scores, source, size, style, chosen)
    return _on_background(layout, style, size, chosen, background)


def draw_pose_rgba(
    people: People,
    size_hw: Size | None = None,
    style: str | PoseStyle = DWPOSE,
    **options: Any,
) -> Image:
    """Draw people on a transparent background.

    Args:
        people: see `draw_pose_map`.
        size_hw: see `draw_pose_map`.
        style: see `draw_pose_map`.
        **options: see `DrawOptions`.

    Returns:
        uint8 [H, W, 4], RGB and opacity (not premultiplied): 255 where something is drawn, less
        where `confidence_alpha` or a resizing style (mimic-motion) says so, 0 elsewhere.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: as in `draw_pose_map`.
    """
    layout, style, size = plan(people, size_hw, style, DrawOptions(**options))
    return render(layout, style, size, 4)


def draw_pose_mask(
    people: People,
    size_hw: Size | None = None,
    style: str | PoseStyle = DWPOSE,
    **options: Any,
) -> Image:
    """Return uint8 [H, W], the opacity of `draw_pose_rgba` alone (same arguments)."""
    return np.ascontiguousarray(draw_pose_rgba(people, size_hw, style, **options)[..., 3])


def overlay(
    image: Image,
    people: People,
    opacity: float = 1.0,
    style: str | PoseStyle = DWPOSE,
    **options: Any,
) -> Image:
    """Draw people onto a picture.

    Args:
        image: uint8 [H, W, 3], RGB; not changed. If its size is not `people.image_hw`, the
            keypoints are scaled to it.
        people: whom to draw.
        opacity: 0 (nothing) to 1 (drawing covers the picture).
        style: see `draw_pose_map`.
        **options: see `DrawOptions`.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        TypeError: image is not uint8, or an argument is of the wrong kind.
        ValueError: image is not [H, W, 3], opacity is not in 0..1, or as in `draw_pose_map`.
    """
    _check_image(image, "image")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in 0..1, got {opacity}")
    chosen = DrawOptions(**options)
    size = (image.shape[0], image.shape[1])
    layout, style, size = plan(people, size, style, chosen)
    return _on_background(layout, style, size, chosen, image, opacity)


def _check_image(image: Any, name: str) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise TypeError(f"{name} must be a uint8 array in RGB, got {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"{name} must be [H, W, 3], got {list(image.shape)}")


def _on_background(
    layout: Layout,
    style: PoseStyle,
    size: Size,
    options: DrawOptions,
    background: Background,
    opacity: float = 1.0,
) -> Image:
    plain = opacity == 1 and not options.confidence_alpha
    if background is None and plain:
        return render(layout, style, size, 3)
    canvas = _canvas(background, size)
    if plain and style.canvas_short_side is None and not style.swap_red_blue:
        paint(canvas, layout.shapes, style)
        return canvas
    _blend(canvas, render(layout, style, size, 4), opacity)
    return canvas


def _canvas(background: Background, size: Size) -> Image:
    """Return a picture of this size that may be drawn on."""
    if background is None:
        return np.zeros((*size, 3), np.uint8)
    if isinstance(background, np.ndarray) and background.ndim > 1:
        _check_image(background, "background")
        if background.shape[:2] != size:
            raise ValueError(
                f"background must be {size[0]}x{size[1]} (height x width) like the pose map, "
                f"got {background.shape[0]}x{background.shape[1]}"
            )
        return np.array(background, order="C")
    colour = check_colour(background)
    canvas = np.empty((*size, 3), np.uint8)
    canvas[:] = colour
    return canvas


def check_colour(colour: Any, name: str = "background") -> tuple[int, int, int]:
    """Return an RGB colour as three whole numbers 0..255.

    Raises:
        ValueError: anything else.
    """
    try:
        red, green, blue = (int(value) for value in colour)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be three numbers 0..255, got {colour!r}") from None
    if min(red, green, blue) < 0 or max(red, green, blue) > 255:
        raise ValueError(f"{name} must be three numbers 0..255, got {colour!r}")
    return red, green, blue


def _blend(canvas: Image, layer: Image, opacity: float) -> None:
    """Lay RGBA over RGB in place, touching only pixels that are drawn."""
    drawn = np.flatnonzero(layer.view(np.uint32))  # one number per pixel; not drawn is all 0
    above = layer.reshape(-1, 4)[drawn].astype(np.float32)
    share = above[:, 3:] * (opacity / 255)
    pixels = canvas.reshape(-1, 3)
    below = pixels[drawn].astype(np.float32)
    pixels[drawn] = np.rint(below + (above[:, :3] - below) * share).astype(np.uint8)
