"""Documents exactly as two programs write them today, in and drawn, out and as they read them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from dwpose import skeleton
from dwpose.io.openpose_json import from_pose_keypoint, to_pose_keypoint
from dwpose.render import draw_pose_map

CANVAS = {"canvas_height": 480, "canvas_width": 640}


def points(count: int, seed: int, c: Any = 1.0) -> list[float]:
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0.1, 0.9, (count, 2)) * (640, 480)
    values = np.broadcast_to(np.asarray(c, float), count)
    return np.concatenate([xy, values[:, None]], axis=1).ravel().tolist()


def face_with_eyes(face: list[float], body: list[float]) -> list[float]:
    return [*face, *body[3 * 14 : 3 * 16]]


def core_document() -> list[dict[str, Any]]:
    """SDPose: real scores, also of hidden points (-1, -1), pupils, the hands' lists exchanged."""
    rng = np.random.default_rng(3)
    body = points(18, 1, rng.uniform(0.05, 0.95, 18))
    body[3 * 10 : 3 * 11] = [-1.0, -1.0, 0.02]
    person = {
        "pose_keypoints_2d": body,
        "foot_keypoints_2d": points(6, 2, 0.6),
        "face_keypoints_2d": face_with_eyes(points(68, 3, 0.7), body),
        "hand_right_keypoints_2d": points(21, 4, 0.8),
        "hand_left_keypoints_2d": points(21, 5, 0.4),
    }
    return json.loads(json.dumps([{**CANVAS, "people": [person]}]))


def test_core_scores_and_hands():
    document = core_document()
    person = document[0]["people"][0]
    (as_is,) = from_pose_keypoint(document)
    (people,) = from_pose_keypoint(document, swap_hands=True)
    assert people.image_hw == (480, 640)
    for part, key in (("left_hand", "hand_right"), ("right_hand", "hand_left")):
        expected = np.reshape(person[f"{key}_keypoints_2d"], (-1, 3)).astype(np.float32)
        where = skeleton.PARTS[part]
        np.testing.assert_array_equal(people.keypoints[0, where], expected[:, :2])
        np.testing.assert_array_equal(people.scores[0, where], expected[:, 2])
    both = [*range(91, 133)]
    np.testing.assert_array_equal(as_is.scores[:, both], np.roll(people.scores[:, both], 21, 1))
    right_ankle = 16
    assert people.scores[0, right_ankle] == np.float32(0.02)
    assert (people.scores[0] > 0).all()


def test_core_reads_ours():
    """Its drawing reshapes the lists to 18, 70, 21, 21 and, where there are any, 6 points."""
    (people,) = from_pose_keypoint(core_document(), swap_hands=True)
    (frame,) = to_pose_keypoint(people[:0])
    assert frame == {"people": [], **CANVAS}
    (person,) = to_pose_keypoint(people)[0]["people"]
    sizes = {"pose": 18, "face": 70, "hand_left": 21, "hand_right": 21, "foot": 6}
    for name, count in sizes.items():
        assert np.array(person[f"{name}_keypoints_2d"], np.float32).reshape(count, 3).any()


def test_controlnet_aux_without_hands_or_face():
    """Null parts draw the same as parts of zeros, which ours writes for them."""
    body = points(18, 6)
    whole = {
        "pose_keypoints_2d": body,
        "face_keypoints_2d": face_with_eyes(points(68, 7), body),
        "hand_left_keypoints_2d": points(21, 8),
        "hand_right_keypoints_2d": points(21, 9),
    }
    for absent in ({"face_keypoints_2d"}, {"hand_left_keypoints_2d", "hand_right_keypoints_2d"}):
        theirs = {key: None if key in absent else value for key, value in whole.items()}
        (people,) = from_pose_keypoint([{"people": [theirs], **CANVAS}])
        (ours,) = to_pose_keypoint(people, extra=False)[0]["people"]
        for key, value in theirs.items():
            expected = np.zeros(len(whole[key])) if value is None else np.array(value)
            if key == "pose_keypoints_2d":  # the neck is made anew
                expected[3:6] = (expected[6:9] + expected[15:18]) / 2
            np.testing.assert_allclose(ours[key], expected, rtol=1e-6)
        (again,) = from_pose_keypoint([{"people": [ours], **CANVAS}])
        first, second = (draw_pose_map(p, style="controlnet-aux") for p in (people, again))
        assert first.any()
        np.testing.assert_array_equal(first, second)
