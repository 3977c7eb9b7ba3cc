"""Preview Keypoints: what the page is told, and the page's own file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
HW = (48, 64)


@pytest.fixture(scope="module")
def node(pack):
    return pack("nodes.preview")


@pytest.fixture(scope="module")
def crowd(pack):
    types = pack("dwpose.types")

    def make(count, seed=0, ids=None):
        rng = np.random.default_rng(seed)
        boxes = types.Boxes(np.tile([[1, 2, 50.5, 40]], (count, 1)))
        points = rng.uniform(1, 45, (count, 133, 2)).astype(np.float32)
        return types.People(points, rng.uniform(0, 1, (count, 133)), boxes, HW, ids)

    return make


def show(node, pack, folder_paths, frames, **options):
    pose = pack("nodes.sockets").write_poses(frames)
    output = node.PreviewKeypoints.execute(pose, **options)
    assert output.args == ()
    assert list(output.ui) == [node.UI_KEY]
    (entry,) = output.ui[node.UI_KEY]
    folder = Path(folder_paths.get_temp_directory()) / entry["subfolder"]
    document = json.loads((folder / entry["filename"]).read_text())
    assert entry["type"] == "temp"
    assert entry["frames"] == len(document["frames"])
    return document, folder


def test_frames_points_and_scores(node, pack, folder_paths, crowd):
    frames = [crowd(2, ids=[5, 9]), crowd(0), crowd(1, 2)]
    document, _ = show(node, pack, folder_paths, frames, threshold=0.4)
    assert document["pictures"] == []
    assert [len(f["people"]) for f in document["frames"]] == [2, 0, 1]
    assert all(f["size"] == [HW[1], HW[0]] for f in document["frames"])
    first = document["frames"][0]["people"]
    assert [p["id"] for p in first] == [5, 9]
    assert document["frames"][2]["people"][0]["id"] is None
    points, scores = pack("dwpose.skeleton").to_openpose(frames[0].keypoints, frames[0].scores, 0.4)
    shown = {int(n) for n in first[0]["points"]}
    assert shown == {int(n) for n in np.flatnonzero(scores[0] >= 0.4)}
    for number, (x, y, score) in first[0]["points"].items():
        np.testing.assert_allclose(np.array((x, y)) / 10, points[0, int(number)], atol=0.051)
        assert score / 100 == pytest.approx(scores[0, int(number)], abs=0.0051)
    seen = frames[0].scores[0] >= 0.4
    assert first[0]["score"] == pytest.approx(100 * frames[0].scores[0][seen].mean(), abs=0.6)


def test_the_message_stays_small(node, pack, folder_paths, crowd):
    pose = pack("nodes.sockets").write_poses([crowd(3, n) for n in range(20)])
    assert len(json.dumps(node.PreviewKeypoints.execute(pose).ui)) < 300


def test_pictures_are_written_and_shared(node, pack, folder_paths, crowd):
    image = torch.zeros(2, 30, 40, 3)
    image[0, ..., 0], image[1, ..., 2] = 1, 1
    document, folder = show(node, pack, folder_paths, [crowd(1), crowd(1)], image=image)
    first, second = (cv2.imread(str(folder / name)) for name in document["pictures"])
    assert first.shape == (30, 40, 3)
    assert first[15, 20, 2] > 200 > 60 > first[15, 20, 0]  # red, in OpenCV's order
    assert second[15, 20, 0] > 200 > 60 > second[15, 20, 2]
    one, _ = show(node, pack, folder_paths, [crowd(1)] * 3, image=image[:1])
    assert (len(one["pictures"]), len(one["frames"])) == (1, 3)
    many, _ = show(node, pack, folder_paths, [crowd(1)], image=torch.zeros(3, 8, 8, 4))
    assert (len(many["pictures"]), len(many["frames"])) == (3, 3)
    large, folder = show(node, pack, folder_paths, [crowd(1)], image=torch.zeros(1, 600, 2048, 1))
    assert cv2.imread(str(folder / large["pictures"][0])).shape == (300, 1024, 3)


def test_names_limbs_and_dots(node, pack):
    drawn = node.skeleton_to_draw()
    names = drawn["names"]
    assert (len(names), len(set(names)), len(drawn["dots"])) == (134, 134, 134)
    assert (names[0], names[1], names[4], names[7]) == ("nose", "neck", "right_wrist", "left_wrist")
    assert (names[18], names[24], names[92], names[113]) == (
        "left_big_toe", "face-0", "left_hand_root", "right_hand_root"
    )  # fmt: skip
    source = np.zeros((1, 133, 2))
    source[0, :, 0] = np.arange(133)
    points, _ = pack("dwpose.skeleton").to_openpose(source, np.ones((1, 133)))
    known = pack("dwpose.skeleton").KEYPOINT_NAMES
    for number in [n for n in range(134) if n != 1]:
        assert names[number] == known[int(points[0, number, 0])]
    assert len(drawn["limbs"]) == 17 + 6 + 40
    for a, b, colour in drawn["limbs"]:
        assert 0 <= min(a, b) <= max(a, b) < 134
        assert re.fullmatch("#[0-9a-f]{6}", colour)


def test_points_that_are_not_finite_are_left_out(node, pack, crowd):
    people = crowd(1)
    keypoints = people.keypoints.copy()
    keypoints[0, 0], keypoints[0, 1] = np.nan, 1e9
    people = pack("dwpose.types").People(keypoints, np.ones((1, 133)), people.boxes, HW)
    (person,) = node.describe_frame(people, 0.3)["people"]
    assert {0, 15}.isdisjoint(person["points"])  # nose and left eye
    assert len(person["points"]) == 132
    json.dumps(person, allow_nan=False)


def test_faults_are_told(node, pack, crowd, management):
    with pytest.raises(ValueError, match="no frames"):
        node.PreviewKeypoints.execute([])
    pose = pack("nodes.sockets").write_poses([crowd(1)] * 2)
    with pytest.raises(ValueError, match="2 frames and image 3"):
        node.PreviewKeypoints.execute(pose, image=torch.zeros(3, 8, 8, 3))
    management.interrupted = True
    with pytest.raises(management.InterruptProcessingException):
        node.PreviewKeypoints.execute(pose)
