"""Steady keypoints of a stream, frame by frame, trusting scores.

The One-Euro filter (Casiez, Roussel and Vogel, 2012) blends each new point with the old one, the
more freely the faster it moves. Ours also carries each point on by its velocity (an alpha-beta
filter with the gain of Benedict and Bordner, 1962), which takes away the lag of steady movement,
and gives an unsure point less say. For whole clips `smoothing` is better: it knows the future.

Shapes: P people of one frame, K = 133 points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .sequences import track_ids
from .skeleton import FACE, FEET, LEFT_HAND, NUM_KEYPOINTS, PARTS, RIGHT_HAND, SIGMAS
from .smoothing import effective_hz, untouched
from .types import DEFAULT_THRESHOLD, People

Array = npt.NDArray[Any]

# Points that move with a part as a whole: the wrist with the hand's root and knuckles, the nose,
# eyes and ears with the jaw, brows and nose of the face (not the eyelids and lips, which move).
_KNUCKLES: Final = (0, 5, 9, 13, 17)
_CARRIERS: Final[dict[str, tuple[int, ...]]] = {
    "face": (0, 1, 2, 3, 4, *range(FACE.start, FACE.start + 36)),
    "left_hand": (9, *(LEFT_HAND.start + k for k in _KNUCKLES)),
    "right_hand": (10, *(RIGHT_HAND.start + k for k in _KNUCKLES)),
}
# Each carrier counts by how exactly it can be seen.
_SHARES: Final = {
    name: 1.0 / np.square(SIGMAS[list(members)].astype(np.float64))
    for name, members in _CARRIERS.items()
}

# Share of the newest frame in the tracking signal.  Noise then gives about 0.4, of which the
# fourth power is little.
_SIGNAL: Final = 0.3


@dataclass(frozen=True)
class OneEuroOptions:
    """How strongly a stream is steadied.

    The numbers were chosen on synthetic movement (benchmarks/smoothing.py): jitter falls by 60 % at
    25 fps and by more at higher rates, with less error than the network's own. In a dance twice as
    fast as everyday movement it falls by 40 % before lag makes the error larger than it was.

    Attributes:
        body_hz: frequency that passes at rest; body points and, as a whole, hands and heads.
            Infinity leaves a part as it is; see `smoothing.with_strength`.
        feet_hz: the same for feet.
        hand_hz: the same for fingers relative to the steadied wrist.
        face_hz: the same for the face relative to the steadied head.
        strength: factor on all of it: frequencies are divided by it. 0 smooths nothing.
        speed_gain: Hz more for each body height a second that a point of the body moves by.
        part_speed_gain: the same for hands and faces, whose points are seen more exactly.
        follow_gain: factor (1 + this) on the frequency of a point that always falls behind on
            the same side: the tracking signal of Trigg and Leach (1967).
        lead: 1 carries points on by their velocity (no lag in steady movement, a little
            overshoot where it stops), 0 is the plain filter (lag, no overshoot).
        score_power: a point's say is its confidence to this power.
        threshold: raw score below which a point counts as not seen.
        hold_s: how long a point that is not seen stays where it is expected; seconds.
        forget_s: a person away for longer starts anew; seconds.

    Raises:
        ValueError: a number is negative, or a frequency is not above 0.
    """

    body_hz: float = 2.5
    feet_hz: float = 2.5
    hand_hz: float = 3.0
    face_hz: float = 1.5
    strength: float = 1.0
    speed_gain: float = 9.0
    part_speed_gain: float = 14.0
    follow_gain: float = 4.0
    lead: float = 1.0
    score_power: float = 5.0
    threshold: float = DEFAULT_THRESHOLD
    hold_s: float = 0.2
    forget_s: float = 0.5

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("body_hz", "feet_hz", "hand_hz", "face_hz"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in (
            "strength",
            "speed_gain",
            "part_speed_gain",
            "follow_gain",
            "lead",
            "score_power",
            "hold_s",
            "forget_s",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


class _Points:
    """The filter's memory of points [K, 2]: where they are, how fast, when they were seen."""

    def __init__(self, count: int) -> None:
        self.place = np.zeros((count, 2))
        self.velocity = np.zeros((count, 2))
        self.seen_at = np.full(count, -np.inf)
        self.usual = np.zeros(count)
        self.bias = np.zeros((count, 2))
        self.spread = np.zeros(count)

    def update(
        self,
        points: Array,
        trust: Array,
        seen: npt.NDArray[np.bool_],
        time: float,
        step: float,
        hz: Array,
        speed: Array,
        size: float,
        gain: float,
        options: OneEuroOptions,
    ) -> Array:
        """Take in what was seen; returns the speed [K] in body heights a second."""
        fresh = seen & (time - self.seen_at > options.forget_s)
        expected = self.place + options.lead * self.velocity * step
        self.usual = np.where(
            fresh, trust, self.usual + np.where(seen, 0.1, 0.0) * (trust - self.usual)
        )
        own = np.linalg.norm(self.velocity, axis=-1) / size
        turn = 2 * np.pi * (hz + gain * np.maximum(own, speed)) * step
        miss = points - expected
        known = seen & ~fresh
        ease = np.where(known, _SIGNAL, 0.0)
        self.bias += ease[:, None] * (miss - self.bias)
        self.spread += ease * (np.linalg.norm(miss, axis=-1) - self.spread)
        signal = np.linalg.norm(self.bias, axis=-1) / np.maximum(self.spread, 1e-6)
        turn = turn * (1 + options.follow_gain * np.minimum(signal, 1.0) ** 4)
        # alpha / (1 - alpha), times how much the point is to be believed.
        odds = turn * (trust / np.maximum(self.usual, 1e-3)) ** options.score_power
        alpha = np.where(seen, odds / (1 + odds), 0.0)
        alpha = np.where(fresh, 1.0, alpha)[:, None]
        self.place = np.where(seen[:, None], expected + alpha * miss, expected)
        beta = alpha * alpha / (2 - alpha)
        moved = self.velocity + np.where(seen[:, None], beta * miss / step, 0.0)
        # What is not seen comes to rest rather than flying on.
        moved = np.where(seen[:, None], moved, self.velocity * 0.7)
        self.velocity = np.where(fresh[:, None], 0.0, moved)
        self.seen_at = np.where(seen, time, self.seen_at)
        return own


class _Person:
    """One tracked person: all points, and the points of each part relative to its carrier."""

    def __init__(self) -> None:
        self.whole = _Points(NUM_KEYPOINTS)
        self.parts = {name: _Points(_length(name)) for name in _CARRIERS}
        self.time = -np.inf
        self.size = 0.0


def _length(name: str) -> int:
    return PARTS[name].stop - PARTS[name].start


class StreamSmoother:
    """Steady a stream: one state for each track id.

    Args:
        options: how strongly.

    Attributes:
        filled: bool [P, 133] of the latest frame: points that were not seen but are held for a
            moment; their score is the threshold, so that they are drawn.
    """

    def __init__(self, options: OneEuroOptions | None = None) -> None:
        self.options = options or OneEuroOptions()
        self.filled = np.zeros((0, NUM_KEYPOINTS), bool)
        self._people: dict[int, _Person] = {}
        self._time = -np.inf

    def reset(self) -> None:
        """Forget everybody, as at a cut."""
        self._people.clear()
        self._time = -np.inf

    def update(self, people: People, time: float, *, cut: bool = False) -> People:
        """Steady the next frame.

        Args:
            people: tracked; one person alone needs no id.
            time: seconds; must be later than that of the frame before.
            cut: this frame begins a new shot.

        Returns:
            the same people in the same order.

        Raises:
            ValueError: ids are missing or double, or time does not rise.
        """
        if cut:
            self.reset()
        if not time > self._time:
            raise ValueError(f"time must rise, got {time} after {self._time}; reset() starts anew")
        self._time = time
        late = [i for i, p in self._people.items() if time - p.time > self.options.forget_s]
        for identity in late:
            del self._people[identity]
        keypoints = people.keypoints.astype(np.float64)
        scores = people.scores.copy()
        self.filled = np.zeros(scores.shape, bool)
        for index, identity in enumerate(track_ids(people).tolist()):
            person = self._people.setdefault(identity, _Person())
            seen = np.isfinite(keypoints[index]).all(axis=-1)
            seen &= scores[index] >= self.options.threshold
            place = self._step(person, keypoints[index], scores[index], seen, time)
            held = ~seen & (time - person.whole.seen_at <= self.options.hold_s)
            self.filled[index] = held
            moved = held | (seen & ~untouched(self.options))
            keypoints[index] = np.where(moved[:, None], place, keypoints[index])
            scores[index, held] = self.options.threshold
        ids = people.track_ids
        return People(keypoints.astype(np.float32), scores, people.boxes, people.image_hw, ids)

    def _step(
        self,
        person: _Person,
        points: Array,
        scores: Array,
        seen: npt.NDArray[np.bool_],
        time: float,
    ) -> Array:
        options = self.options
        step = time - person.time if np.isfinite(person.time) else 1.0
        person.time = time
        if seen.sum() > 1:
            size = float(np.ptp(points[seen], axis=0).max())
            person.size = size if person.size == 0 else person.size + 0.05 * (size - person.size)
        size = max(person.size, 1.0)
        # What is not seen may have no number for a score; it would stay in the memory for good.
        trust = np.where(seen, np.clip(scores.astype(np.float64), 1e-3, 1.0), 1e-3)
        points = np.where(seen[:, None], points, 0.0)
        hz = np.full(NUM_KEYPOINTS, effective_hz(options.body_hz, options.strength))
        still = np.zeros(NUM_KEYPOINTS)
        hz[FEET] = effective_hz(options.feet_hz, options.strength)
        speed = person.whole.update(
            points, trust, seen, time, step, hz, still, size, options.speed_gain, options
        )
        place = person.whole.place.copy()
        for name, memory in person.parts.items():
            part, members = PARTS[name], list(_CARRIERS[name])
            # A carrier that was never seen has no place; one that is hidden is carried on.
            share = _SHARES[name] * np.isfinite(person.whole.seen_at[members])
            if not share.any():
                continue
            anchor = share @ person.whole.place[members] / share.sum()
            own = options.face_hz if name == "face" else options.hand_hz
            memory.update(
                points[part] - anchor,
                trust[part],
                seen[part],
                time,
                step,
                np.full(_length(name), effective_hz(own, options.strength)),
                speed[part],
                size,
                options.part_speed_gain,
                options,
            )
            place[part] = memory.place + anchor
        return place
