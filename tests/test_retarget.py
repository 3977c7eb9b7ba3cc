"""Retargeting against another build that makes the very same movement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dwpose.io import openpose_json
from dwpose.proportions import Proportions, read_proportions
from dwpose.retarget import Retargeter, RetargetOptions
from dwpose.sequences import track_ids
from dwpose.skeleton import FACE, LEFT_HAND
from dwpose.training.synthetic.motion import (
    Act,
    Build,
    as_people,
    move,
    observe,
    project,
    together,
)
from dwpose.types import People

TIMES = np.arange(80) / 25
CHILD = Build(
    arm=0.75, forearm=0.75, hand=0.9, leg=0.7, shin=0.7, shoulders=0.8, hips=0.9, head=1.2
)
GIANT = Build(arm=1.2, forearm=1.25, hand=1.2, leg=1.25, shin=1.3, shoulders=1.3, head=0.9)


def clip(seed, build=None, act=None, **view):
    truth = project(move(seed, TIMES, build, act), **view)
    return truth, as_people(truth, np.full(truth.shape[:2], 0.9))


def points_of(frames):
    return np.stack([p.keypoints[0] for p in frames]).astype(np.float64)


def shape_error(a, b):
    """Mean distance in pixels of b once place (each frame) and size (once) are taken out."""
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    scale = (a * b).sum() / (a * a).sum()
    return np.linalg.norm(a * scale - b, axis=-1).mean()


def lengths(points, a, b):
    return np.linalg.norm(points[:, a] - points[:, b], axis=-1)


@pytest.mark.parametrize("build", [CHILD, GIANT], ids=["child", "giant"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_driver_with_anothers_proportions_moves_as_the_other_does(seed, build):
    driving, frames = clip(seed)
    wanted, other = clip(seed, build)
    reference = Proportions.from_people(other)
    made = points_of(Retargeter(reference).fit(frames).apply_all(frames))
    assert shape_error(made, wanted) < 0.3 * shape_error(driving, wanted)


def test_a_single_picture_of_the_reference_will_do():
    driving, frames = clip(1)
    wanted, _ = clip(1, GIANT)
    still = project(move(7, TIMES[:1], GIANT, Act(amount=0.3, step=False)))
    reference = Proportions.from_people(as_people(still, np.ones((1, 133)))[0])
    made = points_of(Retargeter(reference).fit(frames).apply_all(frames))
    assert shape_error(made, wanted) < 0.6 * shape_error(driving, wanted)


def test_own_proportions_change_nothing():
    driving, frames = clip(1)
    made = Retargeter(Proportions.from_people(frames)).fit(frames).apply_all(frames)
    assert np.abs(points_of(made) - driving).max() < 1.0
    none = RetargetOptions(amount=0.0)
    same = Retargeter(Proportions.average(), none).fit(frames).apply_all(frames)
    np.testing.assert_allclose(points_of(same), driving, atol=1e-2)


def test_every_limb_has_one_factor_for_the_whole_clip():
    driving, frames = clip(3)
    made = points_of(
        Retargeter(Proportions.from_people(clip(9, CHILD)[1])).fit(frames).apply_all(frames)
    )
    for a, b in ((5, 7), (7, 9), (12, 14), (14, 16), (5, 6), (3, 4), (91, 100)):
        ratio = lengths(made, a, b) / lengths(driving, a, b)
        assert np.ptp(ratio) < 1e-3 * ratio.mean() * 10
        across = (made[:, b] - made[:, a]) * (driving[:, b] - driving[:, a])[:, ::-1]
        assert np.abs(across[:, 0] - across[:, 1]).max() < 1.0


def test_a_forearm_that_points_at_the_camera_is_not_stretched():
    driving, _ = clip(2)
    # It points at the camera half of the time, and the clip begins so.
    short = driving.copy()
    hand = [9, *range(91, 112)]
    short[:40, hand] -= (0.85 * (driving[:40, 9] - driving[:40, 7]))[:, None]
    frames = as_people(short, np.full(short.shape[:2], 0.9))
    reference = Proportions.from_people(clip(2)[1])
    retargeter = Retargeter(reference).fit(frames)
    assert 0.9 < retargeter.fitted[0].factors["forearm"] < 1.1
    made = points_of(retargeter.apply_all(frames))
    assert (lengths(made, 7, 9)[:40] < 0.25 * lengths(made, 7, 9)[40:].max()).all()
    # Even where it does so all the time.
    always = driving.copy()
    always[:, hand] -= (0.85 * (driving[:, 9] - driving[:, 7]))[:, None]
    always[:, [10, *range(112, 133)]] -= (0.85 * (driving[:, 10] - driving[:, 8]))[:, None]
    frames = as_people(always, np.full(short.shape[:2], 0.9))
    assert Retargeter(reference).fit(frames).fitted[0].factors["forearm"] < 1.25


def test_feet_stay_on_the_ground_with_longer_and_shorter_legs():
    for build in (CHILD, GIANT):
        driving, frames = clip(1)
        made = points_of(
            Retargeter(Proportions.from_people(clip(5, build)[1])).fit(frames).apply_all(frames)
        )
        feet = slice(15, 23)
        gap = made[:, feet, 1].max(axis=1) - driving[:, feet, 1].max(axis=1)
        assert np.abs(gap).max() < 0.01
        # Standing, as tall as before: keep is the framing.
        tall = np.ptp(made[..., 1], axis=1).mean() / np.ptp(driving[..., 1], axis=1).mean()
        assert 0.85 < tall < 1.15


def test_feet_out_of_sight_for_some_frames_do_not_make_the_body_jump():
    _, frames = clip(1)
    reference = Proportions.from_people(clip(5, CHILD)[1])
    whole = points_of(Retargeter(reference).fit(frames).apply_all(frames))
    for i in range(30, 35):
        scores = frames[i].scores.copy()
        scores[:, 15:23] = 0.0
        frames[i] = replace(frames[i], scores=scores)
    part = points_of(Retargeter(reference).fit(frames).apply_all(frames))
    assert np.abs(part - whole)[30:35, :15].max() < 12


def test_half_a_body_keeps_its_shoulders():
    driving, frames = clip(1)
    scores = frames[0].scores.copy()
    scores[:, 11:23] = 0.0
    frames = [replace(p, scores=scores) for p in frames]
    reference = Proportions.from_people(clip(5, GIANT)[1])
    made = points_of(Retargeter(reference).fit(frames).apply_all(frames))
    middle = made[:, [5, 6]].mean(axis=1) - driving[:, [5, 6]].mean(axis=1)
    assert np.abs(middle).max() < 0.01
    assert lengths(made, 5, 6).mean() != pytest.approx(lengths(driving, 5, 6).mean(), rel=0.05)


def test_noise_does_not_make_lengths_flicker():
    truth, _ = clip(1)
    noisy, scores = observe(truth, 1)
    frames = as_people(noisy, scores)
    made = points_of(
        Retargeter(Proportions.from_people(clip(5, GIANT)[1])).fit(frames).apply_all(frames)
    )
    ratio = lengths(made, 11, 13) / lengths(noisy, 11, 13)
    assert np.ptp(ratio[(scores[:, [11, 13]] > 0.3).all(axis=1)]) < 1e-3


def test_framing_as_in_the_references_picture():
    _, frames = clip(1)
    view = {"image_hw": (1000, 600), "person_px": 700.0, "offset_px": (40.0, 30.0)}
    still = project(move(4, TIMES[:1], CHILD, Act(amount=0.1, step=False)), **view)
    picture = as_people(still, np.ones((1, 133)), (1000, 600))[0]
    reference = Proportions.from_people(picture)
    options = RetargetOptions(framing="reference")
    made = Retargeter(reference, options).fit(frames).apply_all(frames)
    points = points_of(made)
    assert made[0].image_hw == (1000, 600)
    height = np.median(np.ptp(points[..., 1], axis=1))
    assert height == pytest.approx(np.ptp(still[0, :, 1]), rel=0.12)
    ground = np.median(points[:, 15:23, 1].max(axis=1))
    assert ground == pytest.approx(still[0, 15:23, 1].max(), abs=15)
    root = np.median(points[:, [11, 12], 0].mean(axis=1))
    assert root == pytest.approx(still[0, [11, 12], 0].mean(), abs=2)


def test_framing_that_fits_the_whole_clip():
    _, frames = clip(1, act=Act(travel_m=1.0))
    options = RetargetOptions(framing="fit", canvas_hw=(512, 512), margin=0.1)
    made = Retargeter(Proportions.average(), options).fit(frames).apply_all(frames)
    points = points_of(made)
    assert made[0].image_hw == (512, 512)
    assert points.min() > 45
    assert points.max() < 467
    assert np.ptp(points, axis=(0, 1)).max() > 380


def test_parts_can_be_left_out():
    driving, frames = clip(1)
    reference = Proportions.from_people(clip(5, GIANT)[1])
    options = RetargetOptions(limbs=False, widths=False, feet=False, head=False)
    factors = Retargeter(reference, options).fit(frames).fitted[0].factors
    assert {n for n, f in factors.items() if f != 1.0} == {"hand"}
    assert factors["hand"] == pytest.approx(
        Retargeter(reference).fit(frames).fitted[0].factors["hand"]
    )
    made = points_of(Retargeter(reference, options).fit(frames).apply_all(frames))
    np.testing.assert_allclose(made[:, FACE], driving[:, FACE], atol=1e-2)
    small = Proportions.from_dict({**Proportions.average().to_dict(), "hand": 0.1})
    made = points_of(Retargeter(small, options).fit(frames).apply_all(frames))
    root = made[:, 91:92]
    assert (
        np.linalg.norm(made[:, LEFT_HAND] - root, axis=-1).max()
        < 0.7 * np.linalg.norm(driving[:, LEFT_HAND] - driving[:, 91:92], axis=-1).max()
    )


def test_numbers_files_and_pictures_say_the_same(tmp_path):
    _, other = clip(5, CHILD)
    measured = Proportions.from_people(other)
    numbers = {k: None if v is None else 37.0 * v for k, v in measured.to_dict().items()}
    _, frames = clip(1)
    expected = Retargeter(measured).fit(frames).fitted[0].factors
    given = Retargeter(Proportions.from_dict(numbers)).fit(frames).fitted[0].factors
    assert given == pytest.approx(expected)
    openpose_json.save(other, tmp_path / "other.json")
    read = Retargeter(Proportions.from_file(tmp_path / "other.json")).fit(frames).fitted[0].factors
    assert read == pytest.approx(expected, rel=1e-3)
    partial = Retargeter(Proportions.from_dict({"leg": 1.0, "shin": 1.0, "torso": 1.0}))
    assert partial.fit(frames).fitted[0].factors["arm"] == 1.0


def test_one_of_several_people():
    _, one = clip(1, offset_px=(-150.0, 0.0))
    _, two = clip(2, offset_px=(150.0, 0.0))
    two = [replace(p, track_ids=np.array([7])) for p in two]
    frames = together(one, two)
    reference = Proportions.from_people(clip(5, GIANT)[1])
    made = Retargeter(reference).fit(frames, track_id=7).apply_all(frames)
    assert {tuple(p.track_ids) for p in made} == {(7,)}
    alone = Retargeter(reference).fit(two).apply_all(two)
    np.testing.assert_allclose(points_of(made), points_of(alone), atol=1e-3)
    everybody = Retargeter(reference).fit(frames).apply_all(frames)
    assert {tuple(p.track_ids) for p in everybody} == {(0, 7)}
    chosen = Proportions.from_people(frames, track_id=7)
    assert chosen.to_dict() == pytest.approx(Proportions.from_people(two).to_dict())


def test_errors_say_what_to_do():
    _, frames = clip(1)
    with pytest.raises(ValueError, match="call fit"):
        Retargeter(Proportions.average()).apply(frames[0])
    with pytest.raises(ValueError, match="framing must be one of"):
        RetargetOptions(framing="zoom")
    with pytest.raises(ValueError, match="numbers have no place"):
        Retargeter(Proportions.average(), RetargetOptions(framing="reference"))
    with pytest.raises(ValueError, match="unknown lengths \\['tail'\\]"):
        Proportions.from_dict({"tail": 1})
    with pytest.raises(ValueError, match="arm must be a positive number"):
        Proportions.from_dict({"arm": 0})
    with pytest.raises(ValueError, match="in none of the frames"):
        Proportions.from_people(People.empty((10, 10)))
    with pytest.raises(ValueError, match="nobody to retarget"):
        Retargeter(Proportions.average()).fit([People.empty((10, 10))])
    known = np.unique(np.concatenate([track_ids(frame) for frame in frames]))
    with pytest.raises(ValueError, match=f"has the id 99; ids are {known[0]}"):
        Retargeter(Proportions.average()).fit(frames, 99)
    nobody = Retargeter(Proportions.average()).fit(frames).apply(People.empty((480, 832)))
    assert len(nobody) == 0


@pytest.mark.parametrize(("text", "kind"), [("[]", ValueError), ("5", TypeError)])
def test_keypoint_files_with_nobody_to_measure_are_refused(tmp_path, text, kind):
    path = tmp_path / "who.json"
    path.write_text(text)
    with pytest.raises(kind):
        read_proportions(path)
