"""Whole films: estimate, keep a journal, finish the poses, then draw; see `run_film`.

The first pass follows people and writes each frame to a journal beside the output; killed and
started again, it goes on there, with the same result. The others read journals: one mends and
steadies the poses, looking both ways along the film, and one draws. They take a small part of the
time, so a kill there costs little, and the output is never half a film.

Memory does not grow with the length of the film: poses lie on the disk, 2.2 kB a person and frame,
and a window of them in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from .following import FollowCounts, FollowOptions
from .io.atomic import check_place, remove_strays, temporary_beside
from .io.film import ENDINGS, FilmWriter, check_ending, fit_picture, try_film
from .io.frames import FrameSource, open_frames
from .io.images import ImageArray, read_text, save_image
from .io.journal import Entry, Journal
from .io.openpose_json import to_pose_keypoint
from .refine import DEFAULT_SANITY, DEFAULT_SMOOTHING, refine_long
from .render import draw_pose_map, map_size, overlay
from .retarget import Retargeter
from .sanity import SanityOptions
from .second_look import SecondLookOptions
from .sequences import track_ids
from .smoothing import SmoothingOptions
from .stream import Pose, follow_options, make_follower
from .types import DEFAULT_THRESHOLD

Progress: TypeAlias = Callable[[str, int, "int | None"], None]

JOURNAL_SUFFIX: Final = ".poses.jsonl"
_STEADY_SUFFIX: Final = ".steady"
# What the follower remembers is kept this often at most; a kill loses the frames of that time.
_KEEP_EVERY_S: Final = 0.2
# Under this key a picture in a folder of frames says its number.
_FRAME: Final = "dwpose-frame"
# Frames that retargeting measures somebody in, spread over the film.
_MEASURED: Final = 2000


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
        crf: quality of the film, 0 (lossless) to 51; 18 looks like the source.
        threshold: raw score of the points shown in the JSON file.

    Raises:
        ValueError: crf is not 0 to 51.
    """

    overlay: bool = False
    style: str = "dwpose"
    size: int | tuple[int, int] | None = None
    draw: dict[str, Any] = field(default_factory=dict)
    audio: bool = True
    crf: int = 18
    threshold: float = DEFAULT_THRESHOLD

    def __post_init__(self) -> None:
        if self.crf not in range(52):
            raise ValueError(f"crf must be a whole number of 0 (best) to 51, got {self.crf}")

    def size_of(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of what is drawn for a frame of this size."""
        return map_size(None if self.overlay else self.size, image_hw)


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
    second_look: SecondLookOptions | None = None,
    sanity: SanityOptions | None = DEFAULT_SANITY,
    smoothing: SmoothingOptions | None = DEFAULT_SMOOTHING,
    retarget: Retargeter | None = None,
    retarget_id: int | None = None,
    film: FilmOptions | None = None,
    journal: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    keep_journal: bool = False,
    about: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> FilmReport:
    """Draw the poses of a film or folder, and write them down.

    Args:
        pose: the networks, a `pipeline.DWPose`.
        source: a path of a film or a folder of pictures, or anything else that
            `io.frames.open_frames` takes.
        output: a film (.mp4, .mkv, .mov, .webm), or a folder that gets a picture a frame; None
            draws nothing. A film has the size of its first frame; others are fitted into it. What
            an earlier, longer film left in the folder is removed, and nothing else.
        json_path: POSE_KEYPOINT, with times and ids; None writes none.
        fps: frames a second of a folder.
        follow: how people are followed.
        second_look: look again at small hands and faces; None does not.
        sanity: which impossible things are mended; None mends nothing.
        smoothing: how strongly poses are steadied and which gaps are filled; None does neither.
        retarget: gives the people other proportions; it is fitted to the film here.
        retarget_id: whom; everybody when None, and nobody else stays.
        film: what is drawn.
        journal: where finished frames are kept; beside the output when None.
        fresh: pass over a journal that is there. Frames that come from no file, such as arrays
            or those of a webcam, are always begun anew: nothing tells whether they are the same.
        keep_journal: leave it in place at the end. It holds the poses before anything was mended
            or steadied, so that another call with other such options need not estimate again.
        about: what else the poses depend on, such as the models and the times of their files; a
            journal of other ones is not gone on with.
        progress: called with "poses", "steady" or "film", frames done and how many there may be.
            What it raises ends the work, which can be resumed.

    Raises:
        ValueError: there is nothing to write, the source has no frames, or an argument is wrong.
        FileNotFoundError, RuntimeError: see `io.frames.open_frames`.
    """
    film = film or FilmOptions()
    if retarget is not None and film.overlay and retarget.options.framing != "keep":
        raise ValueError("overlay needs the driver's picture; retarget with framing 'keep'")
    frames = open_frames(source, fps)
    check_film(frames, output, json_path, film)
    chosen = follow_options(frames, follow)
    target = Path(output if output is not None else str(json_path)).absolute()
    path = Path(journal) if journal is not None else target.with_name(target.name + JOURNAL_SUFFIX)
    known = _about(frames, chosen, second_look) | (about or {})
    with contextlib.ExitStack() as stack:
        # Without a fingerprint nothing says that the frames are still the same.
        book = Journal(path, known, fresh or frames.fingerprint() is None)
        stack.callback(book.close)
        resumed, counts = _estimate(pose, frames, chosen, second_look, book, progress)
        if not book.count:
            raise ValueError(f"{frames.name} has no frames that can be decoded")
        steady = Journal(path.with_name(path.name + _STEADY_SUFFIX), {}, fresh=True)
        stack.callback(steady.remove)
        people = _refine(book, steady, sanity, smoothing, progress)
        if retarget is not None:
            step = -(-steady.count // _MEASURED)
            retarget.fit([e.people for i, e in enumerate(steady) if i % step == 0], retarget_id)
        if json_path is not None:
            write_poses(_entries(steady, retarget), json_path, film.threshold)
        if output is not None:
            _draw(frames, steady, retarget, Path(output), film, progress)
        if not keep_journal:
            book.remove()
        return FilmReport(book.count, resumed, frames.damaged, people, counts)


def check_film(
    frames: FrameSource,
    output: str | os.PathLike[str] | None,
    json_path: str | os.PathLike[str] | None,
    film: FilmOptions,
) -> None:
    """Refuse before the work what could not be written after it; see `run_film`.

    Raises:
        ValueError: there is nothing to write, or it cannot be written so or there.
    """
    if output is None and json_path is None:
        raise ValueError("output or json_path must be given; there is nothing to write")
    if json_path is not None:
        check_place(json_path, frames.origin)
    first = None if frames.once else next(frames.frames(), None)
    if first is None and not frames.once:
        raise ValueError(f"{frames.name} has no frames that can be decoded")
    if output is None:
        return
    is_film = Path(output).suffix.lower() in ENDINGS
    if Path(output).suffix and not Path(output).is_dir():
        check_ending(Path(output))
    check_place(output, frames.origin, is_folder=not is_film)
    places = [str(Path(path).resolve()) for path in (output, json_path) if path is not None]
    if len(set(places)) < len(places):
        raise ValueError(f"{output} cannot be the drawings and the keypoints; give two names")
    if places[-1].startswith(places[0] + JOURNAL_SUFFIX):
        raise ValueError(f"{json_path} is where finished frames are kept; give another name")
    if first is None:
        if film.overlay:
            raise ValueError(
                f"overlay needs the frames twice, and {frames.name} come only once; "
                "give a list, a folder or a film"
            )
        return
    if is_film:
        size = film.size_of((first.image.shape[0], first.image.shape[1]))
        audio = frames.audio if film.audio else None
        try_film(output, size, frames.time_base, frames.fps, audio, film.crf)


def _about(
    frames: FrameSource, follow: FollowOptions, second_look: SecondLookOptions | None
) -> dict[str, Any]:
    """What poses depend on besides the networks: the source and the rules."""
    source = {"name": frames.name, "fps": frames.fps, "fingerprint": frames.fingerprint()}
    again = None if second_look is None else asdict(second_look)
    return {"source": source, "follow": asdict(follow), "second_look": again}


def _estimate(
    pose: Pose,
    frames: FrameSource,
    options: FollowOptions,
    second_look: SecondLookOptions | None,
    book: Journal,
    progress: Progress | None,
) -> tuple[int, FollowCounts]:
    """First pass: the rest of the film into the journal; returns what was there, and the work."""
    follower = make_follower(pose, options, second_look)
    if progress is not None:
        progress("poses", book.count, frames.total)
    if book.is_whole:
        return book.count, follower.counts
    state = book.resume()
    if state is not None:
        follower.restore(state)
    resumed = book.count
    kept_at = -_KEEP_EVERY_S
    for frame, people in follower.follow(frames.frames(resumed)):
        book.append(Entry(frame.ticks, frame.time_s, people))
        if follower.settled == frame.index and time.monotonic() - kept_at >= _KEEP_EVERY_S:
            book.keep_state(follower.state())
            kept_at = time.monotonic()
        if progress is not None:
            progress("poses", book.count, frames.total)
    book.finish()
    return resumed, follower.counts


def _refine(
    book: Journal,
    steady: Journal,
    sanity: SanityOptions | None,
    smoothing: SmoothingOptions | None,
    progress: Progress | None,
) -> int:
    """Second pass: finished poses into another journal; returns how many people there are."""
    poses = ((entry.time_s, entry.people) for entry in book)
    finished = refine_long(poses, sanity=sanity, smoothing=smoothing)
    seen: set[int] = set()
    for entry, (people, filled) in zip(book, finished, strict=True):
        steady.append(Entry(entry.ticks, entry.time_s, people, filled))
        seen.update([] if people.track_ids is None else people.track_ids.tolist())
        if progress is not None:
            progress("steady", steady.count, book.count)
    return len(seen)


def _entries(steady: Journal, retarget: Retargeter | None) -> Iterator[Entry]:
    """Finished frames, retargeted."""
    for entry in steady:
        if retarget is None:
            yield entry
            continue
        people, filled = retarget.apply(entry.people), entry.filled
        if filled is not None:
            # Who was not measured is left out.
            filled = filled[np.isin(track_ids(entry.people), list(retarget.fitted))]
        yield Entry(entry.ticks, entry.time_s, people, filled)


def write_poses(
    entries: Iterable[Entry],
    path: str | os.PathLike[str],
    threshold: float = DEFAULT_THRESHOLD,
) -> None:
    """Write POSE_KEYPOINT frame by frame; never half a file.

    Each frame has "time_s"; a person some of whose points were not seen but filled in has the
    numbers of these (0..132) as "filled".
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target, ".tmp")
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write("[")
            for i, entry in enumerate(entries):
                frame = to_pose_keypoint(entry.people, threshold=threshold)[0]
                frame["time_s"] = round(entry.time_s, 6)
                for person, mask in zip(
                    frame["people"], [] if entry.filled is None else entry.filled, strict=False
                ):
                    if mask.any():
                        person["filled"] = np.flatnonzero(mask).tolist()
                file.write(",\n" if i else "\n")
                json.dump(frame, file, separators=(",", ":"), allow_nan=False)
            file.write("\n]\n")
        os.replace(temporary, target)
        remove_strays(target, ".tmp")
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _draw(
    frames: FrameSource,
    steady: Journal,
    retarget: Retargeter | None,
    output: Path,
    film: FilmOptions,
    progress: Progress | None,
) -> None:
    """Last pass: from the journal to a film or a folder."""
    drawn = _drawings(frames, _entries(steady, retarget), film)
    if output.suffix.lower() not in ENDINGS:
        for i, (_, image) in enumerate(drawn):
            save_image(output / f"{i:06d}.png", image, text={_FRAME: str(i)})
            if progress is not None:
                progress("film", i + 1, steady.count)
        _remove_rest(output, steady.count)
        return
    ticks, first = next(drawn)
    audio = frames.audio if film.audio else None
    size = (first.shape[0], first.shape[1])
    source = next(iter(steady)).people.image_hw
    # A map of another shape, or in a reference's picture, does not have the source's pixels.
    aspect = frames.pixel_aspect if size == map_size(max(size), source) else None
    with FilmWriter(output, size, frames.time_base, frames.fps, audio, film.crf, aspect) as writer:
        writer.add(first, ticks)
        for i, (ticks, image) in enumerate(drawn, 2):
            writer.add(fit_picture(image, size), ticks)
            if progress is not None:
                progress("film", i, steady.count)


def _remove_rest(folder: Path, count: int) -> None:
    """Remove what an earlier, longer film left; pictures that are not from here stay."""
    for path in folder.glob("*.png"):
        if not path.stem.isdecimal() or int(path.stem) < count:
            continue
        # One of ours that was given another number is the user's own now.
        if read_text(path).get(_FRAME, "").zfill(6) == path.stem:
            path.unlink()


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
