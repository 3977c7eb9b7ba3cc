"""Colours of decoded frames, whichever matrix and range their film says."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose.io.upright import upright

av = pytest.importorskip("av")

# Red, green and blue of full strength in whole numbers, by ITU-R BT.601, BT.709 and BT.2020 for
# limited range (Y 16..235, colours 16..240) and BT.709 for full range.
LIMITED, FULL = 1, 2
COLOURS = {
    ("yuv420p", 5, LIMITED): [(81, 90, 240), (145, 54, 34), (41, 240, 110)],
    ("yuv420p", 1, LIMITED): [(63, 102, 240), (173, 42, 26), (32, 240, 118)],
    ("yuv420p", 9, LIMITED): [(74, 97, 240), (164, 47, 25), (29, 240, 119)],
    ("yuv420p", 1, FULL): [(54, 99, 255), (182, 30, 12), (18, 255, 116)],
    ("yuvj420p", 1, FULL): [(54, 99, 255), (182, 30, 12), (18, 255, 116)],
}


@pytest.mark.parametrize("kind", COLOURS, ids=str)
def test_matrix_and_range_are_those_of_the_film(kind):
    name, matrix, value_range = kind
    for numbers, rgb in zip(COLOURS[kind], np.eye(3) * 255, strict=True):
        frame = av.VideoFrame(64, 48, name)
        for plane, number in zip(frame.planes, numbers, strict=True):
            plane.update(bytes([number]) * plane.buffer_size)
        frame.colorspace, frame.color_range = matrix, value_range
        image = upright(frame)
        assert image.shape == (48, 64, 3)
        assert image.dtype == np.uint8
        assert np.abs(image.astype(int) - rgb).max() <= 4


@pytest.mark.parametrize("name", ["rgb24", "bgra", "gray"])
def test_what_has_no_matrix_stays_as_it_is(name):
    grey = np.full((48, 64, 3), 77, np.uint8)
    grey[:8] = 200
    frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=name)
    frame.colorspace = 1
    assert np.abs(upright(frame).astype(int) - grey).max() <= 1
