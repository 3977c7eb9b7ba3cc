"""How pictures are worked on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .search import ROUNDS

ORDERS: Final = ("left-to-right", "size", "score", "given")


@dataclass(frozen=True)
class PoseOptions:
    """How pictures are worked on; the keyword arguments of `DWPose.pose`.

    Attributes:
        flip_test: also look at mirror images and average; slower, a little more accurate. None
            does so with pose networks of the built-in's kind alone.
        order: "left-to-right" (of box centres), "size" (largest box first), "score" (best pose
            first) or "given" (as boxes came). "auto" is "given" for boxes and masks of the
            caller and "left-to-right" for those that were found.
        max_people: keep the first so many of the order; None keeps all.
        nms_threshold: of two poses more alike than this OKS (0..1) the better stays; None keeps
            all. "auto" is None for boxes and masks of the caller, so that each gets its answer,
            and 0.9 for those that were found.
        score_threshold: the detector's threshold instead of its own; 0..1.
        detector_fallback: where the detector finds nobody, look at the whole picture. None is off,
            because a pose network finds people in clouds; but the built-in detector misses
            people, and then None searches from its boxes and the whole picture in any case.
        rounds: without a detector or with the built-in one, how often to crop again around what
            was found; 0 looks at the whole picture once, as DWPose's own scripts do.
        second_look: look again, closer, at hands and faces that are small in the first crop, and
            keep what is surer (see `second_look.look_again`); up to three more crops a person.

    Raises:
        ValueError: a value is outside the above.
    """

    flip_test: bool | None = None
    order: str = "auto"
    max_people: int | None = None
    nms_threshold: float | str | None = "auto"
    score_threshold: float | None = None
    detector_fallback: bool | None = None
    rounds: int = ROUNDS
    second_look: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if self.order not in ("auto", *ORDERS):
            raise ValueError(f"order must be auto, {', '.join(ORDERS)}, got {self.order!r}")
        if self.max_people is not None and self.max_people < 1:
            raise ValueError(f"max_people must be at least 1 or None, got {self.max_people}")
        limit = self.nms_threshold
        if limit not in ("auto", None) and (isinstance(limit, str) or not 0 <= limit <= 1):
            raise ValueError(f"nms_threshold must be in 0..1, None or auto, got {limit!r}")
        if self.rounds < 0:
            raise ValueError(f"rounds must not be negative, got {self.rounds}")
