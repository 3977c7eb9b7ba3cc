"""Select People."""

from __future__ import annotations

import numpy as np
import pytest
import torch

HW = (100, 300)
PLACES = {"small": (250, 20), "large": (50, 60), "middle": (150, 40)}  # x and height


@pytest.fixture(scope="module")
def node(pack):
    return pack("nodes.people")


@pytest.fixture(scope="module")
def poses(pack):
    types = pack("dwpose.types")
    shape = np.random.default_rng(0).uniform(-0.5, 0.5, (133, 2))

    def make(*frames, ids=None, threshold=None):
        found = []
        for names in frames:
            points = [shape * PLACES[n][1] + (PLACES[n][0], 50) for n in names]
            points = np.array(points, np.float32).reshape(-1, 133, 2)
            score = np.array([0.9 if n == "small" else 0.6 for n in names], np.float32)
            boxes = types.Boxes(np.concatenate((points.min(axis=1), points.max(axis=1)), axis=1))
            scores = np.repeat(score[:, None], 133, axis=1)
            found.append(types.People(points, scores, boxes, HW, ids))
        return pack("nodes.sockets").write_poses(found, threshold)

    return make


def select(node, pack, pose, **options):
    keypoints, boxes, count = node.SelectPeople.execute(pose, **options).args
    frames = pack("nodes.sockets").read_poses(keypoints)
    names = [
        [min(PLACES, key=lambda n: abs(PLACES[n][0] - p[:, 0].mean())) for p in f.keypoints]
        for f in frames
    ]
    assert [len(b) for b in boxes] == [len(f) for f in frames]
    assert count == max(map(len, frames))
    return names, frames, boxes


ALL = ("small", "large", "middle")


def test_orders_equal_the_library(node, pack):
    assert tuple(node.ORDERS) == pack("dwpose.people").ORDERS


def test_each_frame_by_itself(node, pack, poses):
    pose = poses(ALL, (), ("middle", "large"))
    assert select(node, pack, pose)[0] == [list(ALL), [], ["middle", "large"]]
    names = select(node, pack, pose, order="size", indices="0")[0]
    assert names == [["large"], [], ["large"]]
    names = select(node, pack, pose, order="left-to-right", max_people=2)[0]
    assert names == [["large", "middle"], [], ["large", "middle"]]
    assert select(node, pack, pose, min_confidence=0.8)[0] == [["small"], [], []]
    assert select(node, pack, pose, indices="-1")[0] == [["middle"], [], ["large"]]


def test_boxes_and_masks(node, pack, poses):
    pose = poses(ALL, ALL)
    right = [200, 0, 300, 100]
    assert select(node, pack, pose, boxes=[[right], []])[0] == [["small"], []]
    as_wh = [200, 0, 100, 100]
    names = select(node, pack, pose, boxes=[as_wh, as_wh], box_format="x y width height")[0]
    assert names == [["small"], ["small"]]
    mask = torch.zeros(50, 150)
    mask[:, :100] = 1
    names = select(node, pack, pose, mask=mask, order="left-to-right")[0]
    assert names == [["large", "middle"]] * 2
    assert select(node, pack, pose, mask=torch.zeros(1, 64, 64))[0] == [list(ALL)] * 2
    names = select(node, pack, pose, mask=mask, boxes=[[right], [right]])[0]
    assert names == [list(ALL)] * 2


def test_several_masks_of_one_picture_are_joined(node, pack, poses):
    masks = torch.zeros(2, *HW)
    masks[0, :, :100], masks[1, :, 200:] = 1, 1
    assert select(node, pack, poses(ALL), mask=masks)[0] == [["small", "large"]]


def test_following(node, pack, poses):
    pose = poses(("middle", "small"), ALL, (), ("large", "small"))
    names, frames, _ = select(
        node, pack, pose, order="score", indices="0", across_frames=node.ACROSS[1], frame=1
    )
    assert names == [["small"], ["small"], [], ["small"]]
    assert [f.track_ids.tolist() for f in frames if len(f)] == [[0]] * 3
    names = select(node, pack, pose, across_frames=node.ACROSS[1], frame=-1)[0]
    assert names == [["small"], ["large", "small"], [], ["large", "small"]]


def test_following_begins_where_somebody_is(node, pack, poses):
    follow = {"across_frames": node.ACROSS[1]}
    pose = poses((), (), ("small",), ("large", "small"), ())
    assert select(node, pack, pose, **follow)[0] == [[], [], ["small"], ["small"], []]
    names = select(node, pack, pose, frame=-1, indices="0", **follow)[0]
    assert names == [[], [], [], ["large"], []]
    # Nobody has that number in the nearest frame with people.
    names = select(node, pack, pose, indices="1", order="score", **follow)[0]
    assert names == [[], [], [], ["large"], []]
    assert select(node, pack, pose, min_confidence=1.0, **follow)[0] == [[]] * 5
    # Of two as near, the earlier.
    pose = poses(("large",), (), ("small",))
    assert select(node, pack, pose, frame=1, **follow)[0] == [["large"], [], []]


def test_boxes_are_around_the_people(node, pack, poses):
    _, frames, boxes = select(node, pack, poses(("large",)))
    np.testing.assert_allclose(boxes[0][0], frames[0].boxes.xyxy[0], rtol=1e-6)


def test_what_was_shown_stays_shown(node, pack, poses):
    pose = poses(ALL, threshold=0.7)
    kept = node.SelectPeople.execute(pose).args[0]
    assert kept == pose
    assert sum(kept[0]["people"][1]["pose_keypoints_2d"]) == 0  # 0.6 is below 0.7


def test_ids_are_chosen_before_all_else(node, pack, poses):
    types = np.array([7, 3, 9])
    pose = poses(ALL, ALL, ids=types)
    assert select(node, pack, pose, track_ids="3")[0] == [["large"]] * 2
    assert select(node, pack, pose, track_ids="9, 7", order="size")[0] == [["middle", "small"]] * 2
    assert select(node, pack, pose, track_ids="9,7", indices="0")[0] == [["small"]] * 2
    assert select(node, pack, pose, track_ids="5")[0] == [[], []]
    assert select(node, pack, pose, track_ids="")[0] == [list(ALL)] * 2
    assert select(node, pack, poses((), ()), track_ids="3")[0] == [[], []]
    with pytest.raises(ValueError, match="nobody has an id; put Track & Smooth"):
        select(node, pack, poses(ALL), track_ids="3")
    with pytest.raises(ValueError, match="track_ids must be whole numbers"):
        select(node, pack, pose, track_ids="x")


def test_faults_are_told(node, pack, poses):
    with pytest.raises(ValueError, match="indices must be"):
        select(node, pack, poses(ALL), indices="all")
    with pytest.raises(ValueError, match="order must be one of"):
        select(node, pack, poses(ALL), order="x")
    with pytest.raises(ValueError, match="frame 9 does not exist"):
        select(node, pack, poses(ALL), across_frames=node.ACROSS[1], frame=9)
    with pytest.raises(ValueError, match="needs an area"):
        select(node, pack, poses(ALL), order="inside")
    with pytest.raises(ValueError, match="no frames"):
        select(node, pack, [])


def test_cancel_stops(node, pack, poses, management):
    management.interrupted = True
    with pytest.raises(management.InterruptProcessingException):
        node.SelectPeople.execute(poses(ALL))
