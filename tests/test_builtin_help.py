"""What the facade does for the package's own small networks, and others that say they need help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dwpose.detector import PersonDetector
from dwpose.estimator import Estimator
from dwpose.io.images import load_image
from dwpose.models.export import export_onnx
from dwpose.models.usage import Usage
from dwpose.pipeline import DWPose
from dwpose.runtimes.session import RuntimeInfo
from dwpose.search import find_people
from dwpose.types import Boxes
from dwpose.weights.load import load_model

PHOTO = Path(__file__).resolve().parents[1] / "nodes" / "pictures" / "one_person.jpg"
SIZE_HW = (64, 48)
PICTURE = np.zeros((64, 48, 3), np.uint8)
FACE_ALONE, BODY = 2, 17


class Network:
    """A session that answers the same for each picture."""

    def __init__(self, size_hw, answer, usage):
        self.info = RuntimeInfo("torch", "cpu", "fp32", "a stub")
        self.input_size_hw, self.answer, self.usage = size_hw, answer, usage
        self.max_batch, self.input_dtype = None, "float32"
        self.asked = []

    def __call__(self, images):
        self.asked.append(len(images))
        return tuple(np.repeat(part[None], len(images), 0) for part in self.answer)


def finder(people, rough=True, apart=24):
    """Finds so many people, side by side."""
    rows = [[apart * i, 0, apart * i + 20, 60, 0.9] for i in range(people)]
    boxes = np.array(rows + [[0] * 5] * (3 - people), np.float32)
    return PersonDetector(Network((64, 64), (boxes, np.zeros(3)), Usage(rough_boxes=rough)))


def poser(seen, flip_test=False):
    """Is sure of the first so many points of everybody."""
    x, y = (np.zeros((133, 2 * side), np.float32) for side in SIZE_HW[::-1])
    for curves in (x, y):
        curves[np.arange(seen), 20 + np.arange(seen)] = 0.8
    return Estimator(Network(SIZE_HW, (x, y), Usage(flip_test=flip_test)))


def test_boxes_of_its_detector_and_the_whole_picture_are_where_searches_start():
    assert len(DWPose(poser(BODY), finder(0))(PICTURE)) == 1
    people = DWPose(poser(BODY), finder(2))(PICTURE, rounds=0)
    assert len(people) == 3  # of another size and in another place each time
    for points, (x1, y1, x2, y2) in zip(people.keypoints, people.boxes.xyxy, strict=True):
        points = np.clip(points[:BODY], 0, (48, 64))
        inside = (points >= (x1, y1)) & (points <= (x2, y2))
        assert inside.all()
    assert len(DWPose(poser(BODY), finder(0))(PICTURE, detector_fallback=False)) == 0
    assert len(DWPose(poser(BODY), finder(0, rough=False))(PICTURE)) == 0


@pytest.mark.parametrize(("apart", "people"), [(2, 3), (1.5, 2)])
def test_neighbours_in_a_crowd_are_two_people(apart, people):
    # Points span 12 pixels with their margin, so these are 17 and 12 % of a person apart.
    found = DWPose(poser(BODY), finder(2, apart=apart))(PICTURE, rounds=0)
    assert len(found) == people  # one of them is the whole picture's


def test_of_many_boxes_the_surest_are_searched():
    boxes = Boxes(np.tile(np.float32([0, 0, 20, 60]), (500, 1)), np.linspace(0, 1, 500))
    estimator = poser(BODY)
    find_people(estimator, [PICTURE], [boxes], rounds=0)
    assert sum(estimator.session.asked) == 1 + 64


def test_what_its_detector_boxes_has_to_have_a_body():
    boxes = [(0, 0, 20, 60)]
    assert len(DWPose(poser(FACE_ALONE), finder(2))(PICTURE)) == 0
    assert len(DWPose(poser(FACE_ALONE), finder(2))(PICTURE, boxes=boxes)) == 1
    official = DWPose(poser(FACE_ALONE), finder(2, rough=False))
    assert len(official(PICTURE, nms_threshold=None)) == 2


@pytest.mark.parametrize(("asked", "crops"), [({}, 2), ({"flip_test": False}, 1)])
def test_its_pose_network_looks_at_the_mirror_image_too(asked, crops):
    pose = DWPose(poser(BODY, flip_test=True), finder(1, rough=False))
    pose(PICTURE, **asked)
    assert pose.estimator.session.asked == [crops]
    other = DWPose(poser(BODY), finder(1, rough=False))
    other(PICTURE, **asked)
    assert other.estimator.session.asked == [1]


def test_films_are_helped_like_pictures():
    def seen(rough):
        pose = DWPose(poser(BODY), finder(0, rough))
        return [len(people) > 0 for _, people in pose.stream([PICTURE] * 5, smoothing=None)]

    assert seen(rough=True) == [True] * 5
    assert seen(rough=False) == [False] * 5


@pytest.fixture(scope="module")
def by_id():
    pose = DWPose.from_pretrained("builtin-lite", "builtin-det", runtime="torch", device="cpu")
    return pose(load_image(PHOTO))


@pytest.mark.parametrize(("form", "near_px"), [("copy", 0.05), ("fp32", 0.05), ("fp16", 5)])
def test_copies_and_exports_of_its_networks_find_the_same(by_id, tmp_path, form, near_px):
    paths = []
    for name in ("builtin-lite", "builtin-det"):
        model = load_model(name)
        if form == "copy":
            paths.append(tmp_path / f"my-{name}.safetensors")
            paths[-1].write_bytes(model.path.read_bytes())
        else:
            pytest.importorskip("onnx")
            paths.append(export_onnx(model.module, tmp_path / f"{name}.onnx", half=form == "fp16"))
    runtime = "torch" if form == "copy" else "auto"
    people = DWPose.from_pretrained(*paths, runtime=runtime, device="cpu")(load_image(PHOTO))
    # Half precision rounds to 11 bits, and what is found is where the search goes on.
    np.testing.assert_allclose(people.boxes.xyxy, by_id.boxes.xyxy, atol=near_px)
    np.testing.assert_allclose(people.keypoints, by_id.keypoints, atol=near_px)
    np.testing.assert_allclose(people.scores, by_id.scores, atol=0.1 if form == "fp16" else 1e-3)
