"""COCO-WholeBody annotations in, results out and in."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import numpy as np
import pytest

from dwpose import skeleton
from dwpose.io.coco import (
    load_annotations,
    load_results,
    read_annotations,
    read_results,
    save_results,
    to_coco_results,
)
from dwpose.types import Boxes, People

LENGTHS = {
    "keypoints": 51,
    "foot_kpts": 18,
    "face_kpts": 204,
    "lefthand_kpts": 63,
    "righthand_kpts": 63,
}


def annotation(rng: np.random.Generator, number: int, image_id: int, whole: bool) -> dict[str, Any]:
    """One person as COCO-WholeBody v1.0 has them, or as plain COCO."""
    found: dict[str, Any] = {
        "id": 1000 + number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [10.5, 20.25, 100.0, 200.5],
        "area": 1234.5,
        "iscrowd": number % 2,
        "num_keypoints": 17,
        "segmentation": {"counts": "abc", "size": [1, 2]},
    }
    for key, length in LENGTHS.items():
        triples = rng.uniform(1, 300, (length // 3, 3)).round(2)
        triples[:, 2] = rng.integers(0, 3, length // 3)
        if whole or key == "keypoints":
            found[key] = triples.ravel().tolist()
    if whole:
        for flag in ("foot_valid", "face_valid", "lefthand_valid", "righthand_valid"):
            found[flag] = flag != "face_valid"
    return found


@pytest.fixture
def document() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {
        "images": [
            {"id": 7, "file_name": "a/ü.jpg", "height": 480, "width": 640},
            {"id": 5, "file_name": "b.jpg", "height": 100, "width": 50},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
        "annotations": [
            annotation(rng, 0, 7, whole=True),
            annotation(rng, 1, 7, whole=False),
            {"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 0, 1, 1]},
        ],
    }


def test_annotations(document):
    dataset = read_annotations(document)
    assert list(dataset.images) == [7, 5]
    assert dataset.images[7].file_name == "a/ü.jpg"
    first, second = dataset.instances
    assert (first.id, first.image_id, first.area, first.iscrowd) == (1000, 7, 1234.5, False)
    np.testing.assert_array_equal(first.xyxy, np.float32([10.5, 20.25, 110.5, 220.75]))
    joined = np.concatenate([document["annotations"][0][key] for key in LENGTHS]).reshape(-1, 3)
    np.testing.assert_array_equal(first.visible, joined[:, 2])
    labelled = joined[:, 2] > 0
    np.testing.assert_array_equal(
        first.keypoints[labelled], joined[labelled, :2].astype(np.float32)
    )
    assert not first.keypoints[~labelled].any()
    assert first.valid == {
        "body": True,
        "feet": True,
        "face": False,
        "left_hand": True,
        "right_hand": True,
    }
    assert second.iscrowd
    assert second.valid == {**dict.fromkeys(first.valid, False), "body": True}
    assert second.visible[:17].any()
    assert not second.visible[17:].any()


def test_people_of_an_image(document):
    dataset = read_annotations(document)
    people = dataset.people(7)
    assert len(people) == 2
    assert people.image_hw == (480, 640)
    np.testing.assert_array_equal(people.scores[0], dataset.instances[0].visible > 0)
    assert len(dataset.people(5)) == 0
    assert dataset.instances_of(5) == []
    with pytest.raises(KeyError):
        dataset.people(99)


def test_area_falls_back_to_the_box(document):
    del document["annotations"][0]["area"]
    assert read_annotations(document).instances[0].area == 100.0 * 200.5
    document["annotations"][0]["area"] = 0
    assert read_annotations(document).instances[0].area == 100.0 * 200.5
    document["annotations"][0]["area"] = -4
    with pytest.raises(ValueError, match="area: must not be negative"):
        read_annotations(document)


def test_real_wholebody_annotations(shared_dir):
    path = shared_dir / "data/mmpose-tiny/coco/test_coco_wholebody.json"
    dataset = load_annotations(path)
    assert (len(dataset.images), len(dataset.instances)) == (4, 14)
    first = dataset.instances_of(785)[0]
    assert first.id == 442619
    np.testing.assert_array_equal(first.keypoints[0], [367, 81])
    np.testing.assert_array_equal(first.keypoints[17], [439, 378])
    np.testing.assert_allclose(first.keypoints[23], [355.823, 75.36], rtol=1e-6)
    np.testing.assert_allclose(first.keypoints[112], [304.10366, 181.75134], rtol=1e-6)
    np.testing.assert_allclose(first.xyxy, [280.79, 44.73, 499.49, 391.41], rtol=1e-6)
    assert not first.valid["left_hand"]
    assert first.valid["right_hand"]
    assert len(dataset.people(785)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "data/mmpose-tiny/coco/test_coco.json",
        "data/mmpose-tiny/humanart/test_humanart.json",
        "data/coco-mini-dev/person_keypoints_coco_mini_dev.json",
    ],
)
def test_real_body_annotations(shared_dir, name):
    dataset = load_annotations(shared_dir / name)
    raw = json.loads((shared_dir / name).read_text())["annotations"]
    assert len(dataset.instances) == len(raw)
    for instance, entry in zip(dataset.instances, raw, strict=True):
        assert int((instance.visible > 0).sum()) == entry["num_keypoints"]
        assert not instance.visible[17:].any()


def change(path, value):
    def apply(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("apply", "error", "message"),
    [
        (
            change(["annotations", 0, "face_kpts"], [1, 2]),
            ValueError,
            r"0 \(id 1000\), face",
        ),
        (change(["annotations", 0, "face_kpts"], "x"), TypeError, "face_kpts: must be a list"),
        (change(["annotations", 0, "keypoints"], None), TypeError, "keypoints: must be a list"),
        (change(["annotations", 0, "keypoints", 3], None), ValueError, "keypoints: a number is m"),
        (change(["annotations", 0, "bbox"], [1, 2, -3, 4]), ValueError, "bbox: width and height"),
        (change(["annotations", 0, "bbox"], None), TypeError, "bbox: must be a list"),
        (change(["annotations", 0, "area"], "big"), TypeError, "area"),
        (change(["annotations", 0, "image_id"], 99), ValueError, "no image has the id 99"),
        (change(["annotations", 0, "id"], None), ValueError, "id: is missing"),
        (change(["annotations", 0], 3), TypeError, "annotations, item 0"),
        (change(["annotations"], None), TypeError, "annotations: must be a list"),
        (change(["images", 1, "height"], 0), ValueError, "image 1: height"),
        (change(["images", 1, "width"], 1.5), TypeError, "image 1, width"),
    ],
)
def test_refused_annotations(document, tmp_path, apply, error, message):
    apply(document)
    path = tmp_path / "set.json"
    path.write_text(json.dumps(document))
    with pytest.raises(error, match=message) as caught:
        load_annotations(path)
    assert str(caught.value).startswith(str(path))


def test_refused_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_annotations(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_annotations(tmp_path / "bad.json")
    with pytest.raises(TypeError, match="object with images"):
        read_annotations([])


# --- results -----------------------------------------------------------------------------------


def test_results_have_the_fields_of_the_evaluation_tools(people_of):
    people = people_of(4)
    results = to_coco_results(people, 785)
    assert len(results) == 2
    for i, result in enumerate(results):
        assert (result["image_id"], result["category_id"]) == (785, 1)
        assert {key: len(result[key]) for key in LENGTHS} == LENGTHS
        joined = np.concatenate([result[key] for key in LENGTHS]).reshape(-1, 3)
        np.testing.assert_array_equal(joined[:, :2].astype(np.float32), people.keypoints[i])
        np.testing.assert_array_equal(joined[:, 2].astype(np.float32), people.scores[i])
        x, y, w, h = result["bbox"]
        np.testing.assert_allclose([x, y, x + w, y + h], people.boxes.xyxy[i], rtol=1e-6)
    json.dumps(results, allow_nan=False)
    assert "bbox" not in to_coco_results(people, 785, bbox=False)[0]


def test_scores_of_results():
    scores = np.zeros((1, 133))
    scores[0, :4] = 0.9, 0.5, 0.2, 0.1  # of which the first two are above 0.2
    people = People(np.zeros((1, 133, 2)), scores, Boxes([[0, 0, 1, 1]], [0.5]), (5, 5))
    for mode, expected in (("box_keypoint", 0.35), ("keypoint", 0.7), ("box", 0.5)):
        assert to_coco_results(people, 1, score=mode)[0]["score"] == pytest.approx(expected)
    nobody = People(np.zeros((1, 133, 2)), np.zeros((1, 133)), Boxes([[0, 0, 1, 1]]), (5, 5))
    assert to_coco_results(nobody, 1)[0]["score"] == 0
    with pytest.raises(ValueError, match="score"):
        to_coco_results(people, 1, score="best")  # type: ignore[arg-type]


def test_results_refuse_what_json_cannot_say(people_of):
    people = people_of(0, 1)
    keypoints = people.keypoints.copy()
    keypoints[0, 0] = np.nan
    broken = People(keypoints, people.scores, people.boxes, people.image_hw)
    with pytest.raises(ValueError, match="finite"):
        to_coco_results(broken, 1)


def test_results_out_and_in(tmp_path, people_of):
    first, second = people_of(0, 2, tracked=True), people_of(1, 1, (50, 60))
    results = [*to_coco_results(first, 3), *to_coco_results(second, 8)]
    path = save_results(results, tmp_path / "results.json")
    again = load_results(path, {3: (480, 640), 8: (50, 60), 9: (1, 1)})
    assert list(again) == [3, 8]
    for before, after in ((first, again[3]), (second, again[8])):
        np.testing.assert_array_equal(before.keypoints, after.keypoints)
        np.testing.assert_array_equal(before.scores, after.scores)
        np.testing.assert_array_equal(before.boxes.xyxy, after.boxes.xyxy)
        np.testing.assert_array_equal(before.boxes.scores, after.boxes.scores)
        assert before.image_hw == after.image_hw
    np.testing.assert_array_equal(first.track_ids, again[3].track_ids)
    assert again[8].track_ids is None


def test_plain_coco_results_in():
    body = np.arange(51, dtype=np.float64).reshape(17, 3)
    entry = {"image_id": 1, "category_id": 1, "keypoints": body.ravel().tolist(), "score": 0.25}
    people = read_results([entry], {1: (90, 90)})[1]
    np.testing.assert_array_equal(people.keypoints[0, skeleton.PARTS["body"]], body[:, :2])
    assert not people.scores[0, 17:].any()
    np.testing.assert_array_equal(people.boxes.xyxy[0], [0, 1, 48, 49])
    assert people.boxes.scores[0] == 0.25


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        ({}, ValueError, "result 0, image_id: is missing"),
        ({"image_id": 2}, ValueError, "sizes_hw does not name the image 2"),
        ({"image_id": 1}, TypeError, "result 0, keypoints: must be a list"),
        ({"image_id": 1, "keypoints": [0] * 51, "score": None}, ValueError, "result 0, score"),
        (5, TypeError, "results, item 0"),
    ],
)
def test_refused_results(entry, error, message):
    with pytest.raises(error, match=message):
        read_results([entry], {1: (5, 5)})
    with pytest.raises(TypeError, match="list"):
        read_results({}, {})


def test_damaged_annotations_and_results(document, people_of):
    rng = random.Random("coco")
    odd = [None, True, -1, 10**400, 1e300, float("nan"), "", "x", [], {}, [None], [[1]], 2**70]
    results = json.dumps(to_coco_results(people_of(0, tracked=True), 1))
    texts = (json.dumps(document), results)
    read, sentences = 0, []
    for i in range(1500):
        damaged = json.loads(texts[i % 2])
        node: Any = damaged
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = rng.choice(list(keys))
            if not isinstance(node[key], (dict, list)) or not node[key] or rng.random() < 0.2:
                break
            node = node[key]
        if rng.random() < 0.3:
            del node[key]
        else:
            node[key] = copy.deepcopy(rng.choice(odd))
        try:
            if i % 2:
                read_results(damaged, {1: (480, 640)})
            else:
                read_annotations(damaged)
            read += 1
        except (TypeError, ValueError) as error:
            sentences.append(str(error) if type(error) in (TypeError, ValueError) else repr(error))
    assert 100 < read < 1400
    places = ("annotation", "image", "result", "categor", "COCO ")
    assert all(sentence.startswith(places) for sentence in sentences)
