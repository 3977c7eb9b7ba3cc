"""Where every point of every person falls on the canvas, and which of them count."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ..skeleton import (
    NECK,
    OPENPOSE_FACE,
    OPENPOSE_FEET,
    OPENPOSE_LEFT_HAND,
    OPENPOSE_RIGHT_HAND,
    to_openpose,
)
from .options import DrawOptions
from .styles import LEFT_TOE, RIGHT_TOE, PoseStyle

Array: TypeAlias = npt.NDArray[Any]

# Points this far out (pixels) are no points: they would overflow OpenCV's whole numbers.
_FARTHEST: Final = 1e6
# Most pixels of a canvas that a style enlarges to: a shorter side of 2160 and nearly 7 times as
# much in the longer one. Only the canvas of a longer strip is smaller; it would take gigabytes.
_MOST_PIXELS: Final = 32e6
_NUM_POINTS: Final = RIGHT_TOE + 1
_RIGHT_SHOULDER, _LEFT_SHOULDER = 2, 5
_BIG_TOES, _SMALL_TOES = [18, 21], [19, 22]  # left, right


def canvas_hw(style: PoseStyle, size_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the canvas that a picture of this size is drawn on."""
    if style.canvas_short_side is None:
        return size_hw
    most = (_MOST_PIXELS / (size_hw[0] * size_hw[1])) ** 0.5
    grow = min(style.canvas_short_side / min(size_hw), most)
    return int(size_hw[0] * grow), int(size_hw[1] * grow)


class Points:
    """The N points of P people on one canvas: 134 of OpenPose, and two toes where a style has them.

    Attributes:
        canvas_hw: height and width of the canvas.
        shape: P and N.  All people's points lie one after another: number n of person p is in
            row p * N + n of what follows.
        xy: float [P * N, 2], canvas pixels.
        scores: float [P, N], raw; NaN where a point is not finite or absurdly far out.
        opacity: whole numbers 0..255 [P, N], or None where everything is opaque.
        dots: bool [P, N], drawn as dots; hand points among them end hand lines.
        ends: bool [P, N], may end limbs.
        face: bool [P, N], drawn as dots of the face, should they belong to it.
    """

    def __init__(
        self,
        keypoints: Array,
        scores: Array,
        source_hw: tuple[int, int],
        size_hw: tuple[int, int],
        style: PoseStyle,
        options: DrawOptions,
    ) -> None:
        self.style, self.options = style, options
        self.canvas_hw = canvas_hw(style, size_hw)
        planes = self._place(keypoints, scores, source_hw)
        self._choose(planes)

    def _place(self, keypoints: Array, scores: Array, source_hw: tuple[int, int]) -> Array:
        """Scale to the canvas, add neck and toes, in the style's own order of arithmetic.

        Returns:
            x and y of all points, float [2, P, N]: NumPy is slow along an axis of two.
        """
        style = self.style
        if style.single_precision:
            keypoints, scores = keypoints.astype(np.float32), scores.astype(np.float32)
        else:
            keypoints = keypoints.astype(np.float64)
        source_wh = np.array(source_hw[::-1], np.float64)
        canvas_wh = np.array(self.canvas_hw[::-1], np.float64)
        if style.coordinates == "fractions_before_means":
            keypoints = keypoints / source_wh
        threshold = self.options.body_threshold
        threshold = style.body_threshold if threshold is None else threshold
        points, scores = to_openpose(keypoints, scores, scores.dtype.type(threshold))
        if style.neck_is_mean:
            scores[:, NECK] = scores[:, [_RIGHT_SHOULDER, _LEFT_SHOULDER]].mean(axis=1)
        if style.has_toes:
            points, scores = _add_toes(points), _add_toes(scores)
        planes = np.ascontiguousarray(points.transpose(2, 0, 1))
        source, canvas = source_wh[:, None, None], canvas_wh[:, None, None]
        if style.coordinates == "fractions":
            planes = planes / source * canvas
        elif style.coordinates == "fractions_before_means":
            planes = planes * canvas
        elif tuple(source_hw) != self.canvas_hw:
            planes = planes * (canvas / source)
        near: Array = np.abs(planes) < _FARTHEST  # false for NaN
        usable: Array = near[0] & near[1] & np.isfinite(scores)
        if not usable.all():
            planes = np.where(usable, planes, 0.0)
            scores[~usable] = np.nan  # reaches no threshold
        self.shape, self.scores = scores.shape, scores
        self.xy: Array = planes.transpose(1, 2, 0).reshape(-1, 2)
        self.opacity = None
        if self.options.confidence_alpha:
            opacity = np.where(usable, np.clip(scores, 0, 1), 0)
            opacity[:, NECK] = opacity[:, [_RIGHT_SHOULDER, _LEFT_SHOULDER]].min(axis=1)
            self.opacity = np.rint(opacity * 255).astype(np.int64)
        return planes

    def _choose(self, planes: Array) -> None:
        """Decide which points are drawn as dots and which end limbs and lines."""
        style, options, scores = self.style, self.options, self.scores
        body = style.body_threshold if options.body_threshold is None else options.body_threshold
        feet = body if options.feet_threshold is None else options.feet_threshold
        hand = options.hand_threshold
        hand = style.hand_threshold if hand is None else hand
        face = options.face_threshold
        face = style.face_threshold if face is None else face
        least = _least(body, feet, hand, face, scores.dtype)[: scores.shape[1]]
        reaches: Array = scores >= least
        exceeds: Array = scores > least
        if not style.neck_is_mean:
            reaches[:, NECK] = exceeds[:, NECK] = scores[:, NECK] > 0
        self.ends = reaches if style.limb_inclusive else exceeds
        self.dots = (reaches if style.body_inclusive else exceeds).copy()
        # Hands and faces count from the threshold itself on in every style, and, because missing
        # points used to be marked by -1, not where a whole coordinate is 0 or less.
        whole = planes.astype(np.int64)  # truncated towards zero
        positive: Array = (whole[0] > 0) & (whole[1] > 0)
        fine = slice(OPENPOSE_FACE.start, OPENPOSE_RIGHT_HAND.stop)
        self.dots[:, fine] = reaches[:, fine] & positive[:, fine]
        if style.inside_only:
            width_height = np.array(self.canvas_hw[::-1])[:, None, None]
            self.dots &= ((whole >= 0) & (whole < width_height)).all(axis=0)
        self.face = self.dots
        if style.eyes_with_face:
            has_face: Array = np.any(reaches[:, OPENPOSE_FACE], axis=1)
            self.face = self.dots & positive & has_face[:, None]


@lru_cache(maxsize=32)
def _least(
    body: float, feet: float, hand: float | None, face: float | None, dtype: np.dtype[Any]
) -> Array:
    """Least score [136] of each point; None lets every point pass."""
    least = np.full(_NUM_POINTS, body, dtype)
    least[OPENPOSE_FEET] = least[LEFT_TOE:] = feet
    least[OPENPOSE_FACE] = -np.inf if face is None else face
    least[OPENPOSE_LEFT_HAND] = least[OPENPOSE_RIGHT_HAND] = -np.inf if hand is None else hand
    return least


def _add_toes(values: Array) -> Array:
    """Append the means of both toes of either foot to [P, 134] or [P, 134, 2]."""
    return np.concatenate((values, (values[:, _BIG_TOES] + values[:, _SMALL_TOES]) / 2), axis=1)
