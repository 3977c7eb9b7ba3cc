"""Give a moving body the proportions of another: every limb keeps its direction, not its length.

Each limb's vector is scaled by one number for the whole clip: the reference's length over the
driver's longest usual one. A forearm that points at the camera looks short before and after;
setting lengths frame by frame would stretch it to full length there, and make every noise of a
measurement visible.

Shapes: T frames of one person, N people of one frame, K = 133 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .anatomy import HIPS, LENGTHS, LIMBS, SHOULDERS, torso_px
from .proportions import GROUND, STATURE, Proportions, measure
from .sequences import split_tracks, track_ids
from .skeleton import FACE, LEFT_HAND, RIGHT_HAND
from .types import DEFAULT_THRESHOLD, Boxes, People

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

FRAMINGS: Final = ("keep", "reference", "fit")
_HEAD: Final = (1, 2, 3, 4, *range(FACE.start, FACE.stop))
_HANDS: Final = ((9, LEFT_HAND), (10, RIGHT_HAND))
_FEET: Final = ((15, slice(17, 20)), (16, slice(20, 23)))
# A part seen in fewer frames than this share does not count for size.
_SEEN_SHARE: Final = 0.3


@dataclass(frozen=True)
class RetargetOptions:
    """How to retarget.

    Attributes:
        framing: "keep": in the driver's picture, as tall as the driver, on the same ground.
            "reference": in the reference's picture, as tall as the reference and where it
            stands. "fit": in the driver's picture (or `canvas_hw`), as large as possible so that
            the whole clip stays inside.
        canvas_hw: height and width of the new picture for "fit"; None is the driver's.
        margin: for "fit", what stays free on each side, as a share of the canvas.
        limbs: adopt arms' and legs' lengths.
        widths: adopt shoulders' and hips' widths.
        head: adopt the size of head and face.
        hands: adopt the size of hands.
        feet: adopt the size of feet.
        ground: keep feet on the driver's ground; else shoulders stay where they are.
        amount: 0 keeps the driver's proportions, 1 takes the reference's.
        most: no part's length relative to the body changes by more than this factor.
        least: when a driver's bone is taken to point at the camera all the time; see
            `Proportions.from_people`.
        threshold: raw score below which a point counts as not seen.

    Raises:
        ValueError: an unknown framing, or a number out of range.
    """

    framing: str = "keep"
    canvas_hw: tuple[int, int] | None = None
    margin: float = 0.05
    limbs: bool = True
    widths: bool = True
    head: bool = True
    hands: bool = True
    feet: bool = True
    ground: bool = True
    amount: float = 1.0
    most: float = 3.0
    least: float = 0.75
    threshold: float = DEFAULT_THRESHOLD

    def __post_init__(self) -> None:
        """Check the values."""
        if self.framing not in FRAMINGS:
            raise ValueError(f"framing must be one of {', '.join(FRAMINGS)}, got {self.framing!r}")
        if not 0 <= self.amount <= 1:
            raise ValueError(f"amount must be in 0..1, got {self.amount}")
        if not self.most >= 1:
            raise ValueError(f"most must be 1 or more, got {self.most}")
        if not 0 <= self.margin < 0.5:
            raise ValueError(f"margin must be at least 0 and below 0.5, got {self.margin}")


@dataclass(frozen=True)
class Fitted:
    """What one person's retargeting does, the same in every frame.

    Attributes:
        factors: by part, by what its vectors are multiplied.
        grounded: feet are seen often enough to stand on.
        sink: how much lower feet come to lie before they are put on the ground, in torsos; used
            in frames that show no feet.
        zoom: then everything is scaled by this about `center`,
        center: a point in the driver's picture, pixels,
        target: which goes here in the new picture, pixels.
    """

    factors: dict[str, float]
    grounded: bool = False
    sink: float = 0.0
    zoom: float = 1.0
    center: tuple[float, float] = (0.0, 0.0)
    target: tuple[float, float] = (0.0, 0.0)


class Retargeter:
    """Moves a reference as a driver moves.

    Args:
        reference: the proportions to adopt.
        options: how.

    Attributes:
        fitted: by track id, after `fit`.
    """

    def __init__(self, reference: Proportions, options: RetargetOptions | None = None) -> None:
        self.reference = reference
        self.options = options or RetargetOptions()
        if self.options.framing == "reference" and reference.placement is None:
            raise ValueError(
                "framing 'reference' needs a reference measured in a picture; numbers have no place"
            )
        self.fitted: dict[int, Fitted] = {}

    def fit(self, frames: Sequence[People], track_id: int | None = None) -> Retargeter:
        """Measure the driver over a clip; call `apply` afterwards.

        Args:
            frames: the driving sequence, tracked; one person alone needs no id.
            track_id: the person to retarget; None: everybody, each with an own measure.

        Returns:
            itself.

        Raises:
            ValueError: ids are missing, nobody has this one, or nobody is seen well enough to be
                measured.
        """
        self.fitted = {}
        tracks = split_tracks(frames)
        ids = sorted({track.id for track in tracks})
        if track_id is not None and ids and track_id not in ids:
            known = ", ".join(map(str, ids))
            raise ValueError(f"track_id: nobody to retarget has the id {track_id}; ids are {known}")
        tracks = [track for track in tracks if track_id in (None, track.id)]
        for track in tracks:
            rows = track.present
            points, scores = np.nan_to_num(track.keypoints[rows]), track.scores[rows]
            seen = scores >= self.options.threshold
            torso = torso_px(points, seen)
            usable = torso > 0
            if usable.any():
                hw = frames[int(track.frames[0])].image_hw
                self.fitted[track.id] = self._fit_one(
                    points[usable], seen[usable], torso[usable], hw
                )
        if not self.fitted:
            raise ValueError("frames: nobody to retarget is seen well enough to be measured")
        return self

    def apply(self, people: People) -> People:
        """Retarget one frame; who was not fitted is left out.

        Returns:
            the people retargeted, in their order, in the new picture; boxes go around points.

        Raises:
            ValueError: `fit` was not called, or ids are missing.
        """
        if not self.fitted:
            raise ValueError("call fit with the driving sequence first")
        ids = track_ids(people)
        chosen = [i for i, identity in enumerate(ids.tolist()) if identity in self.fitted]
        hw = self.canvas(people.image_hw)
        if not chosen:
            return People.empty(hw)
        keypoints = np.stack([self._move(people, i, self.fitted[int(ids[i])]) for i in chosen])
        scores = people.scores[chosen]
        seen = (scores >= self.options.threshold)[..., None]
        low = np.where(seen, keypoints, np.inf).min(axis=1)
        high = np.where(seen, keypoints, -np.inf).max(axis=1)
        empty = ~seen.any(axis=1)
        low, high = np.where(empty, 0.0, low), np.where(empty, 0.0, high)
        boxes = Boxes(np.concatenate((low, high), axis=1), people.boxes.scores[chosen])
        return People(keypoints.astype(np.float32), scores, boxes, hw, ids[chosen])

    def apply_all(self, frames: Sequence[People]) -> list[People]:
        """`apply` to every frame."""
        return [self.apply(people) for people in frames]

    def canvas(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width in pixels of the new picture of a frame of the size `image_hw`."""
        if self.options.framing == "reference" and self.reference.placement is not None:
            return self.reference.placement.image_hw
        if self.options.framing == "fit" and self.options.canvas_hw is not None:
            return self.options.canvas_hw
        return image_hw

    def _fit_one(
        self, points: Array, seen: Mask, torso: Array, image_hw: tuple[int, int]
    ) -> Fitted:
        options = self.options
        own = measure(points, seen, torso, options.least, _SEEN_SHARE)
        factors = self._factors(own)
        fitted = Fitted(factors)
        feet = seen[:, list(GROUND)]
        if options.ground and feet.any(axis=1).mean() >= 0.5:
            rows = feet.any(axis=1)
            moved = _reshape(points[rows], seen[rows], factors)
            sink = _lowest(moved, seen[rows]) - _lowest(points[rows], seen[rows])
            fitted = Fitted(factors, True, float(np.median(sink / torso[rows])))
        if options.framing == "keep":
            return fitted
        moved = self._place(points, seen, torso, fitted)
        if options.framing == "fit":
            known = moved[seen]
            low, high = np.percentile(known, 0.2, axis=0), np.percentile(known, 99.8, axis=0)
            size = np.array(self.canvas(image_hw)[::-1], float)
            zoom = float((size * (1 - 2 * options.margin) / np.maximum(high - low, 1.0)).min())
            return _framed(fitted, zoom, (low + high) / 2, size / 2)
        placement = self.reference.placement
        assert placement is not None
        tall = [n for n in STATURE if own[n] and getattr(self.reference, n)]
        mine = float(np.median(torso)) * sum(factors[n] * (own[n] or 0.0) for n in tall)
        theirs = placement.torso_px * sum(getattr(self.reference, n) for n in tall)
        center = np.median(moved[:, list(HIPS)].mean(axis=1), axis=0)
        target = np.array(placement.root_xy)
        if fitted.grounded and placement.ground_y is not None:
            rows = feet.any(axis=1)
            center[1] = np.percentile(_lowest(moved[rows], seen[rows]), 75)
            target[1] = placement.ground_y
        return _framed(fitted, theirs / mine if mine > 0 else 1.0, center, target)

    def _factors(self, own: dict[str, float | None]) -> dict[str, float]:
        """By what each part's vectors are multiplied; the stature stays."""
        options = self.options
        wanted = {n: getattr(self.reference, n) for n in LENGTHS}
        shared = [n for n in STATURE if own[n] and wanted[n]]
        shared = shared or [n for n in LENGTHS if own[n] and wanted[n]]
        mine = sum(own[n] or 0.0 for n in shared)
        theirs = sum(wanted[n] for n in shared)
        unit = mine / theirs if shared else 1.0
        chosen = {
            "shoulders": options.widths,
            "hips": options.widths,
            "head": options.head,
            "hand": options.hands,
            "foot": options.feet,
        }
        factors = {}
        for name in LENGTHS:
            have, want = own[name], wanted[name]
            if not have or not want or not chosen.get(name, options.limbs):
                factors[name] = 1.0
                continue
            change = float(np.clip(want * unit / have, 1 / options.most, options.most))
            factors[name] = change**options.amount
        if own["hand"] is None or wanted["hand"] is None:
            factors["hand"] = factors["forearm"] if options.hands else 1.0
        if own["foot"] is None or wanted["foot"] is None:
            factors["foot"] = factors["shin"] if options.feet else 1.0
        return factors

    def _place(self, points: Array, seen: Mask, torso: Array, fitted: Fitted) -> Array:
        """New points [T, 133, 2] of points [T, 133, 2], still in the driver's picture."""
        moved = _reshape(points, seen, fitted.factors)
        if not fitted.grounded:
            return moved
        feet = seen[:, list(GROUND)].any(axis=1)
        sink = np.where(feet, _lowest(moved, seen) - _lowest(points, seen), fitted.sink * torso)
        hips = seen[:, list(HIPS)].all(axis=1)
        slide = (moved - points)[:, list(HIPS), 0].mean(axis=1) * hips
        return moved - np.stack((slide, sink), axis=-1)[:, None]

    def _move(self, people: People, index: int, fitted: Fitted) -> Array:
        points = np.nan_to_num(people.keypoints[index : index + 1].astype(np.float64))
        seen = people.scores[index : index + 1] >= self.options.threshold
        moved = self._place(points, seen, torso_px(points, seen), fitted)[0]
        return (moved - fitted.center) * fitted.zoom + fitted.target


def _framed(fitted: Fitted, zoom: float, center: Array, target: Array) -> Fitted:
    return Fitted(
        fitted.factors,
        fitted.grounded,
        fitted.sink,
        zoom,
        (float(center[0]), float(center[1])),
        (float(target[0]), float(target[1])),
    )


def _lowest(points: Array, seen: Mask) -> Array:
    """Lowest y [T] of the feet that are seen; 0 where none is."""
    feet = seen[:, list(GROUND)]
    low = np.where(feet, points[:, list(GROUND), 1], -np.inf).max(axis=1)
    return np.where(feet.any(axis=1), low, 0.0)


def _reshape(points: Array, seen: Mask, factors: dict[str, float]) -> Array:
    """Rebuild bodies [T, 133, 2] limb by limb, from the middle of the shoulders outwards."""
    out = points.copy()
    top = points[:, list(SHOULDERS)].mean(axis=1)
    low = points[:, list(HIPS)].mean(axis=1)
    new_low = top + (low - top) * factors["torso"]
    for pair, middle, new, name in (
        (SHOULDERS, top, top, "shoulders"),
        (HIPS, low, new_low, "hips"),
    ):
        for joint in pair:
            out[:, joint] = new + (points[:, joint] - middle) * factors[name]
    out[:, 0] = top + (points[:, 0] - top) * factors["neck"]
    head = list(_HEAD)
    out[:, head] = out[:, :1] + (points[:, head] - points[:, :1]) * factors["head"]
    for upper, lower in (("arm", "forearm"), ("leg", "shin")):
        for side in range(2):
            start, joint = LIMBS[upper][side]
            end = LIMBS[lower][side][1]
            # Nobody knows where a joint is that is not seen: half way, so that it has no say.
            half = (points[:, start] + points[:, end]) / 2
            middle = np.where(seen[:, joint, None], points[:, joint], half)
            new = out[:, start] + (middle - points[:, start]) * factors[upper]
            out[:, joint] = out[:, start] + (points[:, joint] - points[:, start]) * factors[upper]
            out[:, end] = new + (points[:, end] - middle) * factors[lower]
    for (joint, part), name in (*((h, "hand") for h in _HANDS), *((f, "foot") for f in _FEET)):
        offset = points[:, part] - points[:, joint : joint + 1]
        out[:, part] = out[:, joint : joint + 1] + offset * factors[name]
    return out
