"""UBody's videos into the numbered frames that its annotations speak of.

The published recipe is `ffmpeg -i VIDEO -f image2 -r 30 IMAGES/%06d.png` over all videos, 8 at a
time: every frame of a million, some terabytes, though training reads the tenth of them. Here only
those frames are written that are needed, straight from the decoder, and a cut run goes on where it
stopped.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...io.frames import FilmFile
from ...io.images import ImageArray, save_image
from .coco_wholebody import read_json
from .ubody import EVERY, SCENES, annotation_file

# Frames a second of the numbered frames, whatever the video has (-r 30 of the published recipe).
FRAME_RATE: Final = 30
VIDEOS: Final = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")
# ffmpeg's limits, in frames, beyond which constant-rate output leaves out or repeats a frame, and
# the share of a gap that the frame before it fills.
_SLACK, _BEFORE = 1.1, 0.6


@dataclass(frozen=True)
class Conversion:
    """What became of one video.

    Attributes:
        video: its file.
        written: new frames.
        present: frames that were there already.
        missing: wanted numbers beyond the video's end.
        fault: why it could not be read, or None.
    """

    video: Path
    written: int = 0
    present: int = 0
    missing: int = 0
    fault: str | None = None


class ConstantRate:
    """Says which output frames each frame of a video becomes, as `ffmpeg -r` does.

    A frame is written as often as the room between what is written already and its own end says,
    rounded; where the video has a gap, the frame before fills most of it. Equal to ffmpeg for
    videos of any constant rate (tested); where the rate varies, ffmpeg also looks at the packets'
    durations, and the frames may be one or two off.

    Args:
        duration_s: how long a frame is shown.
        rate: frames a second of the output.
    """

    def __init__(self, duration_s: float, rate: float = FRAME_RATE) -> None:
        self._span, self._rate = duration_s * rate, rate
        self._written = 0

    def outputs(self, time_s: float) -> tuple[int, int]:
        """Take the next frame's time from the start of the video, in seconds.

        Returns:
            how many outputs repeat the frame before it, and how many show itself.
        """
        lead, span = time_s * self._rate - self._written, self._span
        if lead < 0 < lead + span:
            lead, span = 0.0, lead + span
        room = lead + span
        count = 0 if room < -_SLACK else round(room) if room > _SLACK else 1
        before = round(lead - _BEFORE) if room > _SLACK and lead > _SLACK else 0
        self._written += count
        return before, count - before


def numbered_frames(source: FilmFile) -> Iterator[tuple[int, ImageArray]]:
    """Yield a video's frames at `FRAME_RATE`, numbered from 1; two are held at a time."""
    clock = ConstantRate(1 / source.fps)
    number, start, previous = 1, None, None
    for frame in source:
        start = frame.time_s if start is None else start
        before, own = clock.outputs(frame.time_s - start)
        for image in [previous] * before + [frame.image] * own:
            yield number, frame.image if image is None else image
            number += 1
        previous = frame.image


def wanted_frames(
    root: Path, scenes: Sequence[str] = SCENES, every: int = EVERY
) -> dict[Path, set[int]]:
    """Read from the annotations which frames training needs.

    Args:
        root: the folder `UBody`.
        scenes: which.
        every: pictures whose id this divides.

    Returns:
        by folder of frames, the numbers in it.

    Raises:
        FileNotFoundError, ValueError: annotations are missing or damaged.
    """
    wanted: dict[Path, set[int]] = defaultdict(set)
    for scene in scenes:
        images = root / "images" / scene
        for entry in read_json(annotation_file(root, scene))["images"]:
            path = images / str(entry.get("file_name", ""))
            if int(entry["id"]) % every == 0 and path.stem.isdecimal():
                wanted[path.parent].add(int(path.stem))
    return dict(wanted)


def find_videos(root: Path, scenes: Sequence[str] = SCENES) -> dict[Path, Path]:
    """Return the videos by the folder of frames that each becomes."""
    found: dict[Path, Path] = {}
    for scene in scenes:
        for path in sorted((root / "videos" / scene).rglob("*")):
            if path.suffix.lower() in VIDEOS:
                relative = path.relative_to(root / "videos")
                found[root / "images" / relative.parent / path.stem] = path
    return found


def convert_video(
    video: Path, folder: Path, wanted: set[int] | None = None, quality: int | None = None
) -> Conversion:
    """Write the frames of one video that are not there yet.

    Args:
        video: the file.
        folder: where `000001.png` and so on go.
        wanted: their numbers; None writes all.
        quality: JPEG quality for .jpg files; None writes .png.

    Returns:
        what was done; a video that cannot be read is reported there.
    """
    ending = ".png" if quality is None else ".jpg"
    present = {int(path.stem) for path in folder.glob(f"*{ending}") if path.stem.isdecimal()}
    open_numbers = None if wanted is None else wanted - present
    if open_numbers is not None and not open_numbers:
        return Conversion(video, present=len(wanted or ()))
    last = None if open_numbers is None else max(open_numbers)
    written = 0
    try:
        for number, image in numbered_frames(FilmFile(video)):
            if last is not None and number > last:
                break
            if number not in present and (open_numbers is None or number in open_numbers):
                save_image(folder / f"{number:06d}{ending}", image, quality)
                written += 1
                if open_numbers is not None:
                    open_numbers.discard(number)
    except (ValueError, OSError) as error:
        return Conversion(video, written, len(present), len(open_numbers or ()), str(error))
    return Conversion(video, written, len(present), len(open_numbers or ()))


def convert_videos(
    videos: Mapping[Path, Path],
    wanted: Mapping[Path, set[int]] | None,
    quality: int | None = None,
    workers: int = 1,
) -> Iterator[Conversion]:
    """Convert videos, several at a time, and yield what became of each.

    Args:
        videos: from `find_videos`.
        wanted: from `wanted_frames`; None writes all frames.
        quality: see `convert_video`.
        workers: processes.
    """
    jobs = [
        (video, folder, None if wanted is None else wanted[folder], quality)
        for folder, video in videos.items()
        if wanted is None or folder in wanted
    ]
    if workers <= 1:
        yield from (convert_video(*job) for job in jobs)
        return
    with ProcessPoolExecutor(min(workers, os.cpu_count() or 1)) as pool:
        yield from pool.map(convert_video, *zip(*jobs, strict=True))
