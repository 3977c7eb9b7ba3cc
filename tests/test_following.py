"""Boxes from poses, the detector's rules, filling: with networks that know the truth."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from dwpose.filling import complete, fill_between
from dwpose.following import Follower, FollowOptions
from dwpose.io.frames import Pictures
from dwpose.refine import refine
from dwpose.stream import stream
from dwpose.training.synthetic.numeric_clips import Walker, join, score_tracks, walk
from dwpose.training.synthetic.oracle import Oracle, draw_clip, read_number, write_number
from dwpose.types import Boxes, People
from dwpose.watching import Watch

from .fake_pose import FakePose

HW = (240, 428)
ONE = Walker((60, 130), (360, 130), 160)
TWO = [Walker((60, 130), (360, 130), 160, depth=1), Walker((380, 135), (50, 135), 165, phase=1)]
APART = [Walker((60, 130), (120, 130), 160), Walker((370, 135), (330, 135), 165, phase=1)]
STILL = Walker((200, 130), (200, 130), 160, swing=0.2)


def _walk(walkers, seconds=3.0, **more):
    return walk(walkers, seconds, image_hw=HW, **more)


def _follow(clip, sigma=0.001, **numbers):
    oracle = Oracle(clip.truth, sigma)
    follower = Follower(oracle.detect, oracle.estimate, FollowOptions(**numbers))
    frames = Pictures(list(draw_clip(clip)), 25)
    found = list(follower.follow(frames))
    assert [frame.index for frame, _ in found] == list(range(len(clip.truth)))
    return [people for _, people in found], follower.counts


def test_numbers_in_pictures():
    image = np.zeros((40, 200, 3), np.uint8)
    for number in (0, 1, 12345, 65535):
        write_number(image, number)
        assert read_number(image) == number


@pytest.mark.parametrize("stride", [1, 2])
def test_one_person_needs_the_detector_once(stride):
    clip = _walk([ONE])
    people, counts = _follow(clip, stride=stride, detect_every=1000)
    score = score_tracks(clip.truth, people)
    assert (score.switches, score.missed, score.extra) == (0, 0, 0)
    assert counts.detections == 1
    assert counts.frames == len(clip.truth)
    assert counts.crops + counts.filled == len(clip.truth)
    assert (counts.filled > 20) == (stride == 2)


def test_the_detector_comes_at_least_every_so_often():
    _, counts = _follow(_walk([STILL]), stride=1, detect_every=10)
    assert counts.detections == 8  # frames 0, 10, ... 70 of 75


@pytest.mark.parametrize("stride", [1, 2])
def test_filled_frames_are_as_near_to_the_truth_as_estimated_ones(stride):
    clip = _walk([ONE])
    people, counts = _follow(clip, sigma=0.002, stride=stride)
    oracle = Oracle(clip.truth, 0.002)
    each = [
        oracle.estimate([image], oracle.detect([image]))[0].keypoints for image in draw_clip(clip)
    ]
    apart = [
        np.hypot(*np.moveaxis(p.keypoints - e, -1, 0))[0, seen.scores[0] > 0.5].mean()
        for p, e, seen in zip(people, each, clip.truth, strict=True)
    ]
    # The limit is 1 px at 480p; here at 240p.
    assert np.mean(apart) < 0.5
    plain = score_tracks(
        clip.truth,
        [People(e, np.ones((1, 133)), p.boxes, HW, [0]) for e, p in zip(each, people, strict=True)],
    )
    assert score_tracks(clip.truth, people).error_px <= plain.error_px * 1.001
    assert counts.filled > 0 or stride == 1


def test_people_who_cross_keep_their_ids():
    clip = _walk(TWO, 4)
    people, counts = _follow(clip)
    score = score_tracks(clip.truth, people)
    assert (score.switches, score.extra) == (0, 0)
    # In 10 frames one hides 4 to 7 body points of the other, and a network sees the one in front.
    assert score.missed <= 8
    assert counts.detections <= 5
    # Whoever was hidden for so short a time is filled in afterwards.
    whole = score_tracks(clip.truth, refine(people, fps=25.0).people)
    assert (whole.switches, whole.missed, whole.extra) == (0, 0, 0)


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_people_who_cross_keep_their_ids_whatever_the_stride(stride):
    clip = _walk(TWO, 4)
    score = score_tracks(clip.truth, _follow(clip, stride=stride)[0])
    assert (score.switches, score.extra) == (0, 0)


@pytest.mark.parametrize("stride", [1, 4])
def test_nobody_is_taken_for_another_in_a_crowd(stride):
    walkers = [
        Walker((50, 130), (375, 130), 160, depth=1),
        Walker((380, 135), (45, 135), 165, phase=1),
        Walker((150, 125), (250, 125), 140, depth=2),
        Walker((-25, 125), (450, 125), 150, enter_s=1, depth=3),
    ]
    clip = _walk(walkers, 4)
    score = score_tracks(clip.truth, _follow(clip, stride=stride)[0])
    assert (score.switches, score.extra) == (0, 0)
    # Three of them hide each other for a second in the middle.
    assert score.missed < 0.2 * score.total


def test_somebody_who_enters_is_found_at_once():
    come = Walker((-40, 130), (80, 130), 160, enter_s=1.0)
    clip = _walk([STILL, come], 3)
    people, counts = _follow(clip, detect_every=1000)
    score = score_tracks(clip.truth, people)
    assert score.switches == 0
    assert score.missed <= 6
    assert counts.detections <= 8
    # Without the search for motion nobody looks.
    from dataclasses import replace

    blind = replace(FollowOptions().watch, entry_area=1.0)
    assert score_tracks(clip.truth, _follow(clip, detect_every=1000, watch=blind)[0]).missed > 30


def test_somebody_who_left_is_not_there_any_more():
    clip = _walk([STILL, Walker((300, 130), (520, 130), 160, leave_s=1.5)], 3)
    people, _ = _follow(clip, detect_every=1000)
    score = score_tracks(clip.truth, people)
    assert (score.switches, score.extra) == (0, 0)
    assert len(people[-1]) == 1


def test_nobody_is_nobody():
    clip = _walk([], 1)
    people, counts = _follow(clip)
    assert [len(p) for p in people] == [0] * 25
    assert all(p.track_ids is not None for p in people)
    assert counts.crops == 0


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_cuts_start_anew(stride):
    clip = join(_walk([ONE], 1), _walk(APART, 1), _walk([STILL], 1))
    people, counts = _follow(clip, stride=stride)
    score = score_tracks(clip.truth, people)
    assert counts.cuts == 2
    assert (score.switches, score.missed, score.extra) == (0, 0, 0)
    scenes = [people[:25], people[25:50], people[50:]]
    ids = [{i for p in scene for i in p.track_ids.tolist()} for scene in scenes]
    assert [len(scene) for scene in ids] == [1, 2, 1]
    assert len(set.union(*ids)) == 4


def test_a_pan_a_flash_and_noise_are_no_cuts():
    rng = np.random.default_rng(0)
    wide = np.asarray(np.clip(rng.normal(120, 50, (30, 120, 3)), 0, 255), np.uint8)
    wide = wide.repeat(8, 0).repeat(8, 1)
    watch = Watch()
    assert not any(watch.is_cut(wide[:, x : x + 400]) for x in range(0, 500, 12))
    watch = Watch()
    noisy = [np.clip(wide[:, :400] + rng.normal(0, 12, (240, 400, 3)), 0, 255) for _ in range(5)]
    assert not any(watch.is_cut(image.astype(np.uint8)) for image in noisy)
    watch = Watch()
    assert [watch.is_cut(i) for i in (wide[:, :400], 255 - wide[::-1, 500:900] // 2)] == [
        False,
        True,
    ]


def test_motion_is_seen_outside_boxes_alone():
    rng = np.random.default_rng(1)
    scene = rng.integers(0, 200, (15, 26, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)

    def moved(boxes, shift):
        watch = Watch()
        for i in range(2):
            image = np.roll(scene, shift * i, axis=1).copy()
            image[100:180, 100 + 30 * i : 140 + 30 * i] = 255
            watch.is_cut(image)
            seen = watch.moves_outside(np.array(boxes, np.float32).reshape(-1, 4))
        return seen

    assert moved([], 0)
    assert not moved([(95, 95, 175, 185)], 0)
    assert not moved([(95, 95, 175, 185)], 3)  # the camera moves, nobody else


def test_a_box_that_slipped_to_somebody_else_counts_once():
    clip = _walk(TWO, 4)
    for people in _follow(clip)[0]:
        for i in range(len(people) - 1):
            apart = np.abs(people.keypoints[i] - people.keypoints[i + 1 :]).mean(axis=(1, 2))
            assert (apart > 3).all()


def test_filling_gives_up_where_motion_is_not_even():
    base = _walk([STILL], 1).truth[0]

    def at(offset):
        return People(base.keypoints + offset, base.scores, base.boxes, HW, [7])

    even = fill_between([(0, at(0)), (2, at(4))], (4, at(8)), [3.0], 0.004)
    assert even is not None
    np.testing.assert_allclose(even[0].keypoints, at(6).keypoints, atol=1e-3)
    assert even[0].track_ids.tolist() == [7]
    # An even acceleration is followed exactly: 0, 1, 4 at 0, 2, 4 is t squared over 4.
    curved = fill_between([(0, at(0)), (2, at(1))], (4, at(4)), [3.0], 0.1)
    np.testing.assert_allclose(curved[0].keypoints, at(2.25).keypoints, atol=1e-3)
    assert fill_between([(0, at(0)), (2, at(0))], (4, at(40)), [3.0], 0.004) is None
    assert fill_between([(2, at(0))], (4, at(0)), [3.0], 0.004) is None
    other = People(base.keypoints, base.scores, base.boxes, HW, [8])
    assert fill_between([(0, at(0)), (2, at(0))], (4, other), [3.0], 0.004) is None
    hidden = People(base.keypoints, base.scores * 0, base.boxes, HW, [7])
    assert fill_between([(0, at(0)), (2, at(0))], (4, hidden), [3.0], 0.004) is None


def test_what_cannot_be_filled_is_halved():
    base = _walk([STILL], 1).truth[0]

    def at(offset):
        return People(base.keypoints + offset, base.scores, base.boxes, HW, [7])

    # Somebody who stands until 4 and then walks evenly: only 4 has to be looked at.
    asked = []

    def estimate(chosen):
        asked.extend(chosen)
        return [at(10 * max(i + 1 - 4, 0)) for i in chosen]

    still = [(-8.0, at(0)), (-4.0, at(0)), (0.0, at(0))]
    found, filled = complete(still, (8.0, at(40)), [float(i) for i in range(1, 8)], 0.004, estimate)
    assert asked[0] == 3
    assert filled == 7 - len(asked)
    assert len(found) == 7
    for i, people in enumerate(found, 1):
        assert np.abs(people.keypoints - at(10 * max(i - 4, 0)).keypoints).max() < 1.5
    assert complete(still[:1], (8.0, at(40)), [], 0.004, estimate) == ([], 0)


@pytest.mark.parametrize("detector", [True, False])
def test_stream_yields_each_frame_with_its_people(detector):
    clip = _walk([ONE], 1)
    pictures = list(draw_clip(clip))
    seen = list(stream(FakePose(clip, detector=detector), np.stack(pictures)))
    assert len(seen) == 25
    for (image, people), picture in zip(seen, pictures, strict=True):
        np.testing.assert_array_equal(image, picture)
        assert people.track_ids.tolist() == [0]


def test_without_a_detector_there_is_one_person():
    clip = _walk(APART, 1)
    pictures = list(draw_clip(clip))
    both = list(stream(FakePose(clip), pictures))
    alone = list(stream(FakePose(clip, detector=False), pictures, detect_every=5))
    assert {len(people) for _, people in both} == {2}
    assert {len(people) for _, people in alone} == {1}


def test_stream_does_not_read_ahead():
    clip = _walk([ONE], 1)
    read = []

    def pictures():
        for i, picture in enumerate(draw_clip(clip)):
            read.append(i)
            yield picture

    frames = stream(FakePose(clip), pictures(), stride=1)
    next(frames)
    next(frames)
    assert read == [0, 1]


class FakeCamera:
    """Stands in for `cv2.VideoCapture`."""

    opened: ClassVar[list[FakeCamera]] = []

    def __init__(self, number):
        self.number, self.released, self.settings = number, False, {}
        self.pictures = draw_clip(_walk([ONE], 1))
        self.opened.append(self)

    def isOpened(self):
        return self.number == 2

    def set(self, name, value):
        self.settings[name] = value

    def get(self, name):
        return self.settings.get(name, 0.0)

    def read(self):
        image = next(self.pictures, None)
        return image is not None, None if image is None else image[..., ::-1]

    def release(self):
        self.released = True


def test_stream_from_a_webcam(monkeypatch):
    monkeypatch.setattr("cv2.VideoCapture", FakeCamera)
    clip = _walk([ONE], 1)
    seen = []
    # A camera gives one picture at a time, and its people at once.
    frames = stream(FakePose(clip), 2, fps=30)
    camera = FakeCamera.opened[-1]
    assert 30 in camera.settings.values()
    for picture in draw_clip(clip):
        image, people = next(frames)
        np.testing.assert_array_equal(image, picture)
        seen.append(people)
        if len(seen) == 20:
            break
    assert all(p.track_ids.tolist() == [0] for p in seen)
    assert not camera.released
    frames.close()
    assert camera.released
    with pytest.raises(ValueError, match="no camera 7"):
        stream(FakePose(clip), 7)
    # OpenCV crashes on negative numbers.
    with pytest.raises(ValueError, match="0 or more, got -1"):
        stream(FakePose(clip), -1)
    # A camera that is pulled out ends the stream.
    assert len(list(stream(FakePose(clip), 2))) == 25
    assert FakeCamera.opened[-1].released


def test_stream_steadies_and_mends_unless_told_otherwise():
    clip = _walk([STILL], 2)
    pictures = list(draw_clip(clip))
    pose = FakePose(clip)
    pose.oracle.sigma = 0.01

    def jitter(**settings):
        found = [p.keypoints[0] for _, p in stream(pose, pictures, stride=1, **settings)]
        truth = [p.keypoints[0] for p in clip.truth]
        return np.linalg.norm(np.diff(np.subtract(found, truth), 2, axis=0), axis=-1).mean()

    assert jitter() < 0.5 * jitter(smoothing=None)


def test_stream_knows_its_numbers():
    with pytest.raises(TypeError, match="detect_every"):
        stream(FakePose(_walk([ONE], 1)), [], wrong=1)
    with pytest.raises(ValueError, match="start must be 0 or more, got -5"):
        stream(FakePose(_walk([ONE], 1)), [], start=-5)
    with pytest.raises(TypeError, match="source"):
        stream(FakePose(_walk([ONE], 1)), 1.5)


@pytest.mark.parametrize("wrong", [{"stride": 0}, {"confidence_drop": 2}, {"lost_s": -1}])
def test_options_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FollowOptions(**wrong)


def test_predicted_boxes_carry_the_detectors_margins():
    clip = _walk([STILL], 1)
    oracle = Oracle(clip.truth, 0.0)
    asked: list[Boxes] = []

    def estimate(images, boxes):
        asked.extend(boxes)
        return oracle.estimate(images, boxes)

    follower = Follower(oracle.detect, estimate, FollowOptions(stride=1))
    list(follower.follow(Pictures(list(draw_clip(clip)))))
    # Still people have nearly still boxes: those of the detector on the first frame.
    for boxes in asked:
        np.testing.assert_allclose(boxes.xyxy, asked[0].xyxy, atol=8)
