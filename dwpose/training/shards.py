"""Folders of shards: pictures that are read by memory map, and what is known of them.

A shard is two files with one stem: ``NAME.PICTURES.npy`` and ``NAME.LABELS.npz``, where the two
words are those of the kind of folder. The pictures are renamed into place last, so a shard that
was cut off is never seen.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..io.atomic import write_atomically


def save_shard(
    folder: Path,
    name: str,
    kinds: tuple[str, str],
    pictures: npt.NDArray[np.uint8],
    **labels: npt.NDArray[Any],
) -> None:
    """Add a shard; half-written files are never left under the final names.

    Args:
        folder: made when absent.
        name: stem of the shard's files.
        kinds: the words in the names of the pictures' file and the labels' file.
        pictures: uint8.
        **labels: arrays by name.
    """
    about, pixels = io.BytesIO(), io.BytesIO()
    np.savez(about, **labels)  # pyright: ignore[reportArgumentType]
    np.save(pixels, pictures)
    write_atomically(folder / f"{name}.{kinds[1]}.npz", about.getvalue())
    write_atomically(folder / f"{name}.{kinds[0]}.npy", pixels.getvalue())


def rendered_at_once(folder: Path, kinds: tuple[str, str]) -> int | None:
    """Return how many were rendered at once for a folder's first shard, where it says so.

    Random numbers are drawn for so many together: another number gives other pictures.
    """
    for path in sorted(folder.glob(f"*.{kinds[1]}.npz"))[:1]:
        with np.load(path) as labels:
            return int(labels["at_once"]) if "at_once" in labels else None
    return None


def open_shards(
    folder: Path, kinds: tuple[str, str], missing: str
) -> tuple[list[npt.NDArray[np.uint8]], list[Any]]:
    """Open all shards of a folder, by name.

    Args:
        folder: holds them.
        kinds: see `save_shard`.
        missing: what to say where there is none.

    Returns:
        the pictures of each, as memory maps, and the labels of each, by name.

    Raises:
        FileNotFoundError: there is none.
    """
    paths = sorted(folder.glob(f"*.{kinds[0]}.npy"))
    if not paths:
        raise FileNotFoundError(missing)
    ending = f".{kinds[0]}.npy"
    labels = [path.with_name(f"{path.name.removesuffix(ending)}.{kinds[1]}.npz") for path in paths]
    return [np.load(path, mmap_mode="r") for path in paths], [np.load(path) for path in labels]
