"""A model hub on loopback that can be told to misbehave, and entries of the catalogue for it."""

from __future__ import annotations

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from dwpose.weights.catalogue import ModelEntry
from dwpose.weights.transfer import Patience

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/models"
BODY = np.random.default_rng(7).bytes(300_000)

# A machine under load is late without being gone, so only tests of lateness shorten the timeout.
QUICK = Patience(timeout_s=20.0, attempts=3, backoff_s=0.01, longest_wait_s=0.05, lock_s=20.0)


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub does: metadata by HEAD, bytes with ranges by GET."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""

    def do_HEAD(self) -> None:
        self._answer(self.server.heads, with_body=False)

    def do_GET(self) -> None:
        self._answer(self.server.gets, with_body=True)

    def _answer(self, script: list[str], with_body: bool) -> None:
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        own = not self.path.startswith("/api/")
        act, _, detail = (script.pop(0) if script and own else "ok").partition(":")
        self.close_connection = True
        if act == "status":
            self.send_response(int(detail))
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if act == "dawdle":
            time.sleep(float(detail))
            return
        if act == "hang":
            self.server.gate.wait(float(detail))
            return
        if act in ("redirect", "lfs"):
            self.send_response(302)
            if act == "lfs":  # as the real hub answers for large files
                stored = self.server.files[self.path]
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("X-Linked-Etag", f'"{hashlib.sha256(stored).hexdigest()}"')
                self.send_header("X-Linked-Size", str(len(stored)))
            self.send_header("Location", detail)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.server.files.get(self.path)
        if body is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        tag = hashlib.sha256(body).hexdigest()
        if act == "wrong":
            body = bytes(len(body))
        start = 0
        span = self.headers.get("Range", "")
        if with_body and span and act != "norange":
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if not self.server.plain:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Etag", f'"{tag}"')
            self.send_header("X-Linked-Size", str(len(body)))
        self.send_header("ETag", f'"{tag}"')
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if not with_body:
            return
        end = start + int(detail) if act in ("cut", "stall") else len(body)
        for first in range(start, end, 50_000):
            last = min(first + 50_000, end)
            self.server.sent += last - first  # before the client can have it and end the test
            self.wfile.write(body[first:last])
            if self.server.pause_s:
                self.wfile.flush()
                time.sleep(self.server.pause_s)
        if act == "stall":
            self.wfile.flush()
            self.server.gate.wait(20)


class Server(ThreadingHTTPServer):
    """The hub; tests set what it holds and how it behaves.

    Attributes:
        files: path -> contents.
        heads: what to do with the next HEADs: ok, status:N, dawdle:S, hang:S, lfs:URL or
            redirect:URL.
        gets: what to do with the next GETs: the same, and cut:N, stall:N, wrong, norange.
        gate: ends what hangs (or after S seconds, with no answer) or stalls (after N bytes).
        plain: leave out what marks a hub.
        pause_s: wait between pieces.
        seen: (method, path, headers) of every request.
        sent: bytes of bodies sent.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.heads: list[str] = []
        self.gets: list[str] = []
        self.plain = False
        self.pause_s = 0.0
        self.gate = threading.Event()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.sent = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, name: str, body: bytes, revision: str = COMMIT) -> None:
        self.files[f"/{REPO}/resolve/{revision}/{name}"] = body

    def asked(self, method: str) -> list[dict[str, str]]:
        # huggingface_hub asks for lists of its own under /api now and then.
        return [
            headers
            for verb, path, headers in self.seen
            if verb == method and not path.startswith("/api/")
        ]


def make_entry(**changes: object) -> ModelEntry:
    values: dict[str, object] = {
        "id": "test-l",
        "role": "estimator",
        "family": "rtmpose",
        "size": "l",
        "input_size_hw": (256, 192),
        "repo": REPO,
        "revision": COMMIT,
        "filename": "weights.onnx",
        "bytes": len(BODY),
        "sha256": hashlib.sha256(BODY).hexdigest(),
        "licence": "Apache-2.0",
        "about": "a test",
    }
    return ModelEntry(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def entry() -> Callable[..., ModelEntry]:
    """A function that makes catalogue entries of the test hub."""
    return make_entry


@pytest.fixture
def body() -> bytes:
    """The file that the test hub holds."""
    return BODY


@pytest.fixture
def quick() -> Patience:
    """Patience for tests."""
    return QUICK


@pytest.fixture
def zip_of() -> Callable[[dict[str, bytes]], bytes]:
    """A function that packs files into an archive."""

    def pack(members: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, contents in members.items():
                archive.writestr(name, contents)
        return buffer.getvalue()

    return pack


def _serve() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    """No test reaches beyond this machine, or into the user's own model folders."""
    home = tmp_path_factory.mktemp("home")
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "DWPOSE_MODELS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> Iterator[Server]:
    """The hub, already the one that is used; it holds weights.onnx."""
    for server in _serve():
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.put("weights.onnx", BODY)
        yield server


@pytest.fixture
def second_server() -> Iterator[Server]:
    """Another server: a mirror or a content network."""
    yield from _serve()
