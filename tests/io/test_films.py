"""Films in and out: odd sizes, rotation, variable rates, sound, depth, damage."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dwpose.io.atomic import temporary_beside
from dwpose.io.film import FilmWriter, try_film
from dwpose.io.frames import FilmFile, PictureFolder, Pictures, open_frames
from dwpose.io.images import save_image

av = pytest.importorskip("av")

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (128, 128, 128)]
TIMES = [0, 3000, 7000, 9000, 20000, 40000]


def _picture(colour, size_hw=(48, 64)):
    image = np.full((*size_hw, 3), colour, np.uint8)
    image[: size_hw[0] // 2, : size_hw[1] // 2] = 255  # the upper left is white
    return image


def make_film(path: Path, frames=6, size_hw=(48, 64), sound=None, pix_fmt="yuv420p", **more):
    """Write a film with PyAV itself; `sound` is an audio codec's name."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(more.get("codec", "libx264"), rate=25)
        stream.height, stream.width = size_hw
        stream.pix_fmt = pix_fmt
        stream.gop_size = 4
        hz = more.get("hz", 8000)
        audio = out.add_stream(sound, rate=hz, layout="mono") if sound else None
        if "rotation" in more:
            stream.set_display_rotation(more["rotation"])
        if "aspect" in more:
            stream.codec_context.sample_aspect_ratio = more["aspect"]
        for i in range(frames):
            image = _picture(COLOURS[i % len(COLOURS)], size_hw)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts = i
            out.mux(stream.encode(frame))
        if audio is not None:
            tone = (np.sin(np.arange(frames * hz // 25) * 0.3) * 9000).astype(np.int16)[None]
            part = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            part.rate, part.pts = hz, 0
            out.mux(audio.encode(part))
            out.mux(audio.encode(None))
        out.mux(stream.encode(None))
    return path


def test_times_and_colours_come_back(tmp_path):
    path = tmp_path / "a.mp4"
    with FilmWriter(path, (48, 64), Fraction(1, 90_000), 20) as writer:
        for ticks, colour in zip(TIMES, COLOURS, strict=True):
            writer.add(_picture(colour), ticks)
    frames = list(open_frames(path))
    assert [f.ticks for f in frames] == TIMES
    assert [f.index for f in frames] == list(range(6))
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert frame.image.shape == (48, 64, 3)
        assert np.abs(frame.image[40, 50].astype(int) - colour).max() <= 6
        assert frame.time_s == pytest.approx(frame.ticks / 90_000)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_start_passes_over_frames(tmp_path):
    film = FilmFile(make_film(tmp_path / "a.mp4"))
    everything = list(film)
    rest = list(film.frames(4))
    assert [f.index for f in rest] == [4, 5]
    assert [f.ticks for f in rest] == [f.ticks for f in everything[4:]]
    assert film.total == 6


def test_an_odd_size_grows_by_a_row_and_a_column(tmp_path):
    path = tmp_path / "odd.mp4"
    with FilmWriter(path, (49, 65), Fraction(1, 25), 25) as writer:
        writer.add(_picture((255, 0, 0), (49, 65)), 0)
    frame = next(iter(open_frames(path)))
    assert frame.image.shape == (50, 66, 3)
    assert frame.image[49, 65, 0] > 240


@pytest.mark.parametrize(("angle", "corner"), [(0, 0), (90, 1), (180, 2), (-90, 3)])
def test_rotation_flags_are_obeyed(tmp_path, angle, corner):
    # The flag turns counterclockwise: the white upper left corner goes to the lower left at 90.
    path = make_film(tmp_path / "turned.mp4", rotation=angle)
    image = next(iter(open_frames(path))).image
    assert image.shape[:2] == ((48, 64) if angle in (0, 180) else (64, 48))
    height, width = image.shape[:2]
    corners = [(2, 2), (height - 3, 2), (height - 3, width - 3), (2, width - 3)]
    white = [image[y, x].min() > 230 for y, x in corners]
    assert white == [i == corner for i in range(4)]


@pytest.mark.parametrize(("angle", "aspect"), [(180, "4/3"), (90, "3/4"), (-90, "3/4")])
def test_pixels_are_turned_with_the_film(tmp_path, angle, aspect):
    path = make_film(tmp_path / "turned.mp4", rotation=angle, aspect=Fraction(4, 3))
    assert open_frames(path).pixel_aspect == Fraction(aspect)


@pytest.mark.parametrize(
    ("name", "sound", "codec"),
    [("a.mp4", "aac", "aac"), ("a.mkv", "pcm_s16le", "aac"), ("a.mkv", "flac", "flac")],
)
def test_sound_is_kept(tmp_path, name, sound, codec):
    source = make_film(tmp_path / name, sound=sound, frames=25)
    film = FilmFile(source)
    assert film.audio == source
    out = tmp_path / "out.mp4"
    with FilmWriter(out, (48, 64), film.time_base, film.fps, film.audio) as writer:
        for frame in film:
            writer.add(frame.image, frame.ticks)

    def samples(path):
        with av.open(str(path)) as container:
            track = container.streams.audio[0]
            parts = [f.to_ndarray().ravel() for f in container.decode(track)]
            return track.codec_context.name, np.concatenate(parts).astype(np.float64)

    kind, heard = samples(out)
    assert kind == codec
    assert len(heard) == pytest.approx(8000, abs=1100)  # a frame of AAC is 1024 samples
    assert heard.std() > 0
    with av.open(str(out)) as container:
        assert [s.type for s in container.streams] == ["video", "audio"]


@pytest.mark.parametrize(
    ("ending", "hz", "codec"), [("webm", 44100, "opus"), ("mp4", 192_000, "aac")]
)
def test_sound_of_a_rate_that_the_codec_lacks_is_resampled(tmp_path, ending, hz, codec):
    film = FilmFile(make_film(tmp_path / "a.mkv", sound="pcm_s16le", frames=25, hz=hz))
    out = tmp_path / f"out.{ending}"
    with FilmWriter(out, (48, 64), film.time_base, film.fps, film.audio) as writer:
        for frame in film:
            writer.add(frame.image, frame.ticks)
    with av.open(str(out)) as container:
        [track] = container.streams.audio
        heard = sum(frame.samples for frame in container.decode(track))
        assert (track.codec_context.name, track.rate) == (codec, 48000)
    assert heard == pytest.approx(48000, rel=0.05)


def _copied(film: FilmFile, out: Path) -> Path:
    with FilmWriter(out, (48, 64), film.time_base, film.fps, film.audio) as writer:
        for frame in film:
            writer.add(frame.image, frame.ticks)
    return out


@pytest.mark.parametrize(
    ("sound", "hz", "name"),
    [("libopus", 48000, "o.mov"), ("pcm_s16le", 192_000, "o.mp4"), ("pcm_s16le", 6000, "o.mp4")],
)
def test_sound_that_the_container_or_its_encoder_lacks_is_made_anew(tmp_path, sound, hz, name):
    out = _copied(FilmFile(make_film(tmp_path / "a.mkv", sound=sound, hz=hz)), tmp_path / name)
    with av.open(str(out)) as container:
        track = container.streams.audio[0]
        assert (track.codec_context.name, track.rate) == ("aac", 48000)


def test_sound_of_an_unknown_kind_is_none(tmp_path):
    path = make_film(tmp_path / "a.mkv", sound="aac", hz=44100)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    film = FilmFile(path)
    assert film.audio is None
    assert len(list(FilmFile(_copied(film, tmp_path / "o.mp4")))) == 6


@pytest.mark.parametrize("name", ["o.mp4", "o.webm"])
def test_sound_whose_time_jumps_and_comes_back_is_taken_over_without_the_jump(tmp_path, name):
    source = make_film(tmp_path / "a.ts", sound="aac", frames=50)
    stream = bytearray(source.read_bytes())
    starts = [i for i in range(len(stream)) if stream[i : i + 4] == b"\0\0\1\xc0"]
    stream[starts[len(starts) // 2] + 9] |= 2  # the second bit of the time: 11 930 s
    source.write_bytes(stream)
    with av.open(str(_copied(FilmFile(source), tmp_path / name))) as container:
        heard = [float(f.pts * f.time_base) for f in container.decode(audio=0)]
    assert 1.8 < heard[-1] < 2.2


@pytest.mark.parametrize("name", ["o.mp4", "o.webm"])
def test_films_that_were_put_one_behind_the_other_play_so(tmp_path, name):
    source = make_film(tmp_path / "a.ts", sound="aac", frames=25)
    source.write_bytes(source.read_bytes() * 3)
    film = FilmFile(source)
    times = [frame.time_s for frame in film]
    np.testing.assert_allclose(np.diff(times), 0.04, atol=1e-6)
    assert len(times) == 75
    with av.open(str(_copied(film, tmp_path / name))) as container:
        heard = [float(f.pts * f.time_base) for f in container.decode(audio=0)]
    # The sound of each is longer than its pictures by what AAC needs.
    assert 2.8 < heard[-1] < 3.5


def test_damaged_sound_leaves_out_no_more_than_the_damage(tmp_path):
    source = make_film(tmp_path / "a.mkv", sound="aac", frames=100)
    with av.open(str(source)) as container:
        packets = [bytes(p) for p in container.demux(audio=0)]
    piece = max(packets[8:-8], key=len)
    source.write_bytes(source.read_bytes().replace(piece, b"\xff" * len(piece)))
    out = tmp_path / "out.webm"
    with FilmWriter(out, (48, 64), Fraction(1, 25), 25, source) as writer:
        writer.add(_picture((1, 2, 3)), 0)
    with av.open(str(out)) as container:
        heard = [float(f.pts * f.time_base) for f in container.decode(audio=0)]
    assert heard[-1] > 3.5


def test_hidden_files_are_no_frames(tmp_path):
    save_image(tmp_path / "1.png", _picture(9))
    (tmp_path / "._1.png").write_bytes(b"what a Mac puts beside a file")
    assert len(list(open_frames(tmp_path))) == 1


def test_a_silent_film_has_no_sound(tmp_path):
    assert FilmFile(make_film(tmp_path / "a.mp4")).audio is None


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p", "gray", "yuv422p"])
def test_other_pixel_formats_are_read(tmp_path, pix_fmt):
    frames = list(open_frames(make_film(tmp_path / "a.mkv", pix_fmt=pix_fmt)))
    assert len(frames) == 6
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image[2, 2].min() > 240


def test_a_broken_tail_ends_the_film(tmp_path):
    whole = make_film(tmp_path / "a.mkv", frames=200, size_hw=(96, 128))
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) * 2 // 3])
    assert 20 < len(list(open_frames(cut))) < 200
    holed = bytearray(data)
    holed[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    hole = tmp_path / "hole.mkv"
    hole.write_bytes(holed)
    frames = list(open_frames(hole))
    assert 20 < len(frames) <= 200
    ticks = [f.ticks for f in frames]
    assert ticks == sorted(set(ticks))


def test_what_is_no_film(tmp_path):
    text = tmp_path / "a.mp4"
    text.write_text("no film")
    with pytest.raises(ValueError, match="not a film"):
        open_frames(text)
    with pytest.raises(FileNotFoundError, match="no film"):
        open_frames(tmp_path / "b.mp4")
    with pytest.raises(ValueError, match="must end in"):
        FilmWriter(tmp_path / "c.txt", (8, 8), Fraction(1, 25), 25)


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
def test_names_with_colons_are_no_protocols(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("12:30").mkdir()
    make_film(tmp_path / "12:30" / "pipe:1.mkv", sound="aac")
    out = _copied(FilmFile("12:30/pipe:1.mkv"), Path("12:30/take:1.mkv"))
    assert len(list(open_frames(out))) == 6


def test_an_error_leaves_nothing(tmp_path):
    def fail():
        with FilmWriter(tmp_path / "a.mp4", (48, 64), Fraction(1, 25), 25) as writer:
            writer.add(_picture((1, 2, 3)), 0)
            writer.add(_picture((1, 2, 3), (50, 64)), 1)

    with pytest.raises(ValueError, match="one size"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_command_left_goes_when_the_film_is_whole(tmp_path):
    begun = [temporary_beside(tmp_path / name, ".mp4") for name in ("a.mp4", "a.mp4", "b.mp4")]
    for path in begun:
        path.touch()
    with FilmWriter(tmp_path / "a.mp4", (48, 64), Fraction(1, 25), 25) as writer:
        writer.add(_picture((1, 2, 3)), 0)
    # What another film's command is writing stays.
    assert set(tmp_path.iterdir()) == {tmp_path / "a.mp4", begun[2]}


def test_a_folder_goes_by_numbers(tmp_path):
    for i in (10, 2, 1):
        save_image(tmp_path / f"f{i}.png", np.full((8, 8, 3), i, np.uint8))
    (tmp_path / "notes.txt").write_text("")
    frames = list(PictureFolder(tmp_path, fps=10))
    assert [int(f.image[0, 0, 0]) for f in frames] == [1, 2, 10]
    assert [f.time_s for f in frames] == [0, 0.1, 0.2]
    assert [f.index for f in PictureFolder(tmp_path).frames(1)] == [1, 2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no picture"):
        open_frames(tmp_path / "empty")


def test_batches_and_generators_are_sources():
    batch = np.zeros((3, 8, 8, 3), np.float32)
    assert [f.time_s for f in Pictures(batch, 2)] == [0, 0.5, 1.0]
    assert open_frames(batch).total == 3
    assert open_frames(p for p in batch).total is None
    with pytest.raises(ValueError, match="fps"):
        open_frames(batch, fps=0)


@pytest.mark.parametrize("shape", [(8, 9, 3), (8, 9, 1), (8, 9, 4), (8, 9), (8,)])
def test_a_single_picture_is_no_film(shape):
    picture = np.zeros(shape, np.uint8)
    with pytest.raises(ValueError, match=r"put a single picture into a list"):
        open_frames(picture)
    if len(shape) > 1:
        assert [f.image.shape for f in open_frames([picture])] == [(8, 9, 3)]


def test_a_batch_of_grey_pictures_is_a_film():
    assert [f.image.shape for f in open_frames(np.zeros((2, 8, 9)))] == [(8, 9, 3)] * 2


@pytest.mark.parametrize("count", [3, 4])
def test_channels_first_are_no_grey_pictures(count):
    with pytest.raises(ValueError, match="channels first; move them last"):
        open_frames(np.zeros((count, 8, 9), np.uint8))
    grey = np.zeros((count, 8, 9, 1), np.uint8)
    assert [f.image.shape for f in open_frames(grey)] == [(8, 9, 3)] * count


def test_sound_that_cannot_be_read_leaves_nothing(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("no sound")
    with pytest.raises(av.FFmpegError):
        FilmWriter(tmp_path / "a.mp4", (48, 64), Fraction(1, 25), 25, notes)
    with pytest.raises(ValueError, match="leave the sound out"):
        try_film(tmp_path / "a.mp4", (48, 64), Fraction(1, 25), 25, notes)
    try_film(tmp_path / "a.mp4", (48, 64), Fraction(1, 25), 25)
    assert list(tmp_path.iterdir()) == [notes]


def test_a_picture_that_cannot_be_read_is_stood_in_for(tmp_path, caplog):
    for i in (1, 2, 4):
        save_image(tmp_path / f"f_{i}.png", np.full((8, 8, 3), 20 * i, np.uint8))
    (tmp_path / "f_0.png").write_text("no picture")
    (tmp_path / "f_3.png").write_bytes((tmp_path / "f_2.png").read_bytes()[:40])
    folder = open_frames(tmp_path)
    for _ in range(2):
        frames = list(folder)
        assert [int(f.image[0, 0, 0]) for f in frames] == [20, 20, 40, 40, 80]
        assert [f.index for f in frames] == [0, 1, 2, 3, 4]
        assert folder.damaged == 2
    assert [int(f.image[0, 0, 0]) for f in folder.frames(3)] == [40, 80]
    assert [name in caplog.text for name in ("f_0.png", "f_3.png", "f_4.png")] == [
        True,
        True,
        False,
    ]
    assert len(caplog.records) == 2
    for file in tmp_path.iterdir():
        file.write_text("")
    with pytest.raises(ValueError, match="no picture in the folder"):
        list(folder)


@pytest.mark.parametrize("aspect", [Fraction(16, 15), None])
def test_the_shape_of_pixels_is_kept(tmp_path, aspect):
    with FilmWriter(
        tmp_path / "a.mp4", (48, 64), Fraction(1, 25), 25, pixel_aspect=aspect
    ) as writer:
        writer.add(np.zeros((48, 64, 3), np.uint8), 0)
    film = open_frames(tmp_path / "a.mp4")
    assert film.pixel_aspect == aspect
