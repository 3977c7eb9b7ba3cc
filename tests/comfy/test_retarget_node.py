"""Retarget: proportions of a picture, of numbers, framing, and what is told when it cannot."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from dwpose.io.openpose_json import from_pose_keypoint, to_pose_keypoint
from dwpose.retarget import FRAMINGS
from dwpose.training.synthetic.motion import Act, Build, as_people, move, project, together
from dwpose.types import People

TIMES = np.arange(40) / 25
CHILD = Build(arm=0.75, forearm=0.75, hand=0.9, leg=0.7, shin=0.7, shoulders=0.8, head=1.2)
STILL = Act(amount=0.1, travel_m=0.0, step=False)


@pytest.fixture(scope="module")
def module(pack):
    return pack("nodes.retarget")


@pytest.fixture(scope="module")
def node(module):
    return module.Retarget


def person(seed, build=None, act=None, track_id: int | None = 0, hw=(480, 832), **view):
    truth = project(move(seed, TIMES, build, act), image_hw=hw, **view)
    return truth, as_people(truth, np.full(truth.shape[:2], 0.9), hw, track_id)


def reference(hw=(600, 400)):
    return to_pose_keypoint(person(2, CHILD, STILL, hw=hw)[1][0])


def run(node, frames, **options):
    given = to_pose_keypoint(frames)
    before = copy.deepcopy(given)
    keypoints, lengths = node.execute(given, **options).args
    assert given == before
    found = from_pose_keypoint(keypoints)
    assert len(found) == len(frames)
    return found, json.loads(lengths)


def length(frames, a, b):
    points = np.stack([p.keypoints[0] for p in frames]).astype(np.float64)
    return np.linalg.norm(points[:, a] - points[:, b], axis=-1)


def share(frames):
    """Length of arms against the torso, the longest in the clip."""
    points = np.stack([p.keypoints[0] for p in frames]).astype(np.float64)
    torso = np.linalg.norm(points[:, [5, 6]].mean(1) - points[:, [11, 12]].mean(1), axis=-1)
    return np.percentile((length(frames, 5, 7) + length(frames, 7, 9)) / torso, 95)


def test_frames_of_different_sizes_are_told_of(node):
    frames = [person(1)[1][0], person(1, hw=(960, 1664))[1][0]]
    with pytest.raises(ValueError, match=r"832x480 in frame 0, 1664x960 in frame 1.*one film"):
        node.execute(to_pose_keypoint(frames), reference=reference())


def test_framings_equal_the_library(module):
    assert module.FRAMINGS == FRAMINGS


def test_the_references_proportions_are_taken(node):
    _, driver = person(1)
    _, child = person(1, CHILD)
    found, lengths = run(node, driver, reference=reference())
    assert share(driver) > 1.2 * share(child)
    assert share(found) == pytest.approx(share(child), rel=0.06)
    assert {"arm", "leg", "shoulders", "head"} <= set(lengths)
    assert found[0].image_hw == (480, 832)


def test_numbers_do_instead_of_a_reference_and_over_it(node):
    _, driver = person(1)
    _, lengths = run(node, driver, reference=reference())
    again, _ = run(node, driver, lengths=json.dumps(lengths))
    taken, _ = run(node, driver, reference=reference())
    assert share(again) == pytest.approx(share(taken), rel=0.01)
    long, changed = run(node, driver, reference=reference(), lengths="arm: 1.5; forearm = 1.5")
    assert (changed["arm"], changed["forearm"], changed["leg"]) == (1.5, 1.5, lengths["leg"])
    assert share(long) > 1.5 * share(taken)


def test_switches_and_amount(node):
    _, driver = person(1)
    off = dict.fromkeys(("limbs", "widths", "head", "hands", "feet"), False)
    same, _ = run(node, driver, reference=reference(), **off)
    assert share(same) == pytest.approx(share(driver), rel=1e-3)
    none, _ = run(node, driver, reference=reference(), amount=0.0)
    assert share(none) == pytest.approx(share(driver), rel=1e-3)
    half, _ = run(node, driver, reference=reference(), amount=0.5)
    assert share(run(node, driver, reference=reference())[0]) < share(half) < share(driver)


def test_framings(node):
    _, driver = person(1)
    found, _ = run(node, driver, reference=reference(), framing="reference")
    target = from_pose_keypoint(reference())[0]
    assert found[0].image_hw == (600, 400)
    ground = [f.keypoints[0, 15:23, 1].max() for f in found]
    assert np.percentile(ground, 75) == pytest.approx(target.keypoints[0, 15:23, 1].max(), abs=6)
    fitted, _ = run(
        node, driver, reference=reference(), framing="fit", width=512, height=640, margin=0.1
    )
    assert fitted[0].image_hw == (640, 512)
    points = np.concatenate([f.keypoints[0] for f in fitted])
    assert points.min() > 0.08 * 512
    assert (points.max(axis=0) < (0.92 * 512, 0.92 * 640)).all()


def test_one_of_several_by_id_and_frames_without_them(node):
    frames = together(
        person(1, track_id=3, offset_px=(-200, 0))[1], person(2, track_id=5, offset_px=(200, 0))[1]
    )
    frames[10] = frames[10][[0]]
    found, _ = run(node, frames, reference=reference(), track_id=5)
    assert [len(f) for f in found] == [1] * 10 + [0] + [1] * 29
    everybody, _ = run(node, frames, reference=reference())
    assert [len(f) for f in everybody] == [len(f) for f in frames]


def test_nobody_gives_as_many_empty_frames(node):
    _, driver = person(1)
    nobody = [f[[]] for f in driver[:4]]
    found, _ = run(node, nobody, lengths="arm 1")
    assert [len(f) for f in found] == [0] * 4
    assert found[0].image_hw == (480, 832)
    # In the picture that others would be in.
    found, _ = run(node, nobody, lengths="arm 1", framing="fit", width=320, height=256)
    assert {f.image_hw for f in found} == {(256, 320)}
    found, _ = run(node, nobody, reference=reference(), framing="reference")
    assert {f.image_hw for f in found} == {(600, 400)}


def test_the_driving_videos_size_is_that_of_frames_with_people(node):
    frames = [People.empty((64, 64)), *person(1)[1][:3]]
    found, _ = run(node, frames, lengths="arm 1", framing="fit")
    assert {f.image_hw for f in found} == {(480, 832)}


def test_wrong_inputs_are_told_in_one_sentence(node):
    _, driver = person(1)
    pose = to_pose_keypoint(driver[:3])
    pair = [person(seed, track_id=None)[1] for seed in (1, 2)]
    for options, message in (
        ({}, "reference is missing"),
        ({"framing": "crop", "lengths": "arm 1"}, "framing must be one of"),
        ({"framing": "reference", "lengths": "arm 1"}, "needs a reference"),
        ({"lengths": "arm"}, "names and numbers"),
        ({"lengths": "tail 1"}, "unknown lengths"),
        ({"lengths": "{arm"}, "no JSON"),
        ({"lengths": "arm -1"}, "arm must be a positive number"),
        ({"reference": to_pose_keypoint(driver[0][[]])}, "reference has nobody"),
        ({"reference": pose[:1], "reference_person": 2}, "reference_person 2 does not exist"),
        ({"reference": to_pose_keypoint(together(*pair))}, "several frames with several people"),
        ({"lengths": "arm 1", "track_id": 9}, "nobody to retarget has the id 9; ids are 0"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            node.execute(pose, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="without ids"):
        node.execute(to_pose_keypoint(together(*pair)), lengths="arm 1")


def test_cancel(node, management):
    pose = to_pose_keypoint(person(1)[1])
    node.execute(pose, lengths="arm 1")
    checks = management.checks
    assert checks > 3 * len(pose)
    for share in (0.1, 0.5, 0.9):
        management.checks, management.interrupt_after = 0, int(share * checks)
        with pytest.raises(management.InterruptProcessingException):
            node.execute(pose, lengths="arm 1")
