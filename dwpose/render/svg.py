"""Pose maps as SVG: the same shapes in the same order, sharp at any size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..types import People
from .draw import ellipse_of
from .layout import Shapes
from .options import DrawOptions
from .pose_map import check_colour, plan
from .styles import DWPOSE, PoseStyle

_CLASSES: Final = {"limb": "limbs", "line": "lines", "dot": "dots"}


def draw_svg(
    people: People,
    size_hw: tuple[int, int] | None = None,
    style: str | PoseStyle = DWPOSE,
    *,
    background: tuple[int, int, int] | None = (0, 0, 0),
    **options: Any,
) -> str:
    """Draw people as an SVG document.

    Shapes lie where the keypoints are, not where whole pixels are, so nothing is truncated; the
    picture agrees with `draw_pose_map` to within a pixel, its edges apart (they are smooth).

    Args:
        people: see `draw_pose_map`.
        size_hw: height and width in pixels; see `draw_pose_map`.
        style: see `draw_pose_map`.
        background: an RGB colour, or None for a transparent background.
        **options: see `DrawOptions`.

    Returns:
        The text of the document: one group per part and kind of shape, in the order of drawing.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: as in `draw_pose_map`.
    """
    layout, style, (height, width) = plan(people, size_hw, style, DrawOptions(**options))
    canvas_height, canvas_width = layout.canvas_hw
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {canvas_width} {canvas_height}" preserveAspectRatio="none">'
    ]
    if background is not None:
        colour = _hex(check_colour(background), False)
        lines.append(f'<rect width="{canvas_width}" height="{canvas_height}" fill="{colour}"/>')
    for batch in layout.shapes:
        lines.append(f'<g class="{batch.part} {_CLASSES[batch.kind]}">')
        lines.extend(_elements(batch, style.swap_red_blue))
        lines.append("</g>")
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def save_svg(path: str | Path, people: People, **options: Any) -> None:
    """Write `draw_svg(people, **options)` to a file."""
    Path(path).write_text(draw_svg(people, **options), encoding="utf-8")


def _elements(batch: Shapes, swap: bool) -> Iterator[str]:
    colours = batch.colours.tolist()
    if len(colours) == 1:
        colours *= len(batch.sizes)
    for points, size, (*rgb, opacity) in zip(
        batch.points.tolist(), batch.sizes, colours, strict=True
    ):
        colour = _hex(rgb, swap)
        faint = "" if opacity == 255 else f' opacity="{opacity / 255:.3g}"'
        # Areas equal to those of OpenCV: its polygons include their outline, its lines of
        # thickness 2 are 3 pixels wide, 3 and 4 are 5; its discs add nothing.
        if batch.kind == "limb":
            x, y, half, angle = ellipse_of(points)
            yield (
                f'<ellipse cx="{x:.2f}" cy="{y:.2f}" rx="{half + 0.25:.2f}" ry="{size + 0.5:g}" '
                f'transform="rotate({angle:.2f} {x:.2f} {y:.2f})" fill="{colour}"{faint}/>'
            )
        elif batch.kind == "line":
            (x0, y0), (x1, y1) = points
            yield (
                f'<line x1="{x0:.2f}" y1="{y0:.2f}" x2="{x1:.2f}" y2="{y1:.2f}" '
                f'stroke="{colour}" stroke-width="{2 * (size // 2) + 1}" '
                f'stroke-linecap="round"{faint}/>'
            )
        else:
            x, y = points
            yield f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{size:g}" fill="{colour}"{faint}/>'


def _hex(rgb: Any, swap: bool) -> str:
    red, green, blue = (round(value) for value in rgb)
    return f"#{blue:02x}{green:02x}{red:02x}" if swap else f"#{red:02x}{green:02x}{blue:02x}"
