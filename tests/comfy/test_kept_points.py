"""Points that a lowered threshold kept stay in every later node, unless it asks otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dwpose.io.openpose_json import to_pose_keypoint
from dwpose.people import pose_boxes
from dwpose.render import draw_pose_map
from dwpose.skeleton import LEFT_HAND
from dwpose.training.synthetic.motion import as_people, move, project

KEPT, FAINT, UNSEEN = 0.1, 0.15, 0.05
TIMES = np.arange(30) / 25


@pytest.fixture(scope="module")
def frames():
    """A clip of one person with an id, whose points are faint; the left hand was left out."""
    truth = project(move(1, TIMES))
    scores = np.full(truth.shape[:2], FAINT)
    scores[:, LEFT_HAND] = UNSEEN
    return as_people(truth, scores, track_id=0)


@pytest.fixture(scope="module")
def pose(frames):
    return to_pose_keypoint(frames, threshold=KEPT)


def shown(pose, part="pose"):
    """How many points of a part each frame's first person shows."""
    return [int(sum(f["people"][0][f"{part}_keypoints_2d"][2::3])) for f in pose]


def drawn(image):
    return int((image > 0).sum())


def test_the_clip_shows_all_but_a_hand(pose):
    assert min(shown(pose)) == 18
    assert max(shown(pose, "hand_left")) == 0


@pytest.mark.parametrize("style", ["dwpose", "wan-animate"])
def test_pose_maps_show_them(pack, frames, pose, style):
    draw = pack("nodes.render").DrawPoseMap.execute
    maps, masks = draw(pose[:2], style).args
    expected = draw_pose_map(
        frames[0], style=style, body_threshold=KEPT, hand_threshold=KEPT, face_threshold=KEPT
    )
    np.testing.assert_array_equal(np.rint(maps[0].numpy() * 255), expected)
    assert drawn(masks) > 0
    asked = draw(pose[:1], style, body_threshold=0.3, hand_threshold=0.3, face_threshold=0.3)
    assert drawn(asked.args[0]) == 0


def test_pose_videos_show_them_too(pack, pose):
    parts = pack("nodes.options").Parts(hand_threshold=0.5)
    options = parts.as_kept(pose).draw_options("dwpose")
    wanted = {"body": KEPT, "hand": 0.5, "face": KEPT, "feet": None}
    assert {part: options[f"{part}_threshold"] for part in wanted} == wanted


def test_a_style_keeps_its_rule_for_keypoints_of_the_usual_threshold(pack, frames):
    usual = to_pose_keypoint(frames[:1])
    parts = pack("nodes.options").Parts()
    for others in (usual, [{"people": []}], [{"people": [{"pose_keypoints_2d": []}]}]):
        assert parts.as_kept(others) == parts


def test_track_and_smooth_calms_and_keeps_them(pack, pose):
    node = pack("nodes.track").TrackAndSmooth
    calm = node.execute(pose, 25.0).args[0]
    assert min(shown(calm)) == 18
    assert max(shown(calm, "hand_left")) == 0
    assert calm != pose
    # Asked for sure points alone it leaves the faint ones as they were.
    left = node.execute(pose, 25.0, threshold=0.3).args[0]
    assert left[5]["people"][0]["pose_keypoints_2d"] == pose[5]["people"][0]["pose_keypoints_2d"]


def test_select_people_measures_them(pack, frames, pose):
    node = pack("nodes.people").SelectPeople
    kept, boxes, _ = node.execute(pose, min_confidence=0.1).args
    assert kept == pose
    expected = pose_boxes(frames[0], KEPT)
    np.testing.assert_allclose(boxes[0], expected, rtol=1e-6)
    assert node.execute(pose, min_confidence=0.1, threshold=0.3).args[2] == 0


def test_masks_cover_them(pack, pose):
    node = pack("nodes.masks").KeypointsToMasks
    assert drawn(node.execute(pose[:1], "head").args[0]) > 0
    assert drawn(node.execute(pose[:1], "left hand").args[0]) == 0
    assert drawn(node.execute(pose[:1], "head", threshold=0.3).args[0]) == 0


def test_retarget_moves_them(pack, pose):
    node = pack("nodes.retarget").Retarget
    moved, lengths = node.execute(pose, reference=pose[:1]).args
    assert min(shown(moved)) == 18
    assert '"arm"' in lengths


def test_the_preview_shows_them(pack, folder_paths, pose):
    node = pack("nodes.preview").PreviewKeypoints
    (entry,) = node.execute(pose[:1]).ui["dwpose_preview"]
    folder = Path(folder_paths.get_temp_directory()) / entry["subfolder"]
    (frame,) = json.loads((folder / entry["filename"]).read_text())["frames"]
    numbers = {int(number) for number in frame["people"][0]["points"]}
    assert set(range(18)) <= numbers
    assert not numbers & set(range(92, 113))


@pytest.mark.parametrize("kind", ["OpenPose JSON", "OpenPose JSON per frame"])
def test_files_bring_them_back(pack, folder_paths, tmp_path, monkeypatch, pose, kind):
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    node = pack("nodes.keypoints")
    path = node.SaveKeypoints.execute(pose, format=kind)[0]
    assert node.LoadKeypoints.execute(path=path).args[0] == pose


def test_the_lowest_of_several_thresholds_counts(pack, frames):
    read = pack("nodes.sockets").written_threshold
    mixed = [to_pose_keypoint(frames[0], threshold=least)[0] for least in (0.3, 0.2, 0.4)]
    assert read(mixed) == 0.2
    assert read(mixed[2]) == 0.4
    assert read([None, {"people": None}, {"people": [None, {"dwpose": {}}]}]) is None


@pytest.mark.parametrize("style", ["dwpose", "dwpose-feet", "xinsir"])
@pytest.mark.parametrize(
    "thresholds", [{}, {"hand": 0.1}, {"body": 0.05, "feet": 0.4}, {"body": 0.7}, {"face": 0.0}]
)
def test_the_estimators_picture_is_drawn_again(pack, frames, style, thresholds):
    options, types = pack("nodes.options"), pack("dwpose.types")
    scores = np.random.default_rng(0).uniform(0.01, 1, (1, 133)).astype(np.float32)
    boxes = types.Boxes(frames[0].boxes.xyxy)
    people = types.People(frames[0].keypoints, scores, boxes, frames[0].image_hw)
    parts = options.Parts(**{f"{part}_threshold": value for part, value in thresholds.items()})
    expected = pack("dwpose.render").draw_pose_map(people, **parts.draw_options(style))
    pose = pack("nodes.sockets").write_poses([parts.hide(people)], parts.shown_threshold())
    maps = pack("nodes.render").DrawPoseMap.execute(pose, style).args[0]
    np.testing.assert_array_equal(np.rint(maps[0].numpy() * 255), expected)
