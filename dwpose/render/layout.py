"""From keypoints to an ordered list of shapes, which `draw` paints and `svg` writes out."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ..skeleton import HAND_EDGES, OPENPOSE_FACE, OPENPOSE_LEFT_HAND, OPENPOSE_RIGHT_HAND
from .options import DrawOptions
from .points import Points, canvas_hw
from .styles import BODY_COLOURS, BODY_LIMB_COLOURS, FACE_DOT, HAND_DOT, PoseStyle

Array: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = Literal["limb", "line", "dot"]

_EYES: Final = [14, 15]
_EDGES: Final = np.array(HAND_EDGES)
# 0..1 [20, 3]; where brightness is a score, the product is rounded, not the colour.
_HAND_HUES: Final = np.array([colorsys.hsv_to_rgb(i / 20, 1.0, 1.0) for i in range(20)])


@dataclass(frozen=True)
class Shapes:
    """Shapes of one kind, drawn in order.

    Args:
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


def _sizes(style: PoseStyle, canvas: tuple[int, int], options: DrawOptions) -> _Sizes:
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
        _times(limb, options.line_scale),
        _times(dot, options.dot_scale),
        _times(hand_line, options.line_scale),
        _times(hand_dot, options.dot_scale),
        _times(style.face_dot_radius, options.dot_scale),
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

    limbs: Array  # [L, 2]
    limb_colours: Array  # [L, 4]
    dimmed: Array  # [L, 4]
    dots: Array  # [D]
    dot_colours: Array  # [D, 4]
    hand_colours: Array  # [20, 4]
    hand_dot: Array  # [1, 4]
    face_dot: Array  # [1, 4]


@lru_cache(maxsize=64)
def _tables(style: PoseStyle, body: bool, feet: bool) -> _Tables:
    limbs = (*(BODY_LIMB_COLOURS if body else ()), *(style.feet_limbs if feet else ()))
    dots = (*(enumerate(BODY_COLOURS) if body else ()), *(style.feet_dots if feet else ()))
    limb_colours = _rgba([limb[2] for limb in limbs])
    dimmed = limb_colours.copy()
    dimmed[:, :3] = limb_colours[:, :3] * style.dim
    return _Tables(
        np.array([limb[:2] for limb in limbs], np.int64).reshape(-1, 2),
        limb_colours,
        dimmed,
        np.array([dot[0] for dot in dots], np.int64),
        _rgba([dot[1] for dot in dots]),
        _rgba(style.hand_colours),
        _rgba(HAND_DOT),
        _rgba(FACE_DOT),
    )


def _bright(rgb: Array, scores: Array) -> Array:
    return np.clip(np.trunc(rgb * scores[:, None]), 0, 255)


class _Draughtsman:
    """Turns points into shapes."""

    def __init__(self, points: Points, style: PoseStyle, options: DrawOptions) -> None:
        self.points, self.style, self.options = points, style, options
        self.sizes = _sizes(style, points.canvas_hw, options)
        feet = style.feet_default if options.feet is None else options.feet
        self.face_on = style.face_default if options.face is None else options.face
        self.tables = _tables(style, bool(options.body), bool(feet))

    def shapes(self) -> Iterator[Shapes]:
        """All shapes in the order of drawing."""
        style = self.style
        people = range(len(self.points.xy))
        groups = [people] if style.order == "by_part" else [range(i, i + 1) for i in people]
        for group in groups:
            bodies = np.array(group[:1] if style.first_person_only else group)
            yield self._limbs(bodies)
            yield self._body_dots(bodies)
            if self.face_on and style.face_before_hands:
                yield self._faces(bodies)
            if self.options.hands:
                sides = (OPENPOSE_LEFT_HAND, OPENPOSE_RIGHT_HAND)
                hands = [(person, side) for side in sides for person in group]
                for person, side in hands[:2] if style.first_two_hands else hands:
                    yield from self._hand(person, side)
            if self.face_on and not style.face_before_hands:
                yield self._faces(bodies)

    def _limbs(self, people: Array) -> Shapes:
        """One limb of all these people, then the next limb."""
        limbs, points = self.tables.limbs, self.points
        known = points.ends[people]
        limb, person = np.nonzero((known[:, limbs[:, 0]] & known[:, limbs[:, 1]]).T)
        at = (people[person][:, None], limbs[limb])  # [N, 2]
        ends = points.xy[at]
        if self.style.shortest_limb:
            long = _lengths(ends) >= self.style.shortest_limb
            limb, ends = limb[long], ends[long]
            at = (at[0][long], at[1][long])
        colours = self.tables.dimmed[limb]
        if self.style.brightness_is_score:
            bright = _bright(self.tables.limb_colours[limb, :3], points.scores[at].prod(axis=1))
            colours[:, :3] = bright * self.style.dim
        return self._lines("limb", "body", ends, self.sizes.limb, ends, colours, at)

    def _body_dots(self, people: Array) -> Shapes:
        """One dot of all these people, then the next dot."""
        numbers = self.tables.dots
        dot, person = np.nonzero(self.points.dots[people][:, numbers].T)
        at = (people[person], numbers[dot])
        return self._dots("body", at, self.tables.dot_colours[dot], self.sizes.dot)

    def _hand(self, person: int, side: slice) -> Iterator[Shapes]:
        """The lines of one hand and the dots over them."""
        points = self.points
        shown = points.dots[person, side]
        if not shown.any():
            return
        drawn = np.flatnonzero(shown[_EDGES[:, 0]] & shown[_EDGES[:, 1]])
        at = (person, side.start + _EDGES[drawn])  # [N, 2]
        colours = self.tables.hand_colours[drawn]
        if self.style.brightness_is_score:
            level = np.clip(np.trunc(points.scores[at].prod(axis=1) * 255), 0, 255)
            colours[:, :3] = np.rint(_HAND_HUES[drawn] * level[:, None])
        ends, whole, thickness = points.xy[at], points.whole[at], self.sizes.hand_line
        yield self._lines("line", "hand", ends, thickness, whole, colours, at)
        at = (person, side.start + np.flatnonzero(shown))
        yield self._dots("hand", at, self.tables.hand_dot, self.sizes.hand_dot)

    def _faces(self, people: Array) -> Shapes:
        """All face points of all these people."""
        points = self.points
        shown = np.zeros((len(people), points.dots.shape[1]), np.bool_)
        shown[:, OPENPOSE_FACE] = points.dots[people, OPENPOSE_FACE]
        if self.style.eyes_with_face:
            eyes = (points.dots & points.positive)[people][:, _EYES]
            shown[:, _EYES] = eyes & points.has_face[people, None]
        person, number = np.nonzero(shown)
        at = (people[person], number)
        return self._dots("face", at, self.tables.face_dot, self.sizes.face_dot)

    def _lines(
        self,
        kind: Kind,
        part: str,
        ends: Array,
        size: int,
        measured: Array,
        colours: Array,
        at: tuple[Any, Array],
    ) -> Shapes:
        """Limbs or lines between the points `at` [N, 2] of person and point numbers.

        Where widths follow lengths, those between the points `measured` [N, 2, 2] count.
        """
        sizes = [size] * len(ends)
        if self.style.widths == "by_length":
            scale = self.options.line_scale
            lengths = _lengths(measured).tolist()
            sizes = [_times(_width_by_length(length), scale) for length in lengths]
        if self.points.opacity is not None:
            colours[:, 3] = self.points.opacity[at].min(axis=1)
        return Shapes(kind, part, ends, sizes, colours)

    def _dots(self, part: str, at: tuple[Any, Array], colours: Array, radius: int) -> Shapes:
        """Dots at the points `at` [N] of person and point numbers."""
        xy = self.points.xy[at]
        if self.style.brightness_is_score or self.points.opacity is not None:
            colours = np.repeat(colours, len(xy), axis=0) if len(colours) == 1 else colours
        if self.style.brightness_is_score:
            colours[:, :3] = _bright(colours[:, :3], self.points.scores[at])
        if self.points.opacity is not None:
            colours[:, 3] = self.points.opacity[at]
        return Shapes("dot", part, xy, [radius] * len(xy), colours)


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
