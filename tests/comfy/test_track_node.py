"""Track & Smooth: ids, steadiness, gaps and mending, on made-up people of whom all is known."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from dwpose.io.openpose_json import from_pose_keypoint, to_pose_keypoint
from dwpose.skeleton import LEFT_HAND, RIGHT_HAND
from dwpose.training.synthetic.motion import as_people, move, observe, project, together

FPS = 25.0
TIMES = np.arange(60) / FPS


@pytest.fixture(scope="module")
def node(pack):
    return pack("nodes.track").TrackAndSmooth


def person(seed, track_id=None, **view):
    truth = project(move(seed, TIMES), **view)
    noisy, scores = observe(truth, seed)
    return truth, as_people(noisy, scores, track_id=track_id)


def points_of(frames):
    return np.stack([p.keypoints[0] for p in frames]).astype(np.float64)


def ids_of(frame) -> list[int]:
    assert frame.track_ids is not None
    return frame.track_ids.tolist()


def jitter(points, truth, part=slice(None)):
    return np.linalg.norm(np.diff(points - truth, 2, axis=0), axis=-1)[:, part].mean()


def run(node, frames, **options):
    given = to_pose_keypoint(frames)
    before = copy.deepcopy(given)
    keypoints, people, report = node.execute(given, fps=FPS, **options).args
    assert given == before
    found = from_pose_keypoint(keypoints)
    assert len(found) == len(frames)
    return found, people, report


def test_frames_of_different_sizes_are_told_of(node):
    frames = [*person(1)[1][:2], replace(person(1)[1][2], image_hw=(960, 1664))]
    with pytest.raises(ValueError, match=r"832x480 in frame 0, 1664x960 in frame 2.*one film"):
        node.execute(to_pose_keypoint(frames), fps=FPS)


def test_one_person_becomes_calm_and_gets_an_id(node):
    truth, frames = person(1)
    found, people, report = run(node, frames)
    assert people == 1
    assert all(ids_of(p) == [0] for p in found)
    assert jitter(points_of(found), truth) < 0.4 * jitter(points_of(frames), truth)
    assert report.startswith("60 frames, 1 people, 0 cuts;")
    assert "id 0: 60 frames, from 0 to 59" in report


def test_everything_off_changes_nothing_but_ids(node):
    _, frames = person(2)
    off = dict.fromkeys(("mend_sides", "mend_hands", "mend_faces", "mend_limbs"), False)
    zero = dict.fromkeys(("body", "hands", "face", "feet", "fill_gaps"), 0.0)
    found, _, report = run(node, frames, **off, **zero)
    assert np.array_equal(points_of(found), points_of(frames))
    assert all(np.array_equal(a.scores, b.scores) for a, b in zip(found, frames, strict=True))
    assert "0 points left out, 0 filled in" in report


def test_each_part_has_its_own_strength(node):
    truth, frames = person(3)
    found, _, _ = run(node, frames, hands=0.0, fill_gaps=0.0, mend_hands=False)
    raw, steady = points_of(frames), points_of(found)
    assert np.allclose(steady[:, LEFT_HAND], raw[:, LEFT_HAND])
    assert jitter(steady, truth, slice(0, 17)) < 0.5 * jitter(raw, truth, slice(0, 17))


def test_people_keep_their_ids_whatever_their_order(node):
    _, left = person(4, offset_px=(-200, 0), person_px=300)
    _, right = person(5, offset_px=(200, 0), person_px=300)
    frames = together(left, right)
    frames = [f[[1, 0]] if i % 3 == 0 else f for i, f in enumerate(frames)]
    found, people, _ = run(node, frames)
    assert people == 2
    sides = {
        (number, bool(points[5, 0] > 416))
        for frame in found
        for number, points in zip(ids_of(frame), frame.keypoints, strict=True)
    }
    assert len(sides) == 2
    assert all(ids_of(frame) == [0, 1] for frame in found)  # whoever came first before


def test_ids_are_kept_or_given_anew(node):
    _, frames = person(6, track_id=7)
    assert ids_of(run(node, frames)[0][0]) == [7]
    assert ids_of(run(node, frames, ids="new")[0][0]) == [0]


def test_ids_are_kept_where_some_lack_them(node):
    """Of two with the ids 7 and 3, each in their own half of the clip; a third never has one."""
    people = [
        person(seed, offset_px=(shift, 0), person_px=300)[1]
        for seed, shift in ((4, -250), (5, 0), (6, 250))
    ]
    given = []
    for index, frame in enumerate(together(*people)):
        first, second = (7 if index < 30 else -1), (3 if index >= 30 else -1)
        given.append(replace(frame, track_ids=np.array([first, second, -1])))
    found, count, _ = run(node, given)
    assert count == 3
    assert all(ids_of(frame) == [3, 7, 8] for frame in found)
    # Whoever has an id keeps it: people stand 250 pixels apart.
    for before, after in zip(given, found, strict=True):
        for number in (3, 7):
            old = before.keypoints[before.track_ids == number]
            new = after.keypoints[after.track_ids == number]
            assert not len(old) or np.abs(old[0, :17] - new[0, :17]).mean() < 50


def test_of_two_with_one_id_the_second_gets_another(node):
    people = [
        person(seed, offset_px=(shift, 0), person_px=300)[1]
        for seed, shift in ((4, -200), (5, 200))
    ]
    given = [replace(frame, track_ids=np.array([4, 4])) for frame in together(*people)]
    assert all(ids_of(frame) == [4, 5] for frame in run(node, given)[0])


def test_a_short_gap_is_filled_and_a_long_one_is_not(node):
    truth, frames = person(7)
    for first, count in ((20, 4), (35, 15)):
        for i in range(first, first + count):
            frames[i] = frames[i][[]]
    found, people, report = run(node, frames)
    assert people == 1
    assert [len(f) for f in found] == [1] * 35 + [0] * 15 + [1] * 10
    gap = np.linalg.norm(points_of(found[20:24]) - truth[20:24], axis=-1)
    # Filling is interpolation: near the truth, not on it.
    assert np.median(gap) < 4.0
    # 4 frames of 133 points, and what blinked.
    filled = int(report.split(" filled in")[0].split()[-1])
    assert 4 * 133 <= filled < 6 * 133
    assert [len(f) for f in run(node, frames, fill_gaps=0.0)[0]][20:24] == [0] * 4


def test_hands_on_the_wrong_wrist_go_back_or_stay(node):
    _, frames = person(8)
    swapped = []
    for frame in frames:
        points = frame.keypoints.copy()
        points[:, LEFT_HAND], points[:, RIGHT_HAND] = (
            frame.keypoints[:, RIGHT_HAND],
            frame.keypoints[:, LEFT_HAND],
        )
        swapped.append(replace(frame, keypoints=points))

    def apart(found):
        points = points_of(found)
        return np.median(np.linalg.norm(points[:, 9] - points[:, LEFT_HAND.start], axis=-1))

    assert apart(run(node, swapped)[0]) < 15 < 60 < apart(run(node, swapped, mend_hands=False)[0])


def test_nothing_is_smoothed_across_a_cut_in_the_frames(node, management):
    _, frames = person(9)
    frames = [
        f if i < 30 else replace(f, keypoints=f.keypoints + np.float32(60))
        for i, f in enumerate(frames)
    ]
    scenes = torch.zeros(60, 48, 80, 3)
    rng = torch.Generator().manual_seed(0)
    scenes[:30] = torch.rand(1, 48, 80, 3, generator=rng) * 0.3
    scenes[30:, :, :, 0] = 0.9
    found, people, report = run(node, frames, image=scenes)
    assert ", 1 cuts;" in report
    assert people == 2
    step = (points_of(found)[30] - points_of(found)[29])[5]
    assert step == pytest.approx([60, 60], abs=12)
    # A single picture tells of no cut.
    assert ", 0 cuts;" in run(node, frames, image=scenes[:1])[2]


def test_people_of_other_packs_and_empty_clips(node):
    assert run(node, person(1)[1][:1])[1] == 1
    empty = [f[[]] for f in person(1)[1][:5]]
    found, people, _ = run(node, empty)
    assert (people, [len(f) for f in found]) == (0, [0] * 5)
    plain = to_pose_keypoint(person(1)[1], extra=False)
    keypoints, people, _ = node.execute(plain, fps=FPS).args
    assert (len(keypoints), people) == (60, 1)


def test_wrong_inputs_are_told(node):
    frames = to_pose_keypoint(person(1)[1][:4])
    with pytest.raises(ValueError, match="ids must be one of keep, new"):
        node.execute(frames, ids="none")
    with pytest.raises(ValueError, match=r"fps must be from 0\.1 to 1000, got 0"):
        node.execute(frames, fps=0.0)
    with pytest.raises(ValueError, match="pose_keypoint has no frames"):
        node.execute([])
    with pytest.raises(ValueError, match="pose_keypoint has 4 frames and image 3"):
        node.execute(frames, image=torch.zeros(3, 8, 8, 3))


def test_cancel_while_tracking(node, management):
    frames = to_pose_keypoint(person(1)[1])
    node.execute(frames, fps=FPS)
    checks = management.checks
    assert checks > 3 * len(frames)
    # Wherever it comes: reading, tracking, the sums, writing.
    for share in (0.1, 0.5, 0.9):
        management.checks, management.interrupt_after = 0, int(share * checks)
        with pytest.raises(management.InterruptProcessingException):
            node.execute(frames, fps=FPS)


def test_cancel_does_not_wait_for_the_sums(pack, management):
    aside = pack("nodes.live").work_aside
    go_on = threading.Event()
    management.interrupted = True
    try:
        with pytest.raises(management.InterruptProcessingException):
            aside(go_on.wait)
    finally:
        go_on.set()
    assert aside(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        aside(lambda: 1 / 0)
