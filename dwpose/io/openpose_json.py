"""POSE_KEYPOINT / OpenPose JSON, out and in.

`to_pose_keypoint` writes what every peer can read (one object per frame, pixels, zero-filled
lists, c of 0 or 1) and keeps the rest under one extra key, so that `from_pose_keypoint` gives
back the very same `People`. The format is described by ``schemas/pose_keypoint.schema.json``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..skeleton import NUM_KEYPOINTS
from ..types import DEFAULT_THRESHOLD, People
from .atomic import write_atomically
from .openpose_layout import (
    CONFIDENCES,
    EXTRA_KEY,
    EXTRA_VERSION,
    Confidence,
    person_lists,
    shortest_decimals,
    shown_points,
)
from .openpose_read import from_pose_keypoint, parse_json
from .ticking import Tick, ticking

__all__ = [
    "from_pose_keypoint",
    "load",
    "load_documents",
    "read_documents",
    "save",
    "schema",
    "to_pose_keypoint",
]

# OpenPose names one file per frame so: NAME_000000000012_keypoints.json.
_SUFFIX: Final = "_keypoints.json"


def to_pose_keypoint(
    people: People | Iterable[People],
    *,
    confidence: Confidence = "binary",
    threshold: float = DEFAULT_THRESHOLD,
    extra: bool = True,
    on_frame: Tick = None,
) -> list[dict[str, Any]]:
    """Describe people as POSE_KEYPOINT: a list of one dict per frame.

    Each is ``{"people": [...], "canvas_height": H, "canvas_width": W}``; each person has
    ``pose_keypoints_2d`` (18 points, OpenPose order, with a neck), ``face_keypoints_2d`` (68
    points and, as pupils, the body's right and left eye), ``hand_left_keypoints_2d``,
    ``hand_right_keypoints_2d`` (21 each) and ``foot_keypoints_2d`` (6: left big toe, small toe,
    heel, then right), flat ``x, y, c`` in pixels. Points that are not shown are 0, 0, 0; no list
    is ever null. Peers drop points with c < 1 or crash on null, hence these defaults.

    Args:
        people: one frame or several.
        confidence: "binary" writes c = 1 for every shown point; "score" writes its score clipped
            to 0..1 (ControlNet's preprocessors would then draw nothing).
        threshold: raw score that a point needs to be shown in the plain lists.
        extra: keep everything (all 133 points at full precision with raw scores, box, id) under
            the key "dwpose" of each person, see `openpose_extra`. Numbers that are not finite
            become null there, and NaN when read again.
        on_frame: called before each frame; what it raises ends the work and reaches the caller.

    Raises:
        TypeError: people are not People.
        ValueError: confidence is unknown or threshold not finite.
    """
    if confidence not in CONFIDENCES:
        raise ValueError(f"confidence must be one of {CONFIDENCES}, got {confidence!r}")
    if not np.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number, got {threshold}")
    frames = [people] if isinstance(people, People) else list(people)
    for frame in frames:
        if not isinstance(frame, People):
            raise TypeError(f"people must be People or several of them, got {type(frame).__name__}")
    threshold = float(threshold)
    return [_frame(frame, confidence, threshold, extra) for frame in ticking(frames, on_frame)]


def _frame(people: People, confidence: Confidence, threshold: float, extra: bool) -> dict[str, Any]:
    points, c = shown_points(people.keypoints, people.scores, threshold, confidence)
    points_out, c_out = shortest_decimals(points), shortest_decimals(c)
    persons: list[dict[str, Any]] = [
        dict(person_lists(points_out[i], c_out[i])) for i in range(len(people))
    ]
    height, width = people.image_hw
    if extra:
        full = np.concatenate([people.keypoints, people.scores[..., None]], axis=-1)
        full_out = shortest_decimals(full).reshape(len(people), 3 * NUM_KEYPOINTS)
        boxes = np.concatenate([people.boxes.xyxy, people.boxes.scores[:, None]], axis=1)
        boxes_out = shortest_decimals(boxes)
        for i, person in enumerate(persons):
            person[EXTRA_KEY] = {
                "version": EXTRA_VERSION,
                "keypoints": _nullable(full_out[i]),
                "box": _nullable(boxes_out[i]),
                "id": None if people.track_ids is None else int(people.track_ids[i]),
                "image_hw": [height, width],
                "threshold": threshold,
                "confidence": confidence,
            }
    return {"people": persons, "canvas_height": height, "canvas_width": width}


def _nullable(values: npt.NDArray[np.float64]) -> list[float | None]:
    listed: list[float | None] = values.tolist()
    if np.isfinite(values).all():
        return listed
    return [v if ok else None for v, ok in zip(listed, np.isfinite(values), strict=True)]


def save(
    people: People | Iterable[People],
    path: str | os.PathLike[str],
    *,
    per_frame: bool = False,
    indent: int | None = None,
    confidence: Confidence = "binary",
    threshold: float = DEFAULT_THRESHOLD,
    extra: bool = True,
    on_frame: Tick = None,
) -> list[Path]:
    """Write people to one file, or one file per frame; never half a file.

    Args:
        people: one frame or several.
        path: the file: a list of frames. With `per_frame`, ``DIR/NAME.json`` or ``DIR/NAME``
            gives ``DIR/NAME_000000000000_keypoints.json`` and so on, one object each, as
            OpenPose names and writes them.
        per_frame: one file per frame.
        indent: spaces to indent with; None writes the shortest text.
        confidence: see `to_pose_keypoint`.
        threshold: see `to_pose_keypoint`.
        extra: see `to_pose_keypoint`.
        on_frame: see `to_pose_keypoint`; called again as each frame is written. What ends the
            work leaves no half file, but with `per_frame` the files of earlier frames.

    Returns:
        the files written, in order.

    Raises:
        TypeError, ValueError: see `to_pose_keypoint`.
        OSError: a file cannot be written.
    """
    frames = to_pose_keypoint(
        people, confidence=confidence, threshold=threshold, extra=extra, on_frame=on_frame
    )
    target = Path(path)
    if not per_frame:
        return [write_atomically(target, _encode_list(frames, indent, on_frame))]
    stem = target.name.removesuffix(".json")
    return [
        write_atomically(target.with_name(f"{stem}_{i:012d}{_SUFFIX}"), _encode(frame, indent))
        for i, frame in enumerate(ticking(frames, on_frame))
    ]


def _encode_list(frames: list[dict[str, Any]], indent: int | None, on_frame: Tick) -> bytes:
    if indent is not None:
        return _encode(frames, indent)
    return b"[" + b",".join(_encode(frame, None) for frame in ticking(frames, on_frame)) + b"]"


def _encode(document: Any, indent: int | None) -> bytes:
    separators = (",", ":") if indent is None else None
    return json.dumps(document, indent=indent, separators=separators, allow_nan=False).encode()


def load(
    path: str | os.PathLike[str],
    *,
    canvas_hw: tuple[int, int] | None = None,
    normalized: bool | None = None,
    swap_hands: bool = False,
    on_frame: Tick = None,
) -> list[People]:
    """Read people from a file of POSE_KEYPOINT or OpenPose JSON, or a folder of such files.

    Args:
        path: a file, or a folder with one ``*_keypoints.json`` (else ``*.json``) per frame, read
            in the order of the numbers in their names.
        canvas_hw: see `from_pose_keypoint`; OpenPose's own files need it.
        normalized: see `from_pose_keypoint`.
        swap_hands: see `from_pose_keypoint`.
        on_frame: see `from_pose_keypoint`; called for each file, too.

    Returns:
        one People per frame.

    Raises:
        FileNotFoundError: there is no such file, or no JSON file in the folder.
        TypeError, ValueError: see `from_pose_keypoint`; the message names the file.
    """
    return read_documents(
        load_documents(path, on_frame=on_frame),
        canvas_hw=canvas_hw,
        normalized=normalized,
        swap_hands=swap_hands,
        on_frame=on_frame,
    )


def load_documents(path: str | os.PathLike[str], *, on_frame: Tick = None) -> dict[str, Any]:
    """Parse a JSON file, or those of a folder that `load` reads, and look no further.

    Args:
        path: see `load`.
        on_frame: see `load`.

    Returns:
        what each file holds, by its name, in the order of frames.

    Raises:
        FileNotFoundError: there is no such file, or no JSON file in the folder.
        ValueError: a file is not JSON; the message names it.
    """
    source = Path(path)
    files = [source]
    if source.is_dir():
        files = [*source.glob(f"*{_SUFFIX}")] or [*source.glob("*.json")]
        files = sorted((file for file in files if file.name[0] != "."), key=_by_number)
        if not files:
            raise FileNotFoundError(f"no JSON file in the folder {source}")
    documents: dict[str, Any] = {}
    for file in ticking(files, on_frame):
        try:
            documents[file.name] = parse_json(file.read_bytes(), on_frame)
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}; choose a JSON file") from error
    return documents


def read_documents(
    documents: Mapping[str, Any],
    *,
    canvas_hw: tuple[int, int] | None = None,
    normalized: bool | None = None,
    swap_hands: bool = False,
    on_frame: Tick = None,
) -> list[People]:
    """Read people from what `load_documents` returned; the same as `load` of the files.

    Raises:
        TypeError, ValueError: see `from_pose_keypoint`; the message names the file at fault.
    """
    alone = len(documents) == 1
    try:
        return from_pose_keypoint(
            next(iter(documents.values())) if alone else [*documents.values()],
            canvas_hw=canvas_hw,
            normalized=normalized,
            swap_hands=swap_hands,
            on_frame=on_frame,
        )
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        name, reason = _file_at_fault(documents, on_frame) or (next(iter(documents)), error)
        raise kind(f"{name}: {reason}") from error


def _file_at_fault(documents: Mapping[str, Any], on_frame: Tick) -> tuple[str, Exception] | None:
    """Name the first file that cannot be read alone, whatever its picture's size, and why."""
    for name, document in documents.items():
        try:
            from_pose_keypoint(document, canvas_hw=(1, 1), on_frame=on_frame)
        except (TypeError, ValueError) as error:
            return name, error
    return None


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort frame_2 before frame_10."""
    pieces = re.split(r"(\d+)", path.name)
    return [(int(s), "") if s.isdecimal() else (0, s) for s in pieces]


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that everything `to_pose_keypoint` writes fulfils."""
    path = Path(__file__).resolve().parents[1] / "schemas" / "pose_keypoint.schema.json"
    return json.loads(path.read_text(encoding="utf-8"))
