"""Validation, selection and emptiness of Boxes and People."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose.types import Boxes, People


def people(count, **changes):
    arrays = {
        "keypoints": np.zeros((count, 133, 2)),
        "scores": np.linspace(-0.5, 1.5, 133 * count).reshape(count, 133),
        "boxes": Boxes(np.tile([0.0, 0.0, 4.0, 5.0], (count, 1))),
        "image_hw": (10, 20),
    }
    return People(**{**arrays, **changes})


def test_nobody_is_empty_not_none():
    nobody = People.empty((3, 4))
    assert len(nobody) == 0
    assert nobody.keypoints.shape == (0, 133, 2)
    assert nobody.confidence.shape == (0, 133)
    assert len(Boxes.empty()) == 0
    assert len(Boxes(np.zeros((0,)))) == 0


def test_selection_by_index_slice_list_and_mask():
    three = people(3, track_ids=[7, 8, 9])
    assert three[1].track_ids.tolist() == [8]
    assert three[::2].track_ids.tolist() == [7, 9]
    assert three[[2, 0]].track_ids.tolist() == [9, 7]
    assert three[np.array([False, True, True])].track_ids.tolist() == [8, 9]
    assert len(three[[]]) == 0
    assert three[1].boxes.xyxy.tolist() == [[0, 0, 4, 5]]


def test_confidence_is_clipped_and_visible_keeps_the_threshold():
    one = people(1)
    assert one.confidence.min() == 0
    assert one.confidence.max() == 1
    exact = people(1, scores=np.full((1, 133), 0.3))
    assert exact.visible(0.3).all()
    assert not exact.visible(0.31).any()


def test_arrays_are_copied_and_frozen():
    keypoints = np.zeros((1, 133, 2), np.float32)
    one = people(1, keypoints=keypoints)
    keypoints[:] = 5
    assert one.keypoints.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        one.keypoints[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": np.zeros((1, 17, 2))}, "keypoints"),
        ({"scores": np.zeros((2, 133))}, "same people"),
        ({"scores": np.zeros(133)}, "scores"),
        ({"image_hw": (0, 5)}, "image_hw"),
        ({"track_ids": [1, 2]}, "track_ids"),
    ],
)
def test_wrong_people_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        people(1, **changes)


@pytest.mark.parametrize(
    ("xyxy", "scores", "message"),
    [
        ([[0, 0, np.nan, 1]], None, "finite"),
        ([[5, 0, 4, 1]], None, "inside out"),
        ([[0, 0, 1]], None, r"\[P, 4\]"),
        ([[0, 0, 1, 1]], [0.5, 0.5], "one number a box"),
    ],
)
def test_wrong_boxes_are_refused_by_name(xyxy, scores, message):
    with pytest.raises(ValueError, match=message):
        Boxes(np.array(xyxy, np.float32), scores)


def test_box_area():
    assert Boxes([[1, 1, 3, 5]]).area.tolist() == [8]
