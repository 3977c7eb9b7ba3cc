"""A compact copy of what was read from a large label file, kept beside it.

The labels of COCO-WholeBody alone are 0.8 GB of JSON: half a minute and several gigabytes of memory
in each process that trains. Their columns take a fifth of that, and a second. The copy is a hidden
file, made anew when the label file or the choice of pictures changes; where the folder cannot be
written, everything works without it.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from ...io.atomic import write_atomically
from .labels import LabelledPeople

log = logging.getLogger("dwpose")

_VERSION: Final = 2
_COLUMNS: Final = ("image_ids", "image_index", "ids", "boxes", "keypoints", "visible")


def index_file(labels: Path, part: str) -> Path:
    """Return where the copy of a part of a label file lies."""
    return labels.with_name(f".{labels.stem}.{part}.npz")


def read_indexed(
    labels: Path,
    part: str,
    choice: object,
    read: Callable[[], LabelledPeople],
    locate: Callable[[str], Path],
) -> LabelledPeople:
    """Read people from the copy, else from the label file, and then write the copy.

    Args:
        labels: the label file.
        part: names the copy; a letter, digit or dash each.
        choice: what `read` depends on beside the file, as JSON can write it.
        read: reads the label file; its `files` are the names that stand there.
        locate: from such a name to the file.

    Raises:
        FileNotFoundError, ValueError: as `read` does.
    """
    path = index_file(labels, part)
    key = None
    if labels.is_file():
        state = labels.stat()
        key = json.dumps([_VERSION, state.st_size, state.st_mtime_ns, choice])
    people = _load(path, key)
    if people is None:
        people = read()
        _save(path, key, people)
    return replace(people, files=tuple(locate(file.as_posix()) for file in people.files))


def _load(path: Path, key: str | None) -> LabelledPeople | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            meta = json.loads(str(archive["meta"]))
            if meta["key"] != key:
                return None
            columns = {name: archive[name] for name in _COLUMNS}
        files = tuple(map(Path, meta["files"]))
        facts = {name: meta[name] for name in ("name", "source", "dropped")}
        return LabelledPeople(files=files, **facts, **columns)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _save(path: Path, key: str | None, people: LabelledPeople) -> None:
    meta = {
        "key": key,
        "name": people.name,
        "source": people.source,
        "dropped": dict(people.dropped),
        "files": [file.as_posix() for file in people.files],
    }
    content = io.BytesIO()
    columns = {name: getattr(people, name) for name in _COLUMNS}
    np.savez(content, meta=np.array(json.dumps(meta)), **columns)
    try:
        write_atomically(path, content.getvalue())
    except OSError as error:
        log.debug("%s is not written: %s", path, error)
