"""Keypoints to Masks and Crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

HW = (120, 200)


@pytest.fixture(scope="module")
def node(pack):
    return pack("nodes.masks")


@pytest.fixture(scope="module")
def poses(pack):
    """Frames of people whose whole face is within 20 px around these places."""
    types, skeleton = pack("dwpose.types"), pack("dwpose.skeleton")

    def make(*frames):
        found = []
        for places in frames:
            rng = np.random.default_rng(0)
            points = np.zeros((len(places), 133, 2), np.float32)
            scores = np.zeros((len(places), 133), np.float32)
            for i, place in enumerate(places):
                points[i, skeleton.FACE] = rng.uniform(-20, 20, (68, 2)) + place
                points[i, skeleton.LEFT_HAND] = rng.uniform(-5, 5, (21, 2)) + place
                scores[i, skeleton.FACE] = scores[i, skeleton.LEFT_HAND] = 1
            boxes = types.Boxes(np.tile([[0, 0, 9, 9]], (len(places), 1)))
            found.append(types.People(points, scores, boxes, HW))
        return pack("nodes.sockets").write_poses(found)

    return make


def cut(node, *args, **options):
    return node.KeypointsToMasks.execute(*args, **options).args


def test_choices_equal_the_library(node, pack):
    parts = pack("dwpose.parts")
    assert (node.PART_NAMES, node.SHAPES) == (parts.PART_NAMES, parts.SHAPES)


def test_counts_match_and_missing_frames_are_empty(node, poses):
    image = torch.rand(3, *HW, 3) * 0.5 + 0.5
    masks, crops, crop_masks, boxes, squares = cut(
        node, poses([(60, 60)], [], [(140, 50)]), image=image, crop_size=64
    )
    assert masks.shape == (3, *HW)
    assert crops.shape == (3, 64, 64, 3)
    assert crop_masks.shape == (3, 64, 64)
    assert [len(b) for b in boxes] == [1, 0, 1]
    assert [len(s) for s in squares] == [1, 1, 1]
    assert squares[1] == [[0, 0, 0, 0]]
    assert not masks[1].any()
    assert not crops[1].any()
    assert bool((crops[[0, 2]] > 0.4).all())
    assert masks[0, 60, 60] == masks[2, 50, 140] == 1
    x1, y1, x2, y2 = boxes[0][0]
    assert 30 < x1 < 40 < 80 < x2 < 90
    assert 30 < y1 < 40 < 80 < y2 < 90


def test_a_crop_at_its_own_size_is_the_picture(node, poses):
    image = torch.rand(1, *HW, 3)
    pose = poses([(100, 60)])
    square = cut(node, pose, image=image)[4][0][0]
    left, top, right, bottom = (int(n) for n in square)
    side = right - left
    assert bottom - top == side
    masks, crops, crop_masks, *_ = cut(node, pose, image=image, crop_size=side)
    assert torch.equal(crops[0], image[0, top:bottom, left:right])
    assert torch.equal(crop_masks[0], masks[0, top:bottom, left:right])


def test_the_nearest_frame_stands_in(node, poses):
    pose = poses([], [(60, 60)], [], [], [(140, 50)], [])
    image = torch.rand(6, *HW, 3)
    masks, crops, _, boxes, squares = cut(node, pose, image=image, missing="nearest frame")
    of = [1, 1, 1, 4, 4, 4]
    for index, source in enumerate(of):
        assert boxes[index] == boxes[source]
        assert squares[index] == squares[source]
        assert torch.equal(masks[index], masks[source])
    assert not torch.equal(crops[0], crops[1])  # the region of another frame, its own pixels
    nobody = cut(node, poses([], []), missing="nearest frame")
    assert not nobody[0].any()


def test_one_person_or_everybody(node, poses):
    pose = poses([(40, 60), (150, 60)])
    one, *_, boxes, square = cut(node, pose, person=1)
    assert (one[0, 60, 40], one[0, 60, 150]) == (0, 1)
    both, *_, boxes, square = cut(node, pose, person=-1)
    assert (both[0, 60, 40], both[0, 60, 150]) == (1, 1)
    assert len(boxes[0]) == 2
    left, _, right, _ = square[0][0]
    assert left <= boxes[0][0][0]
    assert right >= boxes[0][1][2]
    assert not cut(node, pose, person=7)[0].any()


def test_without_a_picture_the_crops_are_black(node, poses):
    masks, crops, crop_masks, *_ = cut(node, poses([(60, 60)]))
    assert masks.shape == (1, *HW)
    assert not crops.any()
    assert crop_masks.any()


def test_pictures_of_every_kind(node, poses):
    pose = poses([(60, 60)], [(60, 60)])
    grey = cut(node, pose, image=torch.full((1, 60, 100, 1), 0.25))
    assert grey[0].shape == (2, 60, 100)  # another size: keypoints are scaled
    assert grey[0][0, 30, 30] == 1
    assert torch.unique(grey[1]).tolist() == [0.25]
    clear = cut(node, pose, image=torch.zeros(2, *HW, 4))[1]
    assert bool((clear == 1).all())
    wild = cut(node, pose, image=torch.tensor([-0.5, 1.5]).repeat(2, *HW, 2)[..., :3])[1]
    assert (float(wild.min()), float(wild.max())) == (0, 1)
    assert not cut(node, pose, image=torch.full((2, *HW, 3), torch.nan))[1].any()
    flat = cut(node, pose[:1], image=torch.zeros(*HW, 3))
    assert flat[1].shape == (1, 512, 512, 3)


def test_the_picture_is_not_changed(node, poses):
    image = torch.rand(1, *HW, 3)
    before = image.clone()
    cut(node, poses([(60, 60)]), image=image, blur=4, shape="ellipse")
    assert torch.equal(image, before)


def test_blur_and_padding(node, poses):
    pose = poses([(100, 60)])
    hard, soft = cut(node, pose)[0], cut(node, pose, blur=5)[0]
    assert torch.unique(hard).tolist() == [0, 1]
    assert len(torch.unique(soft)) > 20
    assert cut(node, pose, padding=0.5)[0].sum() > hard.sum()


def test_faults_are_told(node, poses):
    pose = poses([(60, 60)])
    for name in ("part", "shape", "missing"):
        with pytest.raises(ValueError, match=f"{name} must be one of"):
            cut(node, pose, **{name: "x"})
    with pytest.raises(ValueError, match="crop_size must be from 16 to 4096, got -5"):
        cut(node, pose, crop_size=-5)
    with pytest.raises(ValueError, match="2 frames"):
        cut(node, poses([(60, 60)], []), image=torch.zeros(3, *HW, 3))


def test_cancel_stops(node, poses, management):
    management.interrupted = True
    with pytest.raises(management.InterruptProcessingException):
        cut(node, poses([(60, 60)]))


def test_steady_crops_of_a_shaking_face(node, poses):
    rng = np.random.default_rng(0)
    places = [(60 + t + rng.normal(0, 1.5), 60 + rng.normal(0, 1.5)) for t in range(60)]
    pose = poses(*([place] for place in places))

    def shake(steady):
        *_, boxes, squares = cut(node, pose, crop_size=16, steady=steady)
        for [box], [(left, top, right, bottom)] in zip(boxes, squares, strict=True):
            assert left - 0.01 <= box[0]
            assert top - 0.01 <= box[1]
            assert right + 0.01 >= box[2]
            assert bottom + 0.01 >= box[3]
        return np.abs(np.diff(np.array(squares)[:, 0], 2, axis=0)).mean()

    assert shake(8) < 0.1 * shake(0)


def test_steady_crops_show_the_same_as_others_of_who_stands_still(node, poses):
    pose = poses(*[[(100, 60)]] * 3, [], [(100, 60)])
    image = torch.rand(5, *HW, 3).mean(dim=3, keepdim=True)
    plain = cut(node, pose, image=image, crop_size=64)
    steady = cut(node, pose, image=image, crop_size=64, steady=4)
    assert steady[4][3] == plain[4][3] == [[0, 0, 0, 0]]
    assert not steady[1][3].any()
    for one, other in zip(plain[4], steady[4], strict=True):
        assert other[0] == pytest.approx(one[0], abs=1.0)
    for index in (1, 2):
        assert (plain[index][0] - steady[index][0]).abs().mean() < 0.1
