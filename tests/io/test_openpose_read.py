"""POSE_KEYPOINT in: what peers write, what editors change, what is refused and how."""

from __future__ import annotations

import copy
import json
import warnings

import numpy as np
import pytest

from dwpose import skeleton
from dwpose.io.openpose_json import from_pose_keypoint
from dwpose.types import People

PX = np.array([640.0, 480.0])
# COCO index of each OpenPose body point but the neck.
BODY_18 = [0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]


def triples(person, key):
    return np.reshape(person[key], (-1, 3))


def assert_body(people: People, index: int, expected: np.ndarray) -> None:
    """Expected [18, 3] in pixels, OpenPose order."""
    for i, coco in enumerate(BODY_18):
        if coco is not None:
            np.testing.assert_allclose(people.keypoints[index, coco], expected[i, :2], rtol=1e-6)
            assert people.scores[index, coco] == np.float32(expected[i, 2])


def assert_part(people: People, part: str, expected: np.ndarray, index: int = 0) -> None:
    where = skeleton.PARTS[part]
    np.testing.assert_allclose(people.keypoints[index, where], expected[:, :2], rtol=1e-6)
    np.testing.assert_array_equal(people.scores[index, where], expected[:, 2].astype(np.float32))


def test_aux_with_nulls_and_an_empty_frame(documents):
    document = documents["aux"]
    frames = from_pose_keypoint(document)
    assert [len(frame) for frame in frames] == [2, 0]
    assert frames[0].image_hw == frames[1].image_hw == (480, 640)
    for i, person in enumerate(document[0]["people"]):
        assert_body(frames[0], i, triples(person, "pose_keypoints_2d"))
        assert_part(frames[0], "right_hand", triples(person, "hand_right_keypoints_2d"), i)
    first = document[0]["people"][0]
    assert_part(frames[0], "face", triples(first, "face_keypoints_2d")[:68])
    assert_part(frames[0], "left_hand", triples(first, "hand_left_keypoints_2d"))
    assert not frames[0].scores[1, skeleton.PARTS["face"]].any()
    assert not frames[0].scores[:, skeleton.PARTS["feet"]].any()
    points = np.concatenate([triples(first, key) for key in first])
    expected = [*points[:, :2].min(axis=0), *points[:, :2].max(axis=0)]
    np.testing.assert_allclose(frames[0].boxes.xyxy[0], expected, rtol=1e-6)
    assert frames[0].boxes.scores[0] == 1


def test_normalised_coordinates(documents):
    frames = from_pose_keypoint(documents["aux normalised"])
    person = documents["aux normalised"][1]["people"][0]
    scale = np.array([640, 480, 1])
    assert_body(frames[1], 0, triples(person, "pose_keypoints_2d") * scale)
    assert_part(frames[1], "face", (triples(person, "face_keypoints_2d") * scale)[:68])


def test_normalised_point_outside_the_picture(documents):
    document = documents["aux normalised"]
    document[0]["people"][0]["pose_keypoints_2d"][31] = 1.25  # an ankle below the picture
    body = triples(document[0]["people"][0], "pose_keypoints_2d") * (640, 480, 1)
    assert_body(from_pose_keypoint(document)[0], 0, body)


def test_units_mixed_within_a_person(documents):
    document = documents["mixed units"]
    people = from_pose_keypoint(document)[0]
    person = document[0]["people"][0]
    assert_body(people, 0, triples(person, "pose_keypoints_2d"))
    assert_part(people, "left_hand", triples(person, "hand_left_keypoints_2d") * (640, 480, 1))
    assert_part(people, "right_hand", triples(person, "hand_right_keypoints_2d"))


def test_small_hand_of_a_small_person_at_the_top_left_is_pixels(documents):
    person = documents["aux"][0]["people"][0]
    body = triples(person, "pose_keypoints_2d") * (10 / 640, 10 / 480, 1)
    hand = triples(person, "hand_left_keypoints_2d") * (0.9 / 640, 0.9 / 480, 1)
    document = {
        "people": [{"pose_keypoints_2d": body.ravel(), "hand_left_keypoints_2d": hand.ravel()}],
        "canvas_height": 480,
        "canvas_width": 640,
    }
    people = from_pose_keypoint(document)[0]
    assert_body(people, 0, body)
    assert_part(people, "left_hand", hand)


def test_tiny_person_at_the_top_left_of_a_pixel_file_is_pixels(documents):
    document = documents["aux"]
    tiny = triples(document[0]["people"][0], "pose_keypoints_2d") * (0.9 / 640, 0.9 / 480, 1)
    for frame in document:  # in the frame of the others, and alone in another frame
        frame["people"].append({"pose_keypoints_2d": tiny.ravel().tolist()})
    frames = from_pose_keypoint(document)
    assert_body(frames[0], 2, tiny)
    assert_body(frames[1], 0, tiny)


def test_the_caller_knows_the_unit(documents):
    person = documents["aux normalised"][0]["people"][0]
    body = triples(person, "pose_keypoints_2d")
    document = documents["aux normalised"]
    assert_body(from_pose_keypoint(document, normalized=False)[0], 0, body)
    scaled = triples(documents["aux"][0]["people"][0], "pose_keypoints_2d") * (640, 480, 1)
    assert_body(from_pose_keypoint(documents["aux"], normalized=True)[0], 0, scaled)


def test_core_real_scores_feet_and_exchanged_hands(documents):
    document = documents["core"]
    person = document[0]["people"][0]
    plain, swapped = from_pose_keypoint(document), from_pose_keypoint(document, swap_hands=True)
    assert_part(plain[0], "feet", triples(person, "foot_keypoints_2d"))
    assert_part(plain[0], "face", triples(person, "face_keypoints_2d"))
    assert_part(plain[0], "left_hand", triples(person, "hand_left_keypoints_2d"))
    assert_part(swapped[0], "left_hand", triples(person, "hand_right_keypoints_2d"))
    assert_part(swapped[0], "right_hand", triples(person, "hand_left_keypoints_2d"))
    assert len(plain[1]) == len(swapped[1]) == 0


def test_deluxe_feet_within_the_body_and_a_short_right_hand(documents):
    person = documents["deluxe"][0]["people"][0]
    people = from_pose_keypoint(documents["deluxe"])[0]
    body = triples(person, "pose_keypoints_2d")
    assert_body(people, 0, body[:18])
    assert_part(people, "feet", body[18:])
    right = np.vstack([triples(person, "hand_right_keypoints_2d"), np.zeros((1, 3))])
    assert_part(people, "right_hand", right)


def test_openpose_body_25(documents):
    with pytest.raises(ValueError, match=r"frame 0: .*canvas_hw"):
        from_pose_keypoint({"people": documents["openpose"]["people"]})
    document = {"version": 1.3, "people": documents["openpose"]["people"]}
    people = from_pose_keypoint(document, canvas_hw=(480, 640))[0]
    body = triples(document["people"][0], "pose_keypoints_2d")
    assert_body(people, 0, body[[*range(8), *range(9, 15), *range(15, 19)]])
    assert_part(people, "feet", body[19:])
    assert not people.scores[0, skeleton.PARTS["right_hand"]].any()
    assert people.track_ids is None
    document["people"][0]["person_id"] = [7]
    assert from_pose_keypoint(document, canvas_hw=(480, 640))[0].track_ids == [7]


def test_normalised_body_25_takes_its_feet_along(documents):
    person = documents["openpose"]["people"][0]
    body = triples(person, "pose_keypoints_2d") / (640, 480, 1)
    document = {"people": [{"pose_keypoints_2d": body.ravel().tolist()}]}
    people = from_pose_keypoint(document, canvas_hw=(480, 640))[0]
    assert_part(people, "feet", body[19:] * (640, 480, 1))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda d: d,
        lambda d: [d],
        lambda d: json.dumps(d),
        lambda d: json.dumps([d]).encode(),
        lambda d: [json.dumps(d)],
        lambda d: {"openpose_json": [json.dumps([d], indent=4)]},
        lambda d: {"frames": [d], "fps": 24},
        lambda d: {"poses": [d], "images": []},
        lambda d: [[d]],
        lambda d: ({**d, "people": tuple(d["people"])},),
        lambda d: b"\xef\xbb\xbf" + json.dumps(d).encode(),
    ],
)
def test_wrappings(documents, wrap):
    document = documents["huchenlei"]
    frames = from_pose_keypoint(wrap(document))
    assert len(frames) == 1
    assert_body(frames[0], 0, triples(document["people"][0], "pose_keypoints_2d"))


@pytest.mark.parametrize("several", [False, True])
def test_people_without_a_frame(documents, several):
    person = documents["huchenlei"]["people"][0]
    frames = from_pose_keypoint([person, person] if several else person, canvas_hw=(480, 640))
    assert [len(frame) for frame in frames] == [2 if several else 1]
    assert_body(frames[0], len(frames[0]) - 1, triples(person, "pose_keypoints_2d"))


def test_a_frame_without_canvas_takes_its_neighbours(documents):
    frames = from_pose_keypoint([{"people": []}, None, *documents["just"], None])
    assert [frame.image_hw for frame in frames] == [(480, 640)] * 5
    assert [len(frame) for frame in frames] == [0, 0, 1, 0, 0]
    frames = from_pose_keypoint(documents["just"], canvas_hw=(10, 20))
    assert [frame.image_hw for frame in frames] == [(480, 640), (10, 20)]


def test_points_as_lists(documents):
    document = documents["nested"]
    people = from_pose_keypoint(document)[0]
    person = document[0]["people"][0]
    assert_body(people, 0, triples(person, "pose_keypoints_2d"))
    person["pose_keypoints_2d"][3] = None
    person["pose_keypoints_2d"][4] = [9, 10]
    people = from_pose_keypoint(document)[0]
    assert people.scores[0, 8] == 0
    np.testing.assert_array_equal(people.keypoints[0, 10], [9, 10])


def test_animals_are_skipped_with_a_warning(documents):
    with pytest.warns(UserWarning, match="animals"):
        frames = from_pose_keypoint(documents["animals"])
    assert [len(frame) for frame in frames] == [0, 1]
    assert frames[0].image_hw == (480, 640)


def test_others_do_not_warn(documents):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in documents.keys() - {"animals"}:
            from_pose_keypoint(documents[name])


def test_absent_points(documents):
    person = documents["huchenlei"]["people"][0]
    body = person["pose_keypoints_2d"]
    body[0:3] = [5, 6, 0]
    body[6:9] = [float("nan"), 6, 1]
    body[9:12] = [5, None, 1]
    body[12:15] = [5, 6, -1]
    people = from_pose_keypoint(documents["huchenlei"])[0]
    for coco in (0, 6, 8, 10):
        assert people.scores[0, coco] == 0
        assert not people.keypoints[0, coco].any()


def test_person_without_points_keeps_its_place(documents):
    documents["aux"][0]["people"].insert(0, {"pose_keypoints_2d": [0] * 54})
    people = from_pose_keypoint(documents["aux"])[0]
    assert len(people) == 3
    assert not people.scores[0].any()
    assert people.boxes.scores[0] == 0


def test_input_is_not_changed(documents):
    for name, document in documents.items():
        before = copy.deepcopy(document)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from_pose_keypoint(document)
        assert document == before, name


# --- refused, and how --------------------------------------------------------------------------


def change(path, value):
    def apply(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return apply


PERSON = [0, "people", 1]
BODY, FACE = "pose_keypoints_2d", "face_keypoints_2d"


@pytest.mark.parametrize(
    ("apply", "error", "message"),
    [
        (change([*PERSON, FACE], [1, 2]), ValueError, "face_keypoints_2d: has 2"),
        (change([*PERSON, FACE], [1] * 9), ValueError, "face_keypoints_2d: has 9"),
        (change([*PERSON, FACE], "x"), TypeError, "face_keypoints_2d: must be a l"),
        (change([*PERSON, FACE], {}), TypeError, "face_keypoints_2d: must be a l"),
        (change([*PERSON, BODY, 4], "5"), TypeError, r"pose_keypoints_2d\[4\]"),
        (change([*PERSON, BODY, 4], True), TypeError, r"pose_keypoints_2d\[4\]"),
        (
            change([*PERSON, BODY, 4], 1e300),
            ValueError,
            "pose_keypoints_2d: point 1",
        ),
        (
            change([*PERSON, BODY, 4], 10**400),
            ValueError,
            "pose_keypoints_2d: a num",
        ),
        (
            change([*PERSON, BODY, 3], float("inf")),
            ValueError,
            "pose_keypoints_2d: po",
        ),
        (change([*PERSON, BODY, 3], [1, 2, 3]), TypeError, "pose_keypoints_2d"),
    ],
)
def test_refused_lists_name_their_place(documents, apply, error, message):
    apply(documents["aux"])
    with pytest.raises(error, match=f"^frame 0, person 1, {message}"):
        from_pose_keypoint(documents["aux"])


@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        (None, TypeError, "POSE_KEYPOINT"),
        (5, TypeError, "POSE_KEYPOINT"),
        ({}, ValueError, "neither people nor keypoints"),
        ("no json", ValueError, "not JSON"),
        ([{"people": []}, "no json"], ValueError, "^item 1: this is not JSON"),
        ({"frames": [{}]}, ValueError, "^frames, item 0: an object has neither"),
        ("[" * 100_000, ValueError, "nested too deeply"),
        ([[[[[[[[]]]]]]]], ValueError, "nested too deeply"),
        ({"people": {}}, TypeError, "frame 0, people"),
        (
            [{"people": [], "canvas_height": 5, "canvas_width": 5}, {"people": [3]}],
            TypeError,
            "fra",
        ),
        ({"people": [], "canvas_height": 0, "canvas_width": 5}, ValueError, "frame 0, canvas_he"),
        ({"people": [], "canvas_height": "5", "canvas_width": 5}, TypeError, "frame 0, canvas_he"),
        ({"people": [], "canvas_height": 5}, ValueError, "canvas_hw"),
        ([{"people": []}, {"pose_keypoints_2d": []}], ValueError, "item 1"),
        ({"people": [{"person_id": ["a"]}]}, TypeError, "frame 0, person 0, person_id"),
    ],
)
def test_refused_documents(document, error, message):
    with pytest.raises(error, match=message):
        from_pose_keypoint(document)


def test_empty_document_is_no_frames():
    assert from_pose_keypoint([]) == []


def test_canvas_hw_is_checked():
    for wrong in (5, (1, 2, 3), "ab"):
        with pytest.raises(TypeError, match="canvas_hw"):
            from_pose_keypoint({"people": []}, canvas_hw=wrong)  # type: ignore[arg-type]
