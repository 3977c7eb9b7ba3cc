"""Ids over time, on made-up clips with exact truth."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from dwpose.tracking import Tracker, TrackOptions, assign, torso_colours
from dwpose.training.synthetic.motion import Act, move, project
from dwpose.training.synthetic.numeric_clips import Walker, join, observe, score_tracks, walk
from dwpose.types import People

CROSSING = [
    Walker((100, 260), (750, 260), 320, depth=1),
    Walker((760, 270), (90, 270), 330, phase=1),
]
CROWD = [
    *CROSSING,
    Walker((300, 250), (500, 250), 280, depth=2),
    Walker((-50, 250), (900, 250), 300, enter_s=1, depth=3),
]

# Somebody stands, another passes behind; for some half a second nothing of them shows.
BEHIND = [
    Walker((427, 255), (427, 255), 310),
    Walker((300, 250), (560, 250), 290, depth=1),
]


def _bodies(walkers, seed, frames=100, fps=25.0):
    """Poses of bodies that move in space as people do, for `walk`."""
    times = np.arange(frames) / fps
    return [
        project(
            move(
                100 * seed + i,
                times,
                act=Act(heading=0.6 * np.sign(who.end[0] - who.start[0]), travel_m=0.0),
            ),
            image_hw=(0, 0),
            person_px=0.93,
        )
        for i, who in enumerate(walkers)
    ]


def _track(clip, seen, images=None, **numbers) -> list[People]:
    tracker = Tracker(TrackOptions(**numbers))
    images = images or [None] * len(seen)
    return [
        tracker.update(people, time, image)
        for people, time, image in zip(seen, clip.times_s.tolist(), images, strict=True)
    ]


def test_assignment_is_the_best_of_all():
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows, columns = rng.integers(0, 6, 2)
        likeness = rng.random((rows, columns)) * (rng.random((rows, columns)) > 0.4)
        pairs = assign(likeness)
        assert len(pairs) == min(rows, columns)
        assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
        wide = likeness if rows <= columns else likeness.T
        best = max(
            sum(wide[i, c] for i, c in enumerate(order))
            for order in itertools.permutations(range(wide.shape[1]), wide.shape[0])
        )
        assert sum(likeness[p] for p in pairs) == pytest.approx(best)


@pytest.mark.parametrize(
    ("walkers", "motion"),
    [
        (CROSSING, {}),
        (CROWD, {}),
        (CROSSING, {"pan_px_s": (60, 0), "shake_px": 3}),
        (CROSSING, {"times_s": np.cumsum(np.random.default_rng(0).choice([0.02, 0.04, 0.1], 80))}),
    ],
    ids=["crossing", "crowd", "hand-held camera", "variable frame rate"],
)
@pytest.mark.parametrize("missed", [0.0, 0.1])
def test_nobody_is_taken_for_another(walkers, motion, missed):
    clip = walk(walkers, **motion)
    score = score_tracks(clip.truth, _track(clip, observe(clip.truth, missed=missed)))
    assert score.switches == 0
    assert score.extra == 0


@pytest.mark.parametrize(("walkers", "stride"), [(CROWD, 4), (BEHIND, 2)], ids=["crowd", "behind"])
def test_bodies_that_hide_one_another_keep_their_ids(walkers, stride):
    def switches(seed, **numbers):
        clip = walk(walkers, figures=_bodies(walkers, seed))
        seen, truth = observe(clip.truth, seed=seed)[::stride], clip.truth[::stride]
        keys = replace(clip, truth=truth, times_s=clip.times_s[::stride])
        return score_tracks(truth, _track(keys, seen, **numbers)).switches

    assert [switches(seed) for seed in range(8)] == [0] * 8
    # As sure of the lost as of those just seen, somebody is taken for another.
    assert sum(switches(seed, sure_s=1e9) for seed in (0, 2, 4, 6)) > 0


def test_a_score_counts_switches():
    clip = walk(CROSSING)
    tracked = _track(clip, observe(clip.truth))
    half = len(tracked) // 2
    swapped = [
        people if i < half else replace(people, track_ids=1 - people.track_ids)
        for i, people in enumerate(tracked)
    ]
    assert score_tracks(clip.truth, swapped).switches == 2
    gone = [people if i < half else people[:1] for i, people in enumerate(tracked)]
    assert score_tracks(clip.truth, gone).missed == len(tracked) - half


def test_an_id_survives_a_gap():
    clip = walk(CROSSING[:1])
    seen = observe(clip.truth)
    gap = [p if not 40 <= i < 60 else People.empty(p.image_hw) for i, p in enumerate(seen)]
    tracked = _track(clip, gap)
    assert {int(p.track_ids[0]) for p in tracked if len(p)} == {0}
    late = _track(clip, gap, keep_s=0.2)
    assert {int(p.track_ids[0]) for p in late if len(p)} == {0, 1}


def _shirts(clip, colours):
    pictures = []
    for people in clip.truth:
        image = np.full((*clip.image_hw, 3), 90, np.uint8)
        for i, number in enumerate(people.track_ids if len(people) else []):
            x0, y0 = people.keypoints[i, [5, 6, 11, 12]].min(axis=0).clip(0).astype(int)
            x1, y1 = people.keypoints[i, [5, 6, 11, 12]].max(axis=0).clip(0).astype(int)
            image[y0:y1, x0:x1] = colours[number]
        pictures.append(image)
    return pictures


def test_who_comes_back_is_known_by_their_clothes():
    there = walk([Walker((400, 260), (800, 260), 320)], seconds=2)
    empty = walk([], seconds=3)
    # Comes back on the other side, with another person from where the first one left.
    back = walk([Walker((100, 260), (300, 260), 320), Walker((800, 260), (600, 260), 320)], 2)
    clip = join(there, empty, back)
    red, blue = (200, 20, 20), (20, 20, 200)
    pictures = _shirts(there, [red]) + _shirts(empty, []) + _shirts(back, [red, blue])
    for reentry_s, expected in ((10, {0: 1, 1: 0, 2: 1}), (0, {0: 1, 1: 1, 2: 1})):
        tracked = _track(clip, observe(clip.truth), pictures, reentry_s=reentry_s)
        names: dict[int, set[int]] = {}
        for true, got in zip(clip.truth, tracked, strict=True):
            for i in range(len(true)):
                away = np.abs(got.keypoints - true.keypoints[i]).mean(axis=(1, 2))
                names.setdefault(int(true.track_ids[i]), set()).add(
                    int(got.track_ids[away.argmin()])
                )
        assert all(len(ids) == 1 for ids in names.values())
        same = names[1] == names[0]
        assert same == (expected[1] == 0)
        assert names[2].isdisjoint(names[0])


def test_who_comes_out_from_behind_in_other_clothes_is_somebody_else():
    first = walk([Walker((200, 260), (260, 260), 320)], seconds=1)
    hidden = walk([], seconds=0.2)
    second = walk([Walker((275, 260), (335, 260), 320)], seconds=1)
    clip = join(first, hidden, second)
    red, blue = (200, 20, 20), (20, 20, 200)
    for colours, expected in (((red, blue), 2), ((red, red), 1)):
        pictures = _shirts(first, colours[:1]) + _shirts(hidden, []) + _shirts(second, colours[1:])
        tracked = _track(clip, observe(clip.truth), pictures)
        assert len({int(p.track_ids[0]) for p in tracked if len(p)}) == expected


def test_colours_of_a_torso_that_is_not_seen():
    person = walk(CROSSING[:1]).truth[10]
    image = np.zeros((480, 854, 3), np.uint8)
    assert torso_colours(image, person).sum() == pytest.approx(1)
    assert torso_colours(None, person) is None
    assert torso_colours(image, replace(person, scores=person.scores * 0)) is None
    assert torso_colours(image, replace(person, keypoints=person.keypoints + 5000)) is None


def test_a_point_that_is_no_number_changes_nothing():
    clip = walk(CROSSING[:1], seconds=1)
    no_wrist = np.where(np.arange(133)[:, None] == 9, np.float32(np.nan), np.float32(0))
    broken = [replace(p, keypoints=p.keypoints + no_wrist) for p in clip.truth]
    assert not any(people.visible()[:, 9].any() for people in broken)
    tracked = _track(clip, broken)
    assert {int(p.track_ids[0]) for p in tracked} == {0}


def test_ids_are_never_given_again():
    clip = walk(CROSSING[:1], seconds=1)
    tracker = Tracker()
    first = tracker.update(clip.truth[0], 0.0)
    tracker.forget()
    second = tracker.update(clip.truth[0], 0.04)
    assert (first.track_ids.tolist(), second.track_ids.tolist()) == ([0], [1])


def test_a_restored_tracker_goes_on_as_if_nothing_had_happened():
    clip = walk(CROSSING)
    seen = observe(clip.truth)
    tracker = Tracker()
    for i in range(40):
        tracker.update(seen[i], float(clip.times_s[i]))
    again = Tracker()
    again.restore(tracker.state())
    for i in range(40, 80):
        ids = tracker.update(seen[i], float(clip.times_s[i])).track_ids
        np.testing.assert_array_equal(again.update(seen[i], float(clip.times_s[i])).track_ids, ids)
    for a, b in zip(tracker.tracks, again.tracks, strict=True):
        np.testing.assert_array_equal(a.velocity, b.velocity)


@pytest.mark.parametrize(
    "wrong", [{"min_similarity": 2}, {"keep_s": -1}, {"min_looks": -0.1}, {"sure_s": 0}]
)
def test_options_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrackOptions(**wrong)
