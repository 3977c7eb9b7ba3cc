"""Fetches model files that are not on this machine.

Addresses and tokens come from huggingface_hub; the bytes are moved by `dwpose.weights.transfer`,
because hf_hub_download of 1.0 and later throws an interrupted download away, and its retries
differ between versions. A file appears under its name only when it is whole and its sha256 is
right.

Environment: ``HF_ENDPOINT`` (mirror), ``HF_TOKEN``, ``HF_HUB_OFFLINE``, the usual proxy variables,
and those of `dwpose.weights.store`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import WeightsError
from .catalogue import ModelEntry
from .disk import DiskError, disk_errors
from .store import (
    FileState,
    Folder,
    absent_message,
    check,
    default_folder,
    locate,
    misfit,
    models_folder,
    read_record,
    sha256_of,
    state,
    verify,
    write_record,
)
from .transfer import (
    CHUNK_BYTES,
    COMMIT_HEADER,
    SIZE_HEADER,
    TAG_HEADER,
    Patience,
    Report,
    download,
    mark_of,
    probe,
    silent,
)
from .waiting import ASK_EVERY_S

logger = logging.getLogger("dwpose")

Progress = bool | Report

__all__ = [
    "FileState",
    "Patience",
    "absent_message",
    "check",
    "default_folder",
    "fetch",
    "locate",
    "models_folder",
    "offline",
    "state",
    "verify",
]


def offline() -> bool:
    """Whether the environment forbids the network (``HF_HUB_OFFLINE``)."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE")


def fetch(
    entry: ModelEntry,
    folder: Folder = None,
    progress: Progress = True,
    patience: Patience | None = None,
) -> Path:
    """Bring a model file here, unless it is here already.

    Args:
        entry: What to bring.
        folder: Models folder; None means `default_folder`.
        progress: True for a bar on the error stream, or a function of bytes done and bytes in
            all.
        patience: How long to try.

    Returns:
        Its path; the file has been checked.

    Raises:
        WeightsError: It cannot be had; the message says why and what to do. No half file is left
            under its name, and what has arrived is kept for the next try.
    """
    patience = patience or Patience()
    if (here := locate(entry, folder)) is not None:
        check(entry, here)
        return here
    if entry.builtin:
        raise WeightsError(absent_message(entry, folder))
    if offline():
        raise WeightsError(absent_message(entry, folder, offline=True))
    if wrong := misfit(entry, folder):
        logger.warning("%s; it is fetched anew", wrong)
    home = models_folder(folder)
    with disk_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    lock = home / f".{entry.name}.lock"
    with _bar(entry, progress) as report, _locked(lock, entry, report, patience.lock_s):
        if (here := locate(entry, folder)) is not None:  # another process was faster
            check(entry, here)
            return here
        return _fetch_into(home / entry.name, entry, report, patience)


@contextlib.contextmanager
def _locked(path: Path, entry: ModelEntry, report: Report, longest_s: float) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(str(path))
    end = time.monotonic() + longest_s
    with disk_errors(path.parent):
        while not lock.is_locked:
            left = end - time.monotonic()
            try:
                lock.acquire(timeout=max(min(left, ASK_EVERY_S), 0.0))
            except Timeout:
                if left <= 0:
                    raise WeightsError(
                        f"another process has been fetching {entry.id} for {longest_s:.0f} s; "
                        f"wait for it, or end it and delete {path}."
                    ) from None
                report(0, entry.bytes)
    try:
        yield
    finally:
        lock.release()


def _fetch_into(target: Path, entry: ModelEntry, report: Report, patience: Patience) -> Path:
    """Download, check, unpack and place one file; the lock is held."""
    zipped = entry.member is not None
    part = target.with_name(target.name + (".zip.part" if zipped else ".part"))
    wanted = entry.archive_sha256 if zipped else entry.sha256 or read_record(target).get("sha256")
    for attempt in (1, 2):
        source, published = _download_any(entry, part, wanted, report, patience)
        _refuse_page(part, source)
        # Reported as full all the while: the caller may cancel, and then the part is kept whole.
        actual = sha256_of(part, lambda done, total: report(total or done, total))
        if (wanted or published or actual) == actual:
            break
        _discard(part)
        # Once more from the start: a stale part, or a proxy's page saved in place of the file.
        if attempt == 2:
            raise WeightsError(
                f"{source} sent a file whose sha256 {actual[:12]}... is not the expected "
                f"{str(wanted or published)[:12]}...; it was refused and removed. Try another "
                "network or mirror, or report it if it stays so."
            )
    if zipped:
        part = _unpack(part, target, entry, report)
        actual = sha256_of(part)
        expected = entry.sha256 or read_record(target).get("sha256")
        if expected not in (None, actual):
            part.unlink(missing_ok=True)
            raise WeightsError(
                f"{source} holds a {entry.member} whose sha256 {actual[:12]}... is not the "
                f"expected {expected[:12]}...; it was refused and removed."
            )
    mark_of(part).unlink(missing_ok=True)
    with disk_errors(target.parent, part):
        part.replace(target)
    write_record(target, entry, actual, source)
    return target


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    mark_of(part).unlink(missing_ok=True)


def _refuse_page(part: Path, source: str) -> None:
    """Refuse a web page: without a published checksum nothing else would tell it from the file."""
    with part.open("rb") as stream:
        start = stream.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        _discard(part)
        raise WeightsError(
            f"{source} sent a web page instead of the file, as networks do that want you to sign "
            "in first; open it in a browser, or try another network or proxy."
        )


def _unpack(archive: Path, target: Path, entry: ModelEntry, report: Report) -> Path:
    """Take the one wanted member out of an archive.

    The archive is removed, unless the caller ends it by an error of his own from `report`.
    """
    part = target.with_name(target.name + ".part")
    size = archive.stat().st_size
    try:
        with zipfile.ZipFile(archive) as bundle:
            # Only a name of ours is ever written, so a member's own path does not matter.
            members = [
                info for info in bundle.infolist() if Path(info.filename).name == entry.member
            ]
            if len(members) != 1:
                raise WeightsError(
                    f"the archive of {entry.id} holds {len(members)} files {entry.member}, not "
                    "one; report this."
                )
            with (
                disk_errors(part.parent, part),
                bundle.open(members[0]) as stream,
                part.open("wb") as out,
            ):
                while chunk := stream.read(CHUNK_BYTES):
                    out.write(chunk)
                    report(size, size)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        _discard(archive)
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"the archive of {entry.id} is damaged ({error}); try again.") from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _discard(archive)
    return part


def _download_any(
    entry: ModelEntry, part: Path, wanted: str | None, report: Report, patience: Patience
) -> tuple[str, str | None]:
    """Download from the hub, or failing that from the plain address.

    Returns:
        The address used, and the checksum that the hub publishes for it, if any.
    """
    problems: list[str] = []
    if entry.repo:
        try:
            return _from_hub(entry, part, wanted, report, patience)
        except WeightsError as error:
            if entry.url is None or isinstance(error, DiskError):
                raise
            problems.append(str(error))
    try:
        url = str(entry.url)
        size = None if entry.member else entry.bytes
        download(url, part, tag=wanted, total=size, report=report, patience=patience)
        return url, None
    except WeightsError as error:
        if not problems:
            raise
        raise WeightsError(f"{problems[0]} Nor from its second source: {error}") from None


def _from_hub(
    entry: ModelEntry, part: Path, wanted: str | None, report: Report, patience: Patience
) -> tuple[str, str | None]:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    endpoint = _trim(os.environ.get("HF_ENDPOINT"))
    url = hf_hub_url(str(entry.repo), entry.filename, revision=entry.revision, endpoint=endpoint)
    token = build_hf_headers().get("authorization")  # HF_TOKEN, or that of `hf auth login`
    headers = {"Authorization": token} if token else {}
    have = part.stat().st_size if part.exists() else 0
    facts = probe(url, headers, patience, lambda: report(have, entry.bytes))
    if not facts.get(COMMIT_HEADER):
        raise WeightsError(
            f"{url} was not answered by a model hub; check HF_ENDPOINT and the proxy settings."
        )
    # Large files carry their sha256 as their tag; others a git hash, which says nothing here.
    tag = (facts.get(TAG_HEADER) or "").strip('"')
    published = tag if len(tag) == 64 else None
    if wanted and published and published != wanted:
        raise WeightsError(
            f"{url} now holds another file (sha256 {published[:12]}... instead of "
            f"{wanted[:12]}...); it was not downloaded."
        )
    size = facts.get(SIZE_HEADER) or ""
    download(
        url,
        part,
        headers=headers,
        tag=wanted or tag or None,
        total=int(size) if size.isdigit() else None,
        report=report,
        patience=patience,
    )
    return url, published


def _trim(endpoint: str | None) -> str | None:
    return endpoint.rstrip("/") if endpoint else None


@contextlib.contextmanager
def _bar(entry: ModelEntry, progress: Progress) -> Iterator[Report]:
    """A function that shows progress, or passes it on."""
    if progress is not True:
        yield progress if callable(progress) else silent
        return
    from tqdm import tqdm

    with tqdm(
        unit="B", unit_scale=True, unit_divisor=1000, desc=entry.id, file=sys.stderr, leave=False
    ) as bar:

        def report(done: int, total: int | None) -> None:
            if total is not None and bar.total != total:
                bar.total = total
            bar.n = done
            bar.update(0)

        yield report
