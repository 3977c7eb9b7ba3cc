"""Boxes and masks of the caller."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose.io.boxes import boxes_of_masks, read_boxes
from dwpose.types import Boxes


def test_boxes_of_every_kind():
    given = [[1, 2, 3, 4], [5.5, 6, 7, 8]]
    for boxes in (given, np.array(given), Boxes(given), np.array(given, np.float16)):
        np.testing.assert_array_equal(read_boxes(boxes).xyxy, given)
    np.testing.assert_array_equal(read_boxes([1, 2, 3, 4]).xyxy, given[:1])
    for nothing in ([], np.zeros((0, 4)), Boxes.empty()):
        assert len(read_boxes(nothing)) == 0
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(read_boxes(torch.tensor(given)).xyxy, given)
    scored = Boxes(given, [0.5, 0.25])
    assert read_boxes(scored) is scored


@pytest.mark.parametrize(
    "boxes",
    [
        [1, 2, 3],
        [[1, 2, 3]],
        [[3, 2, 1, 4]],
        [[1, 2, 1, 4]],
        [[1, 2, np.nan, 4]],
        "boxes",
        [[1, 2, 3, 4], [1, 2]],
        None,
    ],
)
def test_wrong_boxes_are_named(boxes):
    with pytest.raises(ValueError, match=r"^mine"):
        read_boxes(boxes, "mine")


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32, "255", "torch"])
def test_masks_become_tight_boxes(kind):
    masks = np.zeros((3, 20, 30), bool)
    masks[0, 4:9, 2:12] = True
    masks[2, 19, 29] = True
    if kind == "255":
        masks = masks.astype(np.uint8) * 255
    elif kind == "torch":
        masks = pytest.importorskip("torch").from_numpy(masks).float()
    else:
        masks = masks.astype(kind)
    boxes = boxes_of_masks(masks, (20, 30))
    np.testing.assert_array_equal(boxes.xyxy, [[2, 4, 12, 9], [29, 19, 30, 20]])
    np.testing.assert_array_equal(boxes_of_masks(masks[0], (20, 30)).xyxy, [[2, 4, 12, 9]])


def test_soft_masks_count_from_one_half():
    mask = np.zeros((4, 4), np.float32)
    mask[1, 1:3] = 0.6
    mask[3] = 0.4
    np.testing.assert_array_equal(boxes_of_masks(mask, (4, 4)).xyxy, [[1, 1, 3, 2]])


def test_masks_that_were_enlarged_overshoot_one():
    mask = np.zeros((4, 4), np.float32)
    mask[1, 1:3] = 1.15
    mask[3] = -0.15
    np.testing.assert_array_equal(boxes_of_masks(mask, (4, 4)).xyxy, [[1, 1, 3, 2]])


def test_masks_that_are_not_finite_are_named():
    with pytest.raises(ValueError, match=r"^mine must be finite"):
        boxes_of_masks(np.full((4, 4), np.nan), (4, 4), "mine")


def test_no_masks_are_nobody():
    assert len(boxes_of_masks(np.zeros((0, 4, 4)), (4, 4))) == 0
    assert len(boxes_of_masks([], (4, 4))) == 0
    assert len(boxes_of_masks(np.zeros((4, 4)), (4, 4))) == 0


@pytest.mark.parametrize("shape", [(5, 4), (2, 5, 4), (4,), (1, 1, 4, 4)])
def test_wrong_masks_are_named(shape):
    with pytest.raises(ValueError, match=r"^mine.*4x4"):
        boxes_of_masks(np.ones(shape), (4, 4), "mine")
