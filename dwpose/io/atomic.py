"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
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
