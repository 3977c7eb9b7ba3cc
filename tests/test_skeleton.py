"""Names, pairs, sigmas and the OpenPose order against the dataset's own description."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dwpose import skeleton


@pytest.fixture(scope="module")
def meta(reference):
    return json.loads(reference("coco_wholebody_meta.json").read_text())


def test_equals_coco_wholebody(meta):
    assert list(skeleton.KEYPOINT_NAMES) == meta["keypoint_names"]
    assert skeleton.FLIP_INDICES.tolist() == meta["flip_indices"]
    np.testing.assert_allclose(skeleton.SIGMAS, meta["sigmas"], rtol=1e-6)
    groups = dict(zip(meta["groups"], skeleton.PARTS.values(), strict=True))
    assert {k: [v.start, v.stop] for k, v in groups.items()} == meta["groups"]


def test_mirroring_twice_changes_nothing_and_swaps_sides():
    flip = skeleton.FLIP_INDICES
    assert flip[flip].tolist() == list(range(133))
    for i, name in enumerate(skeleton.KEYPOINT_NAMES):
        if name.startswith("left_"):
            assert skeleton.KEYPOINT_NAMES[flip[i]] == name.replace("left_", "right_")


def test_openpose_order_and_neck():
    keypoints = np.arange(266, dtype=np.float32).reshape(1, 133, 2)
    scores = np.full((1, 133), 0.5, np.float32)
    scores[0, 5] = 0.3  # at the threshold: not above it
    points, values = skeleton.to_openpose(keypoints, scores)
    coco = points[0, :, 0] / 2
    assert coco[:18].tolist() == [0, 5.5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
    assert coco[18:].tolist() == list(range(17, 133))
    assert values[0, skeleton.NECK] == 0
    scores[0, 5] = 0.31
    assert skeleton.to_openpose(keypoints, scores)[1][0, skeleton.NECK] == 1


def test_openpose_round_trip():
    rng = np.random.default_rng(1)
    keypoints, scores = rng.random((2, 3, 133, 2)), rng.random((2, 3, 133))
    back = skeleton.from_openpose(*skeleton.to_openpose(keypoints, scores))
    np.testing.assert_array_equal(back[0], keypoints)
    np.testing.assert_array_equal(back[1], scores)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="133"):
        skeleton.to_openpose(np.zeros((1, 134, 2)), np.zeros((1, 134)))
    with pytest.raises(ValueError, match="134"):
        skeleton.from_openpose(np.zeros((1, 133, 2)), np.zeros((1, 133)))


def test_limbs_and_edges_form_trees():
    assert len(skeleton.BODY_LIMBS) == 17
    assert {p for limb in skeleton.BODY_LIMBS for p in limb} == set(range(18))
    assert [b for _, b in skeleton.HAND_EDGES] == list(range(1, 21))
    assert {a for a, b in skeleton.HAND_EDGES if b % 4 == 1} == {0}
