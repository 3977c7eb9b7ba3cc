"""Painting: shapes that are drawn together look as if they were drawn one by one."""

import cv2
import numpy as np
import pytest

from dwpose.render.draw import paint
from dwpose.render.layout import Shapes
from dwpose.render.styles import DWPOSE


@pytest.mark.parametrize("radius", [1, 2, 3, 4, 7, 20])
def test_equal_dots_are_opencv_circles_also_where_the_border_cuts_them(radius):
    centres = np.random.default_rng(radius).uniform(-15, 75, (80, 2))
    colour = (10, 200, 90, 255)
    expected = np.zeros((60, 50, 3), np.uint8)
    for x, y in centres.astype(int).tolist():
        cv2.circle(expected, (x, y), radius, colour, cv2.FILLED)
    canvas = np.zeros_like(expected)
    sizes = [radius] * len(centres)
    paint(canvas, [Shapes("dot", "face", centres, sizes, np.array([colour]))], DWPOSE)
    np.testing.assert_array_equal(canvas, expected)
