"""Look at each frame of a film, many frames together: what a GPU wants.

A GPU is fast where much is done at once, and then the detector on each frame costs less than the
waiting for one frame after another that `following` boxes needs. So frames are collected, the
detector sees them all, then the pose network all their people, in batches that span frames. What
each frame shows is what `pipeline.DWPose.iterate` finds there; ids, cuts and the rule of who is
credible are those of `following`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .following import Follower
from .io.frames import Frame
from .io.images import CHUNK_PIXELS
from .types import People


class BatchFollower(Follower):
    """Follows the people of one film, `FollowOptions.batch` frames together; see `Follower`.

    Large frames are fewer together, so that memory is bounded in pixels too. `settled` names the
    last frame of a batch: whoever goes on there makes the same batches as if nothing had happened.
    """

    def follow(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, People]]:
        """Yield each frame with its people and their ids, as soon as its batch is done."""
        together: list[Frame] = []
        pixels = 0
        for frame in frames:
            together.append(frame)
            pixels += frame.image.shape[0] * frame.image.shape[1]
            if len(together) >= self.options.batch or pixels >= CHUNK_PIXELS:
                yield from self._look_at_all(together)
                together, pixels = [], 0
        if together:
            yield from self._look_at_all(together)

    def _look_at_all(self, frames: list[Frame]) -> Iterator[tuple[Frame, People]]:
        images = [frame.image for frame in frames]
        boxes = self.detect(images)
        self.counts.detections += len(images)
        poses = self.estimate(images, boxes)
        self.counts.crops += sum(len(b) for b in boxes)
        for frame, people in zip(frames, poses, strict=True):
            # Only now, so that what is remembered is always that of the frame that is yielded.
            if self._watch.is_cut(frame.image):
                self._start_scene()
            known = self._tracker.update(self._credible(people), frame.time_s, frame.image)
            if frame is frames[-1]:
                self.settled = frame.index
            yield self._counted(frame, known)
