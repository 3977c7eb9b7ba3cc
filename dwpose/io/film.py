"""Films out: frames with their times, the sound of the source, and never half a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from .atomic import remove_strays, temporary_beside
from .clock import RESTART_S
from .frames import import_av
from .images import ImageArray

# Encoders by ending, the first that this PyAV has.
_ENCODERS: Final = {
    ".mp4": ("libx264", "libopenh264", "mpeg4"),
    ".m4v": ("libx264", "libopenh264", "mpeg4"),
    ".mov": ("libx264", "libopenh264", "mpeg4"),
    ".mkv": ("libx264", "libopenh264", "mpeg4"),
    ".webm": ("libvpx-vp9", "libvpx"),
}
ENDINGS: Final = tuple(_ENCODERS)
# Sound is written this far ahead of the pictures, so that players need no long memory.
_SOUND_AHEAD_S: Final = 1.0
# Sound that is encoded anew has one or two channels.
_LAYOUTS: Final = {1: "mono"}
# What players expect in MP4, which may hold more; QuickTime knows no FLAC and no Opus.
_PLAYED_IN_MOV: Final = ("aac", "mp3", "ac3", "eac3", "alac")
_PLAYED_IN_MP4: Final = (*_PLAYED_IN_MOV, "flac", "opus")
# Every encoder takes sound of this rate.
_USUAL_HZ: Final = 48_000
# ITU-T H.273: BT.709 primaries, transfer and matrix.
_BT709: Final = 1


class FilmWriter:
    """Writes a film next to its place and moves it there when it is whole.

    Use it as a context manager; an exception inside leaves nothing behind.

    Args:
        path: .mp4, .m4v, .mov, .mkv or .webm.
        size_hw: height and width of the frames in pixels. Films of the usual pixel format have
            even sides: an odd one gets one more row or column, a copy of the last.
        time_base: seconds of a tick.
        fps: frames a second, about, which players show.
        audio: a file whose sound is taken over: copied, or encoded anew where the new container
            cannot hold it.
        crf: quality, 0 (lossless) to 51; 18 looks like the source.
        pixel_aspect: width of a pixel over its height, for players; None leaves it out.

    Raises:
        ValueError: an unknown ending.
        RuntimeError: PyAV is missing, or has no encoder for it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size_hw: tuple[int, int],
        time_base: Fraction,
        fps: float,
        audio: Path | None = None,
        crf: int = 18,
        pixel_aspect: Fraction | None = None,
    ) -> None:
        self.path = Path(path)
        self.size_hw = size_hw
        ending = check_ending(self.path)
        av = import_av()
        names = [n for n in _ENCODERS[ending] if n in av.codecs_available]
        if not names:
            raise RuntimeError(
                f"this PyAV has no encoder for {ending}; reinstall it: pip install av"
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = temporary_beside(self.path, ending)
        self._frame = av.VideoFrame
        self._error = av.FFmpegError
        self._container = av.open(str(self._temporary.absolute()), "w")
        self._time_base = time_base
        self._sound: _Sound | None = None
        try:
            self._add_streams(names[0], fps, crf, audio)
            if pixel_aspect is not None:
                self._stream.codec_context.sample_aspect_ratio = pixel_aspect
        except BaseException:
            self._give_up()
            raise

    def _add_streams(self, encoder: str, fps: float, crf: int, audio: Path | None) -> None:
        size_hw, time_base = self.size_hw, self._time_base
        rate = Fraction(fps).limit_denominator(1001) or Fraction(25)
        self._stream: Any = self._container.add_stream(encoder, rate=rate)
        self._stream.width, self._stream.height = _even(size_hw[1]), _even(size_hw[0])
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = time_base
        context = self._stream.codec_context
        context.time_base = time_base
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        if encoder in ("libx264", "libvpx-vp9"):
            self._stream.options = {"crf": str(crf)} | (
                {"preset": "veryfast"} if encoder == "libx264" else {"b": "0", "cpu-used": "5"}
            )
        if audio is not None:
            self._sound = _Sound(audio, self._container)

    def _give_up(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(self._error, OSError):
            self._container.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()

    def add(self, image: ImageArray, ticks: int) -> None:
        """Write the next frame, uint8 [H, W, 3] RGB, at its time in ticks.

        Raises:
            ValueError: the picture has another size than the film.
        """
        height, width = self.size_hw
        if image.shape != (height, width, 3):
            raise ValueError(
                f"frames of a film must have one size, {width}x{height}; got "
                f"{image.shape[1]}x{image.shape[0]}; write a folder of pictures instead"
            )
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._frame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        frame.pts, frame.time_base = ticks, self._time_base
        if self._sound is not None:
            self._sound.write_until(float(ticks * self._time_base) + _SOUND_AHEAD_S)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                for packet in self._stream.encode(None):
                    self._container.mux(packet)
                if self._sound is not None:
                    self._sound.write_until(float("inf"))
            self._container.close()
            if self._sound is not None:
                self._sound.close()
            if kind is None:
                os.replace(self._temporary, self.path)
                remove_strays(self.path, self._temporary.suffix)
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink()


class _Sound:
    """Copies the first sound track that can be decoded, packet by packet."""

    def __init__(self, path: Path, out: Any) -> None:
        av = import_av()
        self._error = av.FFmpegError
        self._source = av.open(str(path.absolute()), metadata_errors="ignore")
        self._in = next(t for t in self._source.streams.audio if t.codec_context)
        self._out = out
        name = self._in.codec_context.codec.canonical_name
        known = out.supported_codecs
        played = {"mov": _PLAYED_IN_MOV, "mp4": _PLAYED_IN_MP4, "ipod": _PLAYED_IN_MP4}
        self._copied = name in known and name in played.get(out.format.name, known)
        if self._copied:
            self._stream = out.add_stream_from_template(self._in)
        else:
            encoder = out.default_audio_codec
            rates = av.Codec(encoder, "w").audio_rates
            self._stream = out.add_stream(
                encoder,
                # Opus has no 44.1 kHz, AAC no 192 kHz.
                rate=self._in.rate if rates is None or self._in.rate in rates else _USUAL_HZ,
                layout=_LAYOUTS.get(self._in.channels, "stereo"),
            )
        self._packets = self._read()
        self._waiting: Any = None

    def _read(self) -> Iterator[Any]:
        """Packets to write; what is damaged is left out."""
        with contextlib.suppress(self._error, OSError):
            for packet in _in_order(self._source.demux(self._in)):
                if self._copied:
                    if packet.dts is not None:
                        packet.stream = self._stream
                        yield packet
                    continue
                frames: list[Any] = []
                with contextlib.suppress(self._error):
                    frames = packet.decode()
                for frame in frames:
                    yield from self._stream.encode(frame)
        if not self._copied:
            yield from self._stream.encode(None)

    def write_until(self, time_s: float) -> None:
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            packet = self._waiting
            if packet is None or float((packet.dts or 0) * packet.time_base) > time_s:
                return
            self._out.mux(packet)
            self._waiting = None

    def close(self) -> None:
        self._source.close()


def _in_order(packets: Iterator[Any]) -> Iterator[Any]:
    """Packets whose times rise, as films must have them; one that does not fit is left out.

    Of two of which the second is not later, the first is wrong if the second is later than all
    that were passed on. Where times begin anew they go on after the last. Packets without a time
    are passed on as they come.
    """
    last: int | None = None
    held: Any = None
    shift = 0
    for packet in packets:
        _move(packet, shift)
        if held is not None and packet.dts is not None and packet.dts <= held.dts:
            if last is None or packet.dts > last:
                held = packet
                continue
            if held.dts - packet.dts < RESTART_S / packet.time_base:
                continue
            on = held.dts + (held.duration or 1) - packet.dts
            _move(packet, on)
            shift += on
        if held is not None:
            last = held.dts
            yield held
        held = packet
        if packet.dts is None:
            held = None
            yield packet
    if held is not None:
        yield held


def _move(packet: Any, ticks: int) -> None:
    if ticks and packet.dts is not None:
        packet.dts += ticks
    if ticks and packet.pts is not None:
        packet.pts += ticks


def try_film(
    path: str | os.PathLike[str],
    size_hw: tuple[int, int],
    time_base: Fraction,
    fps: float,
    audio: Path | None = None,
    crf: int = 18,
) -> None:
    """Write a black frame and its sound, and throw them away: what cannot be is noticed at once.

    Args:
        path: as `FilmWriter` takes it, and so all others.
        size_hw: height and width in pixels.
        time_base: seconds of a tick.
        fps: frames a second.
        audio: a file with sound.
        crf: quality.

    Raises:
        ValueError: no such film can be written there; the message says what to change.
        RuntimeError: PyAV is missing, or has no encoder for it.
    """
    height, width = size_hw
    try:
        with FilmWriter(path, size_hw, time_base, fps, audio, crf) as writer:
            writer.add(np.zeros((height, width, 3), np.uint8), 0)
            raise _Enough
    except _Enough:
        return
    except (import_av().FFmpegError, OSError) as error:
        raise ValueError(
            f"a film of {width}x{height} pixels cannot be written as {str(path)!r} "
            f"({getattr(error, 'strerror', None) or error}); "
            "give another size, ending or place" + (", or leave the sound out" if audio else "")
        ) from None


class _Enough(Exception):
    """A trial went well."""


def check_ending(path: Path) -> str:
    """Return a film's ending in small letters.

    Raises:
        ValueError: films of this kind cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in _ENCODERS:
        raise ValueError(f"a film must end in {', '.join(ENDINGS)}, got {path.name!r}")
    return ending


def fit_picture(image: ImageArray, size_hw: tuple[int, int]) -> ImageArray:
    """Bring a frame of another size into a film: its sides keep their ratio, the rest is black.

    Args:
        image: uint8 [h, w, 3].
        size_hw: height and width of the film's frames in pixels.

    Returns:
        uint8 [H, W, 3]; the picture itself where it has this size.
    """
    if image.shape[:2] == size_hw:
        return image
    scale = min(size_hw[0] / image.shape[0], size_hw[1] / image.shape[1])
    height, width = (max(round(side * scale), 1) for side in image.shape[:2])
    top, left = (size_hw[0] - height) // 2, (size_hw[1] - width) // 2
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fitted = np.zeros((*size_hw, 3), np.uint8)
    fitted[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=how
    )
    return fitted


def _even(number: int) -> int:
    return number + number % 2
