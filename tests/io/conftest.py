"""People to write, and documents as each known program writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dwpose.types import Boxes, People


def make_people(
    seed: int, count: int = 2, image_hw: tuple[int, int] = (480, 640), tracked: bool = False
) -> People:
    """People anywhere in (and a little outside) a picture, scores below and above 0.3."""
    rng = np.random.default_rng(seed)
    height, width = image_hw
    keypoints = rng.uniform(-0.1, 1.1, (count, 133, 2)) * (width, height)
    corners = rng.uniform(0, 1, (count, 2, 2)) * (width, height)
    xyxy = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return People(
        keypoints.astype(np.float32),
        rng.uniform(-0.2, 1.2, (count, 133)).astype(np.float32),
        Boxes(xyxy.astype(np.float32), rng.uniform(0.3, 1, count).astype(np.float32)),
        image_hw,
        rng.integers(0, 1000, count) if tracked else None,
    )


def flat(rng: np.random.Generator, count: int, scale: tuple[float, float], c: Any = 1.0) -> list:
    """x, y, c of points spread over the canvas."""
    points = rng.uniform(0.1, 0.9, (count, 2)) * scale
    values = np.broadcast_to(np.asarray(c, np.float64), count)
    return np.concatenate([points, values[:, None]], axis=1).ravel().round(3).tolist()


def peer_documents() -> dict[str, Any]:
    """One valid document per known author, two frames of 640x480 each where it can hold two."""
    rng = np.random.default_rng(7)
    px, unit = (640.0, 480.0), (1.0, 1.0)
    canvas = {"canvas_height": 480, "canvas_width": 640}

    def person(scale: tuple[float, float], **lists: Any) -> dict[str, Any]:
        return {
            "pose_keypoints_2d": flat(rng, 18, scale),
            "face_keypoints_2d": flat(rng, 70, scale),
            "hand_left_keypoints_2d": flat(rng, 21, scale),
            "hand_right_keypoints_2d": flat(rng, 21, scale),
            **lists,
        }

    nulls = {"face_keypoints_2d": None, "hand_left_keypoints_2d": None}
    scores = rng.uniform(0.05, 1.0, 24)
    deluxe = {
        "pose_keypoints_2d": flat(rng, 24, px, scores),
        "face_keypoints_2d": flat(rng, 68, px, 0.7),
        "face_box": [10.0, 20.0, 30.0, 40.0],
        "hand_left_keypoints_2d": flat(rng, 21, px, 0.4),
        "hand_right_keypoints_2d": flat(rng, 20, px, 0.9),
    }
    openpose = {
        "person_id": [-1],
        "pose_keypoints_2d": flat(rng, 25, px, 0.8),
        "face_keypoints_2d": flat(rng, 70, px, 0.6),
        "hand_left_keypoints_2d": flat(rng, 21, px, 0.5),
        "hand_right_keypoints_2d": [0] * 63,
        "pose_keypoints_3d": [],
    }
    core = person(px, face_keypoints_2d=flat(rng, 68, px, 0.44))
    core["foot_keypoints_2d"] = flat(rng, 6, px, 0.55)
    nested = {key: np.reshape(value, (-1, 3)).tolist() for key, value in person(px).items()}
    animals = {"version": "ap10k", "animals": [[[5.0, 6.0, 1]] * 17], **canvas}
    return {
        "ours": None,
        "aux": [{"people": [person(px), person(px, **nulls)], **canvas}, {"people": [], **canvas}],
        "aux normalised": [{"people": [person(unit)], **canvas}] * 2,
        "core": [{"people": [core], **canvas}, {"people": [], **canvas}],
        "deluxe": [{"people": [deluxe], **canvas}, {"people": [], **canvas}],
        "huchenlei": {"people": [person(px, **nulls)], **canvas},
        "openpose": {"version": 1.3, "people": [openpose], **canvas},
        "just": [{"people": [person(px)], **canvas}, {"version": "ap10k", "people": []}],
        "nested": [{"people": [nested], **canvas}],
        "animals": [animals, {"people": [person(px)], **canvas}],
        "mixed units": [
            {"people": [person(px, hand_left_keypoints_2d=flat(rng, 21, unit))], **canvas}
        ],
    }


@pytest.fixture(scope="session")
def people_of() -> Callable[..., People]:
    """The function `make_people`."""
    return make_people


@pytest.fixture
def documents() -> dict[str, Any]:
    """The documents of `peer_documents`, ours included; fresh for each test."""
    from dwpose.io.openpose_json import to_pose_keypoint

    found = peer_documents()
    found["ours"] = to_pose_keypoint([make_people(1), make_people(2, 0), make_people(3, 1)])
    return found
