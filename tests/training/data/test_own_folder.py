"""One's own photos: OpenPose files beside them or one COCO file, and their division."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from dwpose.io import openpose_json
from dwpose.io.images import save_image
from dwpose.training.data import check_disjoint, load_own_folder, split_people
from dwpose.types import Boxes, People

from .conftest import document, picture, write_json


def body(seed: int = 0, count: int = 1, size_hw: tuple[int, int] = (96, 128)) -> People:
    """People of whom body and feet alone are labelled."""
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform((30, 20), (70, 60), (count, 133, 2)).astype(np.float32)
    scores = np.zeros((count, 133), np.float32)
    scores[:, :23] = 1
    return People(
        keypoints, scores, Boxes.empty() if not count else Boxes(_boxes(keypoints)), size_hw
    )


def _boxes(keypoints: np.ndarray) -> np.ndarray:
    return np.concatenate([keypoints.min(axis=1), keypoints.max(axis=1)], axis=-1)


def test_openpose_files_beside_photos(tmp_path: Path):
    save_image(tmp_path / "a.png", picture(1))
    openpose_json.save(body(1, 2), tmp_path / "a_keypoints.json")
    save_image(tmp_path / "below" / "b.jpg", picture(2))
    openpose_json.save(body(2), tmp_path / "below" / "b.json")
    save_image(tmp_path / "unlabelled.png", picture(3))
    people = load_own_folder(tmp_path)
    assert [file.name for file in people.files] == ["a.png", "b.jpg"]
    assert people.image_index.tolist() == [0, 0, 1]
    assert dict(people.dropped) == {"photo without keypoint file": 1}
    truth = body(1, 2)
    assert (people.visible == (truth.scores[0] > 0)).all()
    np.testing.assert_allclose(people.keypoints[:2, :23], truth.keypoints[:, :23], atol=0.02)
    # Room around the points: they are joints, not outlines.
    low = people.keypoints[0, :23].min(axis=0)
    assert (people.boxes[0, :2] < low).all()
    assert (people.boxes >= 0).all()


def test_points_too_unsure_to_be_shown_are_no_labels(tmp_path: Path):
    # Our own files keep them under an extra key.
    sure = np.full((1, 133), 0.1, np.float32)
    sure[:, :11] = 0.9
    found = dataclasses.replace(body(1), scores=sure)
    save_image(tmp_path / "a.png", picture(1))
    save_image(tmp_path / "a_pose.png", picture(2))
    save_image(tmp_path / "a_overlay.png", picture(3))
    openpose_json.save(found, tmp_path / "a_keypoints.json")
    people = load_own_folder(tmp_path)
    assert people.visible[0].nonzero()[0].tolist() == list(range(11))
    assert dict(people.dropped) == {}  # nor are drawn maps photos without labels


def test_a_canvas_of_another_size_than_the_photo(tmp_path: Path):
    save_image(tmp_path / "a.png", picture(1))
    openpose_json.save(body(1, size_hw=(48, 64)), tmp_path / "a.json")
    found = load_own_folder(tmp_path).keypoints[0, :23]
    np.testing.assert_allclose(found, body(1).keypoints[0, :23] * 2, atol=0.05)


def test_files_that_cannot_be_read_are_counted(tmp_path: Path):
    for name in ("a", "b", "c"):
        save_image(tmp_path / f"{name}.png", picture(1))
        openpose_json.save(body(1), tmp_path / f"{name}.json")
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.png").write_bytes(b"no picture")
    people = load_own_folder(tmp_path)
    assert [file.name for file in people.files] == ["c.png"]
    assert people.dropped["photo or keypoint file that cannot be read"] == 2


def test_one_coco_file(tmp_path: Path):
    labels = document(["a.png", "b.png"])
    for entry in labels["annotations"]:
        for key in ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts", "num_keypoints"):
            entry.pop(key)  # plain COCO, as labelling tools write it
    write_json(tmp_path / "labels.json", labels)
    for name in ("a", "b"):
        save_image(tmp_path / f"{name}.png", picture(1))
    people = load_own_folder(tmp_path)
    assert len(people) == 2
    assert people.visible.sum(axis=1).tolist() == [17, 17]
    write_json(tmp_path / "more.json", labels)
    with pytest.raises(ValueError, match=r"labels\.json, more\.json"):
        load_own_folder(tmp_path)
    assert len(load_own_folder(tmp_path, "more.json")) == 2


def test_an_empty_folder_says_what_is_wanted(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="NAME_keypoints"):
        load_own_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_own_folder(tmp_path / "nowhere")


def test_nobody_left_says_why(tmp_path: Path):
    save_image(tmp_path / "a.jpg", picture(1))
    labels = document(["a.jpg"])
    labels["annotations"][0]["iscrowd"] = 1
    write_json(tmp_path / "labels.json", labels)
    with pytest.raises(FileNotFoundError, match=r"nobody is labelled in .* \(left out: 1 crowd\)"):
        load_own_folder(tmp_path)


def test_equal_photos_stay_on_one_side(tmp_path: Path):
    for i in range(10):
        save_image(tmp_path / f"{i}.png", picture(i // 2))  # each twice, under two names
        openpose_json.save(body(i), tmp_path / f"{i}.json")
    people = load_own_folder(tmp_path)
    sides = set()
    for seed in range(8):
        train, val = split_people(people, 0.3, seed)
        check_disjoint([train], [val])
        pairs = {int(file.stem) // 2 for file in train.files}
        assert not pairs & {int(file.stem) // 2 for file in val.files}
        assert (len(train), len(val)) == (6, 4)
        sides.add(tuple(sorted(file.name for file in val.files)))
        again = split_people(people, 0.3, seed)[1]
        assert again.files == val.files
        for row in range(len(val)):
            where = [file.name for file in people.files].index(val.file(row).name)
            np.testing.assert_array_equal(val.keypoints[row], people.keypoints[where])
    assert len(sides) > 3
    with pytest.raises(ValueError, match="share"):
        split_people(people, 1.0)


def test_one_photo_cannot_be_divided(tmp_path: Path):
    save_image(tmp_path / "a.png", picture(1))
    openpose_json.save(body(1), tmp_path / "a.json")
    with pytest.raises(ValueError, match="two different pictures"):
        split_people(load_own_folder(tmp_path))


def test_what_an_editor_writes(tmp_path: Path):
    # OpenPose's own layout: no canvas, 25 body points, pixels of the photo.
    flat = np.zeros((25, 3))
    flat[:, :2] = np.random.default_rng(0).uniform(20, 90, (25, 2))
    flat[:, 2] = 1
    flat[[15, 16], 2] = 0  # eyes not labelled
    save_image(tmp_path / "a.png", picture(1))
    person = {"pose_keypoints_2d": flat.ravel().tolist(), "face_keypoints_2d": []}
    (tmp_path / "a_keypoints.json").write_text(json.dumps({"version": 1.3, "people": [person]}))
    people = load_own_folder(tmp_path)
    assert people.visible[0, :17].tolist() == [i not in (1, 2) for i in range(17)]
    np.testing.assert_allclose(people.keypoints[0, 0], flat[0, :2], atol=1e-4)
