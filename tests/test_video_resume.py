"""What a film's journal belongs to: frames and networks, and nothing else is gone on with."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest

from dwpose.cli import main
from dwpose.commands import video as command
from dwpose.io.film import FilmWriter
from dwpose.io.images import save_image
from dwpose.runtimes import pretrained
from dwpose.training.synthetic.numeric_clips import Walker, walk
from dwpose.training.synthetic.oracle import draw_clip
from dwpose.video import FilmOptions, run_film

from .fake_pose import FakePose

pytest.importorskip("av")

HW = (96, 160)
CLIP = walk([Walker((30, 52), (60, 52), 64), Walker((130, 52), (110, 52), 60, phase=1)], 1.0,
            image_hw=HW)  # fmt: skip
FRAMES = len(CLIP.truth)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    with FilmWriter(path, HW, Fraction(1, 25), 25, crf=8) as writer:
        for ticks, image in enumerate(draw_clip(CLIP)):
            writer.add(image, ticks)
    return path


def test_a_journal_of_other_arrays_is_not_gone_on_with(tmp_path):
    pictures, out = list(draw_clip(CLIP)), tmp_path / "o.json"
    with pytest.raises(KeyboardInterrupt):
        run_film(FakePose(CLIP, 10), pictures[::-1], None, out)
    assert run_film(FakePose(CLIP), pictures, None, out).resumed == 0


def test_a_journal_of_a_folder_whose_pictures_changed_is_not_gone_on_with(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "o.json"
    for i, image in enumerate(draw_clip(CLIP)):
        save_image(folder / f"{i}.png", image)
    for name in ("0.png", "1.png"):
        os.utime(folder / name, ns=(1, 1))

    def resumed():
        return run_film(FakePose(CLIP), folder, None, out, keep_journal=True).resumed

    assert (resumed(), resumed()) == (0, FRAMES)
    # Two frames change places; number, bytes and latest time of all stay the same.
    (folder / "0.png").rename(tmp_path / "x.png")
    (folder / "1.png").rename(folder / "0.png")
    (tmp_path / "x.png").rename(folder / "1.png")
    assert (resumed(), resumed()) == (0, FRAMES)
    os.utime(folder / "0.png", ns=(2, 2))
    assert resumed() == 0


@pytest.mark.parametrize("by", ["name", "path"])
def test_a_journal_of_a_model_that_was_replaced_is_not_gone_on_with(
    film, tmp_path, capsys, monkeypatch, by
):
    monkeypatch.setattr(command, "open_model", lambda args, say: FakePose(CLIP))
    network = tmp_path / "models" / "dw-ll_ucoco_384.onnx"
    network.parent.mkdir()
    network.write_bytes(b"a network, for the stand-in")
    words = ["video", str(film), "--json", str(tmp_path / "p.json"), "--keep-journal"]
    if by == "path":
        words += ["--model", str(network)]
    else:  # "auto" is the built-in network until another one is there
        monkeypatch.setattr(pretrained, "choose_estimator", lambda folder: (str(network), ""))
    done = f"{FRAMES} frames were done before"
    assert main(words) == main(words) == 0
    assert done in capsys.readouterr().err
    network.write_bytes(b"another network")
    assert main(words) == 0
    assert done not in capsys.readouterr().err
    monkeypatch.setattr(pretrained, "choose_estimator", lambda folder: ("builtin-lite", ""))
    assert main(words) == 0
    assert (done in capsys.readouterr().err) is (by == "path")


def test_frames_that_come_once_are_not_drawn_over(tmp_path):
    asked = FakePose(CLIP)
    with pytest.raises(ValueError, match="only once"):
        run_film(asked, draw_clip(CLIP), tmp_path / "o.mp4", film=FilmOptions(overlay=True))
    assert asked.oracle.crops == 0
    assert run_film(asked, draw_clip(CLIP), tmp_path / "o.mp4").frames == FRAMES
