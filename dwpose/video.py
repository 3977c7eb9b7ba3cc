"""Whole films: estimate, keep a journal, then draw; see `run_film`.

Two passes. The first follows people and writes each finished frame to a journal beside the output;
killed and started again, it goes on there. The second draws the film from the journal, which takes
a small part of the time, so a kill there costs little and the output is never half a film. In
between, filters that look both ways along the film (smoothing) have all poses.

Memory does not grow with the length of the film, unless such a filter is asked for: it holds all
poses, 1.6 kB a person and frame.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .following import FollowCounts, FollowOptions
from .io.film import ENDINGS, FilmWriter
from .io.frames import FilmFile, FrameSource, PictureFolder, open_frames
from .io.images import ImageArray, save_image
from .io.journal import Entry, Journal
from .io.openpose_json import to_pose_keypoint
from .render import draw_pose_map, overlay
from .stream import Pose, follow_options, make_follower
from .types import DEFAULT_THRESHOLD, People

Progress: TypeAlias = Callable[[str, int, "int | None"], None]
Filter: TypeAlias = Callable[[list[People], npt.NDArray[np.float64]], list[People]]

JOURNAL_SUFFIX: Final = ".poses.jsonl"


@dataclass(frozen=True)
class FilmOptions:
    """What is drawn and written.

    Attributes:
        overlay: draw over the source's frames instead of on black.
        style: whose drawing, see `render.STYLES`.
        size: the pose map's longer side in pixels, or its height and width; the source's size
            when None. Overlays have the source's.
        draw: further keyword arguments of `render.draw_pose_map` or `render.overlay`.
        audio: take over the sound.
        crf: quality of the film, see `io.film.FilmWriter`.
        threshold: raw score of the points shown in the JSON file.
    """

    overlay: bool = False
    style: str = "dwpose"
    size: int | tuple[int, int] | None = None
    draw: dict[str, Any] = field(default_factory=dict)
    audio: bool = True
    crf: int = 18
    threshold: float = DEFAULT_THRESHOLD

    def size_of(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of what is drawn for a frame of this size."""
        if self.size is None or self.overlay:
            return image_hw
        if isinstance(self.size, tuple):
            return self.size
        factor = self.size / max(image_hw)
        return max(round(image_hw[0] * factor), 1), max(round(image_hw[1] * factor), 1)


@dataclass(frozen=True)
class FilmReport:
    """What was done.

    Attributes:
        frames: of the film.
        resumed: of those, finished by an earlier run.
        damaged: pieces of the source that could not be decoded.
        people: different ids.
        counts: the work of this run.
    """

    frames: int
    resumed: int
    damaged: int
    people: int
    counts: FollowCounts


def run_film(
    pose: Pose,
    source: Any,
    output: str | os.PathLike[str] | None = None,
    json_path: str | os.PathLike[str] | None = None,
    *,
    fps: float | None = None,
    follow: FollowOptions | None = None,
    film: FilmOptions | None = None,
    filters: Filter | None = None,
    journal: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    keep_journal: bool = False,
    about: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> FilmReport:
    """Draw the poses of a film or folder, and write them down.

    Args:
        pose: the networks, a `pipeline.DWPose`.
        source: a path of a film or a folder of pictures, or a `FrameSource`.
        output: a film (.mp4, .mkv, .mov, .webm), or a folder that gets a picture a frame; None
            draws nothing.
        json_path: POSE_KEYPOINT, with times and ids; None writes none.
        fps: frames a second of a folder.
        follow: how people are followed.
        film: what is drawn.
        filters: takes all people and their times in seconds [T] and gives back as many frames.
        journal: where finished frames are kept; beside the output when None.
        fresh: pass over a journal that is there.
        keep_journal: leave it in place at the end.
        about: what else the poses depend on, such as the names of the models; a journal of other
            ones is not gone on with.
        progress: called with "poses" or "film", frames done and how many there may be. What it
            raises ends the work, which can be resumed.

    Raises:
        ValueError: there is nothing to write, the source has no frames, or an argument is wrong.
        FileNotFoundError, RuntimeError: see `io.frames.open_frames`.
    """
    film = film or FilmOptions()
    if output is None and json_path is None:
        raise ValueError("output or json_path must be given; there is nothing to write")
    frames = open_frames(source, fps)
    chosen = follow_options(frames, follow)
    target = Path(output if output is not None else str(json_path))
    path = Path(journal) if journal is not None else target.with_name(target.name + JOURNAL_SUFFIX)
    book = Journal(path, _about(frames, chosen) | (about or {}), fresh)
    resumed = book.count
    try:
        counts = _estimate(pose, frames, chosen, book, progress)
        if not book.count:
            raise ValueError(f"{frames.name} has no frames that can be decoded")
        if json_path is not None:
            people = write_poses(_entries(book, filters), json_path, film.threshold)
        else:
            people = len({i for entry in book for i in _ids(entry.people)})
        if output is not None:
            _draw(frames, book, filters, Path(output), film, progress)
        report = FilmReport(book.count, resumed, frames.damaged, people, counts)
        if not keep_journal:
            book.remove()
        return report
    finally:
        book.close()


def _about(frames: FrameSource, follow: FollowOptions) -> dict[str, Any]:
    """What poses depend on besides the networks: the source's bytes and the rules."""
    source: dict[str, Any] = {"name": frames.name, "fps": frames.fps}
    files = frames.files if isinstance(frames, PictureFolder) else []
    if isinstance(frames, FilmFile):
        files = [frames.path]
    stats = [file.stat() for file in files]
    source["files"] = len(files)
    source["bytes"] = sum(s.st_size for s in stats)
    source["changed_ns"] = max((s.st_mtime_ns for s in stats), default=0)
    return {"source": source, "follow": asdict(follow)}


def _estimate(
    pose: Pose,
    frames: FrameSource,
    options: FollowOptions,
    book: Journal,
    progress: Progress | None,
) -> FollowCounts:
    """First pass: the rest of the film into the journal."""
    follower = make_follower(pose, options)
    # Positions, speeds and ids of the last second of an earlier run.
    recent: list[Entry] = []
    for entry in book:
        recent = [*recent, entry][-max(round(frames.fps), 1) :]
    for entry in recent:
        follower.restore(entry.people, entry.time_s)
    if progress is not None:
        progress("poses", book.count, frames.total)
    for frame, people in follower.follow(frames.frames(book.count)):
        book.append(Entry(frame.ticks, frame.time_s, people))
        if progress is not None:
            progress("poses", book.count, frames.total)
    return follower.counts


def _entries(book: Journal, filters: Filter | None) -> Iterator[Entry]:
    """The journal's frames, filtered."""
    if filters is None:
        yield from book
        return
    entries = list(book)
    times = np.array([entry.time_s for entry in entries], np.float64)
    people = filters([entry.people for entry in entries], times)
    if len(people) != len(entries):
        raise ValueError(f"filters must give {len(entries)} frames, got {len(people)}")
    for entry, own in zip(entries, people, strict=True):
        yield Entry(entry.ticks, entry.time_s, own)


def write_poses(
    entries: Iterable[Entry],
    path: str | os.PathLike[str],
    threshold: float = DEFAULT_THRESHOLD,
) -> int:
    """Write POSE_KEYPOINT frame by frame, with each frame's "time_s"; never half a file.

    Returns:
        how many different people there are.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{os.getpid()}-{os.urandom(4).hex()}.tmp")
    seen: set[int] = set()
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write("[")
            for i, entry in enumerate(entries):
                frame = to_pose_keypoint(entry.people, threshold=threshold)[0]
                frame["time_s"] = round(entry.time_s, 6)
                seen.update(_ids(entry.people))
                file.write(",\n" if i else "\n")
                json.dump(frame, file, separators=(",", ":"), allow_nan=False)
            file.write("\n]\n")
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return len(seen)


def _draw(
    frames: FrameSource,
    book: Journal,
    filters: Filter | None,
    output: Path,
    film: FilmOptions,
    progress: Progress | None,
) -> None:
    """Second pass: from the journal to a film or a folder."""
    drawn = _drawings(frames, _entries(book, filters), film)
    if output.suffix.lower() not in ENDINGS:
        for i, (_, image) in enumerate(drawn):
            save_image(output / f"{i:06d}.png", image)
            if progress is not None:
                progress("film", i + 1, book.count)
        return
    ticks, first = next(drawn)
    audio = frames.audio if film.audio else None
    size = (first.shape[0], first.shape[1])
    with FilmWriter(output, size, frames.time_base, frames.fps, audio, film.crf) as writer:
        writer.add(first, ticks)
        for i, (ticks, image) in enumerate(drawn, 2):
            writer.add(image, ticks)
            if progress is not None:
                progress("film", i, book.count)


def _drawings(
    frames: FrameSource, entries: Iterable[Entry], film: FilmOptions
) -> Iterator[tuple[int, ImageArray]]:
    """Times in ticks and drawings uint8 [H, W, 3]."""
    if film.overlay:
        for frame, entry in zip(frames.frames(), entries, strict=False):
            yield entry.ticks, overlay(frame.image, entry.people, style=film.style, **film.draw)
        return
    for entry in entries:
        size = film.size_of(entry.people.image_hw)
        yield entry.ticks, draw_pose_map(entry.people, size, film.style, **film.draw)


def _ids(people: People) -> list[int]:
    return [] if people.track_ids is None else people.track_ids.tolist()
