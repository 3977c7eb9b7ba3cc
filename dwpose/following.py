"""Follow people through a film: boxes from poses, the detector only where something happens.

The rules, in their order, all numbers in `FollowOptions`:

1. A cut (`watching`) ends all tracks; the new scene starts with the detector.
2. Of `stride` frames one is a key frame, whose poses are estimated; of `stride_near` where people
   touch, who may hide each other. The others are filled in where everybody moves evenly; else the
   middle one is estimated too, and each half is filled or halved again (`filling.complete`). A
   stride of 1 estimates each frame, and nothing waits for a later one.
3. On a key frame each known person's box is that of their last pose, moved on by their velocity,
   with the margins that the detector's box last had around the visible points.
4. The detector runs too where nobody was looked for yet, every `detect_every` frames, when
   something moves outside everybody's boxes, and when a pose is lost or its confidence falls
   below `confidence_drop` of what it was. The last two wait `detect_pause` frames after a detector
   run; motion that turned out to be nobody, and people who stay lost, double their own wait, up
   to `detect_every`.
5. Poses that say the same are one person (OKS above `nms_threshold`): a box may have slipped to
   somebody in front. Poses with too few confident points are nobody.
6. `tracking` gives ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .filling import complete, expect_between, recognise
from .follow_options import FollowCounts, FollowOptions
from .geometry import iou_matrix, oks_nms
from .io.frames import Frame
from .people import pose_boxes
from .skeleton import BODY
from .tracking import Track, Tracker
from .types import Boxes, People
from .watching import Watch

Array: TypeAlias = npt.NDArray[Any]
Detect: TypeAlias = Callable[[Sequence[Any]], list[Boxes]]
Estimate: TypeAlias = Callable[[Sequence[Any], Sequence[Boxes]], list[People]]

# Share of the last confidence in its running mean.
_CONFIDENCE_SHARE: Final = 0.2
# A detected box and a predicted one that overlap so are the same person.
_SAME_BOX: Final = 0.4


@dataclass
class _Known:
    """What is remembered of a track besides where it is."""

    margins: Array  # float64 [4], left, top, right, bottom, shares of the longer side
    confidence: float


class Follower:
    """Follows the people of one film by their boxes; `batch_following` looks at each frame instead.

    Args:
        detect: finds people: pictures to boxes.
        estimate: pictures and boxes to poses, as `estimator.Estimator`.
        options: the numbers.

    Attributes:
        counts: what the work was so far.
        settled: number of the last frame after which nothing waits, so that somebody else could
            go on there with `state`; None before the first.
    """

    def __init__(
        self, detect: Detect, estimate: Estimate, options: FollowOptions | None = None
    ) -> None:
        self.detect = detect
        self.estimate = estimate
        self.options = options or FollowOptions()
        self.counts = FollowCounts()
        self.settled: int | None = None
        self._tracker = Tracker(self.options.track)
        self._watch = Watch(self.options.watch)
        self._known: dict[int, _Known] = {}
        self._last_detection: int | None = None
        self._entry_pause = self._search_pause = self.options.detect_pause
        # The last two key frames, for filling in.
        self._keys: list[tuple[float, People]] = []

    def state(self) -> dict[str, Any]:
        """Return all that is remembered, right after a frame that `settled` names was yielded."""
        return {
            "tracker": self._tracker.state(),
            "watch": self._watch.state(),
            "known": [[i, k.margins, k.confidence] for i, k in self._known.items()],
            "last_detection": self._last_detection,
            "pauses": [self._entry_pause, self._search_pause],
            "keys": [list(key) for key in self._keys],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on after the frame at which another follower's `state` was taken."""
        self._tracker.restore(state["tracker"])
        self._watch.restore(state["watch"])
        self._known = {i: _Known(margins, sure) for i, margins, sure in state["known"]}
        self._last_detection = state["last_detection"]
        self._entry_pause, self._search_pause = state["pauses"]
        self._keys = [(time_s, people) for time_s, people in state["keys"]]

    def follow(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, People]]:
        """Yield each frame with its people and their ids, at most `stride` frames late."""
        waiting: list[Frame] = []
        for frame in frames:
            if self._watch.is_cut(frame.image):
                yield from self._finish(waiting, None)
                waiting = []
                self._start_scene()
            waiting.append(frame)
            if self._keys and len(waiting) < self._stride():
                continue
            yield from self._finish(waiting[:-1], waiting[-1])
            waiting = []
        yield from self._finish(waiting, None)

    def _stride(self) -> int:
        """Frames to the next key frame."""
        boxes = self._keys[-1][1].boxes.xyxy
        near = np.triu(iou_matrix(boxes, boxes), 1).any()
        return min(self.options.stride_near, self.options.stride) if near else self.options.stride

    def _start_scene(self) -> None:
        self.counts.cuts += 1
        self._tracker.forget()
        self._watch.forget()
        self._known.clear()
        self._keys = []
        self._last_detection = None

    def _finish(self, between: list[Frame], key: Frame | None) -> Iterator[tuple[Frame, People]]:
        """Yield frames between two key frames, and the second one."""
        if key is None:  # nothing follows: each is its own key frame
            for frame in between:
                yield self._counted(frame, self._look(frame, watched=False))
            return
        before = self._keys[-1] if self._keys else None
        people = self._look(key)
        if between and before is not None:
            found, filled = complete(
                self._keys[:-1],
                (key.time_s, people),
                [frame.time_s for frame in between],
                self.options.fill_tolerance,
                partial(self._estimate_between, between, before, (key.time_s, people)),
            )
            self.counts.filled += filled
            for frame, own in zip(between, found, strict=True):
                yield self._counted(frame, own)
        self.settled = key.index
        yield self._counted(key, people)

    def _counted(self, frame: Frame, people: People) -> tuple[Frame, People]:
        self.counts.frames += 1
        return frame, people

    def _look(self, frame: Frame, watched: bool = True) -> People:
        """Estimate one frame, with or without the detector.

        Args:
            frame: the frame.
            watched: it is the one that `Watch` saw last.
        """
        options, watch = self.options, self._watch
        looked_for = self._looked_for(frame)
        predicted = [self._box(track, frame.time_s) for track in looked_for]
        boxes = Boxes(np.array(predicted).reshape(-1, 4))
        since = frame.index - (-(10**9) if self._last_detection is None else self._last_detection)
        moved = watched and watch.moves_outside(boxes.xyxy)
        entry = moved and since >= self._entry_pause
        search = self._is_somebody_lost(frame) and since >= self._search_pause
        if not entry and not search and since < options.detect_every:
            people = self._credible(self._poses(frame, boxes))
            if since < options.detect_pause or not self._fell(people, frame.time_s, looked_for):
                return self._take(frame, people)
        found = self.detect([frame.image])[0]
        self.counts.detections += 1
        self._last_detection = frame.index
        both = _joined(found, boxes)
        people = self._credible(self._poses(frame, both))
        if entry:
            longer = min(2 * self._entry_pause, options.detect_every)
            news = len(people) > len(looked_for)
            self._entry_pause = options.detect_pause if news else longer
        people = self._take(frame, people)
        self._learn_margins(people, found)
        if search:
            longer = min(2 * self._search_pause, options.detect_every)
            lost = self._is_somebody_lost(frame)
            self._search_pause = longer if lost else options.detect_pause
        return people

    def _is_somebody_lost(self, frame: Frame) -> bool:
        """Tell whether somebody who ought to be in the picture was not seen of late."""
        return any(
            not self._seen_last(track)
            and frame.time_s - track.time_s <= self.options.track.keep_s
            and track.is_inside(frame.image.shape[:2], frame.time_s)
            for track in self._tracker.tracks
        )

    def _looked_for(self, frame: Frame) -> list[Track]:
        """Tracks that are worth a look at their predicted box."""
        return [
            track
            for track in self._tracker.tracks
            if track.is_inside(frame.image.shape[:2], frame.time_s)
            # Whoever was seen in the last key frame, however long ago that is.
            and (
                not self._keys
                or self._seen_last(track)
                or frame.time_s - track.time_s <= self.options.lost_s
            )
        ]

    def _box(self, track: Track, time_s: float) -> Array:
        box = track.box_at(time_s)
        known = self._known.get(track.id)
        margins = np.full(4, self.options.margin) if known is None else known.margins
        side = max(box[2] - box[0], box[3] - box[1], 1.0)
        low, high = box[:2] - margins[:2] * side, box[2:] + margins[2:] * side
        height, width = track.person.image_hw
        # As the detector's boxes, cut at the border; never empty.
        low = np.clip(low, 0, (width - 1, height - 1))
        return np.concatenate((low, np.maximum(np.clip(high, 0, (width, height)), low + 1)))

    def _poses(self, frame: Frame, boxes: Boxes) -> People:
        self.counts.crops += len(boxes)
        if not len(boxes):
            return People.empty((frame.image.shape[0], frame.image.shape[1]))
        return self.estimate([frame.image], [boxes])[0]

    def _credible(self, people: People) -> People:
        """Leave out poses that are nobody, and all but the best of several that say the same."""
        options = self.options
        seen = people.visible(options.track.threshold)
        enough = seen[:, BODY].sum(axis=1) >= options.min_body_points
        people = people[enough | (seen.sum(axis=1) >= options.min_points)]
        if len(people) < 2:
            return people
        boxes = pose_boxes(people, options.track.threshold)
        area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1.0)
        quality = people.confidence.mean(axis=1)
        kept = oks_nms(people.keypoints, quality, area, options.nms_threshold)
        return people[np.sort(kept[: options.max_people])]

    def _fell(self, people: People, time_s: float, looked_for: list[Track]) -> bool:
        """Tell whether somebody who was seen is lost, or much less sure than before."""
        sure = [t for t in looked_for if t.id in self._known and self._seen_last(t)]
        if len(people) < len(sure):
            return True
        boxes = pose_boxes(people, self.options.track.threshold)
        for track in sure:
            overlap = iou_matrix(track.box_at(time_s)[None], boxes.astype(np.float64))[0]
            confidence = float(people.confidence[int(overlap.argmax()), BODY].mean())
            if confidence < self.options.confidence_drop * self._known[track.id].confidence:
                return True
        return False

    def _seen_last(self, track: Track) -> bool:
        return bool(self._keys) and track.time_s >= self._keys[-1][0]

    def _take(self, frame: Frame, people: People) -> People:
        """Give ids, and remember a finished key frame."""
        people = self._tracker.update(people, frame.time_s, frame.image)
        for i, number in enumerate([] if people.track_ids is None else people.track_ids.tolist()):
            now = float(people.confidence[i, BODY].mean())
            known = self._known.setdefault(number, _Known(np.full(4, self.options.margin), now))
            known.confidence += _CONFIDENCE_SHARE * (now - known.confidence)
        alive = {track.id for track in self._tracker.tracks}
        self._known = {k: v for k, v in self._known.items() if k in alive}
        self._keys = [*self._keys, (frame.time_s, people)][-3:]
        return people

    def _learn_margins(self, people: People, found: Boxes) -> None:
        """Remember how much larger a detector's boxes are than their points."""
        if not len(people) or not len(found):
            return
        inner = pose_boxes(people, self.options.track.threshold).astype(np.float64)
        overlap = iou_matrix(people.boxes.xyxy, found.xyxy)
        for i, number in enumerate([] if people.track_ids is None else people.track_ids.tolist()):
            if overlap[i].max() < 0.99:
                continue  # estimated from its own prediction
            box = people.boxes.xyxy[i].astype(np.float64)
            side = max(*(inner[i, 2:] - inner[i, :2]), 1.0)
            margins = np.concatenate((inner[i, :2] - box[:2], box[2:] - inner[i, 2:])) / side
            self._known[number].margins = np.clip(margins, 0, self.options.max_margin)

    def _estimate_between(
        self,
        between: list[Frame],
        before: tuple[float, People],
        after: tuple[float, People],
        chosen: list[int],
    ) -> list[People]:
        """Estimate some frames between two finished ones, boxes and ids by interpolation."""
        frames = [between[i] for i in chosen]
        expected = [expect_between(before, after, frame.time_s) for frame in frames]
        if not len(expected[0]):
            return expected
        found = self.estimate([frame.image for frame in frames], [p.boxes for p in expected])
        self.counts.crops += sum(len(p) for p in expected)
        track = self.options.track
        return [
            recognise(own, self._credible(people), track.min_similarity, track.threshold)
            for own, people in zip(expected, found, strict=True)
        ]


def _joined(found: Boxes, predicted: Boxes) -> Boxes:
    """All boxes that were found, and those predicted that none of them is."""
    own = iou_matrix(predicted.xyxy, found.xyxy).max(axis=1, initial=0) < _SAME_BOX
    xyxy = np.concatenate((found.xyxy, predicted.xyxy[own]))
    return Boxes(xyxy, np.concatenate((found.scores, predicted.scores[own])))
