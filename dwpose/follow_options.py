"""How people are followed through films, and what the work was."""

from __future__ import annotations

from dataclasses import dataclass, field

from .tracking import TrackOptions
from .watching import WatchOptions


@dataclass(frozen=True)
class FollowOptions:
    """How people are followed; the head of `following` says what the numbers do.

    Attributes:
        batch: look at each frame, with the detector, and at so many frames together, which a GPU
            wants, see `batch_following`; strides, the detector's pauses, margins and filling do
            not count then. 0 follows boxes.
        stride, stride_near: a key frame every so many frames; what comes out is as many late.
        detect_every: most frames between two runs of the detector.
        detect_pause: least frames between runs that something gave rise to.
        confidence_drop: 0..1.
        min_body_points: confident body points that a person has at least, or
        min_points: confident points anywhere (a face or a hand alone).
        margin: of a box around the points before a detector's is known, as a share of the
            longer side; keypoints end at the eyes and ankles.
        max_margin: the most that is learned from a detector's box.
        nms_threshold: OKS, 0..1.
        max_people: keep the surest so many of a frame; all when None.
        lost_s: seconds that somebody lost is looked for in each key frame.
        fill_tolerance: how far a path may bend between key frames, see `filling.fill_between`.
            With it filled points were as near to the truth as estimated ones on made-up clips.
        watch: when pictures have changed.
        track: who is who.

    Raises:
        ValueError: a number is out of its range.
    """

    batch: int = 0
    stride: int = 4
    stride_near: int = 2
    detect_every: int = 60
    detect_pause: int = 3
    confidence_drop: float = 0.6
    min_body_points: int = 3
    min_points: int = 12
    margin: float = 0.1
    max_margin: float = 0.35
    nms_threshold: float = 0.7
    max_people: int | None = None
    lost_s: float = 0.4
    fill_tolerance: float = 0.004
    watch: WatchOptions = field(default_factory=WatchOptions)
    track: TrackOptions = field(default_factory=TrackOptions)

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in (
            "stride",
            "stride_near",
            "detect_every",
            "detect_pause",
            "min_body_points",
            "min_points",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("confidence_drop", "nms_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0..1, got {getattr(self, name)}")
        for name in ("batch", "margin", "max_margin", "lost_s", "fill_tolerance"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclass
class FollowCounts:
    """What the work was.

    Attributes:
        frames, filled: yielded; of those, not estimated.
        detections, crops: runs of the detector; poses estimated.
        cuts: scenes that ended.
    """

    frames: int = 0
    filled: int = 0
    detections: int = 0
    crops: int = 0
    cuts: int = 0
