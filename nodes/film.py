"""VIDEO in and out, frame by frame: what Video to Keypoints and Draw Pose Video share.

A VIDEO is a file, or the frames in memory that somebody made one of. Files are decoded one frame
at a time; ComfyUI's own `get_components` would hold every frame at once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .sockets import Frames, check_interrupt

if TYPE_CHECKING:
    from ..dwpose.io.frames import Frame, FrameSource


@contextmanager
def open_video(video: Any, with_sound: bool = False) -> Iterator[VideoFrames]:
    """Open a VIDEO as frames that come one by one, for as long as the context lasts.

    Reading them checks for Cancel, frame by frame.

    Args:
        video: of ComfyUI's VIDEO socket.
        with_sound: the sound is wanted too; see `FrameSource.audio`.

    Raises:
        TypeError: it is no VIDEO.
        ValueError: it is no film that can be read, or has no frames.
    """
    from comfy_api.latest import InputImpl  # pyright: ignore[reportMissingImports]

    from ..dwpose.io.frames import FilmFile

    if not hasattr(video, "get_stream_source"):
        raise TypeError(
            f"video must be a VIDEO, got {type(video).__name__}; connect Load Video or Create Video"
        )
    # Newer cores crop without decoding; what the file holds is then not what the video is.
    edited = getattr(video, "has_pending_frame_edits", lambda: False)()
    made = None
    try:
        if isinstance(video, InputImpl.VideoFromComponents) or edited:
            parts = video.get_components()
            if not len(parts.images):
                raise ValueError("video has no frames; connect another one")
            frames = _pictures(parts)
            if with_sound and getattr(parts, "audio", None):
                made = _write_sound(parts.audio)
                frames.audio = Path(made)
            yield VideoFrames(frames)
            return
        source = video.get_stream_source()
        if not isinstance(source, (str, os.PathLike)):
            made = _write_down(source)
            source = made
        # Newer cores trim without decoding, too.
        start, length = getattr(video, "get_active_trim_window", lambda: (0.0, 0.0))()
        yield VideoFrames(FilmFile(source), start, length)
    finally:
        if made is not None:
            with suppress(OSError):  # Windows, while a reader has not let go of it
                os.unlink(made)


def _pictures(parts: Any) -> FrameSource:
    from ..dwpose.io.frames import Pictures

    # Gone through by number; Frames has no other way to be iterated.
    frames: Any = Frames(parts.images)
    return Pictures(frames, float(parts.frame_rate))


def _write_down(stream: Any) -> str:
    """Put a film that is in memory into a file in ComfyUI's temp folder."""
    path = temporary_path("film")
    with open(path, "xb") as file:
        shutil.copyfileobj(stream, file)
    return path


def _write_sound(audio: Any) -> str:
    """Put an AUDIO (waveform [1, channels, samples] in -1..1) into a file in the temp folder."""
    import wave

    path = temporary_path("wav")
    samples = audio["waveform"][0].detach().cpu().float().clamp(-1, 1).T * 32767
    with wave.open(path, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(int(audio["sample_rate"]))
        file.writeframes(samples.round().numpy().astype("<i2").tobytes())
    return path


def temporary_path(ending: str) -> str:
    """A new file's path in ComfyUI's temp folder, which is emptied when it starts."""
    import folder_paths  # pyright: ignore[reportMissingImports]

    folder = folder_paths.get_temp_directory()
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, f"DWPose_{os.urandom(8).hex()}.{ending}")


class VideoFrames:
    """A source of frames, or a piece of it, that asks for Cancel at each.

    Args:
        source: the frames.
        start: passes over what is shown before, in seconds.
        length: ends after so many seconds; 0 does not.

    Attributes:
        fps: frames a second, the mean where it varies.
        time_base: seconds of a tick.
        total: how many frames there should be, or None.
        audio: a file whose sound belongs to the frames, or None.
    """

    def __init__(self, source: FrameSource, start: float = 0.0, length: float = 0.0) -> None:
        self._source, self._start, self._length = source, start, length
        self.fps, self.time_base = source.fps, source.time_base
        self.total = source.total
        whole = start <= 0 and length <= 0
        # The sound of a piece would have to be cut as well.
        self.audio = source.audio if whole else None
        if not whole and self.total is not None:
            rest = max(self.total - round(start * self.fps), 1)
            self.total = min(rest, max(round(length * self.fps), 1)) if length > 0 else rest

    def frames(self) -> Iterator[Frame]:
        """Yield the frames, numbered from 0.

        Raises:
            InterruptProcessingException: the user cancelled.
        """
        first: float | None = None
        number = 0
        for frame in self._source.frames():
            check_interrupt()
            if first is None:
                first = frame.time_s
            # Half a frame's room, for times that are rounded.
            since = frame.time_s - first - self._start + 0.5 / self.fps
            if since < 0:
                continue
            if self._length > 0 and since >= self._length:
                return
            yield replace(frame, index=number)
            number += 1
