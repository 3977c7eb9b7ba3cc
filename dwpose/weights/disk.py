"""Sentences for disks and folders that a model file cannot be written to."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import WeightsError

# A caller knows which of them is his; what is true for one would send the others astray.
_ELSEWHERE = (
    "choose another models folder (in ComfyUI under dwpose in extra_model_paths.yaml, elsewhere "
    "by DWPOSE_MODELS or --models-folder)"
)


class DiskError(WeightsError):
    """A full disk or a folder that cannot be written to; no other source would help."""


def disk_full(path: Path, need: int | None = None) -> DiskError:
    """The error for a full disk.

    Args:
        path: Folder that is full.
        need: Bytes that are missing, if known.
    """
    more = f" (it takes {need / 1e6:.0f} MB)" if need else ""
    return DiskError(f"the disk holding {path} is full{more}; free some space, or {_ELSEWHERE}.")


@contextlib.contextmanager
def disk_errors(folder: Path, leftovers: Path | None = None) -> Iterator[None]:
    """Turn a full disk, a missing right to write and a folder that is none into sentences.

    Args:
        folder: Folder that is written to.
        leftovers: File to remove when the disk is full, so that it does not fill it.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if leftovers is not None:
                leftovers.unlink(missing_ok=True)
            raise disk_full(folder) from error
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            raise DiskError(f"{folder} cannot be written to; {_ELSEWHERE}.") from error
        if (file := file_in_the_way(folder)) is not None:
            but = "it is a file" if file == folder else f"{file} is a file"
            raise DiskError(f"{folder} is no folder: {but}; {_ELSEWHERE}.") from error
        raise


def file_in_the_way(folder: Path) -> Path | None:
    """The path, or the one above it, that is a file, so that this cannot be a folder."""
    return next((path for path in (folder, *folder.parents) if os.path.isfile(path)), None)
