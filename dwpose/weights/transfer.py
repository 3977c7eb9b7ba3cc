"""Moves bytes from an address into a file: resumes, retries, reports, never leaves half a file.

Only the standard library is used: huggingface_hub's own pump throws away what it has when it is
interrupted (1.0 and later), and its HTTP client, errors and retries change between versions.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from .disk import disk_errors, disk_full
from .waiting import Ask, Helper, pause

Report = Callable[[int, int | None], None]
"""Called with the bytes so far and the bytes in all (None where the server does not say), as bytes
arrive and several times a second while none do. What it raises ends the transfer."""


def silent(done: int, total: int | None) -> None:
    """Report nothing."""


CHUNK_BYTES = 1 << 18
RETRIED = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that a second try may cure: timeouts, rate limits, a server in trouble."""

USER_AGENT = "dwpose-studio"

COMMIT_HEADER, TAG_HEADER, SIZE_HEADER = "X-Repo-Commit", "X-Linked-Etag", "X-Linked-Size"
"""What the hub says of a large file: its commit, its sha256 and its size in bytes."""


@dataclass(frozen=True)
class Patience:
    """How long to try.

    Attributes:
        timeout_s: Silence after which a connection counts as lost, in s.
        attempts: Tries without any progress before giving up.
        backoff_s: Wait before the second try, in s; doubled each time.
        longest_wait_s: Upper bound of one wait, whatever the server asks for.
        lock_s: How long to wait for another process that is downloading the same file.
    """

    timeout_s: float = 30.0
    attempts: int = 5
    backoff_s: float = 1.0
    longest_wait_s: float = 60.0
    lock_s: float = 3600.0

    def wait_s(self, failures: int, asked_s: float | None = None) -> float:
        """Seconds to wait after so many failures in a row."""
        own = self.backoff_s * 2 ** (failures - 1)
        return min(max(own, asked_s or 0.0), self.longest_wait_s)


class Interrupted(Exception):
    """The transfer stopped for a reason that a new try may cure.

    Attributes:
        reason: What happened, for people.
        wait_s: How long the server asked to wait, or None.
    """

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but hands a token to no other host than the one it is meant for."""

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # new in Python 3.11

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        """The request to go on with, or None to stop at this answer."""
        if req.get_method() == "HEAD" and COMMIT_HEADER in headers:
            return None  # the hub has said all it knows; its storage would know less
        new = super().redirect_request(req, fp, 307 if code == 308 else code, msg, headers, newurl)
        if new is not None:
            new.method = req.get_method()  # before Python 3.13 a HEAD would become a GET
            if new.host != req.host:
                new.remove_header("Authorization")
        return new


def _open(url: str, headers: Mapping[str, str], timeout_s: float, method: str = "GET") -> Any:
    context = ssl.create_default_context()
    try:
        import certifi  # pyright: ignore[reportMissingImports]
    except ImportError:
        pass
    else:  # some Python builds ship no certificates; the system's own stay trusted too
        context.load_verify_locations(certifi.where())
    opener = urllib.request.build_opener(_Redirects, urllib.request.HTTPSHandler(context=context))
    wanted = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
    return opener.open(
        urllib.request.Request(url, headers=wanted, method=method), timeout=timeout_s
    )


@contextlib.contextmanager
def _opened(
    url: str, headers: Mapping[str, str], timeout_s: float, ask: Ask, method: str = "GET"
) -> Iterator[tuple[Any, Helper]]:
    """An address's answer, and the helper to read it with."""
    helper, answers = Helper(), contextlib.ExitStack()

    def enter() -> Any:
        return answers.enter_context(_open(url, headers, timeout_s, method))

    try:
        with _lost_connections():
            yield helper(enter, ask), helper
    finally:
        helper.end(answers.close)  # closing waits for a read that is under way


def probe(url: str, headers: Mapping[str, str], patience: Patience, ask: Ask) -> Message:
    """Ask what lies at an address of the hub, without fetching it.

    Args:
        url: The address.
        headers: Extra headers, such as a token.
        patience: How long to try.
        ask: Called several times a second while waiting; what it raises ends the wait.

    Returns:
        The headers of the hub's own answer, not those of the storage it points to.

    Raises:
        WeightsError: The address does not exist, is not allowed, or does not answer in the end.
    """
    stop = Interrupted("not tried")
    for failures in range(1, patience.attempts + 1):
        try:
            with _opened(url, headers, patience.timeout_s, ask, "HEAD") as (answer, _):
                return answer.headers
        except urllib.error.HTTPError as error:
            if 300 <= error.code < 400:
                return error.headers
            problem = _status(error, url)
            if not isinstance(problem, Interrupted):
                raise problem from None
            stop = problem
        except Interrupted as lost:
            stop = lost
        if failures < patience.attempts:
            pause(patience.wait_s(failures, stop.wait_s), ask)
    raise WeightsError(
        f"{_host(url)} cannot be reached ({stop.reason}); check the network, or set HF_ENDPOINT "
        "to a mirror."
    )


@contextlib.contextmanager
def _lost_connections() -> Iterator[None]:
    """Turn every way in which a connection is lost into one exception; statuses pass."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
        ssl.SSLError,
    ) as error:
        reason = getattr(error, "reason", None) or error
        late = isinstance(reason, TimeoutError)
        text = "no answer in time" if late else str(reason) or type(reason).__name__
        raise Interrupted(text) from None


def download(
    url: str,
    part: Path,
    *,
    headers: Mapping[str, str] | None = None,
    tag: str | None = None,
    total: int | None = None,
    report: Report = silent,
    patience: Patience | None = None,
) -> None:
    """Fetch an address into a file, going on where an earlier try stopped.

    Args:
        url: The address.
        part: File to fill; what it holds already is kept if it belongs to the same ``tag``.
        headers: Extra headers, such as a token.
        tag: What identifies the contents (a checksum or revision); a part of another one is
            thrown away. It is noted beside the part, see `mark_of`.
        total: Size of the whole in bytes, if known.
        report: Called as bytes arrive, and while none do.
        patience: How long to try.

    Raises:
        WeightsError: The address does not exist, is not allowed, does not answer in the end, or
            the disk is full; ``part`` then keeps what arrived, except on a full disk.
    """
    patience = patience or Patience()
    mark = mark_of(part)
    with disk_errors(part.parent, part):
        _keep_only(part, mark, {"url": url, "tag": tag})
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            with disk_errors(part.parent, part):
                _receive(url, part, dict(headers or {}), total, report, patience.timeout_s)
            return
        except Interrupted as stop:
            after = part.stat().st_size if part.exists() else 0
            failures = 1 if after > before else failures + 1
            if failures >= patience.attempts:
                raise WeightsError(
                    f"{_host(url)} did not deliver {part.name.removesuffix('.part')} "
                    f"({stop.reason}); try again later, what has arrived is kept."
                ) from None
            pause(patience.wait_s(failures, stop.wait_s), partial(report, after, total))


def mark_of(part: Path) -> Path:
    """The file that says what a part belongs to; whoever moves or removes the part removes it."""
    return part.with_name(part.name + ".json")


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc or url


def _keep_only(part: Path, mark: Path, wanted: dict[str, str | None]) -> None:
    """Throw away a part that belongs to something else, and note what this one belongs to."""
    try:
        known = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    # The address may change (a mirror, a signed link) while the contents stay the same.
    same = isinstance(known, dict) and (
        known.get("tag") == wanted["tag"] if wanted["tag"] else known == wanted
    )
    if not same:
        part.unlink(missing_ok=True)
        mark.write_text(json.dumps(wanted), encoding="utf-8")


def _receive(
    url: str,
    part: Path,
    headers: dict[str, str],
    total: int | None,
    report: Report,
    timeout_s: float,
) -> None:
    """One try: ask for what is missing and append it."""
    have = part.stat().st_size if part.exists() else 0
    if total is not None and have == total:
        return
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        ask = partial(report, have, total)
        with _opened(url, headers, timeout_s, ask) as (answer, helper):
            whole = _whole_size(answer, have)
            if have and not _continues(answer, have):
                have = 0  # the server sends everything again
            expected = whole if whole is not None else total
            if expected is not None and shutil.disk_usage(part.parent).free < expected - have:
                raise disk_full(part.parent, expected - have)
            read = partial(helper, partial(answer.read1, CHUNK_BYTES))
            have = _append(read, part, have, expected, report)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing lies beyond what is here: it is not a part of this file
            part.unlink(missing_ok=True)
            raise Interrupted("the server has less than is here") from None
        raise _status(error, url) from None
    if expected is not None and have != expected:
        if have > expected:
            part.unlink(missing_ok=True)
        raise Interrupted(f"the connection was cut after {have} of {expected} bytes")


def _whole_size(answer: Any, have: int) -> int | None:
    """Size of the whole file as the answer tells it."""
    span = answer.headers.get("Content-Range", "")
    if answer.status == 206 and "/" in span:
        size = span.rsplit("/", 1)[-1]
        return int(size) if size.isdigit() else None
    length = answer.headers.get("Content-Length")
    if length is None or not length.isdigit():
        return None
    return int(length) + (have if answer.status == 206 else 0)


def _continues(answer: Any, have: int) -> bool:
    span = answer.headers.get("Content-Range", "")
    return answer.status == 206 and span.removeprefix("bytes ").startswith(f"{have}-")


def _append(
    read: Callable[[Ask], bytes], part: Path, have: int, expected: int | None, report: Report
) -> int:
    with part.open("r+b" if have else "wb") as out:
        out.seek(have)
        report(have, expected)
        while chunk := read(partial(report, have, expected)):
            out.write(chunk)
            have += len(chunk)
            report(have, expected)
    return have


def _status(error: urllib.error.HTTPError, url: str) -> Interrupted | WeightsError:
    """The exception for an HTTP status."""
    if error.code in RETRIED:
        after = error.headers.get("Retry-After", "") if error.headers else ""
        return Interrupted(f"status {error.code}", float(after) if after.isdigit() else None)
    return status_error(error.code, url)


def status_error(code: int, url: str) -> WeightsError:
    """The sentence for a status that no second try will cure.

    Args:
        code: HTTP status.
        url: What was asked for.
    """
    what = urllib.parse.urlunsplit((*urllib.parse.urlsplit(url)[:3], "", ""))
    if code in (401, 403):
        return WeightsError(
            f"{what} may not be read (status {code}); if it needs an account, set HF_TOKEN to "
            "a token that may read it."
        )
    if code in (404, 410):
        return WeightsError(
            f"{what} does not exist (status {code}); it was moved or removed. Choose another "
            "model, or give the path of a file you have."
        )
    return WeightsError(f"{_host(url)} refused {what} (status {code}); try again later.")
