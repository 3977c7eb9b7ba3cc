"""A second look at small people, with a stand-in network whose errors are crop pixels."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose.geometry import BOX_PADDING, box_center_scale, fix_aspect
from dwpose.second_look import SecondLookOptions, find_looks, look_again
from dwpose.skeleton import FACE, LEFT_HAND, RIGHT_HAND
from dwpose.training.synthetic.motion import Act, move, project
from dwpose.types import Boxes, People

SIZE = (256, 192)
HW = (480, 832)
IMAGE = np.zeros((*HW, 3), np.uint8)
PARTS = [FACE, LEFT_HAND, RIGHT_HAND]


class Stub:
    """Knows the truth; errs by a pixel of its crop, and is unsure of what has few pixels."""

    size_hw = SIZE
    padding = BOX_PADDING

    def __init__(self, truths, seed=0, confused=False):
        self.truths = truths  # per picture [P, 133, 2]
        self.rng = np.random.default_rng(seed)
        self.confused = confused
        self.calls = 0
        self.crops = 0

    def __call__(self, images, boxes, *, flip_test=False, on_batch=None):
        self.calls += 1
        out = []
        for image, own in zip(images, boxes, strict=True):
            truth = self.truths[int(image[0, 0, 0])]
            self.crops += len(own)
            _, scale = box_center_scale(own.xyxy, BOX_PADDING)
            pixels = SIZE[0] / fix_aspect(scale, 0.75)[:, 1]
            middle = (own.xyxy[:, :2] + own.xyxy[:, 2:]) / 2
            # The network answers for whoever is in the middle of the crop.
            apart = np.linalg.norm(truth[None] - middle[:, None, None], axis=-1).min(axis=-1)
            points = truth[apart.argmin(axis=1)].copy()
            if self.confused:
                points += 60
            noise = 1.5 / pixels[:, None, None]
            points += noise * self.rng.standard_normal(points.shape)
            score = np.clip(0.25 + 0.25 * pixels, 0.05, 0.95)[:, None] * np.ones(133)
            out.append(People(points, score, own, image.shape[:2]))
            if on_batch is not None:
                on_batch()
        return out


def picture(number):
    image = IMAGE.copy()
    image[0, 0] = number
    return image


def scene(seeds, person_px):
    return np.concatenate(
        [
            project(
                move(s, np.array([0.7]), act=Act(travel_m=0.0)),
                HW,
                person_px,
                (160.0 * (k - 1), 0.0),
            )
            for k, s in enumerate(seeds)
        ]
    )


def boxes_of(truth):
    return Boxes(np.concatenate((truth.min(axis=1), truth.max(axis=1)), axis=1))


def error(people, truth, part):
    return np.linalg.norm(people.keypoints[:, part] - truth[:, part], axis=-1).mean()


def looked(person_px, pictures=3, **options):
    truths = [scene((3 * k, 3 * k + 1, 3 * k + 2), person_px) for k in range(pictures)]
    stub = Stub(truths)
    images = [picture(k) for k in range(pictures)]
    before = stub(images, [boxes_of(t) for t in truths])
    stub.calls = stub.crops = 0
    after = look_again(images, before, stub, SecondLookOptions(**options))
    return truths, before, after, stub


def pixel(frames, name, again):
    """Mean size of a crop's pixel in the picture, of one part of everybody, first or second."""
    sizes = []
    for people in frames:
        looks = {
            k.person: k for k in find_looks(people, SIZE, SecondLookOptions()) if k.part == name
        }
        _, scale = box_center_scale(people.boxes.xyxy, BOX_PADDING)
        heights = fix_aspect(scale, 0.75)[:, 1]
        for i in range(len(people)):
            left, _, right, _ = looks[i].box if i in looks else (0, 0, 0, 0)
            second = (right - left) * BOX_PADDING / SIZE[1] if i in looks and again else 0.0
            sizes.append(second or heights[i] / SIZE[0])
    return np.mean(sizes)


def test_small_people_gain_and_the_body_is_left_alone():
    truths, before, after, stub = looked(170.0)
    for name, part in zip(("face", "left_hand", "right_hand"), PARTS, strict=True):
        old = np.mean([error(p, t, part) for p, t in zip(before, truths, strict=True)])
        new = np.mean([error(p, t, part) for p, t in zip(after, truths, strict=True)])
        # The stand-in errs by pixels of its crop: what can be gained is how much nearer it looks.
        expected = pixel(before, name, again=True) / pixel(before, name, again=False)
        assert expected < 0.6
        assert new / old == pytest.approx(expected, rel=0.15)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new.keypoints[:, :23], old.keypoints[:, :23])
        np.testing.assert_array_equal(new.scores[:, :23], old.scores[:, :23])
        assert (new.scores[:, FACE] > old.scores[:, FACE]).all()
    assert stub.calls == 1
    assert stub.crops <= 3 * 3 * 3


def test_parts_that_were_large_enough_are_not_looked_at():
    _, before, after, stub = looked(380.0, pictures=1, small_px=10.0)
    assert stub.calls == 0
    np.testing.assert_array_equal(after[0].keypoints, before[0].keypoints)
    _, before, after, stub = looked(30.0, pictures=1)
    assert stub.calls == 0


def test_each_part_can_be_left_out():
    _, before, after, stub = looked(170.0, pictures=1, face=False)
    np.testing.assert_array_equal(after[0].keypoints[:, FACE], before[0].keypoints[:, FACE])
    assert (after[0].keypoints[:, LEFT_HAND] != before[0].keypoints[:, LEFT_HAND]).any()
    _, before, after, stub = looked(170.0, pictures=1, hands=False)
    assert stub.crops == 3
    np.testing.assert_array_equal(
        after[0].keypoints[:, LEFT_HAND], before[0].keypoints[:, LEFT_HAND]
    )


def test_a_less_sure_look_does_not_count():
    truths = [scene((0, 1, 2), 170.0)]
    sure = Stub(truths)([picture(0)], [boxes_of(truths[0])])[0]
    sure = People(sure.keypoints, np.full((3, 133), 0.99), sure.boxes, HW)
    after = look_again([picture(0)], [sure], Stub(truths))[0]
    np.testing.assert_array_equal(after.keypoints, sure.keypoints)


def test_somebody_elses_hand_does_not_count():
    truths = [scene((0, 1, 2), 170.0)]
    before = Stub(truths)([picture(0)], [boxes_of(truths[0])])[0]
    after = look_again([picture(0)], [before], Stub(truths, confused=True))[0]
    np.testing.assert_array_equal(after.keypoints, before.keypoints)


def test_crops_are_around_the_parts_and_larger():
    truths = [scene((0, 1, 2), 170.0)]
    before = Stub(truths)([picture(0)], [boxes_of(truths[0])])[0]
    options = SecondLookOptions()
    looks = find_looks(before, SIZE, options)
    assert {(look.person, look.part) for look in looks} >= {(0, "face"), (1, "face"), (2, "face")}
    for look in looks:
        part = {"face": FACE, "left_hand": LEFT_HAND, "right_hand": RIGHT_HAND}[look.part]
        points = truths[0][look.person, part]
        left, top, right, bottom = look.box
        assert (points > (left, top)).all()
        assert (points < (right, bottom)).all()
        assert right - left == pytest.approx(bottom - top)
        assert right - left == pytest.approx(options.context * look.size_px)


def test_pictures_without_anybody_or_anything_small():
    truths = [scene((0, 1, 2), 170.0)]
    stub = Stub(truths)
    nobody = People.empty(HW)
    after = look_again([picture(0), picture(0)], [nobody, nobody], stub)
    assert [len(p) for p in after] == [0, 0]
    assert stub.calls == 0
    before = stub([picture(0)], [boxes_of(truths[0])])[0]
    mixed = look_again([IMAGE, picture(0)], [nobody, before], stub)
    assert [len(p) for p in mixed] == [0, 3]


def test_ids_stay_and_batches_are_reported():
    truths = [scene((0, 1, 2), 170.0)]
    before = Stub(truths)([picture(0)], [boxes_of(truths[0])])[0]
    before = People(before.keypoints, before.scores, before.boxes, HW, np.array([5, 3, 9]))
    ticks = []
    after = look_again([picture(0)], [before], Stub(truths), on_batch=lambda: ticks.append(1))[0]
    assert after.track_ids is not None
    assert after.track_ids.tolist() == [5, 3, 9]
    assert ticks == [1]


def test_wrong_arguments():
    with pytest.raises(ValueError, match="for each of 1 pictures"):
        look_again([IMAGE], [], Stub([]))
    with pytest.raises(ValueError, match="context must be at least 1"):
        SecondLookOptions(context=0.5)
