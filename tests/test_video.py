"""Whole films: journal, resume, drawings, JSON, flat memory."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dwpose import video
from dwpose.anatomy import LENGTHS
from dwpose.cli import build_parser, main
from dwpose.commands import video as command
from dwpose.following import FollowOptions
from dwpose.io.film import FilmWriter
from dwpose.io.frames import Pictures, open_frames
from dwpose.io.journal import Entry, Journal
from dwpose.io.openpose_json import load, save
from dwpose.proportions import Proportions
from dwpose.render import draw_pose_map
from dwpose.retarget import FRAMINGS, Retargeter, RetargetOptions
from dwpose.sanity import SanityOptions
from dwpose.second_look import SecondLookOptions
from dwpose.smoothing import SmoothingOptions, with_strength
from dwpose.training.synthetic.numeric_clips import Walker, walk
from dwpose.training.synthetic.oracle import Oracle, draw_clip, read_number
from dwpose.types import Boxes, People
from dwpose.video import FilmOptions, run_film

from .fake_pose import FakePose

pytest.importorskip("av")

HW = (96, 160)
CLIP = walk([Walker((30, 52), (60, 52), 64), Walker((130, 52), (110, 52), 60, phase=1)], 1.6,
            image_hw=HW)  # fmt: skip
# A variable frame rate, in 1/1000 s.
TICKS = np.cumsum(np.random.default_rng(0).choice([20, 40, 60], len(CLIP.truth))).tolist()


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("film") / "in.mp4"
    with FilmWriter(path, HW, Fraction(1, 1000), 25, crf=8) as writer:
        for image, ticks in zip(draw_clip(CLIP), TICKS, strict=True):
            writer.add(image, ticks)
    return path


def test_the_film_the_keypoints_and_their_times(film, tmp_path):
    out, poses = tmp_path / "out.mp4", tmp_path / "poses.json"
    report = run_film(FakePose(CLIP), film, out, poses)
    assert report.frames == len(TICKS)
    assert report.people == 2
    assert (report.resumed, report.damaged) == (0, 0)
    source = list(open_frames(film))
    drawn = list(open_frames(out))
    assert [f.time_s for f in drawn] == [f.time_s for f in source]
    people = load(poses)
    assert [p.track_ids.tolist() for p in people] == [[0, 1]] * len(TICKS)
    raw = json.loads(poses.read_text())
    assert [f["time_s"] for f in raw] == pytest.approx([f.time_s for f in source])
    expected = draw_pose_map(people[3]).astype(int)
    assert np.abs(drawn[3].image.astype(int) - expected).mean() < 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mp4", "poses.json"]


def test_overlay_keeps_the_pictures(film, tmp_path):
    run_film(FakePose(CLIP), film, tmp_path / "o.mp4", film=FilmOptions(overlay=True))
    first, drawn = next(iter(open_frames(film))), next(iter(open_frames(tmp_path / "o.mp4")))
    corner = np.s_[4:14, 70:]
    assert np.abs(first.image[corner].astype(int) - drawn.image[corner]).mean() < 6


def test_a_folder_of_frames_and_back(film, tmp_path):
    from dwpose.io.images import save_image

    for i, image in enumerate(draw_clip(CLIP)):
        save_image(tmp_path / "in" / f"{i}.png", image)
    run_film(FakePose(CLIP), tmp_path / "in", tmp_path / "out", film=FilmOptions(size=80))
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [f"{i:06d}.png" for i in range(len(TICKS))]
    assert next(iter(open_frames(tmp_path / "out"))).image.shape == (48, 80, 3)


@pytest.mark.parametrize("fail_at", [1, 20, 47])
def test_a_killed_job_goes_on_where_it_was(film, tmp_path, monkeypatch, fail_at):
    monkeypatch.setattr(video, "_KEEP_EVERY_S", 0.0)
    whole = tmp_path / "whole.json"
    run_film(FakePose(CLIP), film, None, whole)
    poses = tmp_path / "poses.json"
    with pytest.raises(KeyboardInterrupt):
        run_film(FakePose(CLIP, fail_at), film, None, poses)
    journal = tmp_path / "poses.json.poses.jsonl"
    lines = journal.read_bytes().count(b"\n") - 1
    with open(journal, "ab") as file:
        file.write(b'{"ticks": 5, "torn')
    again = FakePose(CLIP)
    report = run_film(again, film, None, poses)
    # What is finished is not done again, but for the frames since the last key frame.
    assert lines - (FollowOptions().stride - 1) <= report.resumed <= lines
    assert report.counts.frames == len(TICKS) - report.resumed
    assert again.oracle.crops <= 2 * report.counts.frames + 2
    assert poses.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["poses.json", "whole.json"]


@pytest.mark.parametrize("broken", [None, b"", b"{", b'{"count": 99999, "state": {}}'])
def test_a_journal_whose_state_is_gone_is_started_anew(film, tmp_path, broken):
    whole, poses = tmp_path / "whole.json", tmp_path / "poses.json"
    run_film(FakePose(CLIP), film, None, whole)
    with pytest.raises(KeyboardInterrupt):
        run_film(FakePose(CLIP, 20), film, None, poses)
    state = tmp_path / "poses.json.poses.jsonl.state"
    state.unlink()
    if broken is not None:
        state.write_bytes(broken)
    assert run_film(FakePose(CLIP), film, None, poses).resumed == 0
    assert poses.read_bytes() == whole.read_bytes()


def test_finished_frames_are_not_asked_for_again(film, tmp_path):
    out = tmp_path / "o.mp4"
    run_film(FakePose(CLIP), film, out, keep_journal=True)
    again = FakePose(CLIP, 0)
    assert run_film(again, film, out, keep_journal=True).resumed == len(TICKS)
    assert run_film(FakePose(CLIP), film, out, fresh=True).resumed == 0


def test_a_journal_of_something_else_is_not_gone_on_with(film, tmp_path):
    out = tmp_path / "o.mp4"
    run_film(FakePose(CLIP), film, out, keep_journal=True, about={"models": ["a"]})
    assert run_film(FakePose(CLIP), film, out, about={"models": ["b"]}).resumed == 0


def _points(path) -> np.ndarray:
    return np.stack([p.keypoints[0] for p in load(path)])


def test_poses_are_steadied_unless_told_otherwise(film, tmp_path):
    noisy, steady, raw = FakePose(CLIP), tmp_path / "a.json", tmp_path / "b.json"
    noisy.oracle.sigma = 0.01
    each = FollowOptions(stride=1)  # frames that are filled in jitter less
    run_film(noisy, film, None, steady, follow=each)
    run_film(noisy, film, None, raw, follow=each, sanity=None, smoothing=None)
    truth = np.stack([p.keypoints[0] for p in CLIP.truth])

    def jitter(path):
        return np.linalg.norm(np.diff(_points(path) - truth, 2, axis=0), axis=-1)[:, :17].mean()

    assert jitter(steady) < 0.4 * jitter(raw)


def test_points_that_were_filled_in_are_marked(film, tmp_path):
    class Blinking(FakePose):
        def estimator(self, images, boxes, **options):
            found = super().estimator(images, boxes)
            return [
                replace(p, scores=np.where(np.arange(133) == 9, 0.01, p.scores))
                if read_number(image) in (20, 21)
                else p
                for image, p in zip(images, found, strict=True)
            ]

    out = tmp_path / "a.json"
    run_film(Blinking(CLIP), film, None, out, follow=FollowOptions(stride=1))
    frames = json.loads(out.read_text())
    marks = [[p.get("filled") for p in frame["people"]] for frame in frames]
    assert [i for i, own in enumerate(marks) if [9] in own] == [20, 21]
    run_film(Blinking(CLIP), film, None, out, smoothing=SmoothingOptions(max_gap_s=0.0))
    assert '"filled"' not in out.read_text()


def test_small_hands_and_faces_are_looked_at_again(film, tmp_path):
    class Looking(FakePose):
        size_hw = (256, 192)
        calls = 0

        @property
        def estimator(self):
            return self

        def __call__(self, images, boxes, **options):
            self.calls += 1
            return self.oracle.estimate(images, boxes)

    once, twice = Looking(CLIP), Looking(CLIP)
    run_film(once, film, None, tmp_path / "a.json")
    run_film(twice, film, None, tmp_path / "b.json", second_look=SecondLookOptions(least_px=2))
    assert twice.calls > 1.5 * once.calls


def test_people_take_over_proportions(film, tmp_path):
    long_arms = Proportions.from_dict({**LENGTHS, "forearm": 2 * LENGTHS["forearm"]})
    for name, to in (("long", long_arms), ("usual", Proportions.average())):
        run_film(FakePose(CLIP), film, None, tmp_path / f"{name}.json", retarget=Retargeter(to))

    def forearm(name):
        points = _points(tmp_path / f"{name}.json")
        return np.linalg.norm(points[:, 7] - points[:, 9], axis=-1)

    np.testing.assert_allclose(forearm("long") / forearm("usual"), 2, rtol=0.01)
    one = tmp_path / "one.json"
    run_film(FakePose(CLIP), film, None, one, retarget=Retargeter(long_arms), retarget_id=1)
    assert {tuple(p.track_ids.tolist()) for p in load(one)} == {(1,)}
    fit = Retargeter(long_arms, RetargetOptions(framing="fit"))
    with pytest.raises(ValueError, match="framing"):
        run_film(
            FakePose(CLIP), film, tmp_path / "o.mp4", film=FilmOptions(overlay=True), retarget=fit
        )


def test_long_films_are_measured_in_a_part_of_their_frames(film, tmp_path, monkeypatch):
    for measured in (2000, 10):
        monkeypatch.setattr(video, "_MEASURED", measured)
        to = Retargeter(Proportions.average())
        run_film(FakePose(CLIP), film, None, tmp_path / f"{measured}.json", retarget=to)
    apart = _points(tmp_path / "10.json") - _points(tmp_path / "2000.json")
    assert 0 < np.abs(apart).max() < 3


def test_the_journal_loses_nothing(tmp_path):
    rng = np.random.default_rng(0)
    people = People(rng.random((2, 133, 2)), rng.random((2, 133)),
                    Boxes([[0, 0, 3, 4]] * 2, [0.5, 1]), (5, 6), [7, 3])  # fmt: skip
    filled = rng.random((2, 133)) < 0.5
    entries = [Entry(3, 0.1, people, filled), Entry(9, 0.3, People.empty((5, 6)))]
    journal = Journal(tmp_path / "j", {"a": 1})
    for entry in entries:
        journal.append(entry)
    journal.close()
    again = Journal(tmp_path / "j", {"a": 1})
    assert again.count == 2
    first, second = again
    assert (first.ticks, first.time_s) == (3, 0.1)
    np.testing.assert_array_equal(first.people.keypoints, people.keypoints)
    np.testing.assert_array_equal(first.people.scores, people.scores)
    np.testing.assert_array_equal(first.people.boxes.scores, people.boxes.scores)
    np.testing.assert_array_equal(first.people.track_ids, people.track_ids)
    np.testing.assert_array_equal(first.filled, filled)
    assert second.filled is None
    assert (len(second.people), second.people.image_hw) == (0, (5, 6))
    again.close()
    assert Journal(tmp_path / "j", {"a": 2}).count == 0


def test_memory_does_not_grow_with_the_film(tmp_path):
    class Still:
        searches = False
        oracle = Oracle(CLIP.truth)
        detector = staticmethod(oracle.detect)
        estimator = staticmethod(oracle.estimate)

    picture = next(draw_clip(CLIP))
    alive: weakref.WeakSet[Tracked] = weakref.WeakSet()
    most = []

    class Tracked(np.ndarray):
        __hash__ = object.__hash__

    def pictures():
        for _ in range(60):
            copy = picture.copy().view(Tracked)
            alive.add(copy)
            most.append(len(alive))
            yield copy
            del copy

    run_film(Still(), Pictures(pictures(), 25), None, tmp_path / "a.json")
    assert len(most) == 60
    assert max(most) <= 5


def test_nothing_to_do(tmp_path, film):
    with pytest.raises(ValueError, match="nothing to write"):
        run_film(FakePose(CLIP), film)
    with pytest.raises(ValueError, match="no frames"):
        run_film(FakePose(CLIP), Pictures([]), tmp_path / "a.mp4")


@pytest.fixture
def model(monkeypatch) -> FakePose:
    fake = FakePose(CLIP)
    monkeypatch.setattr(command, "open_model", lambda args, say: fake)
    return fake


def test_the_command(model, film, tmp_path, capsys):
    out, poses = tmp_path / "o.mkv", tmp_path / "p.json"
    assert main(["video", str(film), "-o", str(out), "--json", str(poses), "--stride", "1"]) == 0
    assert len(list(open_frames(out))) == len(load(poses)) == len(TICKS)
    assert "2 people" in capsys.readouterr().err


def test_the_command_looks_at_each_frame_if_told_to(model, film, tmp_path, capsys):
    assert main(["video", str(film), "--json", str(tmp_path / "p.json"), "--batch", "8"]) == 0
    assert model.oracle.detections == len(TICKS)
    assert f"{len(TICKS)} looks at whole pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mp4", "-o", "a.mp4"], "no film"),
        (["FILM"], "nothing to write"),
        (["FILM", "-o", "a.gif"], "must end in"),
        (["FILM", "-o", "FILM"], "overwrite"),
        (["NOTES", "-o", "a.mp4"], "not a film"),
    ],
)
def test_wrong_calls(model, film, tmp_path, capsys, arguments, message):
    notes = tmp_path / "notes.mp4"
    notes.write_text("x")
    names = {"FILM": str(film), "NOTES": str(notes)}
    arguments = [names.get(a, a if a.startswith("-") else str(tmp_path / a)) for a in arguments]
    assert main(["video", *arguments]) == 2
    assert message in capsys.readouterr().err


def _options(*words):
    return build_parser().parse_args(["video", "in.mp4", "-o", "o.mp4", *words])


def test_each_step_has_a_switch():
    usual = _options()
    assert command.sanity_of(usual) == SanityOptions()
    assert command.smoothing_of(usual) == SmoothingOptions()
    assert command.sanity_of(_options("--no-sanity")) is None
    assert command.smoothing_of(_options("--no-smooth")) is None
    kept = command.sanity_of(_options("--keep", "swaps", "--keep", "faces"))
    assert kept == SanityOptions(swaps=False, faces=False)
    strong = command.smoothing_of(_options("--strength", "2,face=0", "--max-gap", "1"))
    assert strong == with_strength(
        SmoothingOptions(max_gap_s=1.0), {"body": 2, "hands": 2, "feet": 2, "face": 0}
    )
    switches = {name for name, value in vars(SanityOptions()).items() if value is True}
    assert set(command.RULES) == switches
    assert command.FRAMINGS == FRAMINGS


def test_proportions_come_from_a_picture_a_file_or_numbers(model, film, tmp_path, capsys):
    hero = tmp_path / "hero.png"
    hero.write_bytes(b"a picture, for the stand-in")
    save(CLIP.truth[5], tmp_path / "hero.json")
    found = []
    for reference in (str(hero), str(tmp_path / "hero.json"), "arm=0.6,leg=0.9"):
        out = tmp_path / f"{len(found)}.json"
        words = ["--json", str(out), "--retarget", reference, "--no-smooth"]
        assert main(["video", str(film), *words]) == 0
        found.append(_points(out))
    np.testing.assert_allclose(found[0], found[1], atol=1e-2)
    assert np.abs(found[2] - found[0]).max() > 1
    for wrong, message in (
        ("nowhere.png", "no picture"),
        ("nose=3", "unknown"),
        ("arm=x", "number"),
        ("arm=x" + "0" * 300, "number"),
    ):
        words = ["--json", str(tmp_path / "x.json"), "--retarget", wrong]
        assert main(["video", str(film), *words]) == 2
        assert message in capsys.readouterr().err


def test_progress_has_a_rate_and_the_time_left(monkeypatch, capsys):
    bar = command._Bar()
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    bar("poses", 0, 100)
    bar("poses", 40, 100)
    bar.close()
    assert "poses: 40 of 100 frames, 2.0 fps, 30 s left" in capsys.readouterr().err
    assert video.JOURNAL_SUFFIX in command._EPILOG
