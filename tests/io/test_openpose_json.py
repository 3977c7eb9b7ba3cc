"""POSE_KEYPOINT out, and out and in again."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from dwpose import skeleton
from dwpose.io import atomic
from dwpose.io.openpose_json import from_pose_keypoint, load, save, schema, to_pose_keypoint
from dwpose.io.openpose_layout import shortest_decimals
from dwpose.types import Boxes, People

LENGTHS = {
    "pose_keypoints_2d": 54,
    "face_keypoints_2d": 210,
    "hand_left_keypoints_2d": 63,
    "hand_right_keypoints_2d": 63,
    "foot_keypoints_2d": 18,
}


def assert_equal(a: People, b: People) -> None:
    np.testing.assert_array_equal(a.keypoints, b.keypoints)
    np.testing.assert_array_equal(a.scores, b.scores)
    np.testing.assert_array_equal(a.boxes.xyxy, b.boxes.xyxy)
    np.testing.assert_array_equal(a.boxes.scores, b.boxes.scores)
    assert a.image_hw == b.image_hw
    assert (a.track_ids is None) == (b.track_ids is None)
    if a.track_ids is not None and b.track_ids is not None:
        np.testing.assert_array_equal(a.track_ids, b.track_ids)


def through_json(people, **options):
    return from_pose_keypoint(json.loads(json.dumps(to_pose_keypoint(people, **options))))


@pytest.mark.parametrize("confidence", ["binary", "score"])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9])
def test_out_and_in_is_exact(people_of, confidence, threshold):
    frames = [people_of(0), people_of(1, 0), people_of(2, 3, (1080, 1920), tracked=True)]
    again = through_json(frames, confidence=confidence, threshold=threshold)
    assert len(again) == 3
    for before, after in zip(frames, again, strict=True):
        assert_equal(before, after)


def test_any_float32_survives():
    rng = np.random.default_rng(0)
    for _ in range(100):
        bits = rng.integers(0, 2**32, (1, 133, 3), dtype=np.uint32)
        flat = np.nan_to_num(bits.view(np.float32), posinf=0.0, neginf=0.0)
        people = People(flat[..., :2], flat[..., 2], Boxes([[-3e38, 0, 1e-45, 1]]), (2, 3))
        assert_equal(people, through_json(people)[0])


def test_tiny_person_in_the_corner_survives(people_of):
    big = people_of(0, 1)
    tiny = People(big.keypoints / 500, big.scores, big.boxes, big.image_hw)
    assert_equal(tiny, through_json(tiny)[0])


def test_not_finite_numbers_become_null_and_nan(people_of):
    people = people_of(0, 1)
    keypoints = people.keypoints.copy()
    keypoints[0, 3] = np.nan, np.inf
    people = People(keypoints, np.ones((1, 133)), people.boxes, people.image_hw)
    text = json.dumps(to_pose_keypoint(people), allow_nan=False)
    again = from_pose_keypoint(text)[0]
    assert np.isnan(again.keypoints[0, 3]).all()
    np.testing.assert_array_equal(np.delete(again.keypoints, 3, 1), np.delete(keypoints, 3, 1))


def test_lists_are_as_peers_expect(people_of):
    people = people_of(5)
    frame = to_pose_keypoint(people)[0]
    assert (frame["canvas_height"], frame["canvas_width"]) == (480, 640)
    points, scores = skeleton.to_openpose(people.keypoints, people.scores)
    for i, person in enumerate(frame["people"]):
        assert {key: len(person[key]) for key in LENGTHS} == LENGTHS
        for key in LENGTHS:
            triples = np.reshape(person[key], (-1, 3))
            assert set(triples[:, 2]) <= {0.0, 1.0}
            assert (triples[triples[:, 2] == 0] == 0).all()
        body = np.reshape(person["pose_keypoints_2d"], (-1, 3))
        shown = scores[i, :18] >= 0.3
        np.testing.assert_array_equal(body[:, 2] == 1, shown)
        np.testing.assert_array_equal(body[shown, :2].astype(np.float32), points[i, :18][shown])
        face = np.reshape(person["face_keypoints_2d"], (-1, 3))
        np.testing.assert_array_equal(face[68:], body[[14, 15]])


def test_each_part_lands_in_its_list():
    keypoints = np.stack([np.arange(133), np.arange(133) + 1000], axis=1)[None]
    people = People(keypoints, np.ones((1, 133)), Boxes([[0, 0, 9, 9]]), (2000, 2000))
    person = to_pose_keypoint(people)[0]["people"][0]
    assert person["pose_keypoints_2d"][::3] == [
        *(0, 5.5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
    ]
    assert person["foot_keypoints_2d"][::3] == [*range(17, 23)]
    assert person["face_keypoints_2d"][::3] == [*range(23, 91), 2, 1]
    assert person["hand_left_keypoints_2d"][::3] == [*range(91, 112)]
    assert person["hand_right_keypoints_2d"][::3] == [*range(112, 133)]


def test_pupils_stand_only_in_a_face_that_is_shown(people_of):
    """controlnet_aux writes null for such a face; pupils alone it would draw as white dots."""
    people = people_of(6)
    scores = np.ones_like(people.scores)
    scores[0, skeleton.PARTS["face"]] = 0.2
    first, second = to_pose_keypoint(replace(people, scores=scores))[0]["people"]
    assert first["face_keypoints_2d"] == [0.0] * 210
    assert np.reshape(second["face_keypoints_2d"], (-1, 3))[:, 2].all()
    for person in (first, second):
        assert np.reshape(person["pose_keypoints_2d"], (-1, 3))[[14, 15], 2].all()


def test_pupils_of_a_file_without_bodies_are_the_eyes(people_of):
    """controlnet_aux with its body switched off writes a face of 70 points and no body."""
    frame = to_pose_keypoint(people_of(6), threshold=0.0, extra=False)[0]
    with_body = from_pose_keypoint(frame)[0]
    for person in frame["people"]:
        person["pose_keypoints_2d"] = None
    without = from_pose_keypoint(frame)[0]
    np.testing.assert_array_equal(without.keypoints[:, 1:3], with_body.keypoints[:, 1:3])
    assert (without.scores[:, 1:3] == 1).all()
    assert not without.scores[:, [0, *range(3, 17)]].any()
    # Where there is a body, its own eyes count, also those it has not.
    frame["people"][0]["pose_keypoints_2d"] = [5.0, 5.0, 1.0, *([0.0] * 51)]
    assert not from_pose_keypoint(frame)[0].scores[0, 1:3].any()


def test_scores_as_confidence(people_of):
    people = people_of(5, 1)
    person = to_pose_keypoint(people, confidence="score", threshold=0.0)[0]["people"][0]
    expected = np.clip(people.scores[0, 91:112], 0, 1)
    found = np.array(person["hand_left_keypoints_2d"][2::3], np.float32)
    np.testing.assert_array_equal(found, expected)


def test_without_extra_the_shown_points_survive(people_of):
    people = people_of(5)
    frames = to_pose_keypoint(people, extra=False)
    assert "dwpose" not in frames[0]["people"][0]
    again = from_pose_keypoint(frames)[0]
    shown = people.visible(0.3)
    np.testing.assert_array_equal(again.keypoints[shown], people.keypoints[shown])
    np.testing.assert_array_equal(again.scores, shown.astype(np.float32))


def test_wrong_arguments(people_of):
    with pytest.raises(ValueError, match="confidence"):
        to_pose_keypoint(people_of(0), confidence="percent")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold"):
        to_pose_keypoint(people_of(0), threshold=float("nan"))
    with pytest.raises(TypeError, match="people"):
        to_pose_keypoint([None])  # type: ignore[list-item]


def test_schema_is_valid_and_fulfilled(people_of):
    rules = schema()
    jsonschema.Draft202012Validator.check_schema(rules)
    validator = jsonschema.Draft202012Validator(rules)
    frames = [people_of(0), people_of(1, 0), people_of(2, 1, tracked=True)]
    for options in ({}, {"confidence": "score"}, {"extra": False}):
        document = json.loads(json.dumps(to_pose_keypoint(frames, **options)))
        validator.validate(document)
        validator.validate(document[0])
    wrong = to_pose_keypoint(frames)
    wrong[0]["people"][0]["face_keypoints_2d"] = None
    assert not validator.is_valid(wrong)
    wrong = to_pose_keypoint(frames)
    del wrong[0]["people"][0]["dwpose"]["keypoints"][-1]
    assert not validator.is_valid(wrong)


def test_save_and_load_one_file(tmp_path, people_of):
    frames = [people_of(0), people_of(1, 0), people_of(2, 1, tracked=True)]
    path = tmp_path / "new folder" / "posé.json"
    assert save(frames, path) == [path]
    for before, after in zip(frames, load(path), strict=True):
        assert_equal(before, after)
    assert os.listdir(path.parent) == [path.name]
    assert isinstance(json.loads(path.read_text()), list)


def test_save_and_load_one_file_per_frame(tmp_path, people_of):
    frames = [people_of(i, 1) for i in range(11)]
    files = save(frames, tmp_path / "clip.json", per_frame=True)
    assert files[10].name == "clip_000000000010_keypoints.json"
    (tmp_path / "other.json").write_text("not a pose")
    for before, after in zip(frames, load(tmp_path), strict=True):
        assert_equal(before, after)


def test_folder_is_read_in_the_order_of_numbers(tmp_path, people_of):
    for i in (2, 10, 1):
        save(people_of(i, 1), tmp_path / f"frame{i}.json")
    (tmp_path / "._frame1.json").write_bytes(b"what a Mac puts beside a file")
    for i, people in zip((1, 2, 10), load(tmp_path), strict=True):
        assert_equal(people, people_of(i, 1))


def test_load_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.json")
    with pytest.raises(FileNotFoundError, match="no JSON file"):
        load(tmp_path)
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ValueError, match=r"bad\.json"):
        load(tmp_path / "bad.json")


@pytest.mark.parametrize("other", ['{"images": [], "annotations": []}', "{", '{"people": [7]}'])
def test_load_names_the_file_of_a_folder_that_is_no_pose(tmp_path, people_of, other):
    for i in (1, 3):
        save(people_of(i, 1), tmp_path / f"frame{i}.json", extra=False)
    (tmp_path / "frame2.json").write_text(other)
    with pytest.raises((TypeError, ValueError), match=r"^frame2\.json: "):
        load(tmp_path)


def test_load_asks_for_a_size_that_no_file_of_a_folder_says(tmp_path):
    for i in (1, 2):
        body = [10.0, 20.0, 0.8] * 25
        text = json.dumps({"people": [{"pose_keypoints_2d": body}]})
        (tmp_path / f"a{i}.json").write_text(text)
    with pytest.raises(ValueError, match=r"^a1\.json: frame 0: has no canvas_height"):
        load(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "pose.json"
    path.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["pose.json"]


def test_decimals_are_short():
    values = np.array([123.456, 0.1, -0.5, 1e-20, 640.0], np.float32)
    short = shortest_decimals(values)
    np.testing.assert_array_equal(short.astype(np.float32), values)
    assert [repr(float(v)) for v in short[[0, 1, 2, 4]]] == ["123.456", "0.1", "-0.5", "640.0"]
