"""Frames in: films, folders, arrays and webcams, one at a time and each with its time.

Films are read by PyAV (the extra `video`), which ComfyUI brings as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from .clock import RisingTimes
from .images import ImageArray, load_image
from .upright import quarter_turns, upright

log = logging.getLogger("dwpose")

# What `dwpose.io.images` reads, by ending; folders hold other files too.
PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
DEFAULT_FPS: Final = 25.0
# Beyond these, times of frames no longer fit into films, or fall together there.
_FPS_RANGE: Final = (0.01, 1000.0)
# For sources without a clock of their own; the usual clock of MPEG streams, which 24, 25, 30 and
# 60 frames a second divide.
TICK: Final = Fraction(1, 90_000)


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a film.

    Attributes:
        index: its place, from 0.
        image: uint8 [H, W, 3] RGB, upright.
        ticks: its time in units of the source's `time_base`; larger than the one before.
        time_s: the same in seconds.
    """

    index: int
    image: ImageArray
    ticks: int
    time_s: float


class FrameSource:
    """Frames that can be iterated; see `open_frames`.

    Attributes:
        name: what messages call it.
        origin: the film or folder they come from, or None.
        time_base: seconds of a tick.
        fps: frames a second, the mean where it varies.
        total: how many frames there should be, or None; a film's own estimate.
        audio: a file whose sound belongs to the frames and can be decoded, or None.
        pixel_aspect: width over height of an upright frame's pixel; None where nothing tells it.
        damaged: frames that could not be decoded since they were last begun.
        once: frames can be had a single time: those of a webcam or a generator.
    """

    once = False

    def __init__(self, name: str, fps: float, total: int | None) -> None:
        self.name = name
        self.origin: Path | None = None
        self.fps = fps
        self.total = total
        self.time_base = TICK
        self.audio: Path | None = None
        self.pixel_aspect: Fraction | None = None
        self.damaged = 0

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from number `start` on."""
        raise NotImplementedError

    def fingerprint(self) -> str | None:
        """Return what tells these frames from others, or None where only their pixels would."""
        return None

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()


class FilmFile(FrameSource):
    """A file that PyAV opens.

    Frame times are the file's own. Where a frame has none, or one that is not later than that of
    the frame before, it follows by one mean frame, or by one tick; where times begin anew they go
    on (see `clock`). Rotation flags are obeyed. What cannot be decoded is passed over and counted;
    a file that ends too early just ends.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it holds no film that can be read.
        RuntimeError: PyAV is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no film {str(self.path)!r}")
        with self._open() as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            fps = float(rate) if rate else DEFAULT_FPS
            total = stream.frames or None
            if not total and stream.duration and stream.time_base:
                total = round(float(stream.duration * stream.time_base) * fps)
            if not total and container.duration:
                total = round(container.duration / 1e6 * fps)
            super().__init__(str(path), fps, total)
            self.origin = self.path
            self.time_base = stream.time_base or TICK
            known = any(track.codec_context for track in container.streams.audio)
            self.audio = self.path if known else None
            self.pixel_aspect = stream.sample_aspect_ratio or None  # 0 means unknown
            if self.pixel_aspect not in (None, 1):
                first = next(self._decoded(container, stream), None)
                if first is not None and quarter_turns(first) % 2:
                    self.pixel_aspect = 1 / self.pixel_aspect

    def fingerprint(self) -> str | None:
        """Return what changes with the file: its size and its time."""
        return _digest([self.path])

    def _open(self) -> Any:
        av = import_av()
        try:
            # Of a whole path FFmpeg takes nothing for a protocol, not even the start of "a:b.mp4".
            container = av.open(str(self.path.absolute()), metadata_errors="ignore")
        except (av.FFmpegError, OSError) as error:
            raise ValueError(
                f"{str(self.path)!r} is not a film that can be read ({error})"
            ) from None
        if not container.streams.video:
            container.close()
            raise ValueError(f"{str(self.path)!r} holds no pictures")
        return container

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from number `start` on; those before are decoded, not converted."""
        times = RisingTimes(max(round(1 / (self.fps * self.time_base)), 1), self.time_base)
        self.damaged = 0
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for index, frame in enumerate(self._decoded(container, stream)):
                ticks = times.next(frame.pts)
                if index >= start:
                    yield Frame(index, upright(frame), ticks, float(ticks * self.time_base))

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        av = import_av()
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError):  # the rest of the file is not there
                self.damaged += 1
                packet = None
            try:
                # A packet without data, or none, asks the decoder for what it still holds.
                yield from stream.decode(packet)
            except EOFError:
                return
            except av.FFmpegError:
                self.damaged += 1
            if packet is None:
                return


class PictureFolder(FrameSource):
    """The pictures of a folder in the order of the numbers in their names.

    For one that cannot be read the one before it stands in, at the beginning the next one.

    Args:
        path: the folder.
        fps: frames a second.

    Raises:
        FileNotFoundError: there is no picture in it.
        ValueError: fps is not 0.01 to 1000.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float | None = None) -> None:
        folder = Path(path)
        files = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in PICTURES and path.is_file() and path.name[0] != "."
        ]
        if not files:
            raise FileNotFoundError(f"there is no picture in the folder {str(folder)!r}")
        self.files = sorted(files, key=_by_number)
        self._told: set[Path] = set()
        super().__init__(str(path), _checked_fps(fps), len(files))
        self.origin = folder

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from number `start` on; ValueError where no picture can be read."""
        self.damaged = 0
        image: ImageArray | None = None
        for index in range(start, len(self.files)):
            file = self.files[index]
            try:
                image = load_image(file, file.name)
            except (OSError, ValueError) as error:
                self.damaged += 1
                if file not in self._told:
                    log.warning("another picture stands in: %s", error)
                self._told.add(file)
                image = self._nearest(index) if image is None else image
            yield _timed(index, image, self.fps)

    def _nearest(self, index: int) -> ImageArray:
        for other in (*range(index - 1, -1, -1), *range(index + 1, len(self.files))):
            with contextlib.suppress(OSError, ValueError):
                return load_image(self.files[other])
        raise ValueError(f"no picture in the folder {self.name!r} can be read")

    def fingerprint(self) -> str | None:
        """Return what changes with the pictures: their names, order, sizes and times."""
        return _digest(self.files)


class Pictures(FrameSource):
    """Any iterable of pictures: a list, a batch [B, H, W, 3], a generator.

    Args:
        images: of anything that `images.load_image` takes. An array is a batch [B, H, W, 3], or
            [B, H, W] of grey pictures; with a B of 3 or 4 it might be a picture, and is refused.
        fps: frames a second.

    Raises:
        ValueError: fps is not 0.01 to 1000, or an array is, or might be, a single picture.
    """

    def __init__(self, images: Iterable[Any], fps: float | None = None) -> None:
        shape = list(getattr(images, "shape", [0] * 4))
        # Of rank 3, the last axis tells a picture [H, W, 3] from grey pictures [B, H, W].
        if len(shape) != 4 and (len(shape) != 3 or shape[2] <= 4):
            raise ValueError(
                "frames must be several pictures, such as a batch [B, H, W, 3], got shape "
                f"{shape}; put a single picture into a list"
            )
        if len(shape) == 3 and shape[0] in (3, 4):
            raise ValueError(
                f"frames of shape {shape} might be a picture with its channels first; move them "
                "last and put the picture into a list, or give grey pictures as [B, H, W, 1]"
            )
        total = len(images) if hasattr(images, "__len__") else None  # pyright: ignore[reportArgumentType]
        self.images = images
        self.once = isinstance(images, Iterator)
        super().__init__("images", _checked_fps(fps), total)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from number `start` on."""
        for index, image in enumerate(self.images):
            if index >= start:
                yield _timed(index, load_image(image, f"images[{index}]"), self.fps)


class Webcam(FrameSource):
    """A camera of this machine, by OpenCV; endless, frames have the time of their arrival.

    Args:
        number: which camera, from 0.
        fps: asked of the camera, which may not obey.

    Raises:
        ValueError: there is no such camera.
    """

    once = True

    def __init__(self, number: int, fps: float | None = None) -> None:
        import cv2

        if number < 0:  # OpenCV crashes
            raise ValueError(f"a camera's number must be 0 or more, got {number}")
        self.camera = cv2.VideoCapture(number)
        if not self.camera.isOpened():
            raise ValueError(f"there is no camera {number}, or another program uses it")
        if fps:
            self.camera.set(cv2.CAP_PROP_FPS, fps)
        fps = self.camera.get(cv2.CAP_PROP_FPS) or fps or DEFAULT_FPS
        super().__init__(f"camera {number}", fps, None)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yield frames until the camera stops; closes it at the end."""
        import cv2

        begin, index, last = time.monotonic(), 0, -1
        try:
            while True:
                good, image = self.camera.read()
                if not good:
                    return
                ticks = max(round((time.monotonic() - begin) / self.time_base), last + 1)
                last = ticks
                rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                if index >= start:
                    yield Frame(index, rgb, ticks, float(ticks * self.time_base))
                index += 1
        finally:
            self.camera.release()


def open_frames(source: Any, fps: float | None = None) -> FrameSource:
    """Open whatever frames come from.

    Args:
        source: a film's path, a folder of pictures, the number of a webcam, an iterable of
            pictures (also a batch [B, H, W, 3]), or a `FrameSource`.
        fps: frames a second where the source does not know, 0.01 to 1000; 25 when None.

    Raises:
        FileNotFoundError, ValueError, TypeError, RuntimeError: it cannot be opened.
    """
    if isinstance(source, FrameSource):
        return source
    _checked_fps(fps)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return PictureFolder(path, fps) if path.is_dir() else FilmFile(path)
    if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
        return Webcam(int(source), fps)
    if isinstance(source, Iterable):
        return Pictures(source, fps)
    raise TypeError(
        "source must be a film's path, a folder, a webcam's number or an iterable of pictures, "
        f"got {type(source).__name__}"
    )


def import_av() -> Any:
    """Return PyAV's module.

    Raises:
        RuntimeError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise RuntimeError("films need PyAV; install it with: pip install av") from None
    return av


def _timed(index: int, image: ImageArray, fps: float) -> Frame:
    ticks = round(index / fps / TICK)
    return Frame(index, image, ticks, index / fps)


def _checked_fps(fps: float | None) -> float:
    low, high = _FPS_RANGE
    if fps is not None and not low <= fps <= high:
        raise ValueError(f"fps must be {low:g} to {high:g}, got {fps:g}")
    return DEFAULT_FPS if fps is None else fps


def _digest(files: Iterable[Path]) -> str:
    stats = [(file.name, file.stat()) for file in files]
    lines = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort frame_2 before frame_10."""
    pieces = re.split(r"(\d+)", path.name)
    return [(int(s), "") if s.isdecimal() else (-1, s) for s in pieces]
