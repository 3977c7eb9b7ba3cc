"""Finding and checking the files that are here; the network is never touched."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from dwpose.errors import WeightsError
from dwpose.weights import store


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def put(path: Path, body: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def test_the_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path / "a"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "b"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert store.default_folder() == tmp_path / "a"
    monkeypatch.delenv("DWPOSE_MODELS")
    assert store.default_folder() == tmp_path / "b" / "dwpose"
    monkeypatch.delenv("HF_HOME")
    assert store.default_folder() == tmp_path / "c" / "dwpose"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert store.default_folder() == tmp_path / ".cache" / "dwpose"
    assert store.models_folder(tmp_path / "d") == tmp_path / "d"


@pytest.mark.parametrize(
    "place",
    ["weights.onnx", "someone/models/weights.onnx"],
)
def test_a_file_is_found_where_tools_keep_it(entry, body, tmp_path, place):
    path = put(tmp_path / place, body)
    assert store.locate(entry(), tmp_path) == path


def test_a_file_is_found_in_the_hubs_own_cache(entry, body, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    home = tmp_path / "hub" / "models--someone--models"
    pinned = entry()
    path = put(home / "snapshots" / str(pinned.revision) / "weights.onnx", body)
    assert store.locate(pinned, tmp_path / "models") == path
    assert store.check(pinned, path).state == "ok"
    assert os.listdir(path.parent) == ["weights.onnx"]
    put(home / "refs" / "main", str(pinned.revision).encode())
    assert store.locate(entry(revision="main"), tmp_path / "models") == path
    assert store.locate(entry(revision="other"), tmp_path / "models") is None


def test_a_file_of_the_wrong_size_is_not_the_file(entry, body, tmp_path):
    put(tmp_path / "weights.onnx", body[:-1])
    assert store.locate(entry(), tmp_path) is None
    found = store.state(entry(), tmp_path)
    assert found.state == "wrong"
    assert "299999 bytes instead of 300000" in found.detail


def test_states_from_absent_to_wrong(entry, body, tmp_path):
    assert store.state(entry(), tmp_path).state == "absent"
    path = put(tmp_path / "weights.onnx", body)
    assert store.state(entry(), tmp_path).state == "present"
    assert store.verify(entry(), tmp_path).state == "ok"
    assert store.state(entry(), tmp_path).state == "ok"
    path.write_bytes(body[::-1])
    assert store.state(entry(), tmp_path).state == "present"
    assert store.verify(entry(), tmp_path).state == "wrong"


def test_a_file_of_ones_own_is_trusted_once(entry, body, tmp_path):
    unknown = entry(sha256=None, bytes=None)
    path = put(tmp_path / "weights.onnx", body)
    assert store.check(unknown, path).state == "recorded"
    assert json.loads((tmp_path / "weights.onnx.json").read_text())["trust"] == "first use"
    path.write_bytes(body[::-1])
    with pytest.raises(WeightsError, match=r"Delete it and run `dwpose models fetch test-l`"):
        store.check(unknown, path)


def test_an_unchanged_file_is_hashed_once(entry, body, tmp_path, monkeypatch):
    path = put(tmp_path / "weights.onnx", body)
    store.check(entry(), path)
    monkeypatch.setattr(store, "sha256_of", lambda *_: pytest.fail("it was hashed again"))
    assert store.check(entry(), path).state == "ok"


def test_a_published_checksum_outranks_a_record(entry, body, tmp_path):
    path = put(tmp_path / "weights.onnx", body[::-1])
    store.check(entry(sha256=None), path)
    with pytest.raises(WeightsError, match="is not test-l"):
        store.check(entry(), path)


def test_a_broken_record_is_written_anew(entry, body, tmp_path):
    path = put(tmp_path / "weights.onnx", body)
    for text in ("", "[]", "{", "null"):
        store.record_path(path).write_text(text)
        assert store.check(entry(), path).state == "ok"
        assert store.read_record(path)["bytes"] == len(body)


def test_a_record_that_cannot_be_written_costs_nothing_but_time(entry, body, tmp_path, monkeypatch):
    path = put(tmp_path / "weights.onnx", body)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert store.check(entry(), path).state == "ok"
    assert store.check(entry(), path).detail == "equals the published checksum"


@pytest.mark.parametrize("place", ["weights.onnx", "someone/models/weights.onnx", "cache"])
def test_a_cut_off_file_is_named_wherever_it_lies(entry, body, tmp_path, monkeypatch, place):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    cached = f"../hub/models--someone--models/snapshots/{entry().revision}/weights.onnx"
    folder = tmp_path / "models"
    assert store.misfit(entry(), folder) == ""
    path = put(folder / (cached if place == "cache" else place), body[:-1])
    said = store.misfit(entry(), folder)
    assert said.endswith("weights.onnx is not test-l: 299999 bytes instead of 300000")
    assert store.state(entry(), folder).state == "wrong"
    message = store.absent_message(entry(), folder)
    assert message.startswith(f"{said}; delete it and run `dwpose models fetch test-l`")
    put(path, body)
    assert store.misfit(entry(), folder) == ""
    assert store.misfit(entry(bytes=None), folder) == ""


def test_a_models_folder_that_is_none_is_named_with_its_variable(entry, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path / "file"))
    assert store.absent_message(entry()) == (
        f"the models folder {tmp_path / 'file'} (DWPOSE_MODELS) is no folder: it is a file; name "
        "another."
    )
    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path / "file" / "sub"))
    assert f"is no folder: {tmp_path / 'file'} is a file" in store.absent_message(entry())
    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path / "typo"))
    start = f"test-l is not in {tmp_path / 'typo'} (DWPOSE_MODELS), which does not exist; run"
    assert store.absent_message(entry()).startswith(start)
    # Nothing is said of the variable where the folder was given, nor of the usual one's absence.
    assert "DWPOSE_MODELS" not in store.absent_message(entry(), tmp_path)
    monkeypatch.delenv("DWPOSE_MODELS")
    assert "exist" not in store.absent_message(entry())


def test_a_folder_that_may_not_be_looked_into_is_empty(entry, body, tmp_path, monkeypatch):
    put(tmp_path / "weights.onnx", body)
    real = os.stat

    def refuse(path, *args, **kwargs):
        if "weights.onnx" in str(path):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refuse)
    assert store.locate(entry(), tmp_path) is None
    assert store.state(entry(), tmp_path).state == "absent"
    assert "is not in" in store.absent_message(entry(), tmp_path)


def test_a_file_that_may_not_be_read_is_told(entry, body, tmp_path, monkeypatch):
    path = put(tmp_path / "weights.onnx", body)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"weights\.onnx may not be read; give"):
        store.check(entry(), path)
    assert store.verify(entry(), tmp_path).state == "wrong"
