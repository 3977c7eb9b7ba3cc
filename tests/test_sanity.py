"""Mending faults that were put into the truth of synthetic movement."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose.sanity import SanityOptions, check_people, check_sequence
from dwpose.skeleton import FACE, FLIP_INDICES, LEFT_HAND, RIGHT_HAND
from dwpose.training.synthetic.motion import Act, Faults, as_people, move, observe, project

FPS = 25.0
TIMES = np.arange(100) / FPS
CALM = Faults(outliers=0.0, blinks=0.0)
LEGS_LEFT, LEGS_RIGHT = [13, 15, 17, 18, 19], [14, 16, 20, 21, 22]


def clip(seed, act=None, faults=CALM):
    truth = project(move(seed, TIMES, act=act))
    noisy, scores = observe(truth, seed, faults)
    return truth, noisy, scores


def only(name, **changes):
    switches = {n: n == name for n in ("swaps", "hands", "faces", "limbs")}
    return SanityOptions(**switches, **changes)


def off(name):
    return SanityOptions(**{name: False})


def exchanged(points, scores, frames, left, right):
    """A copy in which two sides have changed names in some frames."""
    points, scores = points.copy(), scores.copy()
    for array in (points, scores):
        for frame in frames:
            old = array[frame].copy()
            array[frame, left], array[frame, right] = old[right], old[left]
    return points, scores


def points_of(checked):
    return np.stack([p.keypoints[0] for p in checked.people])


def scores_of(checked):
    return np.stack([p.scores[0] for p in checked.people])


ACTS = {
    "front": Act(),
    "aside": Act(heading=np.pi / 2),
    "half": Act(heading=0.8),
    "behind": Act(heading=np.pi),
    "turning": Act(spin=1.2),
    "dancing": Act(speed=2.0, amount=1.2),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_right_stays(seed, act):
    _, noisy, scores = clip(seed, ACTS[act])
    # A network is not sure of a face that it cannot see; that case has its own test.
    options = SanityOptions(faces=act not in ("behind", "turning"))
    checked = check_sequence(as_people(noisy, scores), fps=FPS, options=options)
    assert np.stack(checked.swapped).sum() == 0
    assert np.stack(checked.removed).sum() == 0
    np.testing.assert_array_equal(points_of(checked), noisy.astype(np.float32))
    alone = [check_people(p, options) for p in as_people(noisy, scores)[::7]]
    for i, people in enumerate(alone):
        np.testing.assert_array_equal(people.scores[0], scores[7 * i].astype(np.float32))


@pytest.mark.parametrize("act", ["front", "half", "aside", "dancing"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_exchanged_legs_are_mended_in_time(seed, act):
    _, noisy, scores = clip(seed, ACTS[act])
    frames = [*range(20, 27), 50, *range(80, 95)]
    bad, bad_scores = exchanged(noisy, scores, frames, LEGS_LEFT, LEGS_RIGHT)
    checked = check_sequence(as_people(bad, bad_scores), fps=FPS, options=only("swaps"))
    wrong = np.abs(points_of(checked) - noisy).max(axis=(1, 2)) > 1e-3
    if act == "aside":
        # Legs at the same place may take either name; what counts is that none jumps.
        ankles = [15, 16]
        before, after, clean = (
            np.linalg.norm(np.diff(p[:, ankles], 2, axis=0), axis=-1).mean()
            for p in (bad, points_of(checked), noisy)
        )
        assert after < clean + 0.3 * max(before - clean, 1.0)
    else:
        assert not wrong.any()
    kept = check_sequence(as_people(bad, bad_scores), fps=FPS, options=off("swaps"))
    assert np.stack(kept.swapped).sum() == 0


def test_a_whole_body_turned_round_is_mended():
    _, noisy, scores = clip(2)
    left = [5, 7, 9, 11, *LEGS_LEFT, *range(91, 112)]
    right = [int(FLIP_INDICES[k]) for k in left]
    bad, bad_scores = exchanged(noisy, scores, range(40, 48), left, right)
    checked = check_sequence(as_people(bad, bad_scores), fps=FPS, options=only("swaps"))
    np.testing.assert_allclose(points_of(checked), noisy, atol=1e-3)


def test_exchanged_arms_are_mended_in_a_single_picture():
    _, noisy, scores = clip(1)
    left = [7, 9, *range(91, 112)]
    right = [8, 10, *range(112, 133)]
    bad, bad_scores = exchanged(noisy, scores, [30], left, right)
    people = as_people(bad, bad_scores)[30]
    np.testing.assert_allclose(
        check_people(people, only("swaps")).keypoints[0], noisy[30], atol=1e-3
    )
    np.testing.assert_array_equal(
        check_people(people, SanityOptions(swaps=False, hands=False, limbs=False)).keypoints,
        people.keypoints,
    )


def test_legs_that_pass_each_other_are_not_exchanged():
    # From the side, two legs that cross are at one place with opposite velocities.
    for seed in range(4, 8):
        _, noisy, scores = clip(seed, Act(heading=np.pi / 2, amount=1.3))
        checked = check_sequence(as_people(noisy, scores), fps=FPS, options=only("swaps"))
        assert np.stack(checked.swapped).sum() == 0


def test_a_hand_on_the_wrong_wrist_is_removed():
    _, noisy, scores = clip(1)
    bad = noisy.copy()
    bad[:, LEFT_HAND] = noisy[:, RIGHT_HAND] + 2
    people = as_people(bad, scores)[10]
    got = check_people(people, only("hands"))
    assert (got.scores[0, LEFT_HAND] == 0).all()
    np.testing.assert_array_equal(got.scores[0, RIGHT_HAND], people.scores[0, RIGHT_HAND])
    kept = check_people(people, off("hands"))
    assert (kept.scores[0, LEFT_HAND] > 0).all()
    checked = check_sequence(as_people(bad, scores), fps=FPS, options=only("hands"))
    assert np.stack(checked.removed)[:, 0, LEFT_HAND].all()
    assert np.stack(checked.removed).sum() == 21 * len(TIMES)


def test_two_hands_on_each_others_wrists_are_exchanged():
    _, noisy, scores = clip(1)
    bad, bad_scores = exchanged(noisy, scores, [10], list(range(91, 112)), list(range(112, 133)))
    got = check_people(as_people(bad, bad_scores)[10], only("hands"))
    np.testing.assert_allclose(got.keypoints[0], noisy[10], atol=1e-3)
    np.testing.assert_allclose(got.scores[0], scores[10], atol=1e-6)


def test_the_double_of_a_hand_whose_wrist_is_hidden_is_removed():
    _, noisy, scores = clip(1)
    noisy[:, LEFT_HAND] = noisy[:, RIGHT_HAND] + 1
    scores[:, 9] = 0.1
    scores[:, LEFT_HAND] -= 0.2
    got = check_people(as_people(noisy, scores)[10], only("hands"))
    assert (got.scores[0, LEFT_HAND] == 0).all()
    assert (got.scores[0, RIGHT_HAND] > 0.3).all()


def test_folded_hands_stay():
    _, noisy, scores = clip(1)
    for part, wrist in ((LEFT_HAND, 9), (RIGHT_HAND, 10)):
        target = (noisy[:, 9] + noisy[:, 10]) / 2
        shift = target - noisy[:, wrist]
        noisy[:, part] += shift[:, None]
        noisy[:, wrist] += shift
    checked = check_sequence(as_people(noisy, scores), fps=FPS, options=only("hands"))
    assert np.stack(checked.removed).sum() == 0


def imagined_face(seed, score):
    """Somebody from behind, with the face of somebody from the front, as networks imagine it."""
    truth, noisy, scores = clip(seed, Act(heading=np.pi))
    front = project(move(seed, TIMES))
    face = [0, 1, 2, *range(FACE.start, FACE.stop)]
    head = truth[:, [3, 4]].mean(axis=1) - front[:, [3, 4]].mean(axis=1)
    noisy[:, face] = front[:, face] + head[:, None]
    scores[:, face] = score + 0.05 * np.random.default_rng(0).standard_normal((len(TIMES), 71))
    return noisy, scores, face


@pytest.mark.parametrize("score", [0.45, 0.65])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_face_on_the_back_of_a_head_is_suppressed(seed, score):
    noisy, scores, face = imagined_face(seed, score)
    people = as_people(noisy, scores)
    checked = check_sequence(people, fps=FPS, options=only("faces"))
    assert (scores_of(checked)[:, face] == 0).all()
    assert (scores_of(checked)[:, [3, 4]] > 0.3).all()
    alone = np.stack([check_people(p, only("faces")).scores[0] for p in people[::9]])
    assert (alone[:, face] == 0).all()
    kept = check_sequence(people, fps=FPS, options=off("faces"))
    assert (scores_of(kept)[:, face] > 0).all()


@pytest.mark.parametrize("heading", [0.0, 0.7, -0.7, np.pi / 2, -np.pi / 2])
def test_faces_seen_from_the_front_and_the_side_stay(heading):
    for seed in (1, 2, 3):
        _, noisy, scores = clip(seed, Act(heading=heading))
        scores[:, 4 if heading > 0 else 3] *= 0.2 if abs(heading) > 1 else 1.0
        checked = check_sequence(as_people(noisy, scores), fps=FPS, options=only("faces"))
        assert np.stack(checked.removed).sum() == 0


def test_someone_who_looks_back_over_the_shoulder_keeps_the_face():
    _, noisy, scores = clip(1, Act(heading=np.pi))
    side = project(move(1, TIMES, act=Act(heading=2.0)))
    head = [0, 1, 2, 3, 4, *range(FACE.start, FACE.stop)]
    back = project(move(1, TIMES, act=Act(heading=np.pi)))
    noisy[:, head] = side[:, head] + (back - side)[:, [5, 6]].mean(axis=1)[:, None]
    scores[:, 3] = 0.1
    checked = check_sequence(as_people(noisy, scores), fps=FPS, options=only("faces"))
    assert np.stack(checked.removed).sum() == 0


@pytest.mark.parametrize(
    ("joint", "gone"),
    [
        (9, [9, *range(91, 112)]),
        (8, [8]),
        (16, [16, 20, 21, 22]),
        (13, [13]),
        (17, [17]),
        (3, [3]),
    ],
)
def test_limbs_of_impossible_length_are_dropped(joint, gone):
    _, noisy, scores = clip(1)
    bad = noisy.copy()
    bad[:, joint] += (220, -190)
    expected = np.zeros(133, bool)
    expected[gone] = True
    for frame in (5, 50):
        people = as_people(bad, scores)[frame]
        got = check_people(people, only("limbs"))
        np.testing.assert_array_equal(got.scores[0] == 0, expected)
        assert (check_people(people, off("limbs")).scores[0, joint] > 0) or joint == 9
    checked = check_sequence(as_people(bad, scores), fps=FPS, options=only("limbs"))
    removed = np.stack(checked.removed)[:, 0]
    np.testing.assert_array_equal(removed, np.broadcast_to(expected, removed.shape))


def test_a_finger_far_away_is_dropped_alone():
    _, noisy, scores = clip(1)
    noisy[:, 95] += 150
    got = check_people(as_people(noisy, scores)[3], only("limbs"))
    assert np.flatnonzero(got.scores[0] == 0).tolist() == [95]


def test_nobody_and_nothing_seen():
    _, noisy, scores = clip(1)
    people = as_people(noisy, scores * 0.1)
    assert len(check_people(people[0][[]])) == 0
    np.testing.assert_array_equal(check_people(people[0]).scores, people[0].scores)
    checked = check_sequence(people[:2], fps=FPS)
    assert np.stack(checked.removed).sum() == 0
    assert check_sequence([]).people == []


def test_limits_are_checked():
    with pytest.raises(ValueError, match="limb_factor must be above 0"):
        SanityOptions(limb_factor=0)
