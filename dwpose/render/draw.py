"""Paint shapes into a pixel array with OpenCV."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from .layout import Layout, Shapes
from .styles import PoseStyle

Canvas: TypeAlias = npt.NDArray[np.uint8]

_WHITE: Final = np.full((1, 4), 255)
# ComfyUI core samples the outline of a limb every 4 degrees.
_COS: Final = np.cos(np.deg2rad(np.arange(0, 360, 4)))
_SIN: Final = np.sin(np.deg2rad(np.arange(0, 360, 4)))


def paint(canvas: Canvas, shapes: list[Shapes], style: PoseStyle) -> None:
    """Draw the shapes in order, opaque; later ones cover earlier ones.

    Args:
        canvas: uint8 [H, W, C], contiguous, changed in place; as many channels as it has are
            taken from the colours RGBA.
        shapes: see `layout.Shapes`.
        style: says whose shapes of limbs and lines these are.
    """
    core = style.shapes == "comfy_core"
    limb, line = (_core_limbs, _core_lines) if core else (_limbs, _lines)
    painters = {"limb": limb, "line": line, "dot": _dots}
    for batch in shapes:
        painters[batch.kind](canvas, batch)


def blend(canvas: Canvas, shapes: list[Shapes], style: PoseStyle) -> None:
    """Draw the shapes in order, each one as opaque as its colour says.

    Args:
        canvas: uint8 [H, W, 4], RGBA (not premultiplied), contiguous, changed in place.
        shapes: see `layout.Shapes`.
        style: see `paint`.
    """
    mask = np.zeros((*canvas.shape[:2], 1), np.uint8)
    edge = np.array(canvas.shape[1::-1])
    for batch in shapes:
        corners = batch.points.reshape(len(batch.points), -1, 2)
        reach = np.array(batch.sizes)[:, None] + 2
        low = np.clip((corners.min(axis=1) - reach).astype(np.int64), 0, edge).tolist()
        high = np.clip((corners.max(axis=1) + reach + 1).astype(np.int64), 0, edge).tolist()
        for i, ((left, top), (right, bottom)) in enumerate(zip(low, high, strict=True)):
            colour = batch.colours[min(i, len(batch.colours) - 1)]
            if not colour[3] or left >= right or top >= bottom:
                continue
            one = Shapes(
                batch.kind, batch.part, batch.points[i : i + 1], batch.sizes[i : i + 1], _WHITE
            )
            paint(mask, [one], style)
            window = mask[top:bottom, left:right, 0]
            drawn = window > 0
            window[:] = 0
            region = canvas[top:bottom, left:right]
            region[drawn] = _over(region[drawn], colour)


def _over(below: Canvas, colour: npt.NDArray[np.int64]) -> Canvas:
    """Lay one colour [4] over pixels [N, 4], RGBA, not premultiplied."""
    if colour[3] == 255:
        return np.broadcast_to(colour.astype(np.uint8), below.shape)
    share = colour[3] / 255
    rest = below[:, 3:] * ((1 - share) / 255)
    opacity = share + rest
    result = np.empty(below.shape)
    result[:, :3] = (colour[:3] * share + below[:, :3] * rest) / opacity
    result[:, 3:] = opacity * 255
    return np.rint(result).astype(np.uint8)


def _dots(canvas: Canvas, dots: Shapes) -> None:
    centres = dots.points.astype(np.int64)
    if len(dots.colours) > 1:
        circle = cv2.circle
        for centre, radius, colour in zip(
            centres.tolist(), dots.sizes, dots.colours.tolist(), strict=True
        ):
            circle(canvas, centre, radius, colour, cv2.FILLED)
        return
    # Equal dots take one call: a closed line of one point is a filled circle, as wide as the line.
    cv2.polylines(
        canvas,
        list(centres[:, None].astype(np.int32)),
        isClosed=True,
        color=dots.colours[0].tolist(),
        thickness=2 * dots.sizes[0],
    )


def _lines(canvas: Canvas, lines: Shapes) -> None:
    ends = lines.points.astype(np.int64).tolist()
    for (start, end), thickness, colour in zip(
        ends, lines.sizes, lines.colours.tolist(), strict=True
    ):
        cv2.line(canvas, start, end, colour, thickness)


def ellipse_of(ends: list[list[float]]) -> tuple[float, float, float, float]:
    """Centre x and y, half-length (pixels) and angle (degrees) of a limb, not truncated."""
    (x0, y0), (x1, y1) = ends
    # A square root of squares rather than hypot: the originals' last bit decides a truncation.
    half = math.sqrt((x0 - x1) ** 2 + (y0 - y1) ** 2) / 2
    return (x0 + x1) / 2, (y0 + y1) / 2, half, math.degrees(math.atan2(y0 - y1, x0 - x1))


def _limbs(canvas: Canvas, limbs: Shapes) -> None:
    for ends, width, colour in zip(
        limbs.points.tolist(), limbs.sizes, limbs.colours.tolist(), strict=True
    ):
        x, y, half, angle = ellipse_of(ends)
        outline = cv2.ellipse2Poly((int(x), int(y)), (int(half), width), int(angle), 0, 360, 1)
        cv2.fillConvexPoly(canvas, np.asarray(outline), colour)


def _core_limbs(canvas: Canvas, limbs: Shapes) -> None:
    """Fill ellipses row by row.

    They are half a pixel larger than OpenCV's, sampled every 4 degrees and rounded half to even;
    in a row, ends that fall halfway between two pixels stay inside.
    """
    height, width = canvas.shape[:2]
    for ends, size, colour in zip(
        limbs.points.tolist(), limbs.sizes, limbs.colours.tolist(), strict=True
    ):
        x, y, half, angle = ellipse_of(ends)
        lean = math.radians(int(angle))
        u, v = (int(half) + 0.5) * _COS, (size + 0.5) * _SIN
        x0 = np.rint(int(x) + u * math.cos(lean) - v * math.sin(lean))
        y0 = np.rint(int(y) + u * math.sin(lean) + v * math.cos(lean))
        rows = np.arange(max(int(y0.min()), 0), min(int(y0.max()), height - 1) + 1)[:, None]
        if not len(rows):
            continue
        x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
        crossed = (np.minimum(y0, y1) <= rows) & (rows <= np.maximum(y0, y1)) & (y0 != y1)
        slope = (x1 - x0) / np.where(y0 == y1, 1, y1 - y0)
        at = x0 + (rows - y0) * slope
        left = np.floor(np.where(crossed, at, np.inf).min(axis=1, keepdims=True) + 0.5)
        right = np.ceil(np.where(crossed, at, -np.inf).max(axis=1, keepdims=True) - 0.5)
        columns = np.arange(max(int(left.min()), 0), min(int(right.max()), width - 1) + 1)
        if not len(columns):
            continue
        region = canvas[rows[0, 0] : rows[-1, 0] + 1, columns[0] : columns[-1] + 1]
        region[(left <= columns) & (columns <= right)] = colour[: canvas.shape[2]]


def _core_lines(canvas: Canvas, lines: Shapes) -> None:
    """Stamp a small disc along a path of single pixels (halves round towards the start)."""
    edge = np.array(canvas.shape[1::-1])
    ends = lines.points.astype(np.int64)
    for (start, end), thickness, colour in zip(
        ends, lines.sizes, lines.colours.tolist(), strict=True
    ):
        across = end - start
        length = max(int(np.abs(across).max()), 1)
        steps = np.arange(length + 1)[:, None]
        path = (2 * steps * np.abs(across) + length - 1) // (2 * length)
        path = start + np.sign(across) * path
        pixels = (path[:, None] + _stamp(thickness)).reshape(-1, 2)
        pixels = pixels[((pixels >= 0) & (pixels < edge)).all(axis=1)]
        canvas[pixels[:, 1], pixels[:, 0]] = colour[: canvas.shape[2]]


@lru_cache(maxsize=32)
def _stamp(thickness: int) -> npt.NDArray[np.int64]:
    """Pixels [N, 2] of a disc around 0; thickness 2 has radius 1.5, hence 3x3 pixels."""
    radius = thickness - 0.5
    reach = range(-thickness, thickness + 1)
    return np.array([(x, y) for y in reach for x in reach if x * x + y * y <= radius * radius])


def render(layout: Layout, style: PoseStyle, size_hw: tuple[int, int], channels: int) -> Canvas:
    """Paint a layout on black (or on nothing) and bring it to its final size.

    Args:
        layout: what to draw.
        style: how it was laid out.
        size_hw: height and width of the result.
        channels: 3 for RGB on black, 4 for RGBA on nothing (colours not premultiplied).

    Returns:
        uint8 [H, W, channels].
    """
    canvas = np.zeros((*layout.canvas_hw, channels), np.uint8)
    translucent = channels == 4 and any(
        (batch.colours[:, 3] < 255).any() for batch in layout.shapes
    )
    (blend if translucent else paint)(canvas, layout.shapes, style)
    if style.canvas_short_side is not None:
        canvas = _resize(canvas, size_hw)
    if style.swap_red_blue:
        canvas[..., :3] = canvas[..., 2::-1].copy()
    return canvas


def _resize(canvas: Canvas, size_hw: tuple[int, int]) -> Canvas:
    """Resize bilinearly, as MimicMotion does (no area averaging)."""
    size_wh = (size_hw[1], size_hw[0])
    if canvas.shape[2] == 3:
        return np.asarray(cv2.resize(canvas, size_wh), np.uint8)
    # Colours must weigh by opacity while neighbours mix, or edges would turn dark.
    pixels = canvas.reshape(-1, 4)
    faint = np.flatnonzero((pixels[:, 3] > 0) & (pixels[:, 3] < 255))
    opacity = pixels[faint, 3:].astype(np.float32)
    pixels[faint, :3] = np.rint(pixels[faint, :3] * (opacity / 255))
    small = np.asarray(cv2.resize(canvas, size_wh), np.uint8)
    pixels = small.reshape(-1, 4)
    soft = np.flatnonzero((pixels[:, 3] > 0) & (pixels[:, 3] < 255))
    opacity = pixels[soft, 3:].astype(np.float32)
    pixels[soft, :3] = np.rint(np.minimum(pixels[soft, :3] * (255 / opacity), 255))
    return small
