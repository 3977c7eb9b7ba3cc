"""Masks and boxes of every kind that other packs pass."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def regions(pack):
    return pack("nodes.regions")


def test_an_empty_mask_of_load_image_means_no_mask(regions):
    assert regions.read_masks(None, 1, (10, 10)) is None
    assert regions.read_masks(torch.zeros(1, 64, 64), 1, (10, 10)) is None
    assert regions.read_masks(torch.zeros(64, 64), 2, (10, 10)) is None
    full = regions.read_masks(torch.ones(1, 64, 64), 1, (10, 12))
    assert full[0].shape == (1, 10, 12)
    assert full[0].all()
    # Zeros of the picture's own size do say that nobody is there.
    assert not regions.read_masks(torch.zeros(1, 10, 10), 1, (10, 10))[0].any()


def test_masks_are_shared_matched_or_several_people(regions):
    masks = torch.zeros(3, 8, 8)
    masks[1] = 1
    assert [m.shape for m in regions.read_masks(masks, 3, (8, 8))] == [(1, 8, 8)] * 3
    assert regions.read_masks(masks, 1, (8, 8))[0].shape == (3, 8, 8)
    assert len(regions.read_masks(masks[:1], 5, (8, 8))) == 5
    assert regions.read_masks(masks[:, None], 1, (8, 8))[0].shape == (3, 8, 8)
    with pytest.raises(ValueError, match="3 masks for 2 frames"):
        regions.read_masks(masks, 2, (8, 8))


def _corners(boxes):
    return [frame.xyxy.tolist() for frame in boxes]


def test_boxes_of_every_shape(regions):
    box, other = [1, 2, 5, 8], [0, 0, 4, 4]
    read = regions.read_bbox
    assert read(None, 2) is None
    assert _corners(read([[box], [other, box]], 2)) == [[box], [other, box]]
    assert _corners(read([box, other], 1)) == [[box, other]]
    assert _corners(read([tuple(box), tuple(other)], 2)) == [[box], [other]]
    assert _corners(read([box, other], 3)) == [[box, other]] * 3
    assert _corners(read(torch.tensor(box), 2)) == [[box], [box]]
    assert _corners(read(np.array([[box]]), 1)) == [[box]]
    assert _corners(read([], 2)) == [[], []]
    assert _corners(read([[], [box]], 2)) == [[], [box]]
    assert _corners(read([[1, 2, 4, 6]], 1, "x y width height")) == [[box]]
    named = {"x": 1, "y": 2, "width": 4, "height": 6}
    assert _corners(read([named], 1)) == [[box]]
    assert read([{**named, "score": None}], 1)[0].scores.tolist() == [1]


def test_boxes_outside_the_picture_mean_nobody(regions):
    outside = [(-9, 0, 0, 9), (0, -9, 9, 0), (20, 0, 30, 5), (0, 10, 5, 30)]
    boxes = [*outside, (-5, -5, 1, 1), (19, 9, 90, 90)]
    kept = [list(map(float, box)) for box in boxes[4:]]
    assert _corners(regions.read_bbox([boxes], 1, size_hw=(10, 20))) == [kept]
    assert len(regions.read_bbox([boxes], 1)[0]) == 6
    segments = [SimpleNamespace(bbox=box, confidence=1.0) for box in boxes]
    assert _corners(regions.read_segs(((10, 20), segments), 1, (10, 20))) == [kept]


def test_boxes_without_area_mean_nobody(regions):
    assert _corners(regions.read_bbox([(0, 0, 0, 0), (1, 1, 9, 9)], 2)) == [[], [[1, 1, 9, 9]]]


@pytest.mark.parametrize(
    "value", [3, "box", [[1, 2]], [["a"] * 4], [[[1, 2, 3]]], {"a": 1}, [None]]
)
def test_what_is_no_box_is_refused(regions, value):
    with pytest.raises(ValueError, match="boxes"):
        regions.read_bbox(value, 1)
    with pytest.raises(ValueError, match="for 2 frames"):
        regions.read_bbox([[[0, 0, 1, 1]], []], 3)
    with pytest.raises(ValueError, match="boxes must be four numbers each"):
        regions.read_bbox([{"x": None, "y": 2, "width": 4, "height": 6}], 1)


def test_boxes_survive_the_socket(regions, pack):
    types = pack("dwpose.types")
    boxes = [types.Boxes(np.array([[1, 2, 3, 4.5]], np.float32)), types.Boxes.empty()]
    assert _corners(regions.read_bbox(regions.write_boxes(boxes), 2)) == _corners(boxes)
