"""From keypoints to an ordered list of shapes, which `draw` paints and `svg` writes out."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..skeleton import HAND_EDGES, OPENPOSE_FACE, OPENPOSE_LEFT_HAND, OPENPOSE_RIGHT_HAND
from .options import DrawOptions
from .points import Points, canvas_hw
from .styles import BODY_COLOURS, BODY_LIMB_COLOURS, FACE_DOT, HAND_DOT, PoseStyle

Array: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = Literal["limb", "line", "dot"]

_EYES: Final = (14, 15)
_EDGES: Final = np.array(HAND_EDGES).T.copy()  # [2, 20]
_JOINTS: Final = np.arange(21)
_HANDS: Final = np.array((OPENPOSE_LEFT_HAND.start, OPENPOSE_RIGHT_HAND.start))
_FACE: Final = range(OPENPOSE_FACE.start, OPENPOSE_FACE.stop)
# 0..1 [20, 3]; where brightness is a score, the product is rounded, not the colour.
_HAND_HUES: Final = np.array([colorsys.hsv_to_rgb(i / 20, 1.0, 1.0) for i in range(20)])


class Shapes(NamedTuple):
    """Shapes of one kind, drawn in order.

    Attributes:
        kind: "limb" (ellipse between two points), "line" or "dot".
        part: "body" (with feet), "hand" or "face".
        points: float [N, 2, 2] for limbs and lines, [N, 2] for dots; x and y in canvas pixels,
            not yet truncated.
        sizes: [N]; half-width of limbs, thickness of lines, radius of dots.
        colours: whole numbers 0..255 [N, 4], RGB and opacity; [1, 4] where all dots are equal.
    """

    kind: Kind
    part: str
    points: Array
    sizes: list[int]
    colours: Array


@dataclass(frozen=True)
class Layout:
    """All shapes of a picture, in the order of drawing, and the canvas they are meant for."""

    canvas_hw: tuple[int, int]
    shapes: list[Shapes]


@dataclass(frozen=True)
class _Sizes:
    limb: int
    dot: int
    hand_line: int
    hand_dot: int
    face_dot: int


def _times(size: int, factor: float) -> int:
    return size if factor == 1 else max(1, round(size * factor))


@lru_cache(maxsize=64)
def _sizes(
    style: PoseStyle, canvas: tuple[int, int], line_scale: float, dot_scale: float
) -> _Sizes:
    limb, dot = style.limb_half_width, style.dot_radius
    hand_line, hand_dot = style.hand_thickness, style.hand_dot_radius
    if style.widths == "xinsir":
        side = max(canvas)
        factor = 1 if side < 500 else min(2 + side // 1000, 7)
        limb *= factor
        if style.dots_follow_limbs:
            dot *= factor
    elif style.widths == "short_side":
        limb = dot = max(int(min(canvas) / 200) - 1, 1)
        hand_line = hand_dot = style.hand_width or max(limb // 2, 1)
    return _Sizes(
        _times(limb, line_scale),
        _times(dot, dot_scale),
        _times(hand_line, line_scale),
        _times(hand_dot, dot_scale),
        _times(style.face_dot_radius, dot_scale),
    )


def _width_by_length(length: float) -> int:
    """MusePose's table: 1 below 5 px, one more with every doubling, 8 from 320 px."""
    for width, limit in enumerate((5, 10, 20, 40, 80, 160, 320), start=1):
        if length < limit:
            return width
    return 8


def _lengths(ends: Array) -> Array:
    return np.sqrt(((ends[:, 1] - ends[:, 0]) ** 2).sum(axis=1))


def _rgba(colours: Any) -> Array:
    rgb = np.asarray(colours, np.int64).reshape(-1, 3)
    return np.concatenate((rgb, np.full((len(rgb), 1), 255)), axis=1)


@dataclass(frozen=True)
class _Tables:
    """A style's limbs, dots and colours as arrays, with or without body and feet."""

    limbs: Array  # [2, L]
    limb_colours: Array  # [L, 4]
    dimmed: Array  # [L, 4]
    dots: Array  # [D]
    dot_colours: Array  # [D, 4]
    hand_colours: Array  # [20, 4]
    hand_dot: Array  # [1, 4]
    face: Array  # [F], the points that a face may have
    face_dot: Array  # [1, 4]


@lru_cache(maxsize=64)
def _tables(style: PoseStyle, body: bool, feet: bool) -> _Tables:
    limbs = (*(BODY_LIMB_COLOURS if body else ()), *(style.feet_limbs if feet else ()))
    dots = (*(enumerate(BODY_COLOURS) if body else ()), *(style.feet_dots if feet else ()))
    limb_colours = _rgba([limb[2] for limb in limbs])
    dimmed = limb_colours.copy()
    dimmed[:, :3] = limb_colours[:, :3] * style.dim
    return _Tables(
        np.array([limb[:2] for limb in limbs], np.int64).reshape(-1, 2).T.copy(),
        limb_colours,
        dimmed,
        np.array([dot[0] for dot in dots], np.int64),
        _rgba([dot[1] for dot in dots]),
        _rgba(style.hand_colours),
        _rgba(HAND_DOT),
        np.array((*(_EYES if style.eyes_with_face else ()), *_FACE), np.int64),
        _rgba(FACE_DOT),
    )


def _split(shapes: Shapes, owners: Array, count: int) -> list[Shapes]:
    """Shapes of each of the owners 0 to `count` - 1; `owners` [N] is sorted."""
    cuts = owners.searchsorted(np.arange(count + 1)).tolist()
    colours = shapes.colours
    return [
        Shapes(
            shapes.kind,
            shapes.part,
            shapes.points[low:high],
            shapes.sizes[low:high],
            colours if len(colours) == 1 else colours[low:high],
        )
        for low, high in pairwise(cuts)
    ]


def _bright(rgb: Array, scores: Array) -> Array:
    return np.clip(np.trunc(rgb * scores[:, None]), 0, 255)


class _Draughtsman:
    """Turns points into shapes."""

    def __init__(self, points: Points, style: PoseStyle, options: DrawOptions) -> None:
        self.points, self.style, self.options = points, style, options
        self.sizes = _sizes(style, points.canvas_hw, options.line_scale, options.dot_scale)
        feet = style.feet_default if options.feet is None else options.feet
        self.face_on = style.face_default if options.face is None else options.face
        self.tables = _tables(style, bool(options.body), bool(feet))

    def shapes(self) -> Iterator[Shapes]:
        """All shapes in the order of drawing."""
        style = self.style
        people, step = self.points.shape
        groups = (
            [range(people)]
            if style.order == "by_part"
            else [range(i, i + 1) for i in range(people)]
        )
        for group in groups:
            # The row of each person's point 0.
            rows = np.array(group) * step
            bodies = rows[:1] if style.first_person_only else rows
            yield self._limbs(bodies)
            yield self._body_dots(bodies)
            if self.face_on and style.face_before_hands:
                yield self._faces(bodies)
            if self.options.hands:
                hands = (_HANDS[:, None] + rows).reshape(-1)
                yield from self._hands(hands[:2] if style.first_two_hands else hands)
            if self.face_on and not style.face_before_hands:
                yield self._faces(bodies)

    def _limbs(self, people: Array) -> Shapes:
        """One limb of all these people, then the next limb."""
        points = self.points
        at, drawn = _both(points.ends, self.tables.limbs[..., None] + people)
        limb = drawn // len(people)
        if self.style.shortest_limb:
            long = _lengths(points.xy.take(at, axis=0)) >= self.style.shortest_limb
            limb, at = limb[long], at[long]
        colours = self.tables.dimmed.take(limb, axis=0)
        if self.style.brightness_is_score:
            rgb = self.tables.limb_colours.take(limb, axis=0)[:, :3]
            colours[:, :3] = _bright(rgb, points.scores.take(at).prod(axis=1)) * self.style.dim
        return self._lines("limb", "body", at, self.sizes.limb, colours)

    def _body_dots(self, people: Array) -> Shapes:
        """One dot of all these people, then the next dot."""
        at = (self.tables.dots[:, None] + people).reshape(-1)
        drawn = self.points.dots.take(at).nonzero()[0]
        colours = self.tables.dot_colours.take(drawn // len(people), axis=0)
        return self._dots("body", at.take(drawn), colours, self.sizes.dot)

    def _hands(self, wrists: Array) -> Iterator[Shapes]:
        """The lines of one hand and the dots over them, then the next hand."""
        points, count = self.points, len(wrists)
        at, drawn = _both(points.dots, _EDGES[:, None] + wrists[:, None])
        hand, edge = np.divmod(drawn, _EDGES.shape[1])
        colours = self.tables.hand_colours.take(edge, axis=0)
        if self.style.brightness_is_score:
            level = np.clip(np.trunc(points.scores.take(at).prod(axis=1) * 255), 0, 255)
            colours[:, :3] = np.rint(_HAND_HUES[edge] * level[:, None])
        lines = self._lines("line", "hand", at, self.sizes.hand_line, colours)
        at = (wrists[:, None] + _JOINTS).reshape(-1)
        drawn = points.dots.take(at).nonzero()[0]
        dots = self._dots("hand", at.take(drawn), self.tables.hand_dot, self.sizes.hand_dot)
        by_hand = _split(lines, hand, count), _split(dots, drawn // len(_JOINTS), count)
        for pair in zip(*by_hand, strict=True):
            yield from pair

    def _faces(self, people: Array) -> Shapes:
        """All face points of all these people."""
        at = (people[:, None] + self.tables.face).reshape(-1)
        at = at[self.points.face.take(at)]
        return self._dots("face", at, self.tables.face_dot, self.sizes.face_dot)

    def _lines(self, kind: Kind, part: str, at: Array, size: int, colours: Array) -> Shapes:
        """Limbs or lines between the points in the rows `at` [N, 2]."""
        ends = self.points.xy.take(at, axis=0)
        sizes = [size] * len(ends)
        if self.style.widths == "by_length":
            scale = self.options.line_scale
            lengths = _lengths(ends if kind == "limb" else ends.astype(np.int64)).tolist()
            sizes = [_times(_width_by_length(length), scale) for length in lengths]
        if self.points.opacity is not None:
            colours[:, 3] = self.points.opacity.take(at).min(axis=1)
        return Shapes(kind, part, ends, sizes, colours)

    def _dots(self, part: str, at: Array, colours: Array, radius: int) -> Shapes:
        """Dots at the points in the rows `at` [N]."""
        if self.style.brightness_is_score or self.points.opacity is not None:
            colours = np.repeat(colours, len(at), axis=0) if len(colours) == 1 else colours
        if self.style.brightness_is_score:
            colours[:, :3] = _bright(colours[:, :3], self.points.scores.take(at))
        if self.points.opacity is not None:
            colours[:, 3] = self.points.opacity.take(at)
        return Shapes("dot", part, self.points.xy.take(at, axis=0), [radius] * len(at), colours)


def _both(known: Array, ends: Array) -> tuple[Array, Array]:
    """Choose the lines whose ends are both known.

    Args:
        known: bool, by row.
        ends: rows of the ends of any number of lines [2, ...].

    Returns:
        rows [N, 2] of those whose ends are known, and which they are [N].
    """
    ends = ends.reshape(2, -1)
    first, second = known.take(ends)
    drawn = (first & second).nonzero()[0]
    return ends.take(drawn, axis=1).T, drawn


def lay_out(
    keypoints: Array,
    scores: Array,
    source_hw: tuple[int, int],
    size_hw: tuple[int, int],
    style: PoseStyle,
    options: DrawOptions,
) -> Layout:
    """Choose and place every shape of a pose map.

    Args:
        keypoints: float32 or float64 [P, 133, 2], COCO-WholeBody order, pixels of the source.
        scores: float32 or float64 [P, 133], raw.
        source_hw: height and width of the source picture.
        size_hw: height and width of the pose map.
        style: how to draw.
        options: what to draw.

    Returns:
        The shapes in the order of drawing. Points that are not finite, or absurdly far out, are
        skipped like missing ones.
    """
    if style.first_person_only and not style.first_two_hands:
        keypoints, scores = keypoints[:1], scores[:1]
    if not len(keypoints):
        return Layout(canvas_hw(style, size_hw), [])
    points = Points(keypoints, scores, source_hw, size_hw, style, options)
    shapes = [batch for batch in _Draughtsman(points, style, options).shapes() if batch.sizes]
    return Layout(points.canvas_hw, shapes)
