"""What `dwpose video` refuses before the work, and what it leaves where it writes."""

from __future__ import annotations

import argparse
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dwpose.cli import main
from dwpose.commands import video as command
from dwpose.io.film import FilmWriter, fit_picture
from dwpose.io.frames import open_frames
from dwpose.io.images import save_image
from dwpose.training.synthetic.numeric_clips import Walker, walk
from dwpose.training.synthetic.oracle import draw_clip
from dwpose.video import JOURNAL_SUFFIX, FilmOptions, run_film

from .fake_pose import FakePose

pytest.importorskip("av")

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
HW = (96, 160)
CLIP = walk([Walker((30, 52), (60, 52), 64)], 0.4, image_hw=HW)
FRAMES = len(CLIP.truth)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "in.mp4"
    with FilmWriter(path, HW, Fraction(1, 25), 25, crf=8) as writer:
        for ticks, image in enumerate(draw_clip(CLIP)):
            writer.add(image, ticks)
    return path


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(args: argparse.Namespace, say: object) -> None:
        raise AssertionError("the networks were opened")

    monkeypatch.setattr(command, "open_model", refuse)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["FILM", "-o", "o.mp4", "--crf", "52"], "crf must be"),
        (["FILM", "-o", "o.mp4", "--crf", "-1"], "crf must be"),
        (["FRAMES", "-o", "o.mp4", "--fps", "inf"], "fps must be 0.01 to 1000"),
        (["FRAMES", "-o", "o.mp4", "--fps", "nan"], "fps must be 0.01 to 1000"),
        (["FRAMES", "-o", "o.mp4", "--fps", "1e-9"], "fps must be 0.01 to 1000"),
        (["FRAMES", "-o", "o.mp4", "--fps", "1e9"], "fps must be 0.01 to 1000"),
        (["FILM", "-o", "o.mp4", "--json", "o.mp4"], "give two names"),
        (["FILM", "-o", "folder.mp4"], "is a folder"),
        (["FILM", "--json", "folder.mp4"], "is a folder"),
        (["FILM", "--json", "FILM"], "overwrite"),
        (["FRAMES", "-o", "FRAMES"], "overwrite"),
        (["FRAMES", "-o", "file"], "is a file"),
        pytest.param(["FILM", "--json", "PIPE"], "no ordinary file", marks=POSIX),
        pytest.param(["FILM", "--json", os.devnull], "no ordinary file", marks=POSIX),
        (["FILM", "-o", "JOURNALED", "--json", "JOURNAL"], "finished frames are kept"),
        (["FILM", "--json", "file/poses.json"], "nothing can be written in"),
        (["FILM", "-o", "o.mp4", "--json", "file/a/poses.json"], "nothing can be written in"),
        (["FILM", "-o", "o.mp4", "--track-id", "0"], "need --retarget"),
        (["FILM", "-o", "o.mp4", "--framing", "fit"], "need --retarget"),
        (["FILM", "-o", ""], "nothing to write"),
        (["", "-o", "o.mp4"], "no film or folder ''"),
        (
            ["FILM", "-o", "o.mp4", "--overlay", "--retarget", "arm=1", "--framing", "fit"],
            "leave --framing",
        ),
        (["EMPTY", "--json", "o.json"], "no frames that can be decoded"),
    ],
)
def test_what_cannot_be_written_is_refused_first(
    no_work, film, tmp_path, capsys, arguments, message
):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    save_image(tmp_path / "frames" / "1.png", np.zeros((8, 8, 3), np.uint8))
    # A film that opens, of a kind that nobody knows.
    with FilmWriter(tmp_path / "in" / "empty.mkv", HW, Fraction(1, 25), 25) as writer:
        writer.add(np.zeros((*HW, 3), np.uint8), 0)
    empty = tmp_path / "in" / "empty.mkv"
    empty.write_bytes(empty.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_ZZZZZ/ISO/AVC"))
    journaled = tmp_path / "o.mp4"
    names = {
        "JOURNALED": str(journaled),
        "JOURNAL": f"{journaled}{JOURNAL_SUFFIX}",
        "FILM": str(film),
        "FRAMES": str(tmp_path / "frames"),
        "EMPTY": str(empty),
    }
    words = [
        names.get(a, str(tmp_path / a) if Path(a).suffix in (".mp4", ".json") or a == "file" else a)
        for a in arguments
    ]
    if "PIPE" in words:
        os.mkfifo(tmp_path / "in" / "pipe")
        words[words.index("PIPE")] = str(tmp_path / "in" / "pipe")
    before = film.read_bytes()
    assert main(["video", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert film.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.mp4", "frames", "in"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fps", "5"], "--fps for a film, which has its own frame times, has no effect"),
        (["--overlay", "--size", "64"], "--size for an overlay"),
        (["--no-smooth", "--strength", "2"], "--strength with --no-smooth has no effect"),
        (["--no-smooth", "--max-gap", "0"], "--max-gap with --no-smooth has no effect"),
        (["--no-sanity", "--keep", "hands"], "--keep with --no-sanity has no effect"),
        (["--strength", "2", "--max-gap", "0", "--keep", "hands", "--size", "64"], None),
    ],
)
def test_options_without_effect_are_named(film, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.setattr(command, "open_model", lambda args, say: FakePose(CLIP))
    assert main(["video", str(film), "-o", str(tmp_path / "o.mp4"), *words]) == 0
    err = capsys.readouterr().err
    assert (message or "") in err
    assert err.count("no effect") == (message is not None)


def test_a_size_that_no_encoder_takes_is_refused_first(no_work, tmp_path, capsys):
    save_image(tmp_path / "frames" / "1.png", np.zeros((16, 16400, 3), np.uint8))
    words = ["video", str(tmp_path / "frames"), "-o", str(tmp_path / "o.mp4")]
    assert main(words) == 2
    assert "16400x16 pixels cannot be written" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["frames"]


def test_an_unknown_ending_makes_no_folder_of_that_name(tmp_path):
    with pytest.raises(ValueError, match="must end in"):
        run_film(FakePose(CLIP), list(draw_clip(CLIP)), tmp_path / "o.avi")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("over", [False, True])
def test_frames_of_other_sizes_are_fitted_into_the_film(tmp_path, over):
    pictures = list(draw_clip(CLIP))
    pictures[4] = pictures[4][:, :80]
    out = tmp_path / "o.mp4"
    assert run_film(FakePose(CLIP), pictures, out, film=FilmOptions(overlay=over)).frames == FRAMES
    assert {f.image.shape for f in open_frames(out)} == {(*HW, 3)}


def test_a_fitted_picture_keeps_its_ratio():
    white = np.full((40, 20, 3), 255, np.uint8)
    fitted = fit_picture(white, (20, 30))
    expected = np.zeros((20, 30, 3), np.uint8)
    expected[:, 10:20] = 255
    np.testing.assert_array_equal(fitted, expected)
    assert fit_picture(white, (40, 20)) is white


def test_a_folder_of_frames_loses_those_of_a_longer_film_and_nothing_else(tmp_path):
    pictures, out = list(draw_clip(CLIP)), tmp_path / "out"
    run_film(FakePose(CLIP), pictures, out)
    mine = np.zeros((8, 8, 3), np.uint8)
    # Pictures of the user: by name like ours, a renamed one of ours, and others.
    for name in (f"{FRAMES:06d}.png", "000099.png", "cover.png", "notes.jpg"):
        save_image(out / name, mine)
    (out / "000003.png").rename(out / "000123.png")
    run_film(FakePose(CLIP), pictures[:5], out)
    assert sorted(p.name for p in out.iterdir()) == [
        *(f"{i:06d}.png" for i in range(5)),
        f"{FRAMES:06d}.png",
        "000099.png",
        "000123.png",
        "cover.png",
        "notes.jpg",
    ]


def test_the_current_folder_takes_frames(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run_film(FakePose(CLIP), list(draw_clip(CLIP)), ".")
    assert len(list(Path().glob("*.png"))) == FRAMES
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize(
    ("size", "kept"), [(None, True), (80, True), ((96, 160), True), ((96, 170), False)]
)
def test_the_shape_of_pixels_goes_over_into_the_film(tmp_path, size, kept):
    source, out = tmp_path / "in.mp4", tmp_path / "o.mp4"
    with FilmWriter(source, HW, Fraction(1, 25), 25, pixel_aspect=Fraction(16, 15)) as writer:
        for ticks, image in enumerate(draw_clip(CLIP)):
            writer.add(image, ticks)
    run_film(FakePose(CLIP), source, out, film=FilmOptions(size=size))
    # Whoever stretches the map has taken the pixels' shape into account.
    assert open_frames(out).pixel_aspect == (Fraction(16, 15) if kept else None)


def test_a_bad_picture_does_not_end_a_film_of_pictures(tmp_path):
    folder = tmp_path / "in"
    for i, image in enumerate(draw_clip(CLIP)):
        save_image(folder / f"{i:03d}.png", image)
    (folder / "004.png").write_bytes(b"cut off")
    report = run_film(FakePose(CLIP), folder, tmp_path / "out")
    assert (report.frames, report.damaged) == (FRAMES, 1)
    assert len(list((tmp_path / "out").iterdir())) == FRAMES
