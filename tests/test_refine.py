"""Sanity and smoothing together: whole clips, windows, streams."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dwpose.one_euro import OneEuroOptions
from dwpose.refine import StreamRefiner, refine, refine_long
from dwpose.sanity import SanityOptions
from dwpose.sequences import track_ids
from dwpose.skeleton import BODY, FACE, FEET, LEFT_HAND
from dwpose.smoothing import SmoothingOptions, with_strength
from dwpose.training.synthetic.motion import Faults, as_people, move, observe, project, together
from dwpose.types import People

FPS = 25.0


def clip(seed, frames=100, faults=None, shift=(0.0, 0.0), track_id=0):
    truth = project(move(seed, np.arange(frames) / FPS), offset_px=shift)
    noisy, scores = observe(truth, seed, faults)
    return truth, noisy, scores, as_people(noisy, scores, track_id=track_id)


def points_of(people):
    return np.stack([p.keypoints[0] for p in people]).astype(np.float64)


def timed(people):
    return [(i / FPS, p) for i, p in enumerate(people)]


def away(points, truth):
    return np.linalg.norm(points - truth, axis=-1)


def test_a_hand_on_the_wrong_wrist_goes_and_is_filled_again():
    truth, noisy, scores, _ = clip(1, faults=Faults(blinks=0.0, outliers=0.0))
    noisy[40:43, LEFT_HAND] += (300, -200)
    people = as_people(noisy, scores)
    done = refine(people, fps=FPS)
    assert done.filled[41][0, LEFT_HAND].all()
    assert away(points_of(done.people)[40:43], truth[40:43])[:, LEFT_HAND].max() < 15
    kept = refine(people, fps=FPS, sanity=None, smoothing=None)
    np.testing.assert_array_equal(points_of(kept.people), points_of(people))
    checked = refine(people, fps=FPS, smoothing=None)
    assert checked.removed[41][0, LEFT_HAND].all()
    assert not any(mask.any() for mask in checked.filled)
    without = refine(
        people, fps=FPS, sanity=SanityOptions(hands=False, limbs=False), smoothing=None
    )
    assert not without.removed[41][0, LEFT_HAND].any()


def test_marks_belong_to_the_people_of_their_frame():
    _, _, _, one = clip(1, shift=(-150, 0), track_id=4)
    _, _, _, two = clip(2, shift=(150, 0), track_id=9)
    both = together(one, two)
    for frame in range(50, 53):
        both[frame] = both[frame][[1]]
    done = refine(both, fps=FPS)
    assert [list(track_ids(p)) for p in done.people[49:54]] == [[4, 9], *[[9, 4]] * 3, [4, 9]]
    for people, filled, removed in zip(done.people, done.filled, done.removed, strict=True):
        assert len(people) == len(filled) == len(removed)
    assert done.filled[51][1].sum() > 100
    assert not done.filled[51][0, BODY].all()


@pytest.mark.parametrize(("core", "margin"), [(40, 30), (15, 25), (200, 0)])
def test_windows_give_what_the_whole_clip_gives(core, margin):
    truth, _, _, people = clip(3, 150)
    whole = refine(people, fps=FPS)
    pieces = list(refine_long(timed(people), core=core, margin=margin))
    assert len(pieces) == 150
    raw, steady = points_of(people), points_of(whole.people)
    apart = away(points_of([p for p, _ in pieces]), steady)
    # Far less than what smoothing changes.
    assert apart.mean() < (0.0 if core == 200 else 0.15) * away(raw, steady).mean() + 1e-9
    jerk = [np.linalg.norm(np.diff(s - truth, 2, axis=0), axis=-1).mean() for s in
            (points_of([p for p, _ in pieces]), steady)]  # fmt: skip
    assert jerk[0] < 1.2 * jerk[1]
    for (_, filled), expected in zip(pieces, whole.filled, strict=True):
        assert (filled != expected).sum() < 5


def test_windows_hold_no_more_than_they_say():
    _, _, _, people = clip(1, 200)
    taken = 0

    def source():
        nonlocal taken
        for frame in timed(people):
            taken += 1
            yield frame

    ahead = []
    for given, _ in enumerate(refine_long(source(), core=20, margin=10)):
        ahead.append(taken - given)
    assert len(ahead) == 200
    assert max(ahead) <= 20 + 10 + 1
    assert list(refine_long([])) == []
    with pytest.raises(ValueError, match="core"):
        list(refine_long([], core=0))


def test_nobody_stays_nobody():
    empty = [People.empty((48, 64))] * 5
    assert [len(p) for p in refine(empty).people] == [0] * 5
    assert [len(p) for p, _ in refine_long(timed(empty), core=2, margin=1)] == [0] * 5


@pytest.mark.parametrize("way", ["clip", "stream"])
def test_each_part_has_a_strength(way):
    people = clip(2, faults=Faults(blinks=0.0, outliers=0.0))[3]

    def run(strength):
        if way == "clip":
            options = with_strength(SmoothingOptions(), strength)
            return points_of(refine(people, fps=FPS, sanity=None, smoothing=options).people)
        refiner = StreamRefiner(None, with_strength(OneEuroOptions(), strength))
        return points_of([refiner.update(p, i / FPS) for i, p in enumerate(people)])

    usual, free = run({}), run({"face": 0, "hands": 0})
    raw = points_of(people)
    np.testing.assert_array_equal(free[:, FACE], raw[:, FACE])
    np.testing.assert_array_equal(free[:, LEFT_HAND], raw[:, LEFT_HAND])
    np.testing.assert_array_equal(free[:, BODY], usual[:, BODY])
    more = run({"feet": 3})

    def jitter(points):
        return np.linalg.norm(np.diff(points[:, FEET], 2, axis=0), axis=-1).mean()

    assert jitter(more) < 0.9 * jitter(usual)
    np.testing.assert_array_equal(more[:, FACE], usual[:, FACE])
    np.testing.assert_array_equal(run(0), raw)


def test_gaps_are_filled_where_nothing_is_smoothed():
    truth, noisy, scores, _ = clip(2, faults=Faults(blinks=0.0, outliers=0.0))
    scores[40:44, 9], noisy[40:44, 9] = 0.05, 0.0
    people = as_people(noisy, scores)
    done = refine(people, fps=FPS, sanity=None, smoothing=with_strength(SmoothingOptions(), 0))
    assert done.filled[42][0, 9]
    points = points_of(done.people)
    assert away(points, truth)[40:44, 9].max() < 15
    rest = ~np.stack([mask[0] for mask in done.filled])
    np.testing.assert_array_equal(points[rest], points_of(people)[rest])


def test_strengths_are_checked():
    for wrong in ({"nose": 1.0}, -1.0):
        with pytest.raises(ValueError, match="strength"):
            with_strength(SmoothingOptions(), wrong)
    assert math.isinf(with_strength(OneEuroOptions(), {"face": 0}).face_hz)


def test_a_stream_is_mended_and_steadied():
    truth, noisy, scores, _ = clip(1)
    noisy[50, LEFT_HAND] += (300, -200)
    people = as_people(noisy, scores)
    refiner, plain = StreamRefiner(), StreamRefiner(None, None)
    got = [refiner.update(p, i / FPS) for i, p in enumerate(people)]
    assert (away(points_of(got)[50], truth[50])[LEFT_HAND] < 40).all()
    assert [plain.update(p, i / FPS) is p for i, p in enumerate(people)] == [True] * 100
    assert plain.filled.shape == (1, 133)
    with pytest.raises(ValueError, match="time must rise"):
        refiner.update(people[0], 0.0)
