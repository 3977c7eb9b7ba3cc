"""Times that rise, of films whose own do not always."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

# A time that lies so far before the last one, in seconds, begins anew: films were put one behind
# the other. A smaller step back is a fault of one time.
RESTART_S: Final = 0.5


class RisingTimes:
    """Times of frames, each later than the one before.

    One that is not later follows by one tick, one that is missing by one mean frame. Where times
    begin anew they go on one mean frame after the last.

    Args:
        step: ticks of a mean frame.
        time_base: seconds of a tick.
    """

    def __init__(self, step: int, time_base: Fraction) -> None:
        self.step = step
        self._far = RESTART_S / time_base
        self._last: int | None = None
        self._shift = 0

    def next(self, ticks: int | None) -> int:
        """Return the time of the next frame, which says that it is at `ticks`."""
        if ticks is None:
            ticks = 0 if self._last is None else self._last + self.step
        else:
            ticks += self._shift
        if self._last is not None and self._last - ticks >= self._far:
            self._shift += self._last + self.step - ticks
            ticks = self._last + self.step
        elif self._last is not None and ticks <= self._last:
            ticks = self._last + 1
        self._last = ticks
        return ticks
