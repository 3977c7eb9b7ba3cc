"""Rendered and numeric clips: the same every time, moving evenly, truth where people are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dwpose.training.synthetic.clips import ClipConfig, render_clip
from dwpose.training.synthetic.numeric_clips import Walker, figure, join, observe, walk

SMALL = ClipConfig(size_hw=(96, 176), people=2, seconds=0.4, fps=10, walk_m=1.5, hold_s=0.3)


def test_a_rendered_clip_is_the_same_every_time_and_moves_evenly():
    first, second = list(render_clip(SMALL, 3)), list(render_clip(SMALL, 3))
    assert len(first) == 4
    for (image, people), (other, others) in zip(first, second, strict=True):
        np.testing.assert_array_equal(image, other)
        np.testing.assert_array_equal(people.keypoints, others.keypoints)
        assert image.shape == (96, 176, 3)
        assert people.image_hw == (96, 176)
        assert set(people.track_ids.tolist()) <= {0, 1}
        assert len(people)
    steps = [b.keypoints[0] - a.keypoints[0] for (_, a), (_, b) in itertools.pairwise(first)]
    assert all(5 < np.hypot(*step.mean(axis=0)) < 60 for step in steps)


def test_truth_lies_on_the_people():
    config = ClipConfig(size_hw=(96, 176), seconds=0.2, fps=10)
    with_person = next(render_clip(config, 5))
    image, people = with_person
    seen = people.scores[0] > 0
    low, high = people.boxes.xyxy[0, :2] - 2, people.boxes.xyxy[0, 2:] + 2
    inside = ((people.keypoints[0, seen] >= low) & (people.keypoints[0, seen] <= high)).all()
    assert inside
    assert 0.5 * 96 < high[1] - low[1] < 96
    assert image.std() > 5


@pytest.mark.parametrize("wrong", [{"people": 0}, {"fps": 0}, {"hold_s": -1}])
def test_clip_options_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ClipConfig(**wrong)


def test_limbs_of_the_figure_keep_their_length():
    for a, b in ((5, 7), (7, 9), (11, 13), (13, 15), (6, 8), (12, 14)):
        lengths = [np.hypot(*(f[a] - f[b])) for f in map(figure, np.linspace(0, 6, 20))]
        assert np.ptp(lengths) < 1e-6
    assert np.hypot(*np.ptp(figure(0.0, 0.0), axis=0)) > 0.9


def test_walkers_come_go_and_hide_each_other():
    clip = walk(
        [Walker((100, 250), (700, 250), 300), Walker((400, 250), (400, 250), 250, depth=1)],
        seconds=4,
    )
    shown = [dict(zip(p.track_ids.tolist(), p.scores.sum(axis=1), strict=True)) for p in clip.truth]
    assert shown[0] == {0: 133, 1: 133}
    assert min(s.get(1, 0) for s in shown) < 40
    assert all(s[0] == 133 for s in shown)
    late = walk([Walker((100, 250), (300, 250), enter_s=1, leave_s=2)], seconds=3)
    assert [len(p) for p in late.truth] == [0] * 25 + [1] * 26 + [0] * 24


def test_observations_err_by_what_was_asked():
    clip = walk([Walker((400, 250), (400, 250), 300)], seconds=4)
    seen = observe(clip.truth, 0.01, missed=0.2, seed=1)
    assert 60 < sum(map(len, seen)) < 95
    errors = np.concatenate(
        [
            (s.keypoints - t.keypoints).ravel()
            for s, t in zip(seen, clip.truth, strict=True)
            if len(s)
        ]
    )
    size = np.hypot(*np.ptp(clip.truth[0].keypoints[0], axis=0))
    assert np.std(errors) == pytest.approx(0.01 * size, rel=0.1)


def test_joined_clips_have_cuts_and_other_people():
    clip = walk([Walker((400, 250), (400, 250))], seconds=1)
    both = join(clip, clip)
    assert both.cuts == [25]
    assert {int(p.track_ids[0]) for p in both.truth} == {0, 1}
    assert (np.diff(both.times_s) > 0).all()
