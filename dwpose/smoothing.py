"""Steady keypoints of whole clips, without lag: both directions in time, trusting scores.

What points do together, such as a step that lifts the whole body, is found in the clip and followed
as fast as it is (`principal`); hands and faces are so steadied relative to what carries them. Each
coordinate of what is left becomes the curve that balances two costs (`spline`): its distance from
what the network saw, weighted by confidence, and its bending. Without data it bends least, which is
how gaps are filled. For streams, where the future is unknown, there is `one_euro`.

Shapes: T frames, K points, P people of one frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from .principal import shared_movement
from .sequences import Track, empty_runs, frame_times, join_tracks, split_tracks
from .skeleton import NUM_KEYPOINTS, PARTS
from .spline import NOTHING, Spline, medians, noise_of, not_jumping
from .types import DEFAULT_THRESHOLD, People

Array = npt.NDArray[Any]

# Above any movement: a curve of this frequency goes through every point, yet bends least where
# there is none.
_FREE_HZ: Final = 150.0
# Keypoints come in half pixels of a crop 256 pixels high, which alone is noise of this share of a
# body's height; below it nothing is taken for a fault.
_QUANTUM: Final = 0.001


@dataclass(frozen=True)
class SmoothingOptions:
    """How strongly each part is steadied, and what is filled.

    Attributes:
        body_hz: movement of a body point by itself fades above this frequency (half is left at
            it). For movement that it shares with others the frequency is found in the clip; it
            changes by the same factor as this from its default. Infinity leaves a part as it is;
            see `with_strength`.
        feet_hz: the same for feet.
        hand_hz: the same for hands.
        face_hz: the same for the face. Lips and lids are fast, and a blink lasts 0.2 s.
        strength: factor on all of it: frequencies are divided by it. 0 smooths nothing.
        speed_gain: a point that by itself moves at one body height a second gets (1 + this) times
            the frequency. 0 treats all alike.
        follow: let a point by itself bend more where it misses by more than noise explains; the
            noise is measured in the clip itself.
        score_power: a point's weight is its confidence to this power.
        robust: weaken points that jump away and back.
        threshold: raw score below which a point counts as not seen.
        max_gap_s: longest time without a point that is filled, in seconds; 0 fills nothing.

    Raises:
        ValueError: a number is negative, or a frequency is not above 0.
    """

    body_hz: float = 3.0
    feet_hz: float = 3.0
    hand_hz: float = 3.0
    face_hz: float = 4.0
    strength: float = 1.0
    speed_gain: float = 1.5
    follow: bool = True
    score_power: float = 2.0
    robust: bool = True
    threshold: float = DEFAULT_THRESHOLD
    max_gap_s: float = 0.4

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("body_hz", "feet_hz", "hand_hz", "face_hz"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("strength", "speed_gain", "score_power", "max_gap_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


# Options of this module or of `one_euro`: both name their frequencies alike.
_Options = TypeVar("_Options", bound=Any)
STRENGTH_PARTS: Final = {
    "body": "body_hz",
    "hands": "hand_hz",
    "face": "face_hz",
    "feet": "feet_hz",
}
HZ_OF_PARTS: Final = {
    "body": "body_hz",
    "feet": "feet_hz",
    "face": "face_hz",
    "left_hand": "hand_hz",
    "right_hand": "hand_hz",
}


def with_strength(options: _Options, strength: float | Mapping[str, float]) -> _Options:
    """Return smoothing options with parts steadied more or less.

    Args:
        options: `SmoothingOptions` or `one_euro.OneEuroOptions`.
        strength: a factor for everything, or by part ("body", "hands", "face", "feet"): 1 is as
            it was, 2 steadies twice as strongly, 0 leaves the part as it is.

    Raises:
        ValueError: an unknown part, or a negative number.
    """
    if not isinstance(strength, Mapping):
        strength = dict.fromkeys(STRENGTH_PARTS, strength)
    unknown = sorted(set(strength) - set(STRENGTH_PARTS))
    if unknown:
        raise ValueError(f"strength: no part {unknown[0]!r}; parts are {', '.join(STRENGTH_PARTS)}")
    if not all(factor >= 0 for factor in strength.values()):
        raise ValueError(f"strength must be 0 or more, got {dict(strength)}")
    hz = {
        STRENGTH_PARTS[part]: getattr(options, STRENGTH_PARTS[part]) / factor
        if factor
        else math.inf
        for part, factor in strength.items()
    }
    return replace(options, **hz)


def untouched(options: Any) -> npt.NDArray[np.bool_]:
    """Return bool [133]: points of parts that the options leave as they are."""
    out = np.full(NUM_KEYPOINTS, options.strength == 0)
    for part, name in HZ_OF_PARTS.items():
        out[PARTS[part]] |= math.isinf(getattr(options, name))
    return out


def effective_hz(hz: float, strength: float) -> float:
    """Frequency to smooth at; parts that are left as they are still need one to fill gaps."""
    return min(hz / max(strength, 1e-9), _FREE_HZ)


@dataclass(frozen=True)
class Smoothed:
    """A steadied sequence.

    Attributes:
        people: one `People` a frame. A filled point has the lower score of the points before
            and after the gap, so that it is drawn as they are.
        filled: bool [P, 133] a frame: this point was not seen but filled. People who were
            missing in a frame and filled stand after the others.
    """

    people: list[People]
    filled: list[npt.NDArray[np.bool_]] = field(repr=False)


def smooth_sequence(
    frames: Sequence[People],
    times: Sequence[float] | Array | None = None,
    *,
    fps: float = 25.0,
    cuts: Iterable[int] = (),
    options: SmoothingOptions | None = None,
) -> Smoothed:
    """Steady everybody of a clip and fill short gaps.

    Args:
        frames: the sequence, tracked; one person alone needs no id.
        times: seconds of each frame; made from `fps` when None.
        fps: frames per second.
        cuts: numbers of frames that begin a new shot; nothing is smoothed or filled across.
        options: how strongly.

    Returns:
        as many frames. Points that were not seen and not filled stay as they were.

    Raises:
        ValueError: ids are missing or double, or times do not rise.
    """
    options = options or SmoothingOptions()
    stamps = frame_times(len(frames), times, fps)
    tracks = split_tracks(frames, cuts)
    filled = [_smooth_track(track, stamps[track.frames], options) for track in tracks]
    people, (marks,) = join_tracks(frames, tracks, filled)
    return Smoothed(people, marks)


def _smooth_track(track: Track, times: Array, options: SmoothingOptions) -> npt.NDArray[np.bool_]:
    """Steady one person in place; returns bool [T, 133], what was filled."""
    points = track.keypoints
    finite = np.asarray(np.isfinite(points).all(axis=-1))
    known = track.present[:, None] & finite & (track.scores >= options.threshold)
    gaps = _gap_seconds(known, times)
    wanted = ~known & (gaps <= options.max_gap_s)
    usable = known | wanted
    smooth = _solve(np.where(finite[..., None], points, 0.0), track, known, usable, times, options)
    filled = wanted & (_gap_seconds(_rows(track.present), times) <= options.max_gap_s)
    moved = (known & ~untouched(options)) | filled
    track.keypoints = np.where(moved[..., None], smooth, points)
    track.scores = np.where(filled, _scores_around(track.scores, known), track.scores)
    missing = ~track.present & filled.any(axis=1)
    if missing.any():
        have = np.flatnonzero(track.present)
        rows = np.flatnonzero(missing)
        for column in range(5):
            track.boxes[rows, column] = np.interp(
                times[rows], times[have], track.boxes[have, column]
            )
        track.present = track.present | missing
    return filled


def _rows(present: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.repeat(present[:, None], NUM_KEYPOINTS, axis=1)


def _gap_seconds(known: npt.NDArray[np.bool_], times: Array) -> Array:
    """Seconds that each unknown entry's gap lasts, float [T, K]; 0 where known."""
    count = len(known)
    if count < 2:
        return np.where(known, 0.0, np.inf)
    runs = empty_runs(known)
    row = np.arange(count)[:, None]
    before: Array = np.maximum.accumulate(np.where(known, row, 0), axis=0)
    after = np.minimum(before + runs + 1, count - 1)
    # A gap of n frames hides n frames' time.
    spans = (times[after] - times[before]) * runs / (runs + 1)
    return np.where(known, 0.0, np.where(runs > count, np.inf, spans))


def _scores_around(scores: Array, known: npt.NDArray[np.bool_]) -> Array:
    """The lower of the last and next known score, float [T, K]."""
    row = np.arange(len(scores))[:, None]
    before = np.maximum.accumulate(np.where(known, row, 0), axis=0)
    after = np.where(known, row, len(scores) - 1)[::-1]
    after = np.minimum.accumulate(after, axis=0)[::-1]
    columns = np.arange(scores.shape[1])[None]
    return np.minimum(scores[before, columns], scores[after, columns])


def _solve(
    points: Array,
    track: Track,
    known: npt.NDArray[np.bool_],
    usable: npt.NDArray[np.bool_],
    times: Array,
    options: SmoothingOptions,
) -> Array:
    """What points do together first; then each relative to that."""
    if len(points) < 3:
        return points
    # A point's weight tells it from other times of the same point, so its usual score is 1.
    trust = np.clip(track.scores, 1e-3, 1.0)
    usual = np.maximum(medians(trust, known), 1e-3)
    weights = np.where(known, (trust / usual) ** options.score_power, NOTHING)
    size = _body_size(points, known)
    noise = np.maximum(noise_of(points, known), _QUANTUM * size)
    hz, usual_hz = _frequencies(options), _frequencies(SmoothingOptions())
    spline = Spline(times, usable)
    own = {"gain": options.speed_gain / size, "follow": options.follow, "robust": options.robust}
    alone = spline.fit(points, weights, usual_hz, noise, **own)
    doubt = not_jumping(points, known, noise) if options.robust else 1.0
    shared = shared_movement(points, weights * doubt, alone, usable, noise, times, hz / usual_hz)
    return shared + spline.fit(points - shared, weights, hz, noise, **own)


def _frequencies(options: SmoothingOptions) -> Array:
    """Frequency of each point, float [133]."""
    hz = np.empty(NUM_KEYPOINTS)
    for part, name in HZ_OF_PARTS.items():
        hz[PARTS[part]] = effective_hz(getattr(options, name), options.strength)
    return hz


def _body_size(points: Array, known: npt.NDArray[np.bool_]) -> float:
    """A clip's usual size of the person in pixels: the longer side of what is seen."""
    low = np.where(known[..., None], points, np.inf).min(axis=1)
    high = np.where(known[..., None], points, -np.inf).max(axis=1)
    rows = known.sum(axis=1) > 1
    return max(float(np.median((high - low)[rows].max(axis=1))), 1.0) if rows.any() else 1.0
