"""Our extra key: what stays and what an editor's changes win over."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose import skeleton
from dwpose.io.openpose_json import from_pose_keypoint, to_pose_keypoint
from dwpose.types import Boxes, People


def triples(person, key):
    return np.reshape(person[key], (-1, 3))


@pytest.fixture
def edited(people_of):
    """A person, their document, and how to read it again."""
    people = people_of(3, 1, tracked=True)
    return people, to_pose_keypoint(people)[0]


def first_shown(person, key):
    return next(i for i, c in enumerate(person[key][2::3]) if c and not (i == 1 and "pose" in key))


def test_a_moved_point_wins_and_the_rest_stays(edited):
    people, document = edited
    person = document["people"][0]
    i = first_shown(person, "hand_left_keypoints_2d")
    person["hand_left_keypoints_2d"][3 * i] += 7
    again = from_pose_keypoint(document)[0]
    k = 91 + i
    np.testing.assert_allclose(again.keypoints[0, k], people.keypoints[0, k] + [7, 0], rtol=1e-6)
    assert again.scores[0, k] == 1
    hidden = np.flatnonzero(~people.visible()[0, 91:112]) + 91
    assert len(hidden)
    assert not again.scores[0, hidden].any(), "hidden points of a moved hand would be stale"
    others = np.setdiff1d(np.arange(133), [k, *hidden])
    np.testing.assert_array_equal(again.keypoints[0, others], people.keypoints[0, others])
    np.testing.assert_array_equal(again.scores[0, others], people.scores[0, others])
    np.testing.assert_array_equal(again.track_ids, people.track_ids)
    assert again.boxes.scores[0] == people.boxes.scores[0]
    shown = again.keypoints[0][again.scores[0] >= 0.3]
    assert (shown >= again.boxes.xyxy[0, :2] - 1e-3).all()


def test_a_deleted_part_stays_deleted(edited):
    people, document = edited
    document["people"][0]["face_keypoints_2d"] = None
    again = from_pose_keypoint(document)[0]
    assert not again.scores[0, skeleton.PARTS["face"]].any()
    rest = np.setdiff1d(np.arange(133), np.arange(133)[skeleton.PARTS["face"]])
    np.testing.assert_array_equal(again.scores[0, rest], people.scores[0, rest])


def test_an_added_point_is_kept(edited):
    people, document = edited
    feet = document["people"][0]["foot_keypoints_2d"]
    feet[:3] = [11.0, 12.0, 1.0]
    again = from_pose_keypoint(document)[0]
    np.testing.assert_array_equal(again.keypoints[0, 17], [11, 12])
    assert again.scores[0, 17] == 1
    assert len(people) == len(again)


def test_a_key_that_an_editor_does_not_know(edited):
    people, document = edited
    person = document["people"][0]
    del person["foot_keypoints_2d"]
    again = from_pose_keypoint(document)[0]
    np.testing.assert_array_equal(again.keypoints, people.keypoints)
    np.testing.assert_array_equal(again.boxes.xyxy, people.boxes.xyxy)
    person["pose_keypoints_2d"][3 * first_shown(person, "pose_keypoints_2d")] += 50
    again = from_pose_keypoint(document)[0]
    assert not again.scores[0, skeleton.PARTS["feet"]].any()


@pytest.fixture
def standing():
    """A person who shows everything, where an editor that knows no feet moves the body."""
    points = np.random.default_rng(0).uniform(200, 300, (1, 133, 2)).astype(np.float32)
    box = Boxes(np.array([[1, 2, 3, 4]], np.float32))
    people = People(points, np.full((1, 133), 0.7, np.float32), box, (480, 640))
    return people, to_pose_keypoint(people)


def test_feet_follow_their_ankles(standing):
    people, document = standing
    person = document[0]["people"][0]
    body = triples(person, "pose_keypoints_2d")
    body[:, 0] += 40
    body[10] += (0, 90, 0)  # the right ankle went further
    person["pose_keypoints_2d"] = body.ravel().tolist()
    again = from_pose_keypoint(document)[0]
    left, right = slice(17, 20), slice(20, 23)
    moved = again.keypoints[0] - people.keypoints[0]
    np.testing.assert_allclose(moved[left], np.tile([40, 0], (3, 1)), atol=1e-3)
    np.testing.assert_allclose(moved[right], np.tile([40, 90], (3, 1)), atol=1e-3)
    assert (again.scores[0, 17:23] == 1).all()
    shown = again.keypoints[0].min(axis=0), again.keypoints[0].max(axis=0)
    np.testing.assert_allclose(again.boxes.xyxy[0], np.concatenate(shown), atol=1e-3)


def test_a_foot_goes_with_a_deleted_ankle(standing):
    _, document = standing
    document[0]["people"][0]["pose_keypoints_2d"][3 * 13 : 3 * 14] = [0, 0, 0]
    scores = from_pose_keypoint(document)[0].scores[0]
    assert not scores[17:20].any()
    assert (scores[20:23] > 0).all()


def test_a_foot_that_was_edited_stays_where_it_was_put(standing):
    people, document = standing
    person = document[0]["people"][0]
    person["pose_keypoints_2d"][3 * 13] += 40
    person["foot_keypoints_2d"][0] += 5
    again = from_pose_keypoint(document)[0].keypoints[0] - people.keypoints[0]
    np.testing.assert_allclose(again[17:20], [[5, 0], [0, 0], [0, 0]], atol=1e-3)


def test_a_resized_canvas_sets_the_extra_key_aside(edited):
    people, document = edited
    document["canvas_height"], document["canvas_width"] = 960, 1280
    person = document["people"][0]
    for key in [key for key in person if key.endswith("_2d")]:
        person[key] = (triples(person, key) * (2, 2, 1)).ravel().tolist()
    again = from_pose_keypoint(document)[0]
    shown = people.visible()[0]
    np.testing.assert_allclose(again.keypoints[0, shown], people.keypoints[0, shown] * 2, rtol=1e-6)
    assert not again.scores[0, ~shown].any()
    assert again.image_hw == (960, 1280)


def test_rounding_by_an_editor_is_no_edit(edited):
    people, document = edited
    person = document["people"][0]
    for key in [key for key in person if key.endswith("_2d")]:
        person[key] = np.round(person[key], 3).tolist()
    again = from_pose_keypoint(document)[0]
    np.testing.assert_array_equal(again.keypoints, people.keypoints)
    np.testing.assert_array_equal(again.scores, people.scores)


def test_a_program_that_normalises_ours(edited):
    people, document = edited
    person = document["people"][0]
    for key in [key for key in person if key.endswith("_2d")]:
        person[key] = (triples(person, key) / (640, 480, 1)).ravel().tolist()
    again = from_pose_keypoint(document)[0]
    np.testing.assert_array_equal(again.keypoints, people.keypoints)
    np.testing.assert_array_equal(again.scores, people.scores)


def test_an_extra_key_of_another_author_is_ignored(documents):
    plain = from_pose_keypoint(documents["huchenlei"])[0]
    for value in (5, {"version": 99}, {"anything": 1}, None, []):
        documents["huchenlei"]["people"][0]["dwpose"] = value
        again = from_pose_keypoint(documents["huchenlei"])[0]
        np.testing.assert_array_equal(again.keypoints, plain.keypoints)


def test_ids_of_only_some(people_of):
    frame = to_pose_keypoint(people_of(0, 2, tracked=True))[0]
    frame["people"][1]["dwpose"]["id"] = None
    ids = from_pose_keypoint(frame)[0].track_ids
    assert ids is not None
    assert ids[0] >= 0
    assert ids[1] == -1


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("keypoints", [0] * 398, ValueError),
        ("keypoints", None, TypeError),
        ("keypoints", [1e39] * 399, ValueError),
        ("box", [0, 0, -5, 1, 1], ValueError),
        ("box", [0, 0, None, 1, 1], ValueError),
        ("id", "seven", TypeError),
        ("id", 2**70, ValueError),
        ("image_hw", [5], TypeError),
        ("image_hw", [0, 5], ValueError),
        ("threshold", None, ValueError),
        ("confidence", ["binary"], ValueError),
    ],
)
def test_damaged_extra_key(people_of, key, value, error):
    document = to_pose_keypoint(people_of(0))
    document[0]["people"][1]["dwpose"][key] = value
    with pytest.raises(error, match=f"^frame 0, person 1, dwpose, {key}"):
        from_pose_keypoint(document)


def test_boxes_of_a_missing_box(people_of):
    document = to_pose_keypoint(people_of(0, 1))
    document[0]["people"][0]["dwpose"]["box"] = None
    people = from_pose_keypoint(document)[0]
    assert people.boxes.area[0] > 0
