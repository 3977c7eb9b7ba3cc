"""Whole films: journal, resume, drawings, JSON, flat memory."""

from __future__ import annotations

import json
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dwpose import video
from dwpose.cli import main
from dwpose.commands import video as command
from dwpose.io.film import FilmWriter
from dwpose.io.frames import Pictures, open_frames
from dwpose.io.journal import Entry, Journal
from dwpose.io.openpose_json import load
from dwpose.render import draw_pose_map
from dwpose.training.synthetic.numeric_clips import Walker, walk
from dwpose.training.synthetic.oracle import Oracle, draw_clip
from dwpose.types import Boxes, People
from dwpose.video import FilmOptions, run_film

pytest.importorskip("av")

HW = (96, 160)
CLIP = walk([Walker((30, 52), (60, 52), 64), Walker((130, 52), (110, 52), 60, phase=1)], 1.6,
            image_hw=HW)  # fmt: skip
# A variable frame rate, in 1/1000 s.
TICKS = np.cumsum(np.random.default_rng(0).choice([20, 40, 60], len(CLIP.truth))).tolist()


class FakePose:
    notice = ""

    def __init__(self, fail_at: int | None = None):
        self.oracle = Oracle(CLIP.truth, 0.001)
        self.detector = self.oracle.detect
        self.fail_at = fail_at

    def estimator(self, images, boxes, **options):
        if self.fail_at is not None and self.oracle.crops >= self.fail_at:
            raise KeyboardInterrupt
        return self.oracle.estimate(images, boxes)


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("film") / "in.mp4"
    with FilmWriter(path, HW, Fraction(1, 1000), 25, crf=8) as writer:
        for image, ticks in zip(draw_clip(CLIP), TICKS, strict=True):
            writer.add(image, ticks)
    return path


def test_the_film_the_keypoints_and_their_times(film, tmp_path):
    out, poses = tmp_path / "out.mp4", tmp_path / "poses.json"
    report = run_film(FakePose(), film, out, poses)
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
    run_film(FakePose(), film, tmp_path / "o.mp4", film=FilmOptions(overlay=True))
    first, drawn = next(iter(open_frames(film))), next(iter(open_frames(tmp_path / "o.mp4")))
    corner = np.s_[4:14, 70:]
    assert np.abs(first.image[corner].astype(int) - drawn.image[corner]).mean() < 6


def test_a_folder_of_frames_and_back(film, tmp_path):
    from dwpose.io.images import save_image

    for i, image in enumerate(draw_clip(CLIP)):
        save_image(tmp_path / "in" / f"{i}.png", image)
    run_film(FakePose(), tmp_path / "in", tmp_path / "out", film=FilmOptions(size=80))
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [f"{i:06d}.png" for i in range(len(TICKS))]
    assert next(iter(open_frames(tmp_path / "out"))).image.shape == (48, 80, 3)


@pytest.mark.parametrize("fail_at", [1, 20, 47])
def test_a_killed_job_goes_on_where_it_was(film, tmp_path, fail_at):
    whole = tmp_path / "whole.json"
    run_film(FakePose(), film, None, whole)
    poses = tmp_path / "poses.json"
    with pytest.raises(KeyboardInterrupt):
        run_film(FakePose(fail_at), film, None, poses)
    journal = tmp_path / "poses.json.poses.jsonl"
    with open(journal, "ab") as file:
        file.write(b'{"ticks": 5, "torn')
    lines = journal.read_bytes().count(b"\n") - 1
    again = FakePose()
    report = run_film(again, film, None, poses)
    assert report.resumed == lines
    assert report.counts.frames == len(TICKS) - lines
    assert again.oracle.crops <= 2 * (len(TICKS) - lines) + 2
    assert [p.track_ids.tolist() for p in load(poses)] == [[0, 1]] * len(TICKS)
    for a, b in zip(load(poses), load(whole), strict=True):
        assert np.abs(a.keypoints - b.keypoints).mean() < 0.5
    assert not journal.exists()


def test_finished_frames_are_not_asked_for_again(film, tmp_path):
    out = tmp_path / "o.mp4"
    run_film(FakePose(), film, out, keep_journal=True)
    again = FakePose(0)
    assert run_film(again, film, out, keep_journal=True).resumed == len(TICKS)
    assert run_film(FakePose(), film, out, fresh=True).resumed == 0


def test_a_journal_of_something_else_is_not_gone_on_with(film, tmp_path):
    out = tmp_path / "o.mp4"
    run_film(FakePose(), film, out, keep_journal=True, about={"models": ["a"]})
    assert run_film(FakePose(), film, out, about={"models": ["b"]}).resumed == 0


def test_filters_see_the_whole_film(film, tmp_path):
    seen = []

    def shift(frames, times):
        seen.append(times)
        return [People(p.keypoints + 1, p.scores, p.boxes, p.image_hw, p.track_ids) for p in frames]

    run_film(FakePose(), film, None, tmp_path / "a.json")
    run_film(FakePose(), film, None, tmp_path / "b.json", filters=shift)
    a, b = load(tmp_path / "a.json"), load(tmp_path / "b.json")
    np.testing.assert_allclose(b[5].keypoints, a[5].keypoints + 1, atol=1e-4)
    assert len(seen[0]) == len(TICKS)
    with pytest.raises(ValueError, match="filters"):
        run_film(FakePose(), film, None, tmp_path / "c.json", filters=lambda f, t: f[1:])


def test_the_journal_loses_nothing(tmp_path):
    rng = np.random.default_rng(0)
    people = People(rng.random((2, 133, 2)), rng.random((2, 133)),
                    Boxes([[0, 0, 3, 4]] * 2, [0.5, 1]), (5, 6), [7, 3])  # fmt: skip
    entries = [Entry(3, 0.1, people), Entry(9, 0.3, People.empty((5, 6)))]
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
    assert (len(second.people), second.people.image_hw) == (0, (5, 6))
    again.close()
    assert Journal(tmp_path / "j", {"a": 2}).count == 0


def test_memory_does_not_grow_with_the_film(tmp_path):
    class Still:
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
        run_film(FakePose(), film)
    with pytest.raises(ValueError, match="no frames"):
        run_film(FakePose(), Pictures([]), tmp_path / "a.mp4")


@pytest.fixture
def model(monkeypatch) -> FakePose:
    fake = FakePose()
    monkeypatch.setattr(command, "_open_model", lambda args: fake)
    return fake


def test_the_command(model, film, tmp_path, capsys):
    out, poses = tmp_path / "o.mkv", tmp_path / "p.json"
    assert main(["video", str(film), "-o", str(out), "--json", str(poses), "--stride", "1"]) == 0
    assert len(list(open_frames(out))) == len(load(poses)) == len(TICKS)
    assert "2 people" in capsys.readouterr().err


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


def test_progress_has_a_rate_and_the_time_left(monkeypatch, capsys):
    bar = command._Bar()
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    bar("poses", 0, 100)
    bar("poses", 40, 100)
    bar.close()
    assert "poses: 40 of 100 frames, 2.0 fps, 30 s left" in capsys.readouterr().err
    assert video.JOURNAL_SUFFIX in command._EPILOG
