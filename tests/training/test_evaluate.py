"""OKS and PCK against cases worked out by hand, through a stand-in pipeline."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dwpose.io.coco import read_annotations
from dwpose.io.images import save_image
from dwpose.skeleton import SIGMAS
from dwpose.training.evaluate import measure, object_keypoint_similarity
from dwpose.types import Boxes, People


def document(file_names):
    points = np.zeros((17, 3))
    points[:, :2] = np.arange(34).reshape(17, 2) + 5
    points[:, 2] = 2
    person = {
        "iscrowd": 0,
        "category_id": 1,
        "keypoints": points.ravel().tolist(),
        "num_keypoints": 17,
        "bbox": [0, 0, 40, 80],
        "area": 1600.0,
    }
    few = {**person, "keypoints": [*points[:3].ravel().tolist(), *[0] * 42], "num_keypoints": 3}
    images, annotations = [], []
    for i, name in enumerate(file_names, start=1):
        images.append({"id": i, "file_name": name, "height": 100, "width": 50})
        annotations.append({**person, "id": 10 * i, "image_id": i})
        annotations.append({**few, "id": 10 * i + 1, "image_id": i})
    return read_annotations(json.loads(json.dumps({"images": images, "annotations": annotations})))


class StandIn:
    """Answers the labelled points of `document`, moved to the right."""

    def __init__(self, shift):
        self.shift = shift

    def __call__(self, picture, boxes, **_):
        keypoints = np.zeros((len(boxes), 133, 2), np.float32)
        keypoints[:, :17] = np.arange(34).reshape(17, 2) + 5
        keypoints[..., 0] += self.shift
        scores = np.ones((len(boxes), 133), np.float32)
        return People(keypoints, scores, Boxes(boxes), picture.shape[:2])


def test_similarity_by_hand():
    truth = np.zeros((2, 2))
    guess = np.array([[3.0, 4.0], [100.0, 0.0]])
    labelled = np.array([True, False])
    got = object_keypoint_similarity(guess, truth, labelled, 200.0, np.array([0.1, 0.1]))
    assert got == pytest.approx(math.exp(-25 / (2 * 0.04 * 200)))
    assert math.isnan(object_keypoint_similarity(guess, truth, ~labelled & labelled, 1.0, SIGMAS))


def test_measure_counts_labelled_people_and_points(tmp_path):
    save_image(tmp_path / "a.png", np.zeros((100, 50, 3), np.uint8))
    results, faults = measure(StandIn(0), document(["a.png"]), tmp_path)
    assert faults == {}
    assert results["body"].people == 1
    assert results["body"].points == 17
    assert results["body"].oks == pytest.approx(1)
    assert results["whole"].pck == 1
    assert results["face"].people == 0
    moved, _ = measure(StandIn(8.1), document(["a.png"]), tmp_path)
    assert moved["body"].pck == 0
    assert moved["body"].error == pytest.approx(8.1 / 80, rel=1e-4)
    assert 0 < moved["body"].oks < 0.5


def test_unreadable_pictures_are_named_and_the_rest_measured(tmp_path):
    save_image(tmp_path / "a.png", np.zeros((100, 50, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"not a picture")
    results, faults = measure(StandIn(0), document(["a.png", "b.png", "c.png"]), tmp_path)
    assert sorted(faults) == ["b.png", "c.png"]
    assert results["body"].people == 1
    with pytest.raises(ValueError, match="no labelled person"):
        measure(StandIn(0), document(["c.png"]), tmp_path)
