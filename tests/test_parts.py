"""Boxes, masks and crops of parts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dwpose import parts
from dwpose.skeleton import FACE, LEFT_HAND, RIGHT_HAND
from dwpose.types import Boxes, People

HW = (400, 300)


def figure():
    """Somebody standing upright, seen from the front, 300 px high."""
    points = np.zeros((133, 2), np.float32)
    body = [(150, 70), (156, 64), (144, 64), (168, 68), (132, 68), (185, 110), (115, 110),
            (200, 160), (100, 160), (205, 205), (95, 205), (172, 210), (128, 210), (175, 280),
            (125, 280), (176, 345), (124, 345)]  # fmt: skip
    points[:17] = body
    points[17:23] = [(180, 360), (186, 357), (172, 350), (120, 360), (114, 357), (128, 350)]
    turn = np.linspace(0, np.pi, 17)
    face = points[FACE]
    face[:17] = np.stack((150 - 18 * np.cos(turn), 66 + 24 * np.sin(turn)), axis=1)
    face[17:27] = np.stack((np.linspace(136, 164, 10), np.full(10, 60)), axis=1)
    face[27:] = np.random.default_rng(0).uniform((140, 62), (160, 84), (41, 2))
    spread = np.random.default_rng(1).uniform(-10, 10, (21, 2))
    points[LEFT_HAND] = spread + np.array((207, 218))
    points[RIGHT_HAND] = spread * (-1, 1) + (93, 218)
    return points


def person(hidden=(), hw=HW):
    scores = np.ones((1, 133), np.float32)
    for indices in hidden:
        scores[0, indices] = 0
    return People(figure()[None], scores, Boxes(np.array([[80, 30, 220, 370]], np.float32)), hw)


def only(part, **options):
    (regions,) = parts.find_regions(person(**options), part)
    (region,) = regions
    return region


def test_face_and_hands_are_around_their_points():
    for part, where in (("face", FACE), ("left hand", LEFT_HAND), ("right hand", RIGHT_HAND)):
        region, points = only(part), figure()[where]
        margin = region.radius
        assert 1 <= margin < 4
        np.testing.assert_allclose(region.xyxy[:2], points.min(axis=0) - margin, atol=1e-4)
        np.testing.assert_allclose(region.xyxy[2:], points.max(axis=0) + margin, atol=1e-4)


def test_the_head_reaches_as_far_above_the_brows_as_the_chin_lies_below():
    chin, brows = 90, 60
    for region in (only("head"), only("head", hidden=[FACE])):
        left, top, right, bottom = region.xyxy
        assert abs(top - (brows - (chin - brows))) < 12
        assert left <= 132
        assert right >= 168
        assert bottom >= chin - 3


def test_a_head_on_its_side_grows_sideways():
    people = person()
    turned = figure()[:, ::-1] * (-1, 1) + (300, 0)  # a quarter turn: up is to the right
    people = People(turned[None], people.scores, people.boxes, HW)
    ((head,),) = parts.find_regions(people, "head")
    ((upright,),) = parts.find_regions(person(), "head")
    assert head.xyxy[2] == pytest.approx(300 - upright.xyxy[1], abs=1e-3)
    assert head.xyxy[0] == pytest.approx(300 - upright.xyxy[3], abs=1e-3)


def test_hands_together_and_feet_are_two_regions():
    assert [len(r) for r in parts.find_regions(person(), "both hands")] == [2]
    assert [len(r) for r in parts.find_regions(person(), "feet")] == [2]
    assert [len(r) for r in parts.find_regions(person([slice(17, 20)]), "feet")] == [1]
    assert [len(r) for r in parts.find_regions(person([LEFT_HAND]), "both hands")] == [1]


@pytest.mark.parametrize("part", parts.PART_NAMES)
def test_a_part_that_is_not_seen_is_not_there(part):
    hidden = person([slice(0, 133)])
    assert parts.find_regions(hidden, part) == [[]]
    assert parts.find_regions(People.empty(HW), part) == []
    nan = People(np.full((1, 133, 2), np.nan), np.ones((1, 133)), hidden.boxes, HW)
    far = People(np.full((1, 133, 2), 1e30), np.ones((1, 133)), hidden.boxes, HW)
    assert parts.find_regions(nan, part) == parts.find_regions(far, part) == [[]]


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="part must be one of"):
        parts.find_regions(person(), "tail")


@pytest.mark.parametrize("part", parts.PART_NAMES)
def test_the_mask_covers_the_points_and_stays_within_the_box(part):
    (regions,) = parts.find_regions(person(), part)
    mask = parts.draw_regions(regions, HW)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}
    x1, y1, x2, y2 = parts.join_boxes([r.xyxy for r in regions])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    np.testing.assert_allclose(
        (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), (x1, y1, x2, y2), atol=3
    )
    own = {
        "face": FACE, "head": [0, 1, 2, 3, 4], "left hand": LEFT_HAND, "right hand": RIGHT_HAND,
        "both hands": LEFT_HAND, "feet": slice(17, 23), "body": slice(0, 23),
    }[part]  # fmt: skip
    x, y = np.rint(figure()[own]).astype(int).T
    assert (mask[y, x] == 255).all()


def test_a_body_is_no_block():
    (regions,) = parts.find_regions(person(), "body")
    mask = parts.draw_regions(regions, HW)
    assert mask[300, 150] == 0  # between the legs
    assert mask[150, 150] == 255  # the belly
    assert mask[85, 90] == 0  # above the shoulder


def test_padding_grows_by_a_share_of_the_part():
    region = only("face")
    plain = parts.draw_regions([region], HW)
    wide = parts.draw_regions([region], HW, padding=0.5)
    grown = np.flatnonzero(wide.any(axis=0))[[0, -1]] - np.flatnonzero(plain.any(axis=0))[[0, -1]]
    np.testing.assert_allclose(grown, [-0.5 * region.size, 0.5 * region.size], atol=2)
    np.testing.assert_allclose(
        region.padded(0.5) - region.xyxy, np.array([-1, -1, 1, 1]) * region.size / 2, rtol=1e-5
    )


def test_shapes():
    region = only("face")
    masks = {s: parts.draw_regions([region], HW, s) > 0 for s in parts.SHAPES}
    box = np.ptp(region.xyxy.reshape(2, 2), axis=0).prod()
    assert masks["box"].sum() == pytest.approx(box, rel=0.05)
    assert masks["ellipse"].sum() == pytest.approx(box * np.pi / 4, rel=0.08)
    assert masks["outline"].sum() < masks["box"].sum()
    with pytest.raises(ValueError, match="shape must be one of"):
        parts.draw_regions([region], HW, "star")
    with pytest.raises(ValueError, match="0 or more"):
        parts.draw_regions([region], HW, padding=-1)


def test_blur_softens_the_edge_and_keeps_the_middle():
    mask = parts.draw_regions([only("body")], HW, blur=3)
    assert len(np.unique(mask)) > 50
    assert mask[150, 150] == 255
    assert not parts.draw_regions([], HW, blur=3).any()


@pytest.mark.parametrize("sigma", [0.4, 3, 11.3])
@pytest.mark.parametrize("part", ["left hand", "body"])
def test_blur_is_that_of_the_whole_picture(part, sigma):
    hard = parts.draw_regions([only(part)], HW)
    soft = parts.draw_regions([only(part)], HW, blur=sigma)
    np.testing.assert_array_equal(soft, cv2.GaussianBlur(hard, (0, 0), sigma))


def test_regions_follow_the_size_of_the_picture():
    small = only("head")
    ((large,),) = parts.find_regions(person(), "head", (HW[0] * 2, HW[1] * 3))
    np.testing.assert_allclose(large.outlines[0], small.outlines[0] * (3, 2), rtol=1e-5)


def test_squares_are_moved_into_the_picture():
    around = parts.square_around
    assert around(np.array([10, 20, 30, 60]), (100, 100)) == (0, 20, 40)
    assert around(np.array([80, 80, 110, 100]), (100, 100)) == (70, 70, 30)
    assert around(np.array([0, 0, 50, 120]), (100, 80)) == (-20, -10, 120)
    assert around(np.array([120, 0, 150, 20]), (100, 100)) is None
    assert around(np.array([5.2, 5.2, 5.3, 5.3]), (100, 100))[2] == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_crops_show_the_square_and_black_outside(dtype):
    picture = np.random.default_rng(0).integers(1, 255, (40, 30, 3)).astype(dtype)
    np.testing.assert_array_equal(parts.cut_square(picture, (4, 6, 20), 20), picture[6:26, 4:24])
    over = parts.cut_square(picture, (-5, -3, 50), 50)
    assert over.dtype == dtype
    np.testing.assert_array_equal(over[3:43, 5:35], picture)
    assert over[:3].sum() == over[43:].sum() == over[:, :5].sum() == over[:, 35:].sum() == 0
    for size in (7, 90):
        made = parts.cut_square(picture, (0, 0, 30), size)
        assert made.shape == (size, size, 3)
        assert made.min() >= picture.min()
        assert made.max() <= picture.max()
    assert parts.cut_square(picture[..., 0], (0, 0, 30), 8).shape == (8, 8)
    with pytest.raises(ValueError, match="size"):
        parts.cut_square(picture, (0, 0, 3), 0)
