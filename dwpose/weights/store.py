"""Finds and checks the model files that are on this machine; never touches the network.

Every file is checked against its sha256 before it is used. One whose checksum nobody published
is trusted on first use: its checksum goes into a small JSON beside it and is held to from then
on.

Environment: ``DWPOSE_MODELS`` (folder), ``HF_HOME``, ``HF_HUB_CACHE``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from ..errors import WeightsError
from .catalogue import ModelEntry
from .disk import file_in_the_way
from .transfer import CHUNK_BYTES, Report

Folder = str | PathLike[str] | None

RECORD_SUFFIX = ".json"
"""Appended to a model file's name: the record of its checksum."""


@dataclass(frozen=True)
class FileState:
    """What is known about one model file on this machine.

    Attributes:
        entry: Its catalogue entry.
        path: Where it lies, or None.
        state: "absent"; "present" (not hashed now); "ok" (hashed, equals the published
            checksum); "recorded" (hashed, equals the checksum of its first use); "wrong".
        detail: One sentence.
    """

    entry: ModelEntry
    path: Path | None
    state: Literal["absent", "present", "ok", "recorded", "wrong"]
    detail: str


def default_folder() -> Path:
    """Where models lie unless the caller says otherwise.

    ``DWPOSE_MODELS``, else ``dwpose`` inside ``HF_HOME``, else inside the user's cache folder.
    """
    if folder := os.environ.get("DWPOSE_MODELS"):
        return Path(folder).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "dwpose"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).expanduser() / "dwpose"


def models_folder(folder: Folder = None) -> Path:
    """The given folder, or the default one."""
    return default_folder() if folder is None else Path(folder).expanduser()


def builtin_path(entry: ModelEntry) -> Path:
    """Where a file that ships with the package lies; it may be missing from a source tree."""
    from importlib.resources import files

    assert __package__ is not None
    # The package is always unpacked on disk (torch and ONNX Runtime need real files too).
    return Path(str(files(__package__) / "builtin" / entry.name))


def locate(entry: ModelEntry, folder: Folder = None) -> Path | None:
    """Find a model file on this machine; the network is never touched.

    It may lie in the models folder, there under its repository's name (as other tools keep it),
    or in huggingface_hub's own cache.

    Args:
        entry: What to look for.
        folder: Models folder; None means `default_folder`.

    Returns:
        Its path, or None. A file of the wrong size counts as absent.
    """
    if entry.builtin:
        path = builtin_path(entry)
        return path if path.is_file() else None
    return next((p for p in _lying(entry, folder) if _right_size(entry, p)), None)


def misfit(entry: ModelEntry, folder: Folder = None) -> str:
    """What is wrong with a file that lies where this one should and has another size.

    Such a file, most often one whose copying was cut off, counts as absent.

    Args:
        entry: What to look for.
        folder: Models folder; None means `default_folder`.

    Returns:
        A sentence without its full stop, or "" where the right file or none is here.
    """
    found = state(entry, folder)
    if entry.builtin or found.state != "wrong" or locate(entry, folder) is not None:
        return ""
    return f"{found.path} is not {entry.id}: {found.detail}"


def _right_size(entry: ModelEntry, path: Path) -> bool:
    return entry.bytes in (None, path.stat().st_size)


def _lying(entry: ModelEntry, folder: Folder) -> list[Path]:
    """Files in the places of one that does not ship with the package, of whatever size."""
    home = models_folder(folder)
    places = [home / entry.name]
    if entry.repo and entry.member is None:
        places += [home / entry.repo / entry.filename, _in_hub_cache(entry)]
    # Unlike Path.is_file, this takes a folder that may not be looked into for an empty one.
    return [path for path in places if os.path.isfile(path)]


def _in_hub_cache(entry: ModelEntry) -> Path:
    cache = os.environ.get("HF_HUB_CACHE") or (
        Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
    )
    # The layout of huggingface_hub's cache; looked at directly, for importing it takes half a
    # second and it is not needed when the file is here.
    home = Path(cache).expanduser() / f"models--{str(entry.repo).replace('/', '--')}"
    revision = str(entry.revision)
    with contextlib.suppress(OSError):
        revision = (home / "refs" / revision).read_text(encoding="utf-8").strip()
    return home / "snapshots" / revision / entry.filename


def sha256_of(path: Path, report: Report | None = None) -> str:
    """Checksum of a file, as 64 hex digits."""
    digest = hashlib.sha256()
    done, total = 0, path.stat().st_size
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES * 4):
            digest.update(chunk)
            done += len(chunk)
            if report is not None:
                report(done, total)
    return digest.hexdigest()


def record_path(path: Path) -> Path:
    """Where the record of a model file lies."""
    return path.with_name(path.name + RECORD_SUFFIX)


def read_record(path: Path) -> dict[str, Any]:
    """The record of a model file, empty where there is none."""
    try:
        record = json.loads(record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(path: Path, entry: ModelEntry, sha256: str, source: str) -> None:
    """Write down what a model file is.

    Args:
        path: The file.
        entry: What it should be.
        sha256: Its checksum.
        source: Where it came from.
    """
    if entry.builtin or "snapshots" in path.parts:
        return  # the package itself and huggingface_hub's cache are not to be written into
    status = path.stat()
    record = {
        "id": entry.id,
        "source": source,
        "revision": entry.revision,
        "sha256": sha256,
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "trust": "published checksum" if entry.sha256 else "first use",
    }
    part = record_path(path).with_name(f"{record_path(path).name}.{os.getpid()}.part")
    # A folder that cannot be written to (a shared installation) only costs hashing every time.
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(record, indent=1), encoding="utf-8")
        part.replace(record_path(path))


def check(entry: ModelEntry, path: Path, *, again: bool = False) -> FileState:
    """Check a file against its published checksum, or against that of its first use.

    A file whose size and time have not changed since it was last hashed is not hashed again.

    Args:
        entry: What the file should be.
        path: The file.
        again: Hash it in any case.

    Raises:
        WeightsError: It is another file, or may not be read.
    """
    if entry.builtin and not again:
        return FileState(entry, path, "ok", "ships with the package")
    record = read_record(path)
    wanted = entry.sha256 or record.get("sha256")
    status = path.stat()
    known: Literal["ok", "recorded"] = "ok" if entry.sha256 else "recorded"
    same = (record.get("bytes"), record.get("mtime_ns")) == (status.st_size, status.st_mtime_ns)
    if same and record.get("sha256") == wanted and not again:
        return FileState(entry, path, known, "unchanged since it was last checked")
    try:
        actual = sha256_of(path)
    except PermissionError as error:
        raise WeightsError(
            f"{path} may not be read; give the user who runs this the right to, or delete it."
        ) from error
    if wanted is not None and actual != wanted:
        raise WeightsError(_wrong(entry, path, actual, wanted))
    write_record(path, entry, actual, str(record.get("source", entry.source)))
    detail = "equals the published checksum" if entry.sha256 else "equals its first use"
    return FileState(entry, path, known, detail)


def _wrong(entry: ModelEntry, path: Path, actual: str, wanted: str) -> str:
    meant = "the published one" if entry.sha256 else f"that in {record_path(path).name}"
    return (
        f"{path} is not {entry.id}: its sha256 {actual[:12]}... differs from {meant} "
        f"({wanted[:12]}...). Delete it and run `dwpose models fetch {entry.id}`."
    )


def state(entry: ModelEntry, folder: Folder = None) -> FileState:
    """What is known about a model file without hashing it."""
    path = locate(entry, folder)
    if path is None:
        if not entry.builtin and (lying := _lying(entry, folder)):
            size = lying[0].stat().st_size
            return FileState(entry, lying[0], "wrong", f"{size} bytes instead of {entry.bytes}")
        part = models_folder(folder) / f"{entry.name}.part"
        if os.path.isfile(part):
            return FileState(
                entry, None, "absent", f"{part.stat().st_size / 1e6:.0f} MB of it have arrived"
            )
        return FileState(entry, None, "absent", "not on this machine")
    record = read_record(path)
    status = path.stat()
    if (record.get("bytes"), record.get("mtime_ns")) == (status.st_size, status.st_mtime_ns):
        good = record.get("sha256")
        if entry.sha256 in (None, good):
            return FileState(entry, path, "ok" if entry.sha256 else "recorded", "checked before")
        return FileState(entry, path, "wrong", "its recorded checksum is another one")
    return FileState(entry, path, "present", "checked when it is first used")


def verify(entry: ModelEntry, folder: Folder = None) -> FileState:
    """Hash a model file that is here and say whether it is right; never raises for a wrong one."""
    found = state(entry, folder)
    if found.path is None or found.state == "wrong":
        return found
    try:
        return check(entry, found.path, again=True)
    except WeightsError as error:
        return FileState(entry, found.path, "wrong", str(error))


def absent_message(entry: ModelEntry, folder: Folder = None, offline: bool = False) -> str:
    """One sentence on a model file that is not here and will not be fetched.

    Args:
        entry: What is not here.
        folder: Models folder; None means `default_folder`.
        offline: It was to be fetched, but the environment forbids the network.
    """
    if entry.builtin:
        return (
            f"{entry.name} is missing from this installation; install the package again, or use "
            "another model such as dw-ll-384."
        )
    where = models_folder(folder)
    named = " (DWPOSE_MODELS)" if folder is None and os.environ.get("DWPOSE_MODELS") else ""
    if (file := file_in_the_way(where)) is not None:
        but = "it is a file" if file == where else f"{file} is a file"
        return f"the models folder {where}{named} is no folder: {but}; name another."
    what, bring = misfit(entry, folder), f"run `dwpose models fetch {entry.id}`"
    if what:
        bring = f"delete it and {bring}"
    else:
        # The usual folder is made by the first download; one with another name may be a slip.
        usual = folder is None and not named
        missing = "" if usual or os.path.isdir(where) else ", which does not exist"
        what = f"{entry.id} is not in {where}{named}{missing}"
    if offline:
        what, bring = f"HF_HUB_OFFLINE forbids the network, and {what}", "unset HF_HUB_OFFLINE"
    return f"{what}; {bring}, or copy {entry.name} from {entry.source} into that folder."
