"""Cancelling a download while nothing arrives: heard at once, and nothing false is left behind."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import pytest

from dwpose.weights import store, waiting
from dwpose.weights.hub import fetch


class Cancelled(Exception):
    """What a program's own callback raises."""


def cancel(done: int, total: int | None) -> None:
    raise Cancelled


def assert_right_afterwards(entry, body: bytes, quick, folder: Path) -> None:
    """Nothing was taken for whole, the lock is free, and the next try succeeds."""
    assert not (folder / "weights.onnx").exists()
    assert fetch(entry(), folder, False, quick).read_bytes() == body


@pytest.mark.parametrize("verb", ["heads", "gets"])
def test_before_the_first_byte(hub, entry, body, quick, tmp_path, verb):
    getattr(hub, verb).append("hang:10")
    # One try alone, so that it can be heard nowhere but in the wait for the answer.
    once = dataclasses.replace(quick, attempts=1)
    with pytest.raises(Cancelled):
        fetch(entry(), tmp_path, cancel, once)
    assert len(hub.asked("HEAD" if verb == "heads" else "GET")) <= 1
    assert hub.sent == 0
    hub.gate.set()
    assert_right_afterwards(entry, body, quick, tmp_path)


def test_where_the_answer_stalls(hub, entry, body, quick, tmp_path):
    hub.gets.append("stall:100000")
    seen: list[int] = []

    def cancel_when_stalled(done: int, total: int | None) -> None:
        seen.append(done)
        if seen[-3:] == [100_000] * 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(entry(), tmp_path, cancel_when_stalled, quick)
    assert len(hub.asked("GET")) == 1
    hub.gate.set()
    assert (tmp_path / "weights.onnx.part").stat().st_size == 100_000
    assert_right_afterwards(entry, body, quick, tmp_path)
    assert [headers.get("Range") for headers in hub.asked("GET")] == [None, "bytes=100000-"]


def test_while_the_finished_download_is_hashed(hub, entry, body, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK_BYTES", 10_000)
    full: list[int | None] = []

    def cancel_in_the_middle(done: int, total: int | None) -> None:
        full.extend([total] if done == total else [])
        if len(full) == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(entry(), tmp_path, cancel_in_the_middle, quick)
    assert full == [len(body)] * 5
    assert (tmp_path / "weights.onnx.part").read_bytes() == body
    assert_right_afterwards(entry, body, quick, tmp_path)
    assert len(hub.asked("GET")) == 1  # what had arrived was kept
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize("verb", ["heads", "gets"])
def test_between_two_tries(hub, entry, body, quick, tmp_path, verb):
    getattr(hub, verb).append("status:503")
    patient = dataclasses.replace(quick, backoff_s=5.0, longest_wait_s=5.0)
    asked = "HEAD" if verb == "heads" else "GET"

    def cancel_late(done: int, total: int | None) -> None:
        if hub.asked(asked):  # on a busy machine it is called while the hub has not answered yet
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(entry(), tmp_path, cancel_late, patient)
    assert len(hub.asked(asked)) == 1
    assert hub.sent == 0
    assert_right_afterwards(entry, body, quick, tmp_path)


def test_while_another_process_has_the_lock(hub, entry, body, quick, tmp_path):
    from filelock import FileLock

    few = dataclasses.replace(quick, lock_s=3.0)
    with FileLock(str(tmp_path / ".weights.onnx.lock")), pytest.raises(Cancelled):
        fetch(entry(), tmp_path, cancel, few)
    assert hub.seen == []
    assert_right_afterwards(entry, body, quick, tmp_path)


def test_the_callback_is_called_in_the_callers_thread(hub, entry, quick, tmp_path):
    hub.heads.append("dawdle:1")
    threads = set()
    fetch(entry(), tmp_path, lambda *_: threads.add(threading.current_thread()), quick)
    assert threads == {threading.current_thread()}


def test_no_helper_is_left_when_the_server_has_ended(hub, entry, quick, tmp_path):
    def helpers() -> int:
        return sum(thread.name == "dwpose download" for thread in threading.enumerate())

    hub.gets.append("hang:10")
    with pytest.raises(Cancelled):
        fetch(entry(), tmp_path, cancel, quick)
    hub.gate.set()
    for _ in range(1000):
        if not helpers():
            break
        time.sleep(0.01)
    assert helpers() == 0


def test_a_helper_hands_on_what_is_returned_and_raised():
    helper = waiting.Helper()
    asked: list[int] = []

    def slow() -> int:
        time.sleep(3 * waiting.ASK_EVERY_S)
        return 5

    def fail() -> None:
        raise OSError("gone")

    assert helper(slow, lambda: asked.append(1)) == 5
    assert asked
    with pytest.raises(OSError, match="gone"):
        helper(fail, lambda: None)
    ended = threading.Event()
    helper.end(ended.set)
    assert ended.wait(10)
