"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file through a temporary neighbour, so that nobody ever reads half of it.

    Args:
        path: where the file shall be; missing folders are made, an older file is replaced.
        content: its bytes.

    Returns:
        The path.

    Raises:
        OSError: the folder or the file cannot be written; nothing is left behind.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The name stays short: a name near the file system's limit must not fail by our suffix.
    temporary = target.parent / f".{os.getpid()}-{os.urandom(6).hex()}.tmp"
    try:
        # Plain open and not tempfile: the user's umask shall decide who may read the file.
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return target


def temporary_beside(path: Path, ending: str) -> Path:
    """Return a new name beside a result that is written bit by bit; see `remove_strays`."""
    return path.with_name(f"{_stray_start(path)}{os.getpid()}-{os.urandom(4).hex()}{ending}")


def remove_strays(path: Path, ending: str) -> None:
    """Delete what killed processes left of a result's temporary files, now that it is whole."""
    for stray in path.parent.glob(f"{_stray_start(path)}*{ending}"):
        with contextlib.suppress(OSError):
            stray.unlink()


def _stray_start(path: Path) -> str:
    # Short, whatever the name: see `write_atomically`.
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}-"


def check_place(
    path: str | os.PathLike[str],
    source: Path | None = None,
    is_folder: bool = False,
) -> None:
    """Refuse a place where a result could not be written.

    Args:
        path: the file or folder to be; folders above it need not be there yet.
        source: what is read, and so must not be overwritten.
        is_folder: it is to be a folder.

    Raises:
        ValueError: it is the source, is a folder instead of a file or the other way round, is a
            device or the like, or its folder cannot be written.
    """
    target = Path(path)
    if source is not None and target.resolve() == source.resolve():
        raise ValueError(f"the result would overwrite {target}, which is to be read; give another")
    if target.is_dir() and not is_folder:
        raise ValueError(f"{target} is a folder; give the name of a file")
    if target.exists() and is_folder and not target.is_dir():
        raise ValueError(f"{target} is a file; give the name of a folder, or of a film")
    whole = target.absolute()
    # What is written is put there whole, in the place of what has the name: of a device, say.
    if target.exists() and (whole.parent == Path("/dev") or not (is_folder or target.is_file())):
        raise ValueError(f"{target} is no ordinary file; give the name of one")
    above = next(
        p for p in (whole if whole.is_dir() else whole.parent, *whole.parents) if p.exists()
    )
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ValueError(f"nothing can be written in {above}; give another place for {target.name}")
