"""Frames out of videos: numbered as ffmpeg numbers them, only those needed, never a stop."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dwpose.cli import main
from dwpose.io.frames import FilmFile
from dwpose.io.images import load_image
from dwpose.training.data import load_ubody
from dwpose.training.data.frames import (
    ConstantRate,
    convert_video,
    find_videos,
    numbered_frames,
    wanted_frames,
)

from .conftest import document, write_json

# Frames of a video at N frames a second that `ffmpeg -i VIDEO -f image2 -r 30` writes, by their
# numbers; recorded with ffmpeg 9.0.2 on 40 frames.
FFMPEG = {
    "24": "0 1 1 2 3 4 5 5 6 7 8 9 9 10 11 12 13 13 14 15 16 17 17 18 19 20 21 21 22 23 24 25 25 "
    "26 27 28 29 29 30 31 32 33 33 34 35 36 37 37 38 39",
    "25": "0 1 2 2 3 4 5 6 7 7 8 9 10 11 12 12 13 14 15 16 17 17 18 19 20 21 22 22 23 24 25 26 27 "
    "27 28 29 30 31 32 32 33 34 35 36 37 37 38 39",
    "30": " ".join(map(str, range(40))),
    "30000/1001": " ".join(map(str, range(40))),
    "50": "0 1 2 3 4 6 8 9 11 13 14 16 18 19 21 23 24 26 28 29 31 33 34 36 38 39",
    "60": "0 1 2 3 5 7 9 11 13 15 17 19 21 23 25 27 29 31 33 35 37 39",
    "15": " ".join(f"{i} {i}" for i in range(40)),
    "10": " ".join(f"{i} {i} {i}" for i in range(40)),
}


@pytest.mark.parametrize("fps", FFMPEG)
def test_frames_are_numbered_as_ffmpeg_does(fps: str):
    rate = Fraction(fps)
    clock = ConstantRate(float(1 / rate))
    written: list[int] = []
    for frame in range(40):
        before, own = clock.outputs(float(frame / rate))
        written += [frame - 1] * before + [frame] * own
    assert written == [int(number) for number in FFMPEG[fps].split()]


def test_a_gap_is_filled_by_the_frame_before_it():
    clock = ConstantRate(1 / 30)
    assert [clock.outputs(i / 30) for i in range(3)] == [(0, 1)] * 3
    assert clock.outputs(10 / 30) == (6, 2)


def make_video(path: Path, fps: int, count: int) -> None:
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 96, 48, "yuv420p"
        for i in range(count):
            # The number in six black or white stripes.
            stripes = np.array([255 * (i >> bit & 1) for bit in range(6)], np.uint8)
            image = np.broadcast_to(stripes.repeat(16)[None, :, None], (48, 96, 3))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def source(path_or_image) -> int:
    """Which frame of the video a picture is."""
    stripes = load_image(path_or_image)[24, 8::16, 0] > 127
    return sum(int(white) << bit for bit, white in enumerate(stripes))


def test_the_decoder_and_the_clock_together(tmp_path: Path):
    make_video(tmp_path / "film.mp4", 25, 40)
    numbered = list(numbered_frames(FilmFile(tmp_path / "film.mp4")))
    assert [number for number, _ in numbered] == list(range(1, 49))
    assert [source(image) for _, image in numbered] == [int(i) for i in FFMPEG["25"].split()]


@pytest.fixture
def ubody(tmp_path: Path) -> Path:
    root = tmp_path / "UBody"
    for scene, videos in (("Movie", ("Movie_S1_Trim1", "Movie_S2")), ("Speech", ("Speech_S1",))):
        names = [f"{video}/{video}/{n:06d}.png" for video in videos for n in range(1, 31)]
        labels = document(names, list(range(len(names))))
        write_json(root / "annotations" / scene / "keypoint_annotation.json", labels)
        for video in videos:
            make_video(root / "videos" / scene / video / f"{video}.mp4", 30, 30)
    (root / "splits").mkdir()
    np.save(root / "splits" / "intra_scene_test_list.npy", np.array(["Movie_S1"]))
    return root


def test_only_the_frames_that_training_needs_are_written(ubody: Path, capsys):
    scenes = ["--scenes", "Movie", "Speech"]
    assert main(["data", "ubody-frames", str(ubody), *scenes]) == 0
    assert "9 frames written, 0 were there; 0 missing" in capsys.readouterr().out
    files = sorted((ubody / "images").rglob("*.png"))
    assert {int(path.stem) for path in files} == {1, 11, 21}
    assert len(files) == 9
    assert [source(path) for path in files[:3]] == [0, 10, 20]
    people = load_ubody(ubody, "train", ["Movie", "Speech"])
    assert all(file.is_file() for part in people for file in part.files)
    # Once more: nothing is decoded again.
    assert main(["data", "ubody-frames", str(ubody), *scenes]) == 0
    assert "0 frames written, 9 were there" in capsys.readouterr().out


def test_jpegs_and_a_cut_run(ubody: Path):
    folder = ubody / "images" / "Speech" / "Speech_S1" / "Speech_S1"
    video = find_videos(ubody, ["Speech"])[folder]
    wanted = wanted_frames(ubody, ["Speech"])[folder]
    assert wanted == {1, 11, 21}
    assert convert_video(video, folder, wanted, quality=90).written == 3
    (folder / "000011.jpg").unlink()
    again = convert_video(video, folder, wanted, quality=90)
    assert (again.written, again.present) == (1, 2)
    assert source(folder / "000011.jpg") == 10
    assert convert_video(video, folder, None).written == 30


def test_bad_and_absent_videos_do_not_stop_the_others(ubody: Path, capsys):
    spoiled = ubody / "videos/Movie/Movie_S2/Movie_S2.mp4"
    spoiled.write_bytes(b"no film")
    (ubody / "videos/Speech/Speech_S1/Speech_S1.mp4").unlink()
    command = ["data", "ubody-frames", str(ubody), "--scenes", "Movie", "Speech"]
    assert main([*command, "--workers", "2"]) == 1
    out, err = capsys.readouterr()
    assert "3 frames written" in out
    assert "1 videos unreadable, 1 absent" in out
    assert "Movie_S2.mp4: 3 frames missing" in err
    assert "Speech_S1" in err


def test_frames_beyond_the_end_of_a_video_are_reported(tmp_path: Path):
    make_video(tmp_path / "short.mp4", 30, 5)
    result = convert_video(tmp_path / "short.mp4", tmp_path / "out", {1, 4, 41})
    assert (result.written, result.missing, result.fault) == (2, 1, None)


def test_wrong_calls_are_one_sentence(ubody: Path, capsys):
    assert main(["data", "ubody-frames", str(ubody), "--scenes", "Olympics"]) == 2
    assert main(["data", "ubody-frames", str(ubody / "nowhere")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("dwpose data: ") for line in lines)
