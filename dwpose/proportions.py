"""How long the parts of a body are: measured in pictures and clips, or given as numbers.

Shapes: T frames or people, K = 133 points.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .anatomy import HIPS, LENGTHS, LIMBS, SHOULDERS, length, torso_px
from .sequences import track_ids
from .types import DEFAULT_THRESHOLD, People

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# What makes somebody tall, standing.
STATURE: Final = ("neck", "torso", "leg", "shin")
# Left and right: a hand's root and the bases of its fore- and little finger; ankle and toes.
_HANDS: Final = ((91, 100), (112, 121))
_KNUCKLES: Final = ((96, 108), (117, 129))
# The first over the second, of the same average adult as `anatomy.LENGTHS`.
_ACROSS: Final = 1.6
_FEET: Final = ((15, (17, 18)), (16, (20, 21)))
# Bones that are long or short together.
_PARTNERS: Final = {"arm": "forearm", "forearm": "arm", "leg": "shin", "shin": "leg"}
# Points that may touch the ground.
GROUND: Final = (15, 16, 17, 18, 19, 20, 21, 22)
# Of a clip's lengths the one that so many per cent do not exceed: the longest that noise allows,
# since a picture only ever shortens a limb.
_LONGEST: Final = 95.0


@dataclass(frozen=True)
class Placement:
    """Where and how large a reference stands in its picture.

    Attributes:
        image_hw: height and width of the picture in pixels.
        torso_px: how high the torso is, upright.
        root_xy: the middle between the hips, pixels.
        ground_y: the lowest point of the feet, pixels; None where none is seen.
    """

    image_hw: tuple[int, int]
    torso_px: float
    root_xy: tuple[float, float]
    ground_y: float | None


@dataclass(frozen=True)
class Proportions:
    """Lengths of a body's parts, all in one unit, whatever it is; None where unknown.

    Attributes:
        torso: middle of the shoulders to middle of the hips.
        shoulders: from shoulder to shoulder.
        hips: from hip to hip.
        neck: middle of the shoulders to the nose.
        head: from ear to ear; scales the whole face.
        arm: shoulder to elbow.
        forearm: elbow to wrist.
        hand: root to the base of the middle finger; scales the whole hand.
        leg: hip to knee.
        shin: knee to ankle.
        foot: ankle to the middle of the toes; scales the whole foot.
        placement: where the reference stands, for framing as in its picture.

    Raises:
        ValueError: a length is not a positive finite number.
    """

    torso: float | None = None
    shoulders: float | None = None
    hips: float | None = None
    neck: float | None = None
    head: float | None = None
    arm: float | None = None
    forearm: float | None = None
    hand: float | None = None
    leg: float | None = None
    shin: float | None = None
    foot: float | None = None
    placement: Placement | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in LENGTHS:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number or None, got {value}")

    @classmethod
    def average(cls) -> Proportions:
        """An average adult; the unit is the height of the torso."""
        return cls.from_dict(LENGTHS)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Proportions:
        """Take lengths by name, in any unit.

        Raises:
            ValueError: an unknown name, or a value that is not a positive number or None.
        """
        known = {f.name for f in fields(cls)} - {"placement"}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown lengths {unknown}; known are {', '.join(sorted(known))}")
        try:
            found: dict[str, Any] = {n: None if v is None else float(v) for n, v in values.items()}
        except (TypeError, ValueError):
            raise ValueError(f"lengths must be numbers or None, got {dict(values)}") from None
        return cls(**found)

    def to_dict(self) -> dict[str, float | None]:
        """The lengths by name, without the placement."""
        return {name: getattr(self, name) for name in LENGTHS}

    @classmethod
    def from_people(
        cls,
        people: People | Sequence[People],
        *,
        person: int = 0,
        track_id: int | None = None,
        threshold: float = DEFAULT_THRESHOLD,
        least: float = 0.75,
    ) -> Proportions:
        """Measure somebody in one picture or, better, in many.

        Args:
            people: one frame or several; several need a track id, or one person each.
            person: which person of the frame, where no track id is given.
            track_id: the person by id.
            threshold: raw score below which a point counts as not seen.
            least: a bone that looks shorter than this share of its partner (forearm and arm,
                shin and thigh), next to an average adult's, is taken to point at the camera and
                to be as long as its partner says; likewise what is shorter than half this share
                of the rest of the body. 0 believes all.

        Returns:
            lengths in torsos; None for what is not seen.

        Raises:
            ValueError: there is no such person, or too little of them is seen.
        """
        frames = [people] if isinstance(people, People) else list(people)
        rows = [
            (frame, index)
            for frame in frames
            for index in _find(frame, person, track_id, alone=len(frames) > 1)
        ]
        if not rows:
            raise ValueError("people: the person to measure is in none of the frames")
        points = np.stack([f.keypoints[i] for f, i in rows]).astype(np.float64)
        seen = np.stack([f.scores[i] for f, i in rows]) >= threshold
        seen &= np.isfinite(points).all(axis=-1)
        points = np.nan_to_num(points)
        torso = torso_px(points, seen)
        usable = torso > 0
        if not usable.any():
            raise ValueError("people: too little of the person is seen to measure proportions")
        found: dict[str, Any] = measure(points[usable], seen[usable], torso[usable], least)
        middle = int(np.flatnonzero(usable)[usable.sum() // 2])
        return replace(
            cls(**found),
            placement=_placement(rows[middle][0], points[middle], seen[middle], torso[middle]),
        )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> Proportions:
        """Measure somebody in a keypoint file (see `io.openpose_json.load`).

        Args:
            path: POSE_KEYPOINT or OpenPose JSON.
            **options: see `from_people`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no keypoint file, or the person is not in it.
        """
        from .io.openpose_json import load

        frames = load(Path(path))
        return cls.from_people(frames[0] if len(frames) == 1 else frames, **options)


def read_proportions(
    reference: str | os.PathLike[str], pose: Callable[[Any], People] | None = None
) -> Proportions:
    """Take proportions from whatever says them.

    Args:
        reference: numbers as "arm=0.6,leg=0.9" in heights of the torso, the rest being those of
            an average adult; a keypoint file (.json), of whose people the largest of the first
            frame is measured; or a picture, of whose people the largest is.
        pose: estimates the poses of a picture; needed for pictures alone.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError, ValueError: nobody is there to be measured, a name or number is wrong, or a
            picture is given without `pose`.
    """
    text = os.fspath(reference)
    path = Path(text)
    # Those of `os` take numbers longer than any name for what is not there.
    if not os.path.exists(text) and "=" in text:
        pairs = (item.partition("=") for item in text.split(","))
        given = {name.strip(): value for name, _, value in pairs}
        return Proportions.from_dict({**LENGTHS, **given})
    if not os.path.isfile(text):
        raise FileNotFoundError(f"there is no picture or keypoint file {text!r} to measure")
    if path.suffix.lower() == ".json":
        from .io.openpose_json import load

        frames = load(path)
        people = frames[0] if frames else People.empty((1, 1))
    elif pose is not None:
        people = pose(path)
    else:
        raise ValueError(f"{text!r} is a picture; a pose network is needed to measure it")
    if not len(people):
        raise ValueError(f"there is nobody in {text!r} to measure")
    height = people.boxes.xyxy[:, 3] - people.boxes.xyxy[:, 1]
    return Proportions.from_people(people, person=int(height.argmax()))


def _find(frame: People, person: int, track_id: int | None, alone: bool) -> list[int]:
    if track_id is not None:
        return np.flatnonzero(track_ids(frame) == track_id).tolist()
    if alone and len(frame) > 1:
        raise ValueError("people: say whom to measure by track_id where frames hold several")
    return [person] if person < len(frame) else []


def _placement(frame: People, points: Array, seen: Mask, torso: float) -> Placement:
    shoulders = points[list(SHOULDERS)].mean(axis=0)
    hips = points[list(HIPS)].mean(axis=0)
    if not seen[list(HIPS)].all():
        hips = shoulders + np.array((0.0, torso))
    feet = seen[list(GROUND)]
    ground = float(points[list(GROUND)][feet, 1].max()) if feet.any() else None
    return Placement(frame.image_hw, float(torso), (float(hips[0]), float(hips[1])), ground)


def spans(points: Array, seen: Mask) -> dict[str, tuple[Array, Mask]]:
    """Length in pixels of each part and whether it is seen: float [T, S] and bool [T, S].

    S is 2 where there is a left and a right one, else 1.
    """

    def both(pairs: Sequence[tuple[int, int]]) -> tuple[Array, Mask]:
        found = [length(points, pair) for pair in pairs]
        known = [seen[:, a] & seen[:, b] for a, b in pairs]
        return np.stack(found, axis=1), np.stack(known, axis=1)

    shoulders = points[:, list(SHOULDERS)].mean(axis=1)
    hips = points[:, list(HIPS)].mean(axis=1)
    top, low = (np.asarray(seen[:, list(pair)].all(axis=1)) for pair in (SHOULDERS, HIPS))
    toes = [
        np.linalg.norm(points[:, ankle] - points[:, list(t)].mean(axis=1), axis=-1)
        for ankle, t in _FEET
    ]
    stepped = [seen[:, ankle] & seen[:, list(t)].all(axis=1) for ankle, t in _FEET]
    # A hand that points at the camera still shows how wide it is.
    palm, known = both(_HANDS)
    across, _ = both(_KNUCKLES)
    return {
        "torso": (np.linalg.norm(shoulders - hips, axis=-1)[:, None], (top & low)[:, None]),
        "shoulders": both((SHOULDERS,)),
        "hips": both((HIPS,)),
        "neck": (
            np.linalg.norm(points[:, 0] - shoulders, axis=-1)[:, None],
            (top & seen[:, 0])[:, None],
        ),
        "head": both(((3, 4),)),
        "hand": (np.maximum(palm, across * _ACROSS), known),
        "foot": (np.stack(toes, axis=1), np.stack(stepped, axis=1)),
        **{name: both(sides) for name, sides in LIMBS.items()},
    }


def measure(
    points: Array, seen: Mask, torso: Array, least: float, min_share: float = 0.0
) -> dict[str, float | None]:
    """Longest usual length of each part, in torsos; None for what is not seen.

    Args:
        points: float [T, 133, 2], pixels.
        seen: bool [T, 133].
        torso: float [T] above 0, pixels; see `anatomy.torso_px`. Dividing by it takes out that
            people come nearer and go away.
        least: see `Proportions.from_people`.
        min_share: of the frames in which a part must be seen.
    """
    out: dict[str, float | None] = {}
    for name, (distance, known) in spans(points, seen).items():
        ratio = (distance / torso[:, None])[known]
        enough = ratio.size and known.any(axis=1).mean() >= min_share
        out[name] = max(float(np.percentile(ratio, _LONGEST)), 1e-3) if enough else None
    shares = {name: value / LENGTHS[name] for name, value in out.items() if value}
    usual = float(np.median(list(shares.values()))) if shares else 1.0
    for name, share in shares.items():
        partner = shares.get(_PARTNERS.get(name, ""), 0.0)
        if share < least * partner:
            out[name] = partner * LENGTHS[name]
        elif share < least * usual / 2:
            out[name] = usual * LENGTHS[name]
    return out
