"""Who is who from frame to frame: ids by pose likeness and box overlap.

Why a small tracker of our own. Kept libraries were looked at in November 2026: supervision's
ByteTrack and motpy compare boxes alone, so that two people who cross swap ids although their
limbs differ; norfair compares points but forces an old NumPy; each brings scipy, for one call of
an assignment that has at most some ten rows here. What multi-object trackers are good at, sorting
a detector's noise, does not occur: our people come from their own last pose, and a detector runs
now and then. What is left is prediction, one likeness, one assignment and a memory, all below.

Shapes: P people of a frame, N tracks, K = 133 keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from .people import pose_boxes, similarity
from .skeleton import BODY, SIGMAS
from .types import DEFAULT_THRESHOLD, Boxes, People

Array: TypeAlias = npt.NDArray[Any]

# A track's velocity is the mean of the last step and what was known before, in equal shares: one
# jittery pose moves the prediction by half, and a turn is followed within three frames.
_NEW_SHARE: Final = 0.5
# Nobody moves on for ever: the velocity of somebody unseen falls to 37 % in this many seconds.
_COAST_S: Final = 0.4
# A hidden point's score falls to 37 % in this many seconds.
_FADE_S: Final = 0.5
_FEWEST_SHARED: Final = 3
# Spread of OKS (in its sigmas) between a prediction and what is seen a frame later.
_SHARP: Final = 1.5
# Weight of what somebody looks like against where they are, for tracks that were out of sight.
_LOOKS_SHARE: Final = 0.5
_LOOKS_NEW_SHARE: Final = 0.1
# Below this share of `min_looks` clothes are others'.
_OTHER_LOOKS: Final = 0.5
_HUES, _SATURATIONS, _VALUES = 8, 4, 4
_LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_HIP, _RIGHT_HIP = 5, 6, 11, 12


@dataclass(frozen=True)
class TrackOptions:
    """How people are recognised from frame to frame.

    Attributes:
        min_similarity: least likeness (0..1) to the predicted pose, see `likeness`, to be the same
            person.
        sure_s: the likeness of somebody unseen counts in full for so many seconds, half after
            twice as many, a third after three times. Where the lost ought to be is a guess:
            counted in full, two poor pairs outweigh a sure and a poor one, and those who hide one
            another exchange ids when the hidden one shows again.
        keep_s: seconds that somebody unseen is waited for where they would have moved to.
        reentry_s: seconds that somebody who is gone for longer is known by their clothes; 0
            gives everybody a new id instead.
        min_looks: least likeness (0..1) of the torso's colours for that.
        threshold: least raw score of a visible point.

    Raises:
        ValueError: a number is out of its range.
    """

    min_similarity: float = 0.15
    sure_s: float = 0.1
    keep_s: float = 1.0
    reentry_s: float = 10.0
    min_looks: float = 0.6
    threshold: float = DEFAULT_THRESHOLD

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("min_similarity", "min_looks"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0..1, got {getattr(self, name)}")
        if not self.sure_s > 0:
            raise ValueError(f"sure_s must be above 0 seconds, got {self.sure_s}")
        for name in ("keep_s", "reentry_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0 seconds, got {getattr(self, name)}")


@dataclass
class Track:
    """One person.

    Attributes:
        id: never given again.
        person: as last seen, one person; points hidden for a moment are moved along.
        box: float64 [4] xyxy, around the visible points of `person`.
        velocity: float64 [2] px/s.
        time_s: when last seen.
        looks: float32 [n] colours of the torso, or None while unknown.
        steps: how many steps the velocity comes from.
    """

    id: int
    person: People
    box: Array
    velocity: Array
    time_s: float
    looks: Array | None = None
    steps: int = 0

    def moved_by(self, time_s: float) -> Array:
        """Return float64 [2], the way in pixels from where they were seen to where they are."""
        ahead = max(time_s - self.time_s, 0.0)
        # The integral of a velocity that dies away: about `ahead` at first, `_COAST_S` at most.
        return self.velocity * (_COAST_S * (1 - np.exp(-ahead / _COAST_S)))

    def box_at(self, time_s: float) -> Array:
        """Return float64 [4], the box moved on to another time."""
        return self.box + np.tile(self.moved_by(time_s), 2)

    def is_inside(self, image_hw: tuple[int, ...], time_s: float) -> bool:
        """Tell whether some of the box is in the picture at another time."""
        left, top, right, bottom = self.box_at(time_s)
        return bool(right > 0 and bottom > 0 and left < image_hw[1] and top < image_hw[0])

    def person_at(self, time_s: float) -> People:
        """Return the person moved on to another time with their box."""
        boxes = Boxes(self.box_at(time_s)[None], self.person.boxes.scores)
        moved = self.person.keypoints + self.moved_by(time_s)
        return People(moved, self.person.scores, boxes, self.person.image_hw)


class Tracker:
    """Gives everybody an id and remembers them.

    Args:
        options: the numbers.

    Attributes:
        tracks: everybody who is remembered, in the order of their ids.
    """

    def __init__(self, options: TrackOptions | None = None) -> None:
        self.options = options or TrackOptions()
        self.tracks: list[Track] = []
        self._next_id = 0
        self._last_s: float | None = None

    def update(
        self, people: People, time_s: float, image: npt.NDArray[np.uint8] | None = None
    ) -> People:
        """Recognise the people of the next frame.

        Args:
            people: the frame's people; track ids that they have are ignored.
            time_s: the frame's time in seconds, later than the one before.
            image: uint8 [H, W, 3] RGB, to remember clothes by; ids survive long gaps with it.

        Returns:
            the same people with track ids, in their order.
        """
        options = self.options
        longest = max(options.keep_s, options.reentry_s)
        self.tracks = [t for t in self.tracks if time_s - t.time_s <= longest]
        looks = [torso_colours(image, people[i], options.threshold) for i in range(len(people))]
        ids = np.full(len(people), -1, np.int64)
        likely = self._likely(people, time_s, looks)
        self._last_s = time_s
        for row, column in assign(likely):
            if likely[row, column] > 0:
                ids[column] = self.tracks[row].id
                self._see(self.tracks[row], people[column], time_s, looks[column])
        for i in np.flatnonzero(ids < 0):
            ids[i] = self._next_id
            self._start(self._next_id, people[int(i)], time_s, looks[i])
        return replace(people, track_ids=ids)

    def state(self) -> dict[str, Any]:
        """Return all that is remembered, as `restore` takes it: arrays, People and numbers."""
        tracks = [{f.name: getattr(t, f.name) for f in fields(Track)} for t in self.tracks]
        return {"next_id": self._next_id, "last_s": self._last_s, "tracks": tracks}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another tracker was when `state` was called."""
        self._next_id, self._last_s = state["next_id"], state["last_s"]
        self.tracks = [Track(**track) for track in state["tracks"]]

    def forget(self) -> None:
        """Start anew after a cut: nobody is remembered, ids go on counting."""
        self.tracks = []

    def seen_at(self, time_s: float) -> list[Track]:
        """Tracks that were seen at exactly this time."""
        return [t for t in self.tracks if t.time_s == time_s]

    def _start(self, number: int, person: People, time_s: float, looks: Array | None) -> None:
        box = pose_boxes(person, self.options.threshold)[0].astype(np.float64)
        self.tracks.append(Track(number, person, box, np.zeros(2), time_s, looks))
        self._next_id = max(self._next_id, number + 1)

    def _see(self, track: Track, person: People, time_s: float, looks: Array | None) -> None:
        old, threshold = track.person, self.options.threshold
        box = pose_boxes(person, threshold)[0].astype(np.float64)
        seen, passed = person.visible(threshold)[0], time_s - track.time_s
        both = seen & old.visible(threshold)[0]
        # Of points seen twice: a box also moves where somebody is half hidden.
        step = (box[:2] + box[2:] - track.box[:2] - track.box[2:]) / 2
        if both.sum() >= _FEWEST_SHARED:
            step = np.median((person.keypoints - old.keypoints)[0, both], axis=0)
        if 0 < passed <= self.options.keep_s:
            track.velocity = (
                _NEW_SHARE * step / passed + (1 - _NEW_SHARE) * track.velocity
                if track.steps
                else step / passed
            )
            track.steps += 1
        elif passed > 0:
            track.velocity, track.steps = np.zeros(2), 0  # the way over a long gap is a guess
        # What is hidden now moves with the rest, and is believed for a while.
        faded = old.scores * np.float32(np.exp(-max(passed, 0.0) / _FADE_S))
        track.person = People(
            np.where(seen[:, None], person.keypoints, old.keypoints + step),
            np.where(seen, person.scores, np.maximum(faded, person.scores)),
            person.boxes,
            person.image_hw,
        )
        track.box = pose_boxes(track.person, threshold)[0].astype(np.float64)
        track.time_s = time_s
        if looks is not None:
            known = looks if track.looks is None else track.looks
            track.looks = (1 - _LOOKS_NEW_SHARE) * known + _LOOKS_NEW_SHARE * looks

    def _likely(self, people: People, time_s: float, looks: list[Array | None]) -> Array:
        """Likeness float64 [N, P] of tracks and people; 0 where they cannot be the same."""
        options = self.options
        if not (self.tracks and len(people)):
            return np.zeros((len(self.tracks), len(people)))
        # Where they were counts as well as where they should be: people stop.
        guesses = [_together([t.person_at(time_s) for t in self.tracks])]
        guesses += [_together([t.person for t in self.tracks])]
        near = np.maximum(*(likeness(g, people, options.threshold) for g in guesses))
        gap = np.array([time_s - t.time_s for t in self.tracks])[:, None]
        near = np.where((near >= options.min_similarity) & (gap <= options.keep_s), near, 0)
        since = np.array([(self._last_s or 0.0) - t.time_s for t in self.tracks])[:, None]
        near = near * options.sure_s / np.maximum(since, options.sure_s)
        alike = np.array([[_intersection(t.looks, own) for own in looks] for t in self.tracks])
        # Whoever was there in the frame before needs no clothes to be known.
        away = (since > 0) & np.isfinite(alike)
        alike = np.nan_to_num(alike)
        mixed = (1 - _LOOKS_SHARE) * near + _LOOKS_SHARE * alike
        likely = np.where(away & (near > 0), mixed, near)
        # Other clothes are somebody else, who came out where the first one hid.
        likely = np.where(away & (alike < _OTHER_LOOKS * options.min_looks), 0, likely)
        # Anywhere else, by clothes alone, and after everybody who is near somewhere.
        again = away & (near == 0) & (alike >= options.min_looks) & (gap <= options.reentry_s)
        return np.where(again, 0.01 * alike, likely)


def likeness(guess: People, people: People, threshold: float) -> Array:
    """Return float64 [N, P], the mean of `people.similarity` and a sharper likeness of limbs.

    The first finds people after a jump; the second tells apart those who stand in one place.
    """
    near = similarity(guess, people, threshold).astype(np.float64)
    seen = guess.visible(threshold)[:, None, BODY] & people.visible(threshold)[None, :, BODY]
    size = pose_boxes(guess, threshold).astype(np.float64)
    area = np.maximum((size[:, 2:] - size[:, :2]).prod(axis=1), 1.0)[:, None, None]
    away = guess.keypoints[:, None, BODY].astype(np.float64) - people.keypoints[None, :, BODY]
    spread = 2 * area * np.square(2 * _SHARP * SIGMAS[BODY].astype(np.float64))
    alike = np.where(seen, np.exp(-np.square(away).sum(axis=-1) / spread), 0.0).sum(axis=-1)
    count = seen.sum(axis=-1)
    return np.where(count >= _FEWEST_SHARED, (near + alike / np.maximum(count, 1)) / 2, near)


def _together(single: list[People]) -> People:
    """Put people of several frames into one."""
    return People(
        np.concatenate([p.keypoints for p in single]),
        np.concatenate([p.scores for p in single]),
        Boxes(np.concatenate([p.boxes.xyxy for p in single])),
        single[0].image_hw,
    )


def torso_colours(
    image: npt.NDArray[np.uint8] | None, person: People, threshold: float = DEFAULT_THRESHOLD
) -> Array | None:
    """Share of each colour between shoulders and hips.

    Args:
        image: uint8 [H, W, 3] RGB, or None.
        person: one person.
        threshold: least raw score of shoulders and hips; without hips, the upper chest is taken.

    Returns:
        float32 [128], 8 hues by 4 saturations by 4 values, sum 1; None where the torso is not
        seen.
    """
    if image is None:
        return None
    seen, points = person.visible(threshold)[0], person.keypoints[0]
    if not (seen[_LEFT_SHOULDER] and seen[_RIGHT_SHOULDER]):
        return None
    shoulders = points[[_LEFT_SHOULDER, _RIGHT_SHOULDER]]
    if seen[_LEFT_HIP] and seen[_RIGHT_HIP]:
        corners = np.concatenate((shoulders, points[[_LEFT_HIP, _RIGHT_HIP]]))
    else:
        across = shoulders[0] - shoulders[1]
        corners = np.concatenate(
            (shoulders, shoulders + np.array((0, 0.8)) * float(np.hypot(*across)))
        )
    if not np.isfinite(corners).all():
        return None
    limit = (image.shape[1], image.shape[0])
    left, top = np.clip(corners.min(axis=0), 0, limit).astype(int)
    right, bottom = np.clip(corners.max(axis=0), 0, limit).astype(int)
    if right - left < 2 or bottom - top < 4:
        return None
    step = max(int(np.sqrt((right - left) * (bottom - top) / 1024)), 1)
    patch = np.ascontiguousarray(image[top:bottom:step, left:right:step])
    hsv = cv2.cvtColor(patch, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist(
        [hsv], [0, 1, 2], None, [_HUES, _SATURATIONS, _VALUES], [0, 180, 0, 256, 0, 256]
    ).reshape(-1)
    return counts / max(float(counts.sum()), 1.0)


def _intersection(a: Array | None, b: Array | None) -> float:
    return float("nan") if a is None or b is None else float(np.minimum(a, b).sum())


def assign(likeness: Array) -> list[tuple[int, int]]:
    """Pair rows with columns so that the sum of their likeness is largest (Hungarian method).

    Args:
        likeness: float [N, M], finite.

    Returns:
        min(N, M) pairs of row and column, by row. Pairs of likeness 0 are among them.
    """
    if likeness.shape[0] > likeness.shape[1]:
        return sorted((row, column) for column, row in assign(likeness.T))
    rows, columns = likeness.shape
    cost = -np.asarray(likeness, np.float64)
    # Shortest augmenting paths with potentials; index 0 of the columns is the row in search.
    row_gain, column_gain = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.zeros(columns + 1, np.int64)
    for row in range(1, rows + 1):
        owner[0] = row
        column = 0
        slack, way = np.full(columns + 1, np.inf), np.zeros(columns + 1, np.int64)
        done = np.zeros(columns + 1, bool)
        while owner[column]:
            done[column] = True
            current = owner[column]
            reduced = cost[current - 1] - row_gain[current] - column_gain[1:]
            better = ~done[1:] & (reduced < slack[1:])
            slack[1:][better], way[1:][better] = reduced[better], column
            following = 1 + int(np.argmin(np.where(done[1:], np.inf, slack[1:])))
            least = slack[following]
            row_gain[owner[done]] += least
            column_gain[done] -= least
            slack[~done] -= least
            column = following
        while column:
            owner[column] = owner[way[column]]
            column = int(way[column])
    pairs = [(int(owner[c]) - 1, c - 1) for c in range(1, columns + 1) if owner[c]]
    return sorted(pairs)
