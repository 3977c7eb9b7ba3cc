"""A film's poses on disk, frame by frame, so that a killed job goes on where it was.

One line of JSON a frame: its time and everybody, numbers as base64 of little-endian float32, so
that nothing is rounded. A line counts when it is whole; a torn last one is cut off. The first line
says what the poses come from: a journal of something else is started anew. Beside it lies what
whoever wrote the frames remembered at one of them, so that they go on just as if nothing had
happened.
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
STATE_SUFFIX: Final = ".state"
_NEXT_SUFFIX: Final = ".next"
_PEOPLE, _ARRAY = "__people__", "__array__"


@dataclass(frozen=True)
class Entry:
    """One frame.

    Attributes:
        ticks: its time in units of the source's `time_base`.
        time_s: the same in seconds.
        people: everybody.
        filled: bool [P, 133], points that were not seen but filled in; None where nobody tells.
    """

    ticks: int
    time_s: float
    people: People
    filled: npt.NDArray[np.bool_] | None = None


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
        self._state_path = self.path.with_name(self.path.name + STATE_SUFFIX)
        self._next_path = self.path.with_name(self.path.name + _NEXT_SUFFIX)
        head = json.dumps({"dwpose-journal": _VERSION, **about}, sort_keys=True).encode() + b"\n"
        self.count, end = (0, 0) if fresh else self._survey(head)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Open as long as the journal is; `close` and `remove` end it.
        self._file = open(self.path, "r+b" if end else "wb")  # noqa: SIM115
        if end:
            self._file.truncate(end)
            self._file.seek(end)
        else:
            self._state_path.unlink(missing_ok=True)
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

    def keep_state(self, state: dict[str, Any]) -> None:
        """Write down what is remembered after the last frame, instead of what was before."""
        line = json.dumps({"count": self.count, "state": state}, default=_pack).encode()
        self._write_state(line)

    def finish(self) -> None:
        """Say that the last frame of the film is written."""
        self._write_state(json.dumps({"count": self.count, "whole": True}).encode())

    def _write_state(self, content: bytes) -> None:
        # Whole or not there, as by `write_atomically`, but through a file of a fixed name: what a
        # killed process leaves of it is overwritten by the next one, and removed at the end.
        with open(self._next_path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._next_path, self._state_path)

    @property
    def is_whole(self) -> bool:
        """The film's last frame is written: `finish` was called."""
        kept = self._kept()
        return bool(kept.get("whole")) and kept["count"] == self.count

    def _kept(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._state_path.read_bytes(), object_hook=_unpack)
            return kept if kept["count"] <= self.count else {"count": 0}
        except (OSError, ValueError, KeyError, TypeError):
            return {"count": 0}

    def resume(self) -> dict[str, Any] | None:
        """Return the state that was kept last, and cut off the frames after it.

        Without a state all frames are cut off, and None is returned. A state is kept with every
        frame or every other, so that little is lost.
        """
        kept = self._kept()
        count, state = kept["count"], kept.get("state")
        with open(self.path, "rb") as file:
            file.readline()
            for _ in range(count):
                file.readline()
            end = file.tell()
        self._file.truncate(end)
        self._file.seek(end)
        self.count = count
        return state

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
        for path in (self.path, self._state_path, self._next_path):
            path.unlink(missing_ok=True)


def _encode(entry: Entry) -> bytes:
    line = {"ticks": entry.ticks, "time_s": entry.time_s, **_write(entry.people)}
    if entry.filled is not None:
        line["filled"] = base64.b64encode(np.packbits(entry.filled).tobytes()).decode()
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _decode(line: bytes) -> Entry:
    raw = json.loads(line)
    people = _read(raw)
    filled = None
    if "filled" in raw:
        bits = np.frombuffer(base64.b64decode(raw["filled"]), np.uint8)
        size = len(people) * NUM_KEYPOINTS
        filled = np.unpackbits(bits, count=size).astype(bool).reshape(-1, NUM_KEYPOINTS)
    return Entry(raw["ticks"], raw["time_s"], people, filled)


def _write(people: People) -> dict[str, Any]:
    count = len(people)
    points = np.concatenate((people.keypoints, people.scores[..., None]), axis=2)
    boxes = np.concatenate((people.boxes.xyxy, people.boxes.scores[:, None]), axis=1)
    rows = np.concatenate((points.reshape(count, 3 * NUM_KEYPOINTS), boxes), axis=1)
    return {
        "image_hw": people.image_hw,
        "ids": None if people.track_ids is None else people.track_ids.tolist(),
        "people": base64.b64encode(rows.astype("<f4").tobytes()).decode(),
    }


def _read(raw: dict[str, Any]) -> People:
    rows: npt.NDArray[np.float32] = np.frombuffer(base64.b64decode(raw["people"]), "<f4")
    rows = rows.reshape(-1, _NUMBERS)
    points = rows[:, : 3 * NUM_KEYPOINTS].reshape(-1, NUM_KEYPOINTS, 3)
    return People(
        points[..., :2],
        points[..., 2],
        Boxes(rows[:, -5:-1], rows[:, -1]),
        tuple(raw["image_hw"]),
        None if raw["ids"] is None else np.array(raw["ids"], np.int64),
    )


def _pack(value: Any) -> dict[str, Any]:
    """Arrays and People of a state as JSON."""
    if isinstance(value, People):
        return {_PEOPLE: _write(value)}
    array = np.asarray(value)
    data = base64.b64encode(array.tobytes()).decode()
    return {_ARRAY: data, "dtype": array.dtype.str, "shape": array.shape}


def _unpack(value: dict[str, Any]) -> Any:
    if _PEOPLE in value:
        return _read(value[_PEOPLE])
    if _ARRAY not in value:
        return value
    flat = np.frombuffer(base64.b64decode(value[_ARRAY]), np.dtype(value["dtype"]))
    return flat.reshape(value["shape"]).copy()
