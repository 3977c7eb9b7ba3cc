"""`dwpose video` in a process of its own, killed in the middle, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dwpose.io.film import FilmWriter
from dwpose.io.frames import open_frames
from dwpose.io.openpose_json import load
from dwpose.training.synthetic.numeric_clips import Walker, walk
from dwpose.training.synthetic.oracle import draw_clip

pytest.importorskip("av")

HW = (96, 160)
WALKERS = [Walker((30, 52), (60, 52), 64), Walker((130, 52), (110, 52), 60, phase=1)]
FRAMES = 60
WAIT_S = 120.0
# Calls of the estimator: one for each person at each fourth frame, so about frame 40.
STOPS_AT = 24

# The command with networks that know the truth and need time, as real ones do. The slow one stops
# for good before the film's end, so that it can't be through before it is killed.
PROGRAM = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from dwpose.commands import video
from dwpose.cli import main
from dwpose.training.synthetic.numeric_clips import Walker, walk
from dwpose.training.synthetic.oracle import Oracle

clip = walk({WALKERS!r}, {FRAMES / 25}, image_hw={HW})
slow = float(sys.argv.pop(1))

class Pose:
    searches = False

    def __init__(self):
        self.oracle = Oracle(clip.truth, 0.003)
        self.detector = self.oracle.detect
        self.calls = 0

    def estimator(self, images, boxes, **options):
        self.calls += 1
        time.sleep(slow if self.calls <= {STOPS_AT} else 1000 * slow)
        return self.oracle.estimate(images, boxes)

if "--overlay" in sys.argv:  # drawing takes time too
    import dwpose.video as films

    def draw_slowly(*args, _draw=films.overlay, **options):
        time.sleep(slow)
        return _draw(*args, **options)

    films.overlay = draw_slowly
    Pose.estimator = lambda self, images, boxes, **options: self.oracle.estimate(images, boxes)
video.open_model = lambda args, say: Pose()
sys.exit(main(sys.argv[1:]))
"""


def _start(slow_s: float, film: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    words = ["video", str(film), "-o", str(folder / "out.mp4"), "--json", str(folder / "out.json")]
    words += more
    command = [sys.executable, "-c", PROGRAM, str(slow_s), *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> str:
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, err
    return err


def _finished(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0


def _write(film: Path) -> None:
    clip = walk(WALKERS, FRAMES / 25, image_hw=HW)
    with FilmWriter(film, HW, Fraction(1, 25), 25, crf=8) as writer:
        for ticks, image in enumerate(draw_clip(clip)):
            writer.add(image, ticks)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM here")
def test_a_command_that_is_asked_to_end_leaves_no_half_film(tmp_path: Path):
    film, folder = tmp_path / "in.mp4", tmp_path / "out"
    folder.mkdir()
    _write(film)
    process = _start(0.5, film, folder, "--overlay")
    begin = time.monotonic()
    # The keypoints come before the film.
    while not ((folder / "out.json").exists() and list(folder.glob(".*.mp4"))):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - begin < WAIT_S
        time.sleep(0.01)
    process.terminate()
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in err
    journal = "out.mp4.poses.jsonl"
    left = sorted(p.name for p in folder.iterdir())
    assert left == ["out.json", journal, f"{journal}.state"]
    err = _finish(_start(0.0, film, folder, "--overlay"))
    assert f"{FRAMES} frames were done before" in err
    assert sorted(p.name for p in folder.iterdir()) == ["out.json", "out.mp4"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_a_killed_command_goes_on_as_if_nothing_had_happened(tmp_path: Path):
    film, whole, part = tmp_path / "in.mp4", tmp_path / "whole", tmp_path / "part"
    whole.mkdir()
    part.mkdir()
    _write(film)
    undisturbed = _start(0.0, film, whole)
    killed = _start(0.25, film, part)
    journal = part / "out.mp4.poses.jsonl"
    begin = time.monotonic()
    while _finished(journal) < FRAMES // 3:
        assert killed.poll() is None, killed.communicate()[1]
        assert time.monotonic() - begin < WAIT_S
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait(WAIT_S) == -signal.SIGKILL
    killed.communicate()
    done = _finished(journal)
    assert FRAMES // 3 <= done < FRAMES
    # Neither half a film nor half a list of poses.
    assert not (part / "out.mp4").exists()
    assert not (part / "out.json").exists()

    # What it leaves when it is killed while it writes its state.
    journal.with_name(journal.name + ".next").write_bytes(b'{"cou')
    err = _finish(_start(0.0, film, part))
    _finish(undisturbed)
    # An estimate takes longer here than the 0.2 s between two states, so each key frame, every
    # fourth frame, keeps one, after its poses: killed in between, these four are done again.
    resumed = int(err.partition(" frames were done before")[0].rpartition(" ")[2])
    assert done - 4 <= resumed <= done
    assert len(load(part / "out.json")) == FRAMES
    assert (part / "out.json").read_bytes() == (whole / "out.json").read_bytes()
    # x264's threads do not always choose the same bits for the same pictures.
    drawn, expected = (list(open_frames(folder / "out.mp4")) for folder in (part, whole))
    assert [f.ticks for f in drawn] == [f.ticks for f in expected]
    assert len(drawn) == FRAMES
    for a, b in zip(drawn, expected, strict=True):
        assert np.abs(a.image.astype(int) - b.image).mean() < 2
    assert sorted(p.name for p in part.iterdir()) == ["out.json", "out.mp4"]
