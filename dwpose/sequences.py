"""The people of many frames as one array for each person, and back.

A sequence is a list of `People`, one a frame, whose track ids say who is who.

Shapes: T frames, K = 133 points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .skeleton import NUM_KEYPOINTS
from .types import Boxes, People

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Track:
    """One person over a run of frames without a cut.

    Attributes:
        id: the track id.
        frames: int64 [T], consecutive numbers of the sequence's frames.
        keypoints: float64 [T, 133, 2], pixels.
        scores: float64 [T, 133], raw; 0 where the person is missing.
        boxes: float64 [T, 5], xyxy and the box's score.
        present: bool [T], the person is in this frame.
    """

    id: int
    frames: npt.NDArray[np.int64]
    keypoints: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.float64]
    present: npt.NDArray[np.bool_]


def track_ids(people: People) -> npt.NDArray[np.int64]:
    """Ids of the people of one frame, int64 [P]; a person alone without an id is number 0.

    Raises:
        ValueError: several people and no ids, or an id twice.
    """
    if people.track_ids is None:
        if len(people) > 1:
            raise ValueError(
                f"people must have track_ids where there are several ({len(people)}); track first"
            )
        return np.zeros(len(people), np.int64)
    if len(np.unique(people.track_ids)) != len(people):
        raise ValueError(f"track_ids of one frame must differ, got {people.track_ids.tolist()}")
    return people.track_ids


def frame_times(
    count: int, times: Sequence[float] | Array | None, fps: float
) -> npt.NDArray[np.float64]:
    """Check time stamps, or make them from a frame rate.

    Returns:
        float64 [count], seconds, rising.

    Raises:
        ValueError: not one time a frame, times that do not rise, or a rate of 0 or less.
    """
    if times is None:
        if not (np.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be above 0, got {fps}")
        return np.arange(count) / fps
    found = np.asarray(times, np.float64)
    if found.shape != (count,):
        raise ValueError(f"times must hold one number a frame ({count}), got {list(found.shape)}")
    if not (np.isfinite(found).all() and (np.diff(found) > 0).all()):
        raise ValueError("times must rise from frame to frame; sort frames and drop doubles")
    return found


def split_tracks(frames: Sequence[People], cuts: Iterable[int] = ()) -> list[Track]:
    """Collect everybody's frames; a cut ends all tracks.

    Args:
        frames: the sequence.
        cuts: numbers of frames that begin a new shot.

    Returns:
        one track for each person and shot, from the first to the last frame that they are in.

    Raises:
        ValueError: see `track_ids`.
    """
    starts = np.array(sorted({0, *(int(c) for c in cuts)}), np.int64)
    where: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for number, people in enumerate(frames):
        shot = int(np.searchsorted(starts, number, side="right"))
        for index, identity in enumerate(track_ids(people).tolist()):
            where.setdefault((shot, identity), []).append((number, index))
    tracks = []
    for (_, identity), places in where.items():
        first, last = places[0][0], places[-1][0]
        count = last - first + 1
        track = Track(
            identity,
            np.arange(first, last + 1),
            np.zeros((count, NUM_KEYPOINTS, 2)),
            np.zeros((count, NUM_KEYPOINTS)),
            np.zeros((count, 5)),
            np.zeros(count, bool),
        )
        for number, index in places:
            row, people = number - first, frames[number]
            track.keypoints[row] = people.keypoints[index]
            track.scores[row] = people.scores[index]
            track.boxes[row, :4] = people.boxes.xyxy[index]
            track.boxes[row, 4] = people.boxes.scores[index]
            track.present[row] = True
        tracks.append(track)
    return tracks


def join_tracks(
    frames: Sequence[People], tracks: Sequence[Track], *marks: Sequence[Array]
) -> tuple[list[People], list[list[npt.NDArray[np.bool_]]]]:
    """Put tracks back into frames.

    People keep their order in a frame; who was not there before comes after the others.

    Args:
        frames: the sequence that the tracks were split from.
        tracks: the tracks; rows that are not present are left out.
        marks: for each track bool [T, 133], any number of such lists.

    Returns:
        the new sequence, everybody with a track id, and the marks as lists of bool [P, 133].
    """
    rows: list[list[tuple[int, int]]] = [[] for _ in frames]
    for number, track in enumerate(tracks):
        for row in np.flatnonzero(track.present).tolist():
            rows[int(track.frames[row])].append((number, row))
    people, split = [], [[] for _ in marks]
    for frame, members in zip(frames, rows, strict=True):
        order = {identity: i for i, identity in enumerate(track_ids(frame).tolist())}
        members.sort(key=lambda m: order.get(tracks[m[0]].id, len(order)))
        picked = [(tracks[number], row) for number, row in members]
        boxes = np.array([t.boxes[row] for t, row in picked]).reshape(-1, 5)
        people.append(
            People(
                np.array([t.keypoints[row] for t, row in picked]),
                np.array([t.scores[row] for t, row in picked]),
                Boxes(boxes[:, :4], boxes[:, 4]),
                frame.image_hw,
                np.array([t.id for t, _ in picked], np.int64),
            )
        )
        for out, mark in zip(split, marks, strict=True):
            chosen = [mark[number][row] for number, row in members]
            out.append(np.array(chosen, bool).reshape(-1, NUM_KEYPOINTS))
    return people, split


def empty_runs(known: npt.NDArray[np.bool_]) -> Array:
    """Length of the run of false entries along axis 0 that each false entry lies in.

    Runs that touch the first or the last row count as endless: there is nothing on one side.

    Args:
        known: bool [T, ...].

    Returns:
        int64 of the same shape, 0 where known, T + 1 for endless runs.
    """
    count = len(known)
    shape = (count,) + (1,) * (known.ndim - 1)
    row = np.arange(count).reshape(shape)
    before = np.maximum.accumulate(np.where(known, row, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, row, count)[::-1], axis=0)[::-1]
    length = np.where((before < 0) | (after >= count), count + 1, after - before - 1)
    return np.where(known, 0, length)
