"""Smoothing against the truth of synthetic movement, offline and as a stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dwpose.one_euro import OneEuroOptions, StreamSmoother
from dwpose.skeleton import FACE, LEFT_HAND
from dwpose.smoothing import SmoothingOptions, smooth_sequence
from dwpose.training.synthetic.motion import (
    Act,
    Faults,
    as_people,
    move,
    observe,
    project,
    together,
)
from dwpose.types import Boxes, People

FPS = 25.0
TIMES = np.arange(120) / FPS


def clip(seed, act=None, faults=None, times=TIMES):
    truth = project(move(seed, times, act=act))
    noisy, scores = observe(truth, seed, faults)
    return truth, noisy, scores


def points_of(people):
    return np.stack([p.keypoints[0] for p in people]).astype(np.float64)


def error(points, truth, seen):
    return np.linalg.norm(points - truth, axis=-1)[seen].mean()


def jitter(points, truth, part=slice(None)):
    return np.linalg.norm(np.diff(points - truth, 2, axis=0), axis=-1)[:, part].mean()


def stream(people, times=TIMES, options=None):
    smoother = StreamSmoother(options)
    return [smoother.update(p, float(t)) for p, t in zip(people, times, strict=True)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_offline_takes_away_60_percent_of_the_jitter_and_error_too(seed):
    truth, noisy, scores = clip(seed)
    steady = points_of(smooth_sequence(as_people(noisy, scores), fps=FPS).people)
    seen = scores >= 0.3
    assert jitter(steady, truth) < 0.4 * jitter(noisy, truth)
    assert error(steady, truth, seen) < 0.7 * error(noisy, truth, seen)
    for part in (slice(0, 17), FACE, LEFT_HAND):
        assert jitter(steady, truth, part) < 0.5 * jitter(noisy, truth, part)
        assert error(steady[:, part], truth[:, part], seen[:, part]) < error(
            noisy[:, part], truth[:, part], seen[:, part]
        )


@pytest.mark.parametrize("fps", [25, 30])
def test_stream_takes_away_60_percent_of_the_jitter_and_adds_no_error(fps):
    times = np.arange(120) / fps
    shares = []
    for seed in (1, 2, 3):
        truth, noisy, scores = clip(seed, times=times)
        steady = points_of(stream(as_people(noisy, scores), times))
        seen = scores >= 0.3
        shares.append(jitter(steady, truth) / jitter(noisy, truth))
        assert error(steady, truth, seen) < 0.9 * error(noisy, truth, seen)
    assert np.mean(shares) < 0.4


def test_stream_of_someone_nearly_still_loses_60_percent_of_its_jitter():
    truth, noisy, scores = clip(4, Act(amount=0.1, step=False, travel_m=0.05))
    steady = points_of(stream(as_people(noisy, scores)))
    assert jitter(steady, truth) < 0.4 * jitter(noisy, truth)


# A dance at 25 frames a second is as much as a stream can follow: there its error equals the raw.
@pytest.mark.parametrize(("way", "fps"), [("offline", 25), ("stream", 30)])
def test_dance_is_not_smoothed_away(way, fps):
    times = np.arange(120) / fps
    truth, noisy, scores = clip(5, Act(speed=2.0, amount=1.2), times=times)
    people = as_people(noisy, scores)
    steady = points_of(
        smooth_sequence(people, times).people if way == "offline" else stream(people, times)
    )
    wrists = [9, 10]
    span = np.ptp(truth[:, wrists], axis=0)
    assert (np.ptp(steady[:, wrists], axis=0) > 0.95 * span).all()
    seen = scores >= 0.3
    assert error(steady, truth, seen) <= error(noisy, truth, seen)
    assert jitter(steady, truth) < 0.65 * jitter(noisy, truth)


@pytest.mark.parametrize("fps", [25, 30, 50])
def test_offline_takes_away_60_percent_of_the_jitter_of_a_dance(fps):
    times = np.arange(120) / fps
    for seed in (1, 2):
        truth, noisy, scores = clip(seed, Act(speed=2.0, amount=1.2), times=times)
        steady = points_of(smooth_sequence(as_people(noisy, scores), times).people)
        seen = scores >= 0.3
        assert jitter(steady, truth) < 0.4 * jitter(noisy, truth)
        for part in (slice(0, 17), FACE, LEFT_HAND):
            assert error(steady[:, part], truth[:, part], seen[:, part]) < 0.8 * error(
                noisy[:, part], truth[:, part], seen[:, part]
            )


def test_clean_slow_movement_is_left_alone():
    truth, noisy, scores = clip(1, Act(speed=0.6), Faults(noise=0.0, outliers=0.0, blinks=0.0))
    steady = points_of(smooth_sequence(as_people(noisy, scores), fps=FPS).people)
    assert np.linalg.norm(steady - truth, axis=-1)[10:-10].max() < 1.0


def test_offline_has_no_lag():
    truth, noisy, scores = clip(2)
    steady = points_of(smooth_sequence(as_people(noisy, scores), fps=FPS).people)
    wrist = slice(9, 11)
    now = np.square(steady[5:-5, wrist] - truth[5:-5, wrist]).mean()
    for shift in (-1, 1):
        moved = truth[5 + shift : len(truth) - 5 + shift, wrist]
        assert now < 0.5 * np.square(steady[5:-5, wrist] - moved).mean()


def test_time_stamps_count_not_frame_numbers():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0.02, 0.04, 0.08], 120))
    truth, noisy, scores = clip(3, times=times)
    people = as_people(noisy, scores)
    seen = scores >= 0.3
    right = points_of(smooth_sequence(people, times).people)
    wrong = points_of(smooth_sequence(people, fps=1 / np.diff(times).mean()).people)
    assert error(right, truth, seen) < 0.95 * error(wrong, truth, seen)


def test_unsure_points_have_less_say():
    truth, noisy, scores = clip(1)
    people = as_people(noisy, scores)
    seen = scores >= 0.3
    trusting = points_of(smooth_sequence(people, fps=FPS).people)
    blind = SmoothingOptions(score_power=0.0, robust=False)
    deaf = points_of(smooth_sequence(people, fps=FPS, options=blind).people)
    assert error(trusting, truth, seen) < 0.95 * error(deaf, truth, seen)


def test_a_jump_away_and_back_is_weakened():
    truth, noisy, scores = clip(1, faults=Faults(outliers=0.0, blinks=0.0))
    noisy[60, 9] += 80
    steady = points_of(smooth_sequence(as_people(noisy, scores), fps=FPS).people)
    assert np.linalg.norm(steady[58:63, 9] - truth[58:63, 9], axis=-1).max() < 8


def test_short_gaps_are_filled_and_marked_long_ones_stay():
    truth, noisy, scores = clip(2, faults=Faults(blinks=0.0, outliers=0.0))
    scores[40:45, 9] = 0.05  # 0.2 s
    noisy[40:45, 9] = 0.0
    scores[70:90, 10] = 0.05  # 0.8 s
    noisy[70:90, 10] = 7.0
    result = smooth_sequence(as_people(noisy, scores), fps=FPS)
    filled = np.stack([m[0] for m in result.filled])
    assert filled[40:45, 9].all()
    assert filled.sum() == 5
    out = points_of(result.people)
    assert np.linalg.norm(out[40:45, 9] - truth[40:45, 9], axis=-1).max() < 12
    marked = np.stack([p.scores[0] for p in result.people])
    assert marked[40:45, 9] == pytest.approx(min(scores[39, 9], scores[45, 9]))
    assert (out[70:90, 10] == 7.0).all()
    assert marked[70:90, 10] == pytest.approx(0.05)
    nothing = smooth_sequence(
        as_people(noisy, scores), fps=FPS, options=SmoothingOptions(max_gap_s=0.0)
    )
    assert not np.concatenate(nothing.filled).any()


def test_a_person_missing_for_some_frames_is_filled_and_one_who_left_is_not():
    truth, noisy, scores = clip(2, faults=Faults(blinks=0.0))
    people = as_people(noisy, scores)
    for frame in (*range(50, 54), *range(100, 120)):
        people[frame] = People.empty((480, 832))
    result = smooth_sequence(people, fps=FPS)
    assert [len(p) for p in result.people[48:56]] == [1] * 8
    assert all(len(p) == 0 for p in result.people[100:])
    assert result.filled[51].sum() > 120
    assert not result.filled[49][0, 5]
    got = result.people[52]
    assert np.linalg.norm(got.keypoints[0, :17] - truth[52, :17], axis=-1).mean() < 6
    assert got.track_ids is not None
    assert got.track_ids.tolist() == [0]
    low, high = truth[52].min(axis=0), truth[52].max(axis=0)
    assert np.abs(got.boxes.xyxy[0] - np.concatenate((low, high))).max() < 15


def test_nothing_is_smoothed_across_a_cut():
    _, noisy, scores = clip(2, faults=Faults(blinks=0.0, outliers=0.0))
    noisy[60:] += (100, 0)  # the next shot shows the person further to the right
    people = as_people(noisy, scores)
    apart = smooth_sequence(people, fps=FPS, cuts=[60]).people
    first = smooth_sequence(people[:60], fps=FPS).people
    second = smooth_sequence(people[60:], fps=FPS).people
    np.testing.assert_array_equal(points_of(apart), points_of([*first, *second]))
    across = points_of(smooth_sequence(people, fps=FPS).people)
    # Not in vain: without the cut the two shots do reach into each other.
    assert np.abs(across - points_of(apart))[58:62].max() > 5


def test_stream_begins_anew_at_a_cut():
    _, noisy, scores = clip(2)
    people = as_people(noisy, scores)
    smoother = StreamSmoother()
    for i in range(30):
        smoother.update(people[i], i / FPS)
    moved = replace(people[30], keypoints=people[30].keypoints + 300)
    seen = people[30].scores[0] >= 0.3
    got = smoother.update(moved, 30 / FPS, cut=True)
    np.testing.assert_allclose(got.keypoints[0, seen], moved.keypoints[0, seen], atol=1e-3)


def test_people_are_told_apart_by_id_whatever_their_order():
    _, noisy, scores = clip(1)
    _, other_noisy, other_scores = clip(2)
    one = as_people(noisy - (150, 0), scores, track_id=4)
    two = as_people(other_noisy - (-150, 0), other_scores, track_id=9)
    both = [p if i % 2 else p[[1, 0]] for i, p in enumerate(together(one, two))]
    alone = smooth_sequence(one, fps=FPS).people
    result = smooth_sequence(both, fps=FPS).people
    assert [p.track_ids.tolist() for p in result[:2]] == [[9, 4], [4, 9]]
    got = np.stack([p.keypoints[p.track_ids.tolist().index(4)] for p in result])
    np.testing.assert_array_equal(got, points_of(alone).astype(np.float32))
    smoother, lone = StreamSmoother(), StreamSmoother()
    for i, p in enumerate(both):
        a = smoother.update(p, i / FPS)
        b = lone.update(one[i], i / FPS)
        np.testing.assert_array_equal(a.keypoints[a.track_ids == 4][0], b.keypoints[0])


def test_stream_holds_a_hidden_point_for_a_moment():
    truth, noisy, scores = clip(2, faults=Faults(blinks=0.0, outliers=0.0))
    scores[40:50, 9] = 0.05
    noisy[40:50, 9] = 0.0
    smoother = StreamSmoother(OneEuroOptions(hold_s=0.12))
    held, points = [], []
    for i, p in enumerate(as_people(noisy, scores)[:55]):
        points.append(smoother.update(p, i / FPS).keypoints[0, 9])
        held.append(bool(smoother.filled[0, 9]))
    assert held[38:46] == [False, False, True, True, True, False, False, False]
    assert np.linalg.norm(points[40] - truth[40, 9]) < 15
    assert (points[46] == 0).all()


def test_fingers_do_not_shake_against_the_wrist():
    truth, noisy, scores = clip(3)
    steady = points_of(smooth_sequence(as_people(noisy, scores), fps=FPS).people)

    def relative(points):
        return points[:, LEFT_HAND] - points[:, 9:10]

    before = jitter(relative(noisy), relative(truth))
    assert jitter(relative(steady), relative(truth)) < 0.3 * before


def test_strength_0_changes_nothing_but_gaps():
    _, noisy, scores = clip(2)
    people = as_people(noisy, scores)
    same = smooth_sequence(people, fps=FPS, options=SmoothingOptions(strength=0.0, max_gap_s=0.0))
    np.testing.assert_array_equal(points_of(same.people), points_of(people))
    kept = stream(people, options=OneEuroOptions(strength=0.0, hold_s=0.0))
    np.testing.assert_array_equal(points_of(kept), points_of(people))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_very_short_clips(count):
    _, noisy, scores = clip(1)
    people = as_people(noisy, scores)[:count]
    assert len(smooth_sequence(people, fps=FPS).people) == count


def test_nan_points_are_not_seen_and_spoil_nothing():
    _, noisy, scores = clip(1, faults=Faults(blinks=0.0))
    noisy[50, 9] = np.nan
    result = smooth_sequence(as_people_with_nan(noisy, scores), fps=FPS)
    assert np.isfinite(points_of(result.people)).all()
    assert result.filled[50][0, 9]
    got = stream(as_people_with_nan(noisy, scores))
    assert np.isfinite(points_of(got)).all()
    scores[60, 7] = np.nan
    assert np.isfinite(points_of(stream(as_people_with_nan(noisy, scores)))).all()


def test_frames_a_tick_apart_spoil_nothing():
    # What films of damaged times have, between others: some at once, then nothing for a while.
    rng = np.random.default_rng(3)
    for seed in range(12):
        _, noisy, scores = clip(seed, act=Act(speed=4), times=TIMES[:40])
        scores = rng.uniform(0.0, 1.0, scores.shape)
        times = np.cumsum(rng.choice([1e-5, 1 / FPS, 3.0], 40))
        result = smooth_sequence(as_people(noisy, scores), times)
        points, span = points_of(result.people), np.ptp(noisy, axis=0).max()
        assert np.isfinite(points).all()
        assert np.abs(points - noisy).max() < span


def as_people_with_nan(noisy, scores):
    boxes = Boxes(np.array([[0.0, 0, 100, 100]]))
    return [
        People(noisy[i : i + 1], scores[i : i + 1], boxes, (480, 832)) for i in range(len(noisy))
    ]


def test_wrong_arguments_say_what_to_do():
    _, noisy, scores = clip(1)
    people = as_people(noisy, scores)[:5]
    with pytest.raises(ValueError, match="times must rise"):
        smooth_sequence(people, [0.0, 0.1, 0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="one number a frame"):
        smooth_sequence(people, [0.0])
    with pytest.raises(ValueError, match="fps must be above 0"):
        smooth_sequence(people, fps=0)
    with pytest.raises(ValueError, match="body_hz must be above 0"):
        SmoothingOptions(body_hz=0)
    with pytest.raises(ValueError, match="lead must be 0 or more"):
        OneEuroOptions(lead=-1)
    two = [replace(p, track_ids=None) for p in together(people, people)]
    with pytest.raises(ValueError, match="track first"):
        smooth_sequence(two)
    with pytest.raises(ValueError, match="must differ"):
        smooth_sequence(together(people, people))
    smoother = StreamSmoother()
    smoother.update(people[0], 1.0)
    with pytest.raises(ValueError, match="time must rise"):
        smoother.update(people[1], 1.0)
