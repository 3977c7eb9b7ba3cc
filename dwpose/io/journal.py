"""A film's poses on disk, frame by frame, so that a killed job goes on where it was.

One line of JSON a frame: its time and everybody, numbers as base64 of little-endian float32, so
that nothing is rounded. A line counts when it is whole; a torn last one is cut off. The first line
says what the poses come from: a journal of something else is started anew.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..skeleton import NUM_KEYPOINTS
from ..types import Boxes, People

_VERSION: Final = 1
# Of one person: x, y and score of each point, then the box and its score.
_NUMBERS: Final = 3 * NUM_KEYPOINTS + 5


@dataclass(frozen=True)
class Entry:
    """One frame.

    Attributes:
        ticks: its time in units of the source's `time_base`.
        time_s: the same in seconds.
        people: everybody.
    """

    ticks: int
    time_s: float
    people: People


class Journal:
    """Frames that are finished.

    Args:
        path: the file.
        about: what the poses depend on, as JSON can hold it.
        fresh: start anew, whatever is there.

    Attributes:
        count: finished frames.
    """

    def __init__(
        self, path: str | os.PathLike[str], about: dict[str, Any], fresh: bool = False
    ) -> None:
        self.path = Path(path)
        head = json.dumps({"dwpose-journal": _VERSION, **about}, sort_keys=True).encode() + b"\n"
        self.count, end = (0, 0) if fresh else self._survey(head)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Open as long as the journal is; `close` and `remove` end it.
        self._file = open(self.path, "r+b" if end else "wb")  # noqa: SIM115
        if end:
            self._file.truncate(end)
            self._file.seek(end)
        else:
            self._file.write(head)
            self._file.flush()

    def _survey(self, head: bytes) -> tuple[int, int]:
        """Count the whole lines of a journal of the same thing, and where they end in bytes."""
        if not self.path.is_file():
            return 0, 0
        with open(self.path, "rb") as file:
            if file.readline() != head:
                return 0, 0
            count, end = 0, len(head)
            for line in file:
                if not line.endswith(b"}\n"):
                    break
                count, end = count + 1, end + len(line)
        return count, end

    def append(self, entry: Entry) -> None:
        """Write a finished frame; when this returns, the end of the process cannot lose it."""
        self._file.write(_encode(entry))
        self._file.flush()
        self.count += 1

    def __iter__(self) -> Iterator[Entry]:
        """Yield the finished frames, one in memory at a time."""
        with open(self.path, "rb") as file:
            file.readline()
            for _ in range(self.count):
                yield _decode(file.readline())

    def close(self) -> None:
        """Close the file; the journal stays."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the file: the work is done."""
        self.close()
        self.path.unlink(missing_ok=True)


def _encode(entry: Entry) -> bytes:
    people = entry.people
    count = len(people)
    rows = (
        np.concatenate(
            (
                np.concatenate((people.keypoints, people.scores[..., None]), axis=2).reshape(
                    count, -1
                ),
                people.boxes.xyxy,
                people.boxes.scores[:, None],
            ),
            axis=1,
        )
        if count
        else np.zeros((0, _NUMBERS), np.float32)
    )
    line = {
        "ticks": entry.ticks,
        "time_s": entry.time_s,
        "image_hw": people.image_hw,
        "ids": None if people.track_ids is None else people.track_ids.tolist(),
        "people": base64.b64encode(rows.astype("<f4").tobytes()).decode(),
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _decode(line: bytes) -> Entry:
    raw = json.loads(line)
    rows: npt.NDArray[np.float32] = np.frombuffer(base64.b64decode(raw["people"]), "<f4")
    rows = rows.reshape(-1, _NUMBERS)
    points = rows[:, : 3 * NUM_KEYPOINTS].reshape(-1, NUM_KEYPOINTS, 3)
    people = People(
        points[..., :2],
        points[..., 2],
        Boxes(rows[:, -5:-1], rows[:, -1]),
        tuple(raw["image_hw"]),
        None if raw["ids"] is None else np.array(raw["ids"], np.int64),
    )
    return Entry(raw["ticks"], raw["time_s"], people)
