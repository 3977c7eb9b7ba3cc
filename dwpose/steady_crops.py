"""Crops that do not shake: squares of a clip smoothed over its frames, and cut between pixels.

A square that is rounded to whole pixels jumps by half of one; enlarged from a face of 60 pixels
to 512 that is four pixels of the crop. So these squares keep their fractions.

Shapes: T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Square: TypeAlias = "tuple[float, float, float]"

# Who moves further than this many sides of the square in one frame has not moved: it is a cut, or
# somebody else.
_JUMP: Final = 1.0


def steady_squares(
    inner: Sequence[Array | None],
    outer: Sequence[Array | None],
    size_hw: tuple[int, int],
    frames: float,
) -> list[Square | None]:
    """Find squares around boxes that move and grow smoothly.

    Middle and side are means over time, weighted by a raised cosine (Hann). Where the mean would
    cut what has to be inside, because it turned quickly, the square grows beforehand and shrinks
    afterwards as smoothly. Nothing is smoothed across a jump.

    Args:
        inner: for each frame the box xyxy that has to lie inside, pixels; None where there is
            none.
        outer: for each frame the box that the square is usually as large as; it holds the inner
            one.
        size_hw: height and width of the picture. Squares are moved to lie inside; larger ones
            hang over equally on both sides.
        frames: how many frames before and after count, above 0.

    Returns:
        for each frame left, top and side in pixels, with fractions; None where there is no box.

    Raises:
        ValueError: frames is not above 0, or the lists differ in length.
    """
    if not frames > 0:
        raise ValueError(f"frames must be above 0, got {frames}")
    found: list[Square | None] = [None] * len(inner)
    rows = [
        (i, np.asarray(a, np.float64), np.asarray(b, np.float64))
        for i, (a, b) in enumerate(zip(inner, outer, strict=True))
        if a is not None and b is not None
    ]
    for run in _runs(rows):
        times = np.array([i for i, _, _ in run], np.float64)
        boxes, rooms = np.stack([a for _, a, _ in run]), np.stack([b for _, _, b in run])
        middle = (rooms[:, :2] + rooms[:, 2:]) / 2
        side = (rooms[:, 2:] - rooms[:, :2]).max(axis=1)
        weights = _weights(times, frames)
        middle, side = weights @ middle, weights @ side
        reach = np.maximum(boxes[:, 2:] - middle, middle - boxes[:, :2]).max(axis=1)
        lack = np.maximum(2 * reach - side, 0.0)
        near = np.abs(times[:, None] - times) < frames + 1
        # The largest lack of all frames that a mean takes in, then the mean: never too little.
        side = side + weights @ np.where(near, lack[None], 0.0).max(axis=1)
        for (i, _, _), center, length in zip(run, middle, side, strict=True):
            found[i] = _inside(center, float(max(length, 2.0)), size_hw)
    return found


def _runs(rows: list[tuple[int, Array, Array]]) -> list[list[tuple[int, Array, Array]]]:
    """Split where the box jumps."""
    runs: list[list[tuple[int, Array, Array]]] = []
    for row in rows:
        if runs:
            number, _, last = runs[-1][-1]
            step = np.abs(row[2][:2] + row[2][2:] - last[:2] - last[2:]).max() / 2
            side = max((last[2:] - last[:2]).max(), (row[2][2:] - row[2][:2]).max())
            if step <= _JUMP * side * (row[0] - number):
                runs[-1].append(row)
                continue
        runs.append([row])
    return runs


def _weights(times: Array, frames: float) -> Array:
    """Weights [T, T] of each frame's mean; rows sum to 1."""
    away = np.minimum(np.abs(times[:, None] - times) / (frames + 1), 1.0)
    weights = 1 + np.cos(np.pi * away)
    return weights / weights.sum(axis=1, keepdims=True)


def _inside(center: Array, side: float, size_hw: tuple[int, int]) -> Square:
    corner = []
    for middle, limit in zip(center, size_hw[::-1], strict=True):
        low = float(middle) - side / 2
        corner.append((limit - side) / 2 if side > limit else min(max(low, 0.0), limit - side))
    return corner[0], corner[1], side


def cut_between_pixels(picture: Array, square: Square, size: int) -> Array:
    """Cut a square with fractions out of a picture; what lies outside the picture is black.

    Args:
        picture: uint8 or float32, [H, W] or [H, W, C].
        square: left, top and side in pixels.
        size: pixels of the result's side.

    Returns:
        of the same dtype and channels, [size, size] or [size, size, C].

    Raises:
        ValueError: size is less than 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    left, top, side = square
    # Never smaller than the source, so that nothing is skipped; then areas are averaged.
    full = max(size, int(np.ceil(side)))
    scale = full / side
    # Edges meet edges: pixel centres lie half a pixel inside.
    shift = (scale - 1) / 2
    matrix = np.array([[scale, 0, shift - left * scale], [0, scale, shift - top * scale]])
    made: Array = cv2.warpAffine(
        picture, matrix, (full, full), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT
    )
    # Cubic interpolation overshoots at edges.
    made = np.clip(made, min(picture.min(), 0), picture.max())
    if full > size:
        made = cv2.resize(made, (size, size), interpolation=cv2.INTER_AREA)
    return made.reshape(size, size, *picture.shape[2:])
