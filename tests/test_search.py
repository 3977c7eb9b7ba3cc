"""Which looks of a search are of one person; the search itself is tested in `test_pipeline`."""

from __future__ import annotations

import numpy as np

from dwpose.search import _different
from dwpose.types import Boxes, People


def test_two_looks_that_put_a_hand_elsewhere_are_one_person():
    points = np.random.default_rng(0).uniform(20, 180, (1, 133, 2)).astype(np.float32)
    hand = np.isin(np.arange(133), range(91, 112))[:, None]
    scores = np.full((1, 133), 0.8, np.float32)
    box = Boxes(np.array([[20, 20, 180, 180]], np.float32))
    looks = [
        People(points + move, scores - step, box, (200, 200))
        for step, move in (
            (0.0, 0.0),
            (0.1, np.where(hand, np.float32(150), np.float32(2))),  # the same, but for a hand
            (0.2, np.float32(40)),  # somebody beside
        )
    ]
    assert _different(range(3), looks, 0.3) == [0, 2]
