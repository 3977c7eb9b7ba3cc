"""Squares that follow a part without shaking, and crops between pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from dwpose.parts import cut_square
from dwpose.steady_crops import cut_between_pixels, steady_squares

HW = (400, 600)


def boxes(centers, side, room) -> tuple[Any, Any]:
    inner = [
        None if c is None else np.array([c[0] - side / 2, c[1] - side / 2] * 2) for c in centers
    ]
    for box in inner:
        if box is not None:
            box[2:] += side
    grow = np.array([-1, -1, 1, 1]) * side * room
    return inner, [None if box is None else box + grow for box in inner]


def squares_of(*arguments) -> Any:
    return steady_squares(*arguments)


def acceleration(squares):
    return np.abs(np.diff(np.array(squares), 2, axis=0)).mean()


def test_noise_is_gone_and_the_box_stays_inside():
    rng = np.random.default_rng(0)
    walk = [(150 + 3 * t, 200 + 40 * np.sin(t / 9)) for t in range(90)]
    noisy = [np.array(c) + rng.normal(0, 2, 2) for c in walk]
    inner, outer = boxes(noisy, 60, 0.25)
    found = squares_of(inner, outer, HW, 8)
    raw = [(b[0], b[1], b[2] - b[0]) for b in outer]
    assert acceleration(found) < 0.1 * acceleration(raw)
    for (left, top, side), box in zip(found, inner, strict=True):
        assert left <= box[0] + 1e-6
        assert top <= box[1] + 1e-6
        assert left + side >= box[2] - 1e-6
        assert top + side >= box[3] - 1e-6
        assert side < 1.2 * 90


def test_a_quick_turn_grows_the_square_smoothly():
    # There and back within four frames: the mean alone would cut the box.
    walk = [(300 + (60 * (t - 38) if 38 <= t <= 40 else 60 * max(42 - t, 0) * (t > 40)), 200)
            for t in range(80)]  # fmt: skip
    inner, outer = boxes(walk, 60, 0.1)
    found = squares_of(inner, outer, HW, 10)
    for (left, _, side), box in zip(found, inner, strict=True):
        assert left <= box[0] + 1e-6
        assert left + side >= box[2] - 1e-6
    sides = np.array([s[2] for s in found])
    assert sides[0] == pytest.approx(72)
    assert sides.max() > 100
    assert np.abs(np.diff(sides)).max() < 0.1 * (sides.max() - 72)


def test_frames_without_a_box_stay_empty_and_cuts_are_kept():
    walk = [(100, 100)] * 20 + [None] * 3 + [(100, 100)] * 10 + [(450, 300)] * 20
    inner, outer = boxes(walk, 60, 0.25)
    found = squares_of(inner, outer, HW, 12)
    assert [s is None for s in found] == [c is None for c in walk]
    assert found[32] == pytest.approx((55, 55, 90))
    assert found[33] == pytest.approx((405, 255, 90))


def test_squares_are_moved_into_the_picture():
    inner, outer = boxes([(10, 390)] * 3, 60, 0.25)
    assert steady_squares(inner, outer, HW, 2) == [pytest.approx((0, 310, 90))] * 3
    inner, outer = boxes([(300, 200)], 500, 0.0)
    assert steady_squares(inner, outer, HW, 2) == [pytest.approx((50, -50, 500))]


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="frames must be above 0"):
        steady_squares([], [], HW, 0)
    with pytest.raises(ValueError, match="size"):
        cut_between_pixels(np.zeros((4, 4), np.uint8), (0, 0, 2), 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", [48, 64, 160])
def test_whole_pixels_are_cut_as_elsewhere(dtype, size):
    rng = np.random.default_rng(1)
    picture = cv2.GaussianBlur(rng.uniform(0, 255, (120, 140, 3)), (0, 0), 3).astype(dtype)
    ours = cut_between_pixels(picture, (30.0, 40.0, 64.0), size).astype(float)
    other = cut_square(picture, (30, 40, 64), size).astype(float)
    # At the border cut_square repeats the edge, ours sees the pixels beyond it.
    assert np.abs(ours - other)[4:-4, 4:-4].max() <= 1.0


def test_half_a_pixel_moves_the_crop_by_as_much():
    picture = np.zeros((60, 60), np.float32)
    picture[28:32, 28:32] = 1

    def middle(square):
        crop = cut_between_pixels(picture, square, 160)
        assert crop.min() >= 0
        return (crop.sum(axis=0) * np.arange(160)).sum() / crop.sum()

    assert middle((10, 10, 40)) == pytest.approx(79.5, abs=0.05)
    assert middle((10.5, 10, 40)) == pytest.approx(77.5, abs=0.05)


def test_outside_is_black():
    picture = np.full((20, 30, 3), 200, np.uint8)
    crop = cut_between_pixels(picture, (-10.5, 0.0, 20.0), 40)
    assert not crop[:, :18].any()
    assert (crop[4:36, 24:] == 200).all()
