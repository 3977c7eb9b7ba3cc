"""Times that rise."""

from __future__ import annotations

from fractions import Fraction

import pytest

from dwpose.io.clock import RisingTimes


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ([5, 45, 130, 135], [5, 45, 130, 135]),
        ([None, None, 90, None], [0, 40, 90, 130]),
        ([0, 40, 40, 39, 80], [0, 40, 41, 42, 80]),
        # Three films one behind the other, and a frame of the last that has no time.
        (
            [0, 400, 800, 0, 400, 800, 10, None, 90],
            [0, 400, 800, 840, 1240, 1640, 1680, 1720, 1760],
        ),
    ],
)
def test_times_rise(said, taken):
    times = RisingTimes(40, Fraction(1, 1000))
    assert [times.next(ticks) for ticks in said] == taken
