"""Downloads against a hub that misbehaves: a right file or a clear sentence, never half a file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from dwpose.errors import WeightsError
from dwpose.weights import hub as hub_module
from dwpose.weights import store, transfer
from dwpose.weights.hub import fetch


def names(folder: Path) -> set[str]:
    """Files a user would take for something, so no locks."""
    return {p.name for p in folder.iterdir() if not p.name.endswith(".lock")}


def assert_right(path: Path, folder: Path, body: bytes) -> None:
    assert path == folder / "weights.onnx"
    assert path.read_bytes() == body
    assert names(folder) == {"weights.onnx", "weights.onnx.json"}


def assert_nothing(folder: Path) -> None:
    assert not (folder / "weights.onnx").exists()


def test_a_file_arrives_with_its_record_and_is_not_asked_for_again(
    hub, entry, body, quick, tmp_path
):
    seen: list[tuple[int, int | None]] = []
    path = fetch(entry(), tmp_path, lambda done, total: seen.append((done, total)), quick)
    assert_right(path, tmp_path, body)
    assert seen[-1] == (len(body), len(body))
    record = json.loads((tmp_path / "weights.onnx.json").read_text())
    assert record["sha256"] == hashlib.sha256(body).hexdigest()
    assert record["trust"] == "published checksum"
    asked = len(hub.seen)
    assert fetch(entry(), tmp_path, False, quick) == path
    assert store.locate(entry(), tmp_path) == path
    assert len(hub.seen) == asked


def test_the_pinned_revision_is_asked_for(hub, entry, body, quick, tmp_path):
    hub.put("weights.onnx", bytes(10), "main")
    assert fetch(entry(), tmp_path, False, quick).read_bytes() == body
    assert all("/resolve/0123456789abcdef" in path for _, path, _ in hub.seen)


def test_the_bar_goes_to_the_error_stream(hub, entry, quick, tmp_path, capsys):
    fetch(entry(), tmp_path, True, quick)
    out, err = capsys.readouterr()
    assert out == ""
    assert "test-l" in err


def test_the_token_goes_to_the_hub_and_to_no_other_host(
    hub, second_server, entry, body, quick, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    second_server.files["/blob"] = body
    elsewhere = second_server.url.replace("127.0.0.1", "localhost")
    hub.gets.append(f"redirect:{elsewhere}/blob")
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)
    assert all(h.get("authorization", h.get("Authorization")) for h in hub.asked("GET"))
    assert len(second_server.asked("GET")) == 1
    assert not any(key.lower() == "authorization" for key in second_server.asked("GET")[0])


def test_a_large_file_comes_from_the_content_network_in_pieces(
    hub, second_server, entry, body, quick, tmp_path
):
    second_server.files["/blob"] = body
    second_server.plain = True
    second_server.gets.append("cut:100000")
    elsewhere = second_server.url.replace("127.0.0.1", "localhost")
    hub.heads.append(f"lfs:{elsewhere}/blob")
    hub.gets.extend([f"lfs:{elsewhere}/blob"] * 2)
    assert_right(fetch(entry(sha256=None, bytes=None), tmp_path, False, quick), tmp_path, body)
    assert [headers.get("Range") for headers in second_server.asked("GET")] == [
        None,
        "bytes=100000-",
    ]
    assert hub.sent == 0


def test_a_mirror_that_points_to_the_hub_is_followed(
    hub, second_server, entry, body, quick, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_ENDPOINT", f"{second_server.url}/")
    path = "/someone/models/resolve/0123456789abcdef0123456789abcdef01234567/weights.onnx"
    second_server.heads.append(f"redirect:{hub.url}{path}")
    second_server.gets.append(f"redirect:{hub.url}{path}")
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)
    assert [verb for verb, *_ in hub.seen if verb in ("HEAD", "GET")] == ["HEAD", "GET"]


def test_offline_touches_no_network_but_uses_what_is_here(
    hub, entry, body, quick, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE.*unset.*copy weights\.onnx from"):
        fetch(entry(), tmp_path, False, quick)
    (tmp_path / "weights.onnx").write_bytes(body)
    assert fetch(entry(), tmp_path, False, quick) == tmp_path / "weights.onnx"
    assert hub.seen == []


def test_a_hub_that_refuses_connections(entry, quick, tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(WeightsError, match=r"cannot be reached .*HF_ENDPOINT"):
        fetch(entry(), tmp_path, False, quick)
    assert_nothing(tmp_path)


@pytest.mark.parametrize("verb", ["heads", "gets"])
@pytest.mark.parametrize(
    ("status", "sentence"),
    [(404, "does not exist"), (401, "set HF_TOKEN"), (403, "set HF_TOKEN"), (418, "refused")],
)
def test_a_final_status_is_a_sentence_at_once(hub, entry, quick, tmp_path, verb, status, sentence):
    getattr(hub, verb).extend([f"status:{status}"] * 9)
    with pytest.raises(WeightsError, match=sentence):
        fetch(entry(), tmp_path, False, quick)
    assert len(hub.asked("HEAD" if verb == "heads" else "GET")) == 1
    assert_nothing(tmp_path)


@pytest.mark.parametrize("verb", ["heads", "gets"])
@pytest.mark.parametrize("script", [["429"], ["500", "500"], ["503", "429"]])
def test_a_passing_status_is_tried_again(hub, entry, body, quick, tmp_path, verb, script):
    getattr(hub, verb).extend(f"status:{status}" for status in script)
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)


@pytest.mark.parametrize("verb", ["heads", "gets"])
def test_a_status_that_does_not_pass_ends_in_a_sentence(hub, entry, quick, tmp_path, verb):
    getattr(hub, verb).extend(["status:500"] * 50)
    with pytest.raises(WeightsError, match="status 500"):
        fetch(entry(), tmp_path, False, quick)
    assert len(hub.asked("HEAD" if verb == "heads" else "GET")) == quick.attempts
    assert_nothing(tmp_path)


def test_a_cut_connection_is_resumed_where_it_broke(hub, entry, body, quick, tmp_path):
    hub.gets.extend(["cut:100000", "cut:70000", "cut:1"])
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)
    ranges = [headers.get("Range") for headers in hub.asked("GET")]
    assert ranges == [None, "bytes=100000-", "bytes=170000-", "bytes=170001-"]
    assert hub.sent == len(body)


def test_an_interrupted_download_goes_on_in_the_next_run(hub, entry, body, quick, tmp_path):
    hub.gets.append("cut:120000")
    once = dataclasses.replace(quick, attempts=1)
    with pytest.raises(WeightsError, match="what has arrived is kept"):
        fetch(entry(), tmp_path, False, once)
    assert_nothing(tmp_path)
    assert (tmp_path / "weights.onnx.part").stat().st_size == 120_000
    assert store.locate(entry(), tmp_path) is None
    assert "0 MB" in store.state(entry(), tmp_path).detail
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)
    assert hub.sent == len(body)


def test_cancelling_keeps_what_arrived_and_frees_the_lock(hub, entry, body, quick, tmp_path):
    class Cancelled(Exception):
        pass

    def cancel(done: int, total: int | None) -> None:
        if done > 100_000:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(entry(), tmp_path, cancel, quick)
    assert_nothing(tmp_path)
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)


def test_a_part_of_another_file_is_thrown_away(hub, entry, body, quick, tmp_path):
    (tmp_path / "weights.onnx.part").write_bytes(b"x" * 1000)
    (tmp_path / "weights.onnx.part.json").write_text('{"url": "elsewhere", "tag": "other"}')
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)


def test_a_spoilt_part_is_fetched_again_from_the_start(hub, entry, body, quick, tmp_path):
    hub.gets.append("cut:120000")
    with pytest.raises(WeightsError):
        fetch(entry(), tmp_path, False, dataclasses.replace(quick, attempts=1))
    part = tmp_path / "weights.onnx.part"
    part.write_bytes(b"x" * part.stat().st_size)
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)


def test_a_part_longer_than_the_file_is_fetched_again(hub, entry, body, quick, tmp_path):
    wanted = entry().sha256
    (tmp_path / "weights.onnx.part").write_bytes(b"x" * (len(body) + 5))
    (tmp_path / "weights.onnx.part.json").write_text(json.dumps({"url": "", "tag": wanted}))
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)


def test_a_server_without_ranges_sends_it_again(hub, entry, body, quick, tmp_path):
    hub.gets.extend(["cut:100000", "norange"])
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)


@pytest.mark.parametrize("verb", ["heads", "gets"])
def test_a_server_that_dawdles(hub, entry, body, quick, tmp_path, verb):
    getattr(hub, verb).append("dawdle:2")
    short = dataclasses.replace(quick, timeout_s=0.5, attempts=9)
    assert_right(fetch(entry(), tmp_path, False, short), tmp_path, body)


@pytest.mark.parametrize("verb", ["heads", "gets"])
def test_a_server_that_never_answers(hub, entry, quick, tmp_path, verb):
    getattr(hub, verb).extend(["dawdle:1"] * 9)
    twice = dataclasses.replace(quick, attempts=2, timeout_s=0.2)
    with pytest.raises(WeightsError, match=r"cannot be reached|did not deliver"):
        fetch(entry(), tmp_path, False, twice)
    assert_nothing(tmp_path)


def test_wrong_bytes_are_refused_and_removed(hub, entry, quick, tmp_path):
    hub.gets.extend(["wrong"] * 9)
    with pytest.raises(WeightsError, match="refused and removed"):
        fetch(entry(), tmp_path, False, quick)
    assert names(tmp_path) == set()


def test_wrong_bytes_once_are_fetched_again(hub, entry, body, quick, tmp_path):
    hub.gets.append("wrong")
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)


def test_the_hubs_own_checksum_guards_a_file_without_a_published_one(hub, entry, quick, tmp_path):
    hub.gets.extend(["wrong"] * 9)
    with pytest.raises(WeightsError, match="refused and removed"):
        fetch(entry(sha256=None), tmp_path, False, quick)
    assert names(tmp_path) == set()


def test_a_file_replaced_on_the_hub_is_not_even_downloaded(hub, entry, body, quick, tmp_path):
    hub.put("weights.onnx", body[::-1])
    with pytest.raises(WeightsError, match="now holds another file"):
        fetch(entry(), tmp_path, False, quick)
    assert hub.sent == 0


def test_a_page_of_a_captive_portal_is_no_hub(hub, entry, quick, tmp_path):
    hub.plain = True
    with pytest.raises(WeightsError, match="not answered by a model hub"):
        fetch(entry(sha256=None, bytes=None), tmp_path, False, quick)
    assert_nothing(tmp_path)


def test_trust_on_first_use_is_written_down_and_held_to(hub, entry, body, quick, tmp_path):
    unknown = entry(sha256=None, bytes=None)
    path = fetch(unknown, tmp_path, False, quick)
    assert json.loads((tmp_path / "weights.onnx.json").read_text())["trust"] == "first use"
    assert store.verify(unknown, tmp_path).state == "recorded"
    path.write_bytes(body[::-1])
    with pytest.raises(WeightsError, match=r"is not test-l.*weights\.onnx\.json"):
        fetch(unknown, tmp_path, False, quick)
    assert store.verify(unknown, tmp_path).state == "wrong"
    # Deleting the file does not delete the trust: another one from the same place is refused.
    path.unlink()
    hub.put("weights.onnx", body[::-1])
    with pytest.raises(WeightsError, match="now holds another file"):
        fetch(unknown, tmp_path, False, quick)
    assert_nothing(tmp_path)


def test_too_little_space_is_noticed_before_writing(hub, entry, quick, tmp_path, monkeypatch):
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 9, 9))
    with pytest.raises(WeightsError, match=r"disk holding .* is full.*DWPOSE_MODELS"):
        fetch(entry(), tmp_path, False, quick)
    assert_nothing(tmp_path)
    assert len(hub.asked("GET")) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
def test_a_disk_that_fills_up_leaves_nothing_behind(hub, entry, quick, tmp_path):
    # The partial file is the device that takes no byte, so the system's own error comes back.
    (tmp_path / "weights.onnx.part").symlink_to("/dev/full")
    (tmp_path / "weights.onnx.part.json").write_text(json.dumps({"tag": entry().sha256}))
    with pytest.raises(WeightsError, match=r"disk holding .* is full"):
        fetch(entry(), tmp_path, False, quick)
    assert_nothing(tmp_path)
    assert not (tmp_path / "weights.onnx.part").is_symlink()


@pytest.mark.parametrize("place", ["file", "file/models"])
def test_a_folder_that_is_a_file(hub, entry, quick, tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=r"is no folder: .* is a file; choose another models"):
        fetch(entry(), tmp_path / place, False, quick)
    assert hub.seen == []


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>Sign in", b"\r\n<HTML><p>Sign in"])
def test_a_sign_in_page_is_no_file(second_server, entry, quick, tmp_path, page):
    second_server.files["/release/weights.onnx"] = page
    second_server.plain = True
    url = f"{second_server.url}/release/weights.onnx"
    unknown = entry(repo=None, revision=None, url=url, sha256=None, bytes=None)
    with pytest.raises(WeightsError, match="sent a web page instead of the file"):
        fetch(unknown, tmp_path, False, quick)
    assert names(tmp_path) == set()


_CHILD = """
import sys
sys.path.insert(0, sys.argv[3])
from dwpose.weights.catalogue import ModelEntry
from dwpose.weights.hub import fetch
from dwpose.weights.transfer import Patience
entry = ModelEntry("test-l", "estimator", "rtmpose", "l", (256, 192), "someone/models",
                   "0123456789abcdef0123456789abcdef01234567", "weights.onnx",
                   int(sys.argv[4]), sys.argv[5], "Apache-2.0", "a test")
fetch(entry, sys.argv[1], False, Patience(timeout_s=5, lock_s=float(sys.argv[2])))
"""


def _children(count: int, folder: Path, lock_s: float, entry, body: bytes) -> list:
    root = str(Path(hub_module.__file__).parents[2])
    command = [sys.executable, "-c", textwrap.dedent(_CHILD), str(folder), str(lock_s), root]
    command += [str(len(body)), entry().sha256]
    return [
        subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]


def test_two_processes_at_once_download_once(hub, entry, body, tmp_path):
    hub.pause_s = 0.15
    children = _children(2, tmp_path, 30.0, entry, body)
    errors = [child.communicate(timeout=60)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], errors
    assert (tmp_path / "weights.onnx").read_bytes() == body
    assert len(hub.asked("GET")) == 1
    assert hub.sent == len(body)


def test_a_process_that_waits_too_long_says_so(hub, entry, quick, tmp_path):
    from filelock import FileLock

    with (
        FileLock(str(tmp_path / ".weights.onnx.lock")),
        pytest.raises(WeightsError, match="another process has been fetching test-l"),
    ):
        fetch(entry(), tmp_path, False, dataclasses.replace(quick, lock_s=0.1))
    assert hub.seen == []


def test_a_killed_process_leaves_no_half_file_and_no_lock(hub, entry, body, quick, tmp_path):
    hub.pause_s = 0.3
    (child,) = _children(1, tmp_path, 30.0, entry, body)
    part = tmp_path / "weights.onnx.part"
    try:
        for _ in range(3000):  # half a minute
            if child.poll() is not None or (part.exists() and part.stat().st_size):
                break
            time.sleep(0.01)
    finally:
        child.kill()
        child.communicate()
    assert_nothing(tmp_path)
    hub.pause_s = 0.0
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)


def test_a_cut_off_file_is_named_and_fetched_anew(hub, entry, body, quick, tmp_path, caplog):
    (tmp_path / "weights.onnx").write_bytes(body[:1000])
    assert_right(fetch(entry(), tmp_path, False, quick), tmp_path, body)
    [said] = caplog.messages
    assert said == (
        f"{tmp_path / 'weights.onnx'} is not test-l: 1000 bytes instead of 300000; it is fetched "
        "anew"
    )
