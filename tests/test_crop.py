"""Crops against the original scripts' crops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dwpose import crop, geometry

SIZES = [(256, 192), (384, 288)]
STD = np.array(crop.IMAGE_STD)


def assert_grey_levels(got, expected):
    """The fixtures' tolerance between OpenCV 4 and 5."""
    apart = np.abs(got - expected)
    assert apart.mean() < 0.5
    assert apart.max() <= 8


@pytest.mark.parametrize("size_hw", SIZES)
def test_normalized_crops_equal_onnxpose(load_reference, weights_by_name, size_hw):
    arrays = load_reference("affine.npz")
    name = f"{size_hw[0]}x{size_hw[1]}"
    image = weights_by_name.image_for("affine_public", 480, 640)
    boxes = arrays["bboxes"][arrays[f"{name}_onnx_crop_index"]]
    crops, inverse = crop.crop_people(image, boxes, size_hw)
    images = crop.normalize(crops)
    assert images.dtype == np.float32
    assert images.flags.c_contiguous
    got = images.transpose(0, 2, 3, 1)[:, ::4, ::4]
    suffix = "" if int(cv2.__version__.split(".")[0]) >= 5 else "_opencv4"
    assert_grey_levels(got * STD, arrays[f"{name}_onnx_crop_every4{suffix}"] * STD)
    index = arrays[f"{name}_onnx_crop_index"]
    np.testing.assert_allclose(
        inverse, arrays[f"{name}_onnx_warp_inv"][index], rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("size_hw", SIZES)
def test_turned_crops_equal_mmpose(load_reference, weights_by_name, size_hw):
    arrays = load_reference("affine.npz")
    name = f"{size_hw[0]}x{size_hw[1]}"
    image = weights_by_name.image_for("affine_public", 480, 640)
    index = arrays[f"{name}_onnx_crop_index"]
    center, scale = geometry.box_center_scale(arrays["bboxes"][index])
    scale = geometry.fix_aspect(scale, size_hw[1] / size_hw[0])
    suffix = "" if int(cv2.__version__.split(".")[0]) >= 5 else "_opencv4"
    for i in range(len(index)):
        matrix = geometry.warp_matrix(center[i], scale[i], size_hw[::-1], 25.0)
        got = cv2.warpAffine(image, matrix, size_hw[::-1], flags=cv2.INTER_LINEAR)
        expected = arrays[f"{name}_crop_every2_uint8{suffix}"][i].astype(np.float64)
        assert_grey_levels(got[::2, ::2], expected)


def test_nobody_gives_no_crops():
    crops, inverse = crop.crop_people(np.zeros((8, 8, 3), np.uint8), np.zeros((0, 4)), (256, 192))
    assert crops.shape == (0, 256, 192, 3)
    assert inverse.shape == (0, 2, 3)
    assert crop.normalize(crops).shape == (0, 3, 256, 192)


def test_a_box_without_area_is_one_pixel():
    crops, inverse = crop.crop_people(
        np.full((9, 9, 3), 7, np.uint8), np.array([[4.0, 4.0, 4.0, 4.0]]), (256, 192)
    )
    assert np.isfinite(inverse).all()
    assert crops[0, 128, 96, 0] == 7
