"""What the facade does for the package's own small networks, which need help."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose.detector import PersonDetector
from dwpose.estimator import Estimator
from dwpose.pipeline import DWPose
from dwpose.runtimes.session import RuntimeInfo
from dwpose.search import find_people
from dwpose.types import Boxes

SIZE_HW = (64, 48)
PICTURE = np.zeros((64, 48, 3), np.uint8)
FACE_ALONE, BODY = 2, 17


class Network:
    """A session that answers the same for each picture."""

    def __init__(self, size_hw, answer, builtin):
        self.info = RuntimeInfo("torch", "cpu", "fp32", "a stub")
        self.input_size_hw, self.answer, self.builtin = size_hw, answer, builtin
        self.max_batch, self.input_dtype = None, "float32"
        self.asked = []

    def __call__(self, images):
        self.asked.append(len(images))
        return tuple(np.repeat(part[None], len(images), 0) for part in self.answer)


def finder(people, builtin=True, apart=24):
    """Finds so many people, side by side."""
    rows = [[apart * i, 0, apart * i + 20, 60, 0.9] for i in range(people)]
    boxes = np.array(rows + [[0] * 5] * (3 - people), np.float32)
    return PersonDetector(Network((64, 64), (boxes, np.zeros(3)), builtin))


def poser(seen, builtin=False):
    """Is sure of the first so many points of everybody."""
    x, y = (np.zeros((133, 2 * side), np.float32) for side in SIZE_HW[::-1])
    for curves in (x, y):
        curves[np.arange(seen), 20 + np.arange(seen)] = 0.8
    return Estimator(Network(SIZE_HW, (x, y), builtin))


def test_boxes_of_its_detector_and_the_whole_picture_are_where_searches_start():
    assert len(DWPose(poser(BODY), finder(0))(PICTURE)) == 1
    people = DWPose(poser(BODY), finder(2))(PICTURE, rounds=0)
    assert len(people) == 3  # of another size and in another place each time
    for points, (x1, y1, x2, y2) in zip(people.keypoints, people.boxes.xyxy, strict=True):
        points = np.clip(points[:BODY], 0, (48, 64))
        inside = (points >= (x1, y1)) & (points <= (x2, y2))
        assert inside.all()
    assert len(DWPose(poser(BODY), finder(0))(PICTURE, detector_fallback=False)) == 0
    assert len(DWPose(poser(BODY), finder(0, builtin=False))(PICTURE)) == 0


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
    official = DWPose(poser(FACE_ALONE), finder(2, builtin=False))
    assert len(official(PICTURE, nms_threshold=None)) == 2


@pytest.mark.parametrize(("asked", "crops"), [({}, 2), ({"flip_test": False}, 1)])
def test_its_pose_network_looks_at_the_mirror_image_too(asked, crops):
    pose = DWPose(poser(BODY, builtin=True), finder(1, builtin=False))
    pose(PICTURE, **asked)
    assert pose.estimator.session.asked == [crops]
    other = DWPose(poser(BODY), finder(1, builtin=False))
    other(PICTURE, **asked)
    assert other.estimator.session.asked == [1]


def test_films_are_helped_like_pictures():
    def seen(builtin):
        pose = DWPose(poser(BODY), finder(0, builtin))
        return [len(people) > 0 for _, people in pose.stream([PICTURE] * 5, smoothing=None)]

    assert seen(builtin=True) == [True] * 5
    assert seen(builtin=False) == [False] * 5
