"""Where every point of every person falls on the canvas, and which of them count."""

from __future__ import annotations

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
_NUM_POINTS: Final = RIGHT_TOE + 1
_RIGHT_SHOULDER, _LEFT_SHOULDER = 2, 5
_BIG_TOES, _SMALL_TOES = [18, 21], [19, 22]  # left, right


def canvas_hw(style: PoseStyle, size_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the canvas that a picture of this size is drawn on."""
    if style.canvas_short_side is None:
        return size_hw
    grow = style.canvas_short_side / min(size_hw)
    return int(size_hw[0] * grow), int(size_hw[1] * grow)


class Points:
    """The 134 OpenPose points and both toes of P people on one canvas.

    Attributes:
        canvas_hw: height and width of the canvas.
        xy: float [P, 136, 2], canvas pixels.
        whole: int64 [P, 136, 2], the same truncated towards zero.
        scores: float [P, 136], raw.
        opacity: whole numbers 0..255 [P, 136], or None where everything is opaque.
        dots: bool [P, 136], drawn as dots; hand points among them end hand lines.
        ends: bool [P, 136], may end limbs.
        positive: bool [P, 136], both whole coordinates exceed 0.
        has_face: bool [P], any face point is present.
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
        self._place(keypoints, scores, source_hw)
        self._choose()

    def _place(self, keypoints: Array, scores: Array, source_hw: tuple[int, int]) -> None:
        """Scale to the canvas, add neck and toes, in the style's own order of arithmetic."""
        style = self.style
        if style.single_precision:
            keypoints, scores = keypoints.astype(np.float32), scores.astype(np.float32)
        else:
            keypoints = keypoints.astype(np.float64)
        source_wh, canvas_wh = np.array(source_hw[::-1]), np.array(self.canvas_hw[::-1])
        if style.coordinates == "fractions_before_means":
            keypoints = keypoints / source_wh
        threshold = self.options.body_threshold
        threshold = style.body_threshold if threshold is None else threshold
        known, values = to_openpose(keypoints, scores, scores.dtype.type(threshold))
        # A fixed place for the toes keeps all later indices plain.
        points = np.empty((len(known), _NUM_POINTS, 2), known.dtype)
        points[:, :LEFT_TOE] = known
        points[:, LEFT_TOE:] = (known[:, _BIG_TOES] + known[:, _SMALL_TOES]) / 2
        self.scores = np.empty((len(known), _NUM_POINTS), scores.dtype)
        self.scores[:, :LEFT_TOE] = values
        self.scores[:, LEFT_TOE:] = (values[:, _BIG_TOES] + values[:, _SMALL_TOES]) / 2
        self.neck = values[:, NECK] > 0
        shoulders = values[:, [_RIGHT_SHOULDER, _LEFT_SHOULDER]]
        if style.neck_is_mean:
            self.scores[:, NECK] = shoulders.mean(axis=1)
        if style.coordinates == "fractions":
            points = points / source_wh * canvas_wh
        elif style.coordinates == "fractions_before_means":
            points = points * canvas_wh
        elif tuple(source_hw) != self.canvas_hw:
            points = points * (canvas_wh / source_wh)
        # Both tests are false for NaN.
        near: Array = np.abs(points) < _FARTHEST
        usable: Array = near[..., 0] & near[..., 1] & (np.abs(self.scores) < np.inf)
        if not usable.all():
            points = np.where(usable[..., None], points, 0.0)
            self.scores[~usable] = 0
        self.usable = usable
        self.xy = points
        self.whole = points.astype(np.int64)  # truncated towards zero
        self.opacity = None
        if self.options.confidence_alpha:
            opacity = np.clip(self.scores, 0, 1)
            opacity[:, NECK] = opacity[:, [_RIGHT_SHOULDER, _LEFT_SHOULDER]].min(axis=1)
            self.opacity = np.rint(opacity * 255).astype(np.int64)

    def _choose(self) -> None:
        """Decide which points are drawn as dots and which end limbs and lines."""
        style, options = self.style, self.options
        body = style.body_threshold if options.body_threshold is None else options.body_threshold
        feet = body if options.feet_threshold is None else options.feet_threshold
        hand = options.hand_threshold
        hand = style.hand_threshold if hand is None else hand
        face = options.face_threshold
        face = style.face_threshold if face is None else face
        least = np.full(_NUM_POINTS, body, self.scores.dtype)
        least[OPENPOSE_FEET] = least[LEFT_TOE:] = feet
        least[OPENPOSE_FACE] = -np.inf if face is None else face
        least[OPENPOSE_LEFT_HAND] = least[OPENPOSE_RIGHT_HAND] = -np.inf if hand is None else hand
        reaches: Array = self.scores >= least
        exceeds: Array = self.scores > least
        if not style.neck_is_mean:
            reaches[:, NECK] = exceeds[:, NECK] = self.neck
        self.ends = (reaches if style.limb_inclusive else exceeds) & self.usable
        self.dots = (reaches if style.body_inclusive else exceeds) & self.usable
        # Hands and faces count from the threshold itself on in every style, and, because missing
        # points used to be marked by -1, not where a whole coordinate is 0 or less.
        fine = slice(OPENPOSE_FACE.start, OPENPOSE_RIGHT_HAND.stop)
        self.dots[:, fine] = reaches[:, fine] & self.usable[:, fine]
        self.has_face: Array = np.any(self.dots[:, OPENPOSE_FACE], axis=1)
        self.positive: Array = (self.whole[..., 0] > 0) & (self.whole[..., 1] > 0)
        self.dots[:, fine] &= self.positive[:, fine]
        if style.inside_only:
            inside = (self.whole >= 0) & (self.whole < np.array(self.canvas_hw[::-1]))
            self.dots &= inside.all(axis=-1)
