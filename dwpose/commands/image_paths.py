"""Which pictures `dwpose image` reads, and what it calls the files it writes."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

# Only folders are filtered by these: a file that is named is opened whatever its ending.
ENDINGS = frozenset(
    [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jfif", ".avif"]
)


# What the results of x.jpg are called: x_pose.png and so on.
MAP_SUFFIX = "_pose.png"
OVERLAY_SUFFIX = "_overlay.png"


@dataclass(frozen=True)
class Source:
    """One picture to read.

    Args:
        path: where it is.
        relative: where its results go below the output folder, without an ending; for a picture
            found in a folder this repeats the subfolders.
    """

    path: Path
    relative: Path


def collect(
    patterns: Iterable[str], recursive: bool, output: Path | None = None
) -> tuple[list[Source], list[str]]:
    """Find the pictures that files, folders and glob patterns stand for.

    Args:
        patterns: the words of the command line. One that exists is taken literally, even when it
            holds brackets; otherwise `*`, `?`, `[..]` and `**` are expanded here, because some
            shells leave that to the program.
        recursive: take the pictures of a folder's subfolders too.
        output: the output folder; earlier results in it are not taken for pictures when a
            folder is searched or a pattern expanded.

    Returns:
        the pictures, each once, in the order given and by name within a folder; and the patterns
        that stand for nothing.
    """
    sources: list[Source] = []
    missing: list[str] = []
    for pattern in patterns:
        path = Path(pattern)
        # By os.path, which takes a name too long for the system for one that is not there.
        if os.path.isdir(path):
            sources += _of_folder(path, recursive, output)
        elif os.path.exists(path) or not glob.has_magic(pattern):
            sources.append(Source(path, Path(path.stem)))
        else:
            matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
            files = [m for m in matches if m.is_file() and not _is_result(m, output)]
            if not files:
                missing.append(pattern)
            sources += [Source(match, Path(match.stem)) for match in files]
    seen: set[Path] = set()
    unique: list[Source] = []
    for source in sources:
        key = source.path.parent.resolve() / source.path.name  # a link is a picture of its own
        if key not in seen:
            seen.add(key)
            unique.append(source)
    return unique, missing


def _of_folder(folder: Path, recursive: bool, output: Path | None) -> list[Source]:
    found = sorted(folder.rglob("*") if recursive else folder.iterdir())
    kept = [
        path
        for path in found
        if path.suffix.lower() in ENDINGS
        and not path.name.startswith(".")
        and path.is_file()
        and not _is_result(path, output)
    ]
    return [Source(path, path.relative_to(folder).with_suffix("")) for path in kept]


def _is_result(path: Path, output: Path | None) -> bool:
    named = path.name.endswith((MAP_SUFFIX, OVERLAY_SUFFIX))
    return named and output is not None and path.resolve().is_relative_to(output.resolve())


def output_stems(sources: list[Source], folder: Path) -> list[Path]:
    """Name the results of each picture so that none overwrites another's.

    A name that only one picture has stays as it is. Pictures that share one (`a/x.jpg` and
    `b/x.jpg`, or `x.jpg` and `x.png`) take their folder's name in front, then their ending behind,
    and only then a number, so that what a result is called does not depend on the order.

    Args:
        sources: the pictures.
        folder: the output folder.

    Returns:
        for each picture the path of its results without an ending.
    """
    names = [source.relative for source in sources]
    steps: tuple[Callable[[Source, Path], str], ...] = (
        lambda source, name: f"{source.path.parent.resolve().name}_{name.name}",
        lambda source, name: f"{name.name}_{source.path.suffix[1:].lower()}",
    )
    for rename in steps:
        counts = Counter(_key(name) for name in names)
        names = [
            name.with_name(rename(source, name)) if counts[_key(name)] > 1 else name
            for source, name in zip(sources, names, strict=True)
        ]
    taken: set[str] = set()
    unique: list[Path] = []
    for name in names:
        candidate, number = name, 2
        while _key(candidate) in taken:
            candidate = name.with_name(f"{name.name}_{number}")
            number += 1
        taken.add(_key(candidate))
        unique.append(folder / candidate)
    return unique


def _key(name: Path) -> str:
    # Windows and macOS take X.png and x.png for one file.
    return name.as_posix().casefold()
