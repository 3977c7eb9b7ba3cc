"""Crop geometry against mmpose and onnxpose.py; overlaps against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose import geometry

SIZES = [(256, 192), (384, 288)]
# Box 5 of the fixture is 1 pixel wide: its tolerance is wider (README of the fixtures).
NARROW_BOX = 5


def assert_matrices(got, expected):
    wide = np.arange(len(expected)) != NARROW_BOX
    np.testing.assert_allclose(got[wide], expected[wide], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got[NARROW_BOX], expected[NARROW_BOX], rtol=1e-4, atol=0.2)


@pytest.fixture(scope="module")
def arrays(load_reference):
    return load_reference("affine.npz")


def areas(arrays, size_hw):
    center, padded = geometry.box_center_scale(arrays["bboxes"])
    return center, padded, geometry.fix_aspect(padded, size_hw[1] / size_hw[0])


@pytest.mark.parametrize("size_hw", SIZES)
def test_center_and_scale(arrays, size_hw):
    name = f"{size_hw[0]}x{size_hw[1]}"
    center, padded, fixed = areas(arrays, size_hw)
    np.testing.assert_allclose(center, arrays[f"{name}_center"], rtol=1e-6)
    np.testing.assert_allclose(padded, arrays[f"{name}_scale_padded"], rtol=1e-6)
    np.testing.assert_allclose(fixed, arrays[f"{name}_scale_fixed"], rtol=1e-6)
    np.testing.assert_allclose(center, arrays[f"{name}_onnx_center"], rtol=1e-6)
    np.testing.assert_allclose(fixed, arrays[f"{name}_onnx_scale"], rtol=1e-6)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("size_hw", SIZES)
def test_warp_matrices(arrays, size_hw, inverse):
    name = f"{size_hw[0]}x{size_hw[1]}"
    center, _, scale = areas(arrays, size_hw)
    expected = arrays[f"{name}_warp_inv" if inverse else f"{name}_warp"]
    for turn, rotation in enumerate(arrays["rotations"]):
        got = np.stack(
            [
                geometry.warp_matrix(c, s, size_hw[::-1], float(rotation), inverse)
                for c, s in zip(center, scale, strict=True)
            ]
        )
        assert_matrices(got, expected[:, turn])


@pytest.mark.parametrize("size_hw", SIZES)
def test_transformed_points(arrays, size_hw):
    name = f"{size_hw[0]}x{size_hw[1]}"
    got = geometry.transform_points(arrays["keypoints"][:, None], arrays[f"{name}_warp"])
    expected = arrays[f"{name}_transformed_keypoints"]
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-3)


def test_warp_matrix_refuses_an_empty_area():
    with pytest.raises(ValueError, match="width"):
        geometry.warp_matrix(np.zeros(2), np.zeros(2), (192, 256))


def test_fix_aspect_keeps_the_dtype_and_never_shrinks():
    scale = np.array([[100, 100], [10, 200], [300, 20]], np.float32)
    fixed = geometry.fix_aspect(scale, 0.75)
    assert fixed.dtype == np.float32
    assert (fixed >= scale).all()
    np.testing.assert_allclose(fixed[:, 0] / fixed[:, 1], 0.75, rtol=1e-6)


def test_iou_and_nms_by_hand():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]], np.float64)
    iou = geometry.iou_matrix(boxes, boxes)
    np.testing.assert_allclose(iou[0], [1, 1 / 3, 0, 0])
    assert iou[3, 3] == 0
    scores = np.array([0.5, 0.9, 0.7, 0.1])
    assert geometry.nms(boxes, scores, 0.3, pixel=0).tolist() == [1, 2, 3]
    assert geometry.nms(boxes, scores, 0.34, pixel=0).tolist() == [1, 2, 0, 3]
    assert geometry.nms(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


def test_oks_nms_keeps_the_better_of_two_equal_poses():
    rng = np.random.default_rng(0)
    pose = rng.uniform(0, 200, (1, 133, 2)).astype(np.float32)
    keypoints = np.concatenate((pose, pose + 0.5, pose + 90))
    area = np.full(3, 200.0 * 200.0)
    oks = geometry.oks_matrix(keypoints, area, keypoints, area)
    np.testing.assert_allclose(np.diag(oks), 1)
    np.testing.assert_allclose(oks, oks.T)
    assert oks[0, 1] > 0.9 > 0.1 > oks[0, 2]
    assert geometry.oks_nms(keypoints, np.array([0.4, 0.6, 0.5]), area).tolist() == [1, 2]


def test_letterbox_ratio_takes_the_tighter_side():
    assert geometry.letterbox_ratio((480, 640), (640, 640)) == 1.0
    assert geometry.letterbox_ratio((1080, 540), (640, 640)) == pytest.approx(640 / 1080)
