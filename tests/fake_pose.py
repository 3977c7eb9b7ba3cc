"""Networks for films, of which the truth is known."""

from __future__ import annotations

from dwpose.training.synthetic.oracle import Oracle


class FakePose:
    """The facade with stand-ins inside: an oracle of a clip, with small errors.

    Args:
        clip: the clip, of which the oracle knows the truth.
        fail_at: crops after which the work is interrupted; None for never.
        detector: whether there is one; without, whole pictures are searched.
    """

    notice = ""

    def __init__(self, clip, fail_at: int | None = None, detector: bool = True):
        self.clip, self.fail_at = clip, fail_at
        self.oracle = Oracle(clip.truth, 0.001)
        self.detector = self.oracle.detect if detector else None
        self.searches = not detector

    def __call__(self, images, **options):
        return self.oracle.estimate(images, [b[:1] for b in self.oracle.detect(images)])

    def pose(self, path):
        return self.clip.truth[5]

    def estimator(self, images, boxes, **options):
        if self.fail_at is not None and self.oracle.crops >= self.fail_at:
            raise KeyboardInterrupt
        return self.oracle.estimate(images, boxes)
