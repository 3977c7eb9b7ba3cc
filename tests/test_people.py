"""Choosing people in one frame and finding them in others."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose import people as chooser
from dwpose.types import Boxes, People

HW = (200, 400)
CENTRES = [(300, 100, 40), (60, 90, 80), (200, 120, 20)]  # x, y, height of the person


def crowd(centres=CENTRES, scores=None, ids=None, hw=HW, seed=0):
    """People with the same pose at other places and sizes."""
    if not len(centres):
        return People.empty(hw)
    pose = np.random.default_rng(seed).uniform(-0.5, 0.5, (133, 2)).astype(np.float32)
    pose[0], pose[1] = (-0.5, -0.5), (0.5, 0.5)
    points = np.stack([pose * (0.4 * h, h) + (x, y) for x, y, h in centres])
    scores = np.ones(len(centres)) if scores is None else np.asarray(scores)
    boxes = Boxes(np.concatenate((points.min(axis=1), points.max(axis=1)), axis=1))
    ids = None if ids is None else np.array(ids)
    return People(points, np.tile(scores[:, None], 133), boxes, hw, ids)


@pytest.mark.parametrize(
    ("text", "found"),
    [("", None), (" , ", None), ("0", [0]), ("2, 0,2", [2, 0]), ("1-3", [1, 2, 3]),
     ("-1", [-1]), ("-2--1", [-2, -1]), ("0;4 5", [0, 4, 5])],
)  # fmt: skip
def test_indices_are_read(text, found):
    assert chooser.parse_indices(text) == found


@pytest.mark.parametrize("text", ["a", "1-", "3-1", "1.5", "0-99999", "-", "--1"])
def test_what_is_no_list_of_indices_is_refused(text):
    with pytest.raises(ValueError, match="indices"):
        chooser.parse_indices(text)


def test_boxes_are_those_of_visible_points():
    people = crowd()
    np.testing.assert_allclose(chooser.pose_boxes(people), people.boxes.xyxy)
    scores = people.scores.copy()
    scores[0, 5:] = 0
    scores[1] = 0
    hidden = People(people.keypoints, scores, people.boxes, HW)
    boxes = chooser.pose_boxes(hidden)
    five = people.keypoints[0, :5]
    np.testing.assert_allclose(boxes[0], [*five.min(axis=0), *five.max(axis=0)])
    np.testing.assert_allclose(boxes[1], people.boxes.xyxy[1])


@pytest.mark.parametrize(
    ("order", "found"),
    [("given", [0, 1, 2]), ("size", [1, 0, 2]), ("left-to-right", [1, 2, 0]),
     ("score", [2, 0, 1]), ("centre", [2, 0, 1])],
)  # fmt: skip
def test_orders(order, found):
    people = crowd(scores=[0.6, 0.5, 0.9])
    assert chooser.order_people(people, order).tolist() == found
    assert chooser.order_people(People.empty(HW), order).tolist() == []


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="order must be one of"):
        chooser.order_people(crowd(), "prettiest")
    with pytest.raises(ValueError, match="needs an area"):
        chooser.order_people(crowd(), "inside")


def test_select_leaves_out_then_sorts_then_picks():
    people = crowd(scores=[0.6, 0.5, 0.9])

    def select(**options):
        return chooser.select_people(people, **options).tolist()

    assert select() == [0, 1, 2]
    assert select(order="size", most=2) == [1, 0]
    assert select(order="size", min_confidence=0.55) == [0, 2]
    assert select(order="size", min_confidence=0.55, indices=[0]) == [0]
    assert select(indices=[-1, 0]) == [2, 0]
    assert select(indices=[2, 7, -3, 0, -9]) == [2, 0]
    assert select(min_confidence=1.0) == []
    with pytest.raises(ValueError, match="most"):
        select(most=-1)


def test_areas_choose_by_the_share_of_points():
    people = crowd()
    left = Boxes(np.array([[0, 0, 110, 200]], np.float32))
    assert chooser.select_people(people, boxes=left).tolist() == [1]
    assert chooser.select_people(people, boxes=Boxes.empty()).tolist() == []
    mask = np.zeros((50, 100), bool)  # a quarter of the picture's size
    mask[:, 40:] = True
    assert chooser.select_people(people, mask=mask).tolist() == [0, 2]
    both = chooser.select_people(people, mask=mask, boxes=left, order="left-to-right")
    assert both.tolist() == [1, 2, 0]
    # Half of person 0 by a box through its middle.
    half = Boxes(np.array([[0, 0, 300, 200]], np.float32))
    share = chooser.share_inside(people, half)
    x = people.keypoints[0, :, 0]
    assert share[0] == pytest.approx((x <= 300).mean())
    assert share[1:].tolist() == [1, 1]
    assert chooser.order_people(people, "inside", inside=share).tolist() == [1, 2, 0]
    # Nothing asked of the share is still something.
    assert chooser.select_people(people, boxes=left, min_inside=0).tolist() == [1]


def test_points_outside_the_picture_and_nan_are_outside_every_mask():
    people = crowd([(0, 100, 80)])
    keypoints = people.keypoints.copy()
    keypoints[0, 5] = np.nan
    people = People(keypoints, people.scores, people.boxes, HW)
    share = chooser.share_inside(people, mask=np.ones(HW))
    x = np.delete(keypoints[0, :, 0], 5)
    assert share[0] == pytest.approx((x >= 0).mean())


def moved(step, who=(0, 1, 2), **options):
    centres = [(300 - 4 * step, 100, 40), (60 + 4 * step, 90, 80), (200, 120 + step, 20)]
    return crowd([centres[i] for i in who], **options)


def test_the_same_person_is_found_in_every_frame_whatever_the_order():
    orders = [(2, 1, 0), (0, 1, 2), (1, 0, 2), (1, 2, 0), (0, 2, 1)]
    frames = [moved(step, who) for step, who in enumerate(orders)]
    followed = chooser.follow_people(frames, [0, 2], frame=1)
    assert [len(f) for f in followed] == [2] * 5
    for step, found in enumerate(followed):
        expected = moved(step, (0, 2))
        np.testing.assert_array_equal(found.keypoints, expected.keypoints)
        assert found.track_ids.tolist() == [0, 1]


def test_who_is_gone_for_a_while_is_found_again():
    frames = [moved(0), moved(1, (1, 2)), moved(2, ()), moved(3, (2, 1, 0))]
    followed = chooser.follow_people(frames, [0, 1])
    assert [f.track_ids.tolist() for f in followed] == [[0, 1], [1], [], [0, 1]]
    np.testing.assert_array_equal(followed[3].keypoints, moved(3, (0, 1)).keypoints)
    assert [f.image_hw for f in followed] == [HW] * 4


def test_somebody_else_far_away_is_not_the_same_person():
    frames = [crowd([(60, 90, 80)]), crowd([(350, 90, 30)])]
    assert len(chooser.follow_people(frames, [0])[1]) == 0
    assert len(chooser.follow_people(frames, [0], min_similarity=0.0)[1]) == 1


def test_ids_count_more_than_places():
    frames = [moved(0, (0, 1), ids=[7, 3]), moved(0, (0, 1), ids=[3, 7])]
    followed = chooser.follow_people(frames, [0])
    assert [f.track_ids.tolist() for f in followed] == [[7], [7]]
    np.testing.assert_array_equal(followed[1].keypoints, moved(0, (1,)).keypoints)
    # Untracked people beside tracked ones get a number that nobody has.
    mixed = chooser.follow_people([moved(0, (0, 1), ids=[-1, 0])], [0, 1])
    assert mixed[0].track_ids.tolist() == [1, 0]


def test_following_says_what_is_wrong():
    assert chooser.follow_people([], []) == []
    with pytest.raises(ValueError, match="frame must be one of 0 to 0"):
        chooser.follow_people([crowd()], [0], frame=3)
    with pytest.raises(ValueError, match="has 3 people"):
        chooser.follow_people([crowd()], [5])
    assert [len(f) for f in chooser.follow_people([crowd(), crowd()], [], frame=-1)] == [0, 0]


def test_similarity_is_one_for_oneself_and_falls_with_distance():
    people = crowd()
    same = chooser.similarity(people, people)
    np.testing.assert_allclose(np.diag(same), 1, atol=1e-6)
    near = chooser.similarity(crowd([(100, 100, 80)]), crowd([(104, 100, 80)]))[0, 0]
    far = chooser.similarity(crowd([(100, 100, 80)]), crowd([(120, 100, 80)]))[0, 0]
    assert 1 > near > far > 0
