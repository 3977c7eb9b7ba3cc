"""Arms that stay outside, tables, jackets, cloth from photos, friends beside the subject."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dwpose.training.synthetic import SyntheticConfig, SyntheticPeople
from dwpose.training.synthetic import body as bodies
from dwpose.training.synthetic.background import Photos
from dwpose.training.synthetic.camera import WAIST, View
from dwpose.training.synthetic.collars import lay_collars
from dwpose.training.synthetic.dice import Dice, about
from dwpose.training.synthetic.looks import sample_looks
from dwpose.training.synthetic.outfit import TOP, garment, sample_outfits
from dwpose.training.synthetic.poses import sample_poses
from dwpose.training.synthetic.reach import free_arms
from dwpose.training.synthetic.surface import albedo
from dwpose.training.synthetic.table import lay_tables


@pytest.fixture(scope="module")
def body() -> bodies.Body:
    return bodies.load_body()


def test_an_arm_through_the_belly_comes_out(body: bodies.Body) -> None:
    rest, heads = body.template[None], body.joint_template[None]
    pose = torch.eye(3).repeat(1, len(body.bones), 1, 1)
    # From the A pose the left arm swings inwards until the hand is in the belly.
    pose[:, body.bone("upperarm01.L")] = about("y", torch.tensor([1.5]))
    before = pose.clone()

    moved = free_arms(body, rest, heads, pose)

    assert moved.tolist() == [[True, False]]
    assert torch.equal(pose[:, body.bone("upperarm01.R")], before[:, body.bone("upperarm01.R")])
    _, joints = bodies.chain(body, heads, pose)
    trunk = rest[0, (body.part == bodies.SKIN) & (body.attributes[:, bodies.ARM] < -0.1)]
    hand = joints[0, body.bone("finger3-2.L")]
    level = trunk[(trunk[:, 2] - hand[2]).abs() < 0.03]
    outside = (hand[:2] < level[:, :2].amin(0)) | (hand[:2] > level[:, :2].amax(0))
    assert outside.any()


def test_arms_are_mostly_free_and_stay_rotations(body: bodies.Body) -> None:
    dice = Dice(3)
    pose = sample_poses(body, dice, 64, None)
    rest = body.template.expand(64, -1, -1)
    heads = body.joint_template.expand(64, -1, -1)
    first = free_arms(body, rest, heads, pose).float().mean()
    again = free_arms(body, rest, heads, pose).float().mean()
    assert 0.02 < first < 0.4
    assert again < 0.4 * first
    eye = torch.eye(3).expand_as(pose)
    torch.testing.assert_close(pose @ pose.transpose(-1, -2), eye, atol=3e-5, rtol=0)


def _before_a_person(body: bodies.Body, height: float) -> tuple[View, torch.Tensor]:
    """A camera 2 m before the resting body, and its points."""
    points = bodies.keypoints_of(body, body.template[None], body.joint_template[None])
    view = View(
        rotation=torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]]),
        position=torch.tensor([[0.0, -2.0, height]]),
        scale=torch.tensor([120.0]),
        shift=torch.tensor([[48.0, 64.0]]),
        border=torch.tensor([[0.0, 0.0, 96.0, 128.0]]),
        box=torch.tensor([[0.0, 0.0, 96.0, 128.0]]),
        framing=torch.tensor([WAIST]),
    )
    return view, points


def test_a_table_hides_the_hips_and_not_the_face(body: bodies.Body) -> None:
    view, points = _before_a_person(body, 0.7)
    person = torch.full((1, 128, 96), 0.5)  # a wall of person 2 m away
    picture = torch.full((1, 3, 128, 96), 0.5)
    for seed in range(6):
        out, inverse, covered = lay_tables(Dice(seed), view, points, picture, person, None, 1.0)
        spots = view.project(points, torch.tensor([0]))[0, :, :2].round().long()
        assert not covered[0, spots[0, 1], spots[0, 0]]  # the nose
        assert covered.any()
        assert (inverse[covered] > 0.5).all()
        assert torch.equal((out != picture).any(1), (out != picture).any(1) & (inverse > person))
        rows = covered[0].any(1).nonzero()[:, 0]
        assert rows.min() > spots[5, 1]  # below the shoulders


def test_no_table_is_seen_from_below_or_for_the_lying(body: bodies.Body) -> None:
    view, points = _before_a_person(body, -0.4)
    person, picture = torch.full((1, 128, 96), 0.5), torch.zeros(1, 3, 128, 96)
    for view_, points_ in (
        (view, points),
        (_before_a_person(body, 0.7)[0], points[..., [2, 1, 0]]),
    ):
        out, inverse, covered = lay_tables(Dice(1), view_, points_, picture, person, None, 1.0)
        assert not covered.any()
        assert torch.equal(out, picture)
        assert torch.equal(inverse, person)


def test_hands_over_a_table_lie_on_it(body: bodies.Body) -> None:
    view, points = _before_a_person(body, 0.9)
    points[0, 91:112] = torch.tensor([0.2, -0.45, 0.25])
    points[0, 112:133] = torch.tensor([-0.3, 0.0, 0.0])  # this one hangs
    empty, picture = torch.zeros(1, 128, 96), torch.zeros(1, 3, 128, 96)
    _, inverse, _ = lay_tables(Dice(2), view, points, picture, empty, None, 1.0)
    place = view.project(points[:, 91:92], torch.tensor([0]))[0, 0]
    table = inverse[0, int(place[1].round()), int(place[0].round())]
    assert 0 <= 1 / table - 1 / place[2] < 0.08  # metres, behind and just below the hand


def test_a_collar_lies_around_the_neck_and_between_the_shoulders(body: bodies.Body) -> None:
    view, points = _before_a_person(body, 1.7)
    picture, person = torch.full((1, 3, 256, 192), 0.5), torch.full((1, 256, 192), 0.5)
    place = view.project(points, torch.zeros(1, dtype=torch.int64))[0]
    shoulders = (place[5, :2] + place[6, :2]) / 2
    span = (place[5, :2] - place[6, :2]).norm()
    for seed in range(8):
        dice = Dice(seed)
        cloth = torch.zeros(1)
        out, inverse, covered = lay_collars(dice, view, points, picture, person, None, 1.0, cloth)
        changed = (out != picture).any(1)
        assert torch.equal(changed, inverse != person)
        assert torch.equal(covered, changed)
        assert (inverse >= person).all()
        y, x = changed[0].nonzero().float().unbind(1)
        middle = torch.stack([x.mean(), y.mean()])
        assert (middle - shoulders).norm() < 0.3 * span
        assert 0.5 * span < x.max() - x.min() < 1.3 * span
        assert x.min() < shoulders[0] < x.max()
        none = lay_collars(Dice(seed), view, points, picture, person, None, 0.0, cloth)
        assert torch.equal(none[0], picture)
        assert not none[2].any()


def test_rings_lie_on_padded_suits() -> None:
    def ring_pixels(padded: float) -> int:
        bare, ringed = (
            SyntheticPeople(
                SyntheticConfig(
                    size_hw=(128, 96),
                    framing=(0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
                    whole_picture=0.0,
                    padded=padded,
                    collars=share,
                    tables=0.0,
                    occluders=0.0,
                    faults=False,
                )
            ).sample(16, seed=4)
            for share in (0.0, 1.0)
        )
        return int((bare.images != ringed.images).any(1).sum())

    # Rings that were laid around the bodies sank into the suits to a third of what is seen.
    assert ring_pixels(padded=1.0) > 0.8 * ring_pixels(padded=0.0) > 0


def test_an_open_jacket_shows_the_shirt_in_front_only(body: bodies.Body) -> None:
    dice = Dice(5)
    wear, looks = sample_outfits(dice, 1), sample_looks(dice, 1)
    one = torch.ones(1)
    wear = dataclasses.replace(
        wear, opening=0.06 * one, button=-0.5 * one, straight=one, sleeve=one, neck=one
    )
    looks = dataclasses.replace(
        looks,
        inner=torch.tensor([[1.0, 0.0, 0.0]]),
        has_tie=torch.tensor([False]),
        cloth=torch.zeros(1, 2, 2, 3),
        fabric_grain=torch.zeros(1, 2),
        fabric_colour=torch.zeros(1, 2),
    )
    places = body.attributes[body.part == bodies.TIGHTS]
    part = torch.full((len(places),), bodies.TIGHTS)
    person = torch.zeros(len(places), dtype=torch.int64)
    points = bodies.keypoints_of(body, body.template[None], body.joint_template[None])[0]
    eyes = torch.zeros(2, 3)
    colour, label = albedo(places, part, person, wear, looks, points[40:50].view(2, 5, 3), eyes)
    shirt = (colour[:, 0] > 0.9) & (label == TOP)
    assert shirt.any()
    assert places[shirt, bodies.X].abs().max() < 0.061
    assert places[shirt, bodies.Y].max() < 0
    behind = (label == TOP) & (places[:, bodies.Y] > 0.02)
    assert (colour[behind] < 0.05).all()


def test_collars_stand_out_at_the_neck_only(body: bodies.Body) -> None:
    from dwpose.training.synthetic.outfit import dress

    wear = sample_outfits(Dice(8), 1)
    flat = dataclasses.replace(wear, collar=torch.zeros(1))
    stiff = dataclasses.replace(wear, collar=torch.full((1,), 0.03))
    more = (dress(body, stiff).push - dress(body, flat).push)[0]
    assert more.max() > 0.02
    assert (more >= 0).all()
    torso = body.attributes[more > 0, bodies.TORSO]
    assert torso.min() > float(wear.neck) - 0.15
    label = garment(body.attributes, wear.cuts[0], -0.02)
    assert (label[more > 0] == TOP).all()


def test_padded_coats_stand_off_the_body(body: bodies.Body) -> None:
    from dwpose.training.synthetic.outfit import dress

    everyday, padded = (sample_outfits(Dice(3), 64, share) for share in (0.0, 1.0))
    assert (padded.loose_top >= 0.03).all()
    assert (everyday.loose_top < 0.07).all()
    assert everyday.loose_top.median() < 0.02
    # Sleeves reach the wrists, and nothing else is drawn anew.
    assert (padded.sleeve >= 0.9).all()
    assert torch.equal(padded.hair, everyday.hair)
    assert torch.equal(padded.phase, everyday.phase)
    tops = garment(body.attributes, padded.cuts[0], -0.02) == TOP
    tops &= body.part == bodies.TIGHTS
    assert dress(body, padded).push[0, tops].mean() > 0.02
    some = sample_outfits(Dice(3), 400, 0.25).loose_top
    assert 0.15 < (some >= 0.03).float().mean() < 0.4


def test_cloth_is_cut_from_the_photos(tmp_path) -> None:
    import cv2
    import numpy as np

    green = np.zeros((60, 80, 3), np.uint8)
    green[..., 1] = 200
    assert cv2.imwrite(str(tmp_path / "green.png"), green)
    looks = sample_looks(Dice(1), 3, Photos(tmp_path))
    assert looks.fabric.shape[:3] == (3, 2, 3)
    mean = looks.fabric.mean((0, 1, 3, 4))
    torch.testing.assert_close(mean, torch.tensor([0.0, 200 / 255, 0.0]))
