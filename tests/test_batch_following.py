"""Every frame looked at, many together: the same people as picture by picture, with ids."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from dwpose import batch_following
from dwpose.batch_following import BatchFollower
from dwpose.detector import PersonDetector
from dwpose.estimator import Estimator
from dwpose.following import Follower, FollowOptions
from dwpose.io.frames import Pictures
from dwpose.pipeline import DWPose
from dwpose.runtimes.session import RuntimeInfo
from dwpose.stream import make_follower, stream
from dwpose.training.synthetic.numeric_clips import Walker, join, score_tracks, walk
from dwpose.training.synthetic.oracle import Oracle, draw_clip
from dwpose.types import Boxes
from dwpose.video import run_film

from .fake_pose import FakePose

HW = (120, 214)
TWO = [Walker((30, 65), (60, 65), 80), Walker((185, 67), (165, 67), 82, phase=1)]
STILL = [Walker((100, 65), (100, 65), 80, swing=0.2)]
CLIP = walk(TWO, 2, image_hw=HW)


class Noting(Oracle):
    """An oracle that notes how many pictures and people it was asked about at once."""

    def __init__(self, clip):
        super().__init__(clip.truth, 0.001, self.note)
        self.asked = []

    def note(self, what, images, boxes):
        self.asked.append((what, len(images)))


def _follow(clip, batch):
    oracle = Noting(clip)
    follower = BatchFollower(oracle.detect, oracle.estimate, FollowOptions(batch=batch))
    found = list(follower.follow(Pictures(list(draw_clip(clip)), 25)))
    assert [frame.index for frame, _ in found] == list(range(len(clip.truth)))
    return [people for _, people in found], follower.counts, oracle.asked


def _same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.keypoints, b.keypoints)
        np.testing.assert_array_equal(a.scores, b.scores)
        np.testing.assert_array_equal(a.track_ids, b.track_ids)


def test_frames_go_together_and_the_last_batch_may_be_smaller():
    people, counts, asked = _follow(CLIP, 16)
    assert asked == [(what, n) for n in (16, 16, 16, 2) for what in ("detect", "estimate")]
    assert (counts.frames, counts.detections, counts.filled) == (50, 50, 0)
    assert counts.crops == sum(len(p) for p in people) == 100
    score = score_tracks(CLIP.truth, people)
    assert (score.switches, score.missed, score.extra) == (0, 0, 0)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_batch_does_not_matter(batch):
    _same(_follow(CLIP, batch)[0], _follow(CLIP, 16)[0])


def test_large_frames_are_fewer_together(monkeypatch):
    monkeypatch.setattr(batch_following, "CHUNK_PIXELS", 2.5 * HW[0] * HW[1])
    people, _, asked = _follow(CLIP, 16)
    assert {n for _, n in asked} == {3, 2}
    _same(people, _follow(CLIP, 16)[0])


def test_no_more_frames_are_held_than_a_batch():
    alive, most = set(), 0

    def frames():
        nonlocal most
        for frame in Pictures(draw_clip(CLIP), 25):
            alive.add(frame.index)
            weakref.finalize(frame, alive.discard, frame.index)
            most = max(most, len(alive))
            yield frame

    oracle = Oracle(CLIP.truth)
    follower = BatchFollower(oracle.detect, oracle.estimate, FollowOptions(batch=8))
    for _ in follower.follow(frames()):
        pass
    # The first frame of a batch is read while the last one before is still in the caller's hands.
    assert 8 <= most <= 10


def test_cuts_start_anew():
    clip = join(walk(TWO, 1, image_hw=HW), walk(STILL, 1, image_hw=HW))
    people, counts, _ = _follow(clip, 16)  # the cut, at 25, is inside a batch
    score = score_tracks(clip.truth, people)
    assert (counts.cuts, score.switches, score.missed, score.extra) == (1, 0, 0, 0)
    before = {i for p in people[:25] for i in p.track_ids.tolist()}
    after = {i for p in people[25:] for i in p.track_ids.tolist()}
    assert (len(before), len(after)) == (2, 1)
    assert not before & after


def test_who_is_not_credible_is_left_out():
    oracle = Oracle(CLIP.truth, 0.001)

    def detect(images):
        # A box where nobody is: the network is unsure of all its points.
        nobody = Boxes(np.array([[0, 100, 4, 115]], np.float32))
        return [Boxes(np.concatenate((found.xyxy, nobody.xyxy))) for found in oracle.detect(images)]

    follower = BatchFollower(detect, oracle.estimate, FollowOptions(batch=8, max_people=1))
    assert {len(p) for _, p in follower.follow(Pictures(list(draw_clip(CLIP))))} == {1}
    both = BatchFollower(detect, oracle.estimate, FollowOptions(batch=8))
    assert {len(p) for _, p in both.follow(Pictures(list(draw_clip(CLIP))))} == {2}


class Curves:
    """A pose session: confident curves that depend on the crop's pixels alone."""

    input_size_hw, max_batch, input_dtype = (64, 48), None, "float32"
    info = RuntimeInfo("torch", "cpu", "fp32", "a stub")

    def __call__(self, images):
        outputs = []
        for bins in (96, 128):
            curves = np.zeros((len(images), 133, bins), np.float32)
            for curve, image in zip(curves, images, strict=True):
                seed = abs(int(image.sum() * 100)) % 2**31
                at = np.random.default_rng(seed).integers(0, bins, 133)
                curve[np.arange(133), at] = 0.9
            outputs.append(curves)
        return tuple(outputs)


class Blobs:
    """A detector session: people are columns of the picture, more to the right in later frames."""

    input_size_hw, max_batch, input_dtype = (64, 64), None, "float32"
    info = RuntimeInfo("torch", "cpu", "fp32", "a stub")

    def __call__(self, images):
        rows = np.zeros((len(images), 2, 5), np.float32)
        for row, image in zip(rows, images, strict=True):
            left = float(image[0, 0, 0]) / 8
            row[:] = (left, 5, left + 15, 30, 0.9), (left + 30, 5, left + 45, 30, 0.8)
        return rows, np.zeros((len(images), 2))


def _pictures(count=11):
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (count, 36, 64, 3), np.uint8)
    images[:, 0, 0] = 8 * np.arange(count)[:, None]
    return list(images)


@pytest.mark.parametrize("detector", [True, False])
def test_poses_are_those_of_the_pictures_one_by_one(detector):
    pose = DWPose(
        Estimator(Curves(), batch_size=3),
        PersonDetector(Blobs(), batch_size=2, clip=False) if detector else None,
    )
    images = _pictures()
    expected = list(pose.iterate(images))
    assert {len(p) for p in expected} == {2 if detector else 1}
    follower = make_follower(pose, FollowOptions(batch=4))
    assert isinstance(follower, BatchFollower)
    found = [people for _, people in follower.follow(Pictures(images))]
    for people, own in zip(found, expected, strict=True):
        # The pipeline sorts from left to right, and so do these boxes.
        np.testing.assert_array_equal(people.boxes.xyxy, own.boxes.xyxy)
        np.testing.assert_array_equal(people.keypoints, own.keypoints)
        np.testing.assert_array_equal(people.scores, own.scores)
        assert people.track_ids is not None


def test_a_stream_takes_a_batch():
    pictures = list(draw_clip(CLIP))
    seen = list(stream(FakePose(CLIP), pictures, batch=8, smoothing=None, sanity=None))
    _same([people for _, people in seen], _follow(CLIP, 8)[0])
    assert type(make_follower(FakePose(CLIP))) is Follower
    with pytest.raises(ValueError, match="batch must be at least 0"):
        stream(FakePose(CLIP), pictures, batch=-1)


@pytest.mark.parametrize("ended_at", [0, 7, 15, 30])
def test_somebody_else_goes_on_after_a_batch(ended_at):
    """Whatever frame was the last: the state is that of the end of the last batch."""
    whole, _, _ = _follow(CLIP, 8)
    pictures = list(draw_clip(CLIP))
    oracle = Oracle(CLIP.truth, 0.001)
    first = BatchFollower(oracle.detect, oracle.estimate, FollowOptions(batch=8))
    state, done = None, 0
    for frame, _ in first.follow(Pictures(pictures, 25)):
        if first.settled == frame.index:
            state, done = first.state(), frame.index + 1
        if frame.index == ended_at:
            break
    assert done == (ended_at + 1) // 8 * 8
    second = BatchFollower(oracle.detect, oracle.estimate, FollowOptions(batch=8))
    if state is not None:
        second.restore(state)
    rest = [people for _, people in second.follow(Pictures(pictures, 25).frames(done))]
    _same(rest, whole[done:])


@pytest.mark.parametrize("fail_at", [1, 33, 70])
def test_a_killed_film_goes_on_where_it_was(tmp_path, monkeypatch, fail_at):
    from dwpose import video
    from dwpose.io.images import save_image

    monkeypatch.setattr(video, "_KEEP_EVERY_S", 0.0)
    for i, image in enumerate(draw_clip(CLIP)):
        save_image(tmp_path / "frames" / f"{i:03d}.png", image)
    options = FollowOptions(batch=8)
    whole, part = tmp_path / "whole.json", tmp_path / "part.json"
    run_film(FakePose(CLIP), tmp_path / "frames", None, whole, follow=options)
    with pytest.raises(KeyboardInterrupt):
        run_film(FakePose(CLIP, fail_at), tmp_path / "frames", None, part, follow=options)
    told = []
    report = run_film(
        FakePose(CLIP),
        tmp_path / "frames",
        None,
        part,
        follow=options,
        progress=lambda phase, done, _: told.append(done) if phase == "poses" else None,
    )
    # Two people a frame, so that the batch in which it was asked once too often is lost.
    assert report.resumed == -(-fail_at // 16) * 8
    assert part.read_bytes() == whole.read_bytes()
    assert told == list(range(report.resumed, 51))
