"""From followed poses to finished ones: mend what cannot be, steady, fill gaps.

`refine` has the whole clip in memory, `refine_long` a window of it (for films of any length), and
`StreamRefiner` only the past (for cameras). All three do the same two things in the same order,
`sanity` before smoothing, and either can be switched off.

Shapes: P people of one frame, 133 points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .one_euro import OneEuroOptions, StreamSmoother
from .sanity import SanityOptions, check_people, check_sequence
from .skeleton import NUM_KEYPOINTS
from .smoothing import SmoothingOptions, smooth_sequence
from .types import People

Mask = npt.NDArray[np.bool_]

DEFAULT_SANITY: Final = SanityOptions()
DEFAULT_SMOOTHING: Final = SmoothingOptions()
DEFAULT_STREAM_SMOOTHING: Final = OneEuroOptions()

# Frames that `refine_long` finishes at a time, and how many it looks at before and after them.
# A smoothing spline of 3 Hz forgets in a tenth of a second; 150 frames are 2.5 s at 60 fps.
CORE: Final = 900
MARGIN: Final = 150


@dataclass(frozen=True)
class Refined:
    """A finished sequence.

    Attributes:
        people: one `People` a frame. People who were missing for a moment and filled in stand
            after the others.
        filled: bool [P, 133] a frame: not seen, but filled from the frames around.
        removed: bool [P, 133] a frame: score set to 0 by the sanity checks.
    """

    people: list[People]
    filled: list[Mask] = field(repr=False)
    removed: list[Mask] = field(repr=False)


def refine(
    frames: Sequence[People],
    times: Sequence[float] | npt.NDArray[Any] | None = None,
    *,
    fps: float = 25.0,
    cuts: Iterable[int] = (),
    sanity: SanityOptions | None = DEFAULT_SANITY,
    smoothing: SmoothingOptions | None = DEFAULT_SMOOTHING,
) -> Refined:
    """Mend and steady a whole clip, without lag.

    Args:
        frames: the clip, tracked; one person alone needs no id.
        times: seconds of each frame; made from `fps` when None.
        fps: frames per second.
        cuts: numbers of frames that begin a new shot. People who were followed through a film
            get new ids there anyway.
        sanity: which checks; None checks nothing.
        smoothing: how strongly, and which gaps are filled; None does neither.

    Returns:
        as many frames, everybody with an id.

    Raises:
        ValueError: ids are missing or double, or times do not rise.
    """
    shots = list(cuts)
    people = list(frames)
    removed = [np.zeros((len(p), NUM_KEYPOINTS), bool) for p in people]
    filled = [mask.copy() for mask in removed]
    if sanity is not None:
        checked = check_sequence(people, times, fps=fps, cuts=shots, options=sanity)
        people, removed = checked.people, checked.removed
    if smoothing is not None:
        steady = smooth_sequence(people, times, fps=fps, cuts=shots, options=smoothing)
        people, filled = steady.people, steady.filled
        # Whoever was filled in comes after the others, and nothing of theirs was removed.
        removed = [
            np.concatenate((mask & ~own[: len(mask)], np.zeros_like(own[len(mask) :])))
            for mask, own in zip(removed, filled, strict=True)
        ]
    return Refined(people, filled, removed)


def refine_long(
    frames: Iterable[tuple[float, People]],
    *,
    sanity: SanityOptions | None = DEFAULT_SANITY,
    smoothing: SmoothingOptions | None = DEFAULT_SMOOTHING,
    core: int = CORE,
    margin: int = MARGIN,
) -> Iterator[tuple[People, Mask]]:
    """Mend and steady a film of any length with the memory of a window.

    A film of up to `core + margin` frames comes out as from `refine`. In longer ones each window
    of `core` frames is worked on with `margin` frames before and after it.

    Args:
        frames: time in seconds and people of each frame, tracked.
        sanity: which checks; None checks nothing.
        smoothing: how strongly; None does nothing.
        core: frames finished at a time, at least 1.
        margin: frames looked at on both sides, at least 0.

    Yields:
        for each frame the people, and bool [P, 133], what was filled in.

    Raises:
        ValueError: ids are missing or double, times do not rise, or a number is out of range.
    """
    if core < 1 or margin < 0:
        raise ValueError(f"core must be at least 1 and margin 0 or more, got {core} and {margin}")
    before = 0  # frames of the window that are finished already
    window: list[tuple[float, People]] = []

    def finish(count: int) -> Iterator[tuple[People, Mask]]:
        times = [time for time, _ in window]
        people = [own for _, own in window]
        done = refine(people, times, sanity=sanity, smoothing=smoothing)
        chosen = slice(before, before + count)
        yield from zip(done.people[chosen], done.filled[chosen], strict=True)

    for frame in frames:
        window.append(frame)
        if len(window) == before + core + margin + 1:
            # One frame more than the window shows that the film goes on; it only counts as margin.
            yield from finish(core)
            kept = min(margin, before + core)
            del window[: before + core - kept]
            before = kept
    if len(window) > before:
        yield from finish(len(window) - before)


class StreamRefiner:
    """Mend and steady a stream, frame by frame, knowing only the past.

    Args:
        sanity: which checks, each frame by itself; None checks nothing.
        smoothing: how strongly; None does nothing.

    Attributes:
        filled: bool [P, 133] of the latest frame: points not seen that are held for a moment.
    """

    def __init__(
        self,
        sanity: SanityOptions | None = DEFAULT_SANITY,
        smoothing: OneEuroOptions | None = DEFAULT_STREAM_SMOOTHING,
    ) -> None:
        self.sanity = sanity
        self._smoother = None if smoothing is None else StreamSmoother(smoothing)
        self.filled: Mask = np.zeros((0, NUM_KEYPOINTS), bool)

    def update(self, people: People, time_s: float, *, cut: bool = False) -> People:
        """Finish the next frame.

        Args:
            people: tracked; one person alone needs no id.
            time_s: seconds; later than that of the frame before.
            cut: this frame begins a new shot.

        Returns:
            the same people in the same order.

        Raises:
            ValueError: ids are missing or double, or time does not rise.
        """
        if self.sanity is not None:
            people = check_people(people, self.sanity)
        if self._smoother is None:
            self.filled = np.zeros((len(people), NUM_KEYPOINTS), bool)
            return people
        people = self._smoother.update(people, time_s, cut=cut)
        self.filled = self._smoother.filled
        return people
