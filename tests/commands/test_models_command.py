"""`dwpose models`, run as the command line runs it."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable

import pytest

from dwpose.commands import models
from dwpose.weights import catalogue, hub

BODY = b"not a network, but a file"


@pytest.fixture
def command(tmp_path, monkeypatch) -> Callable[..., int]:
    """Runs the command in a folder that holds one known file; nothing reaches the network."""
    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    entry = catalogue.ModelEntry(
        "test-file", "detector", "yolox", "s", (640, 640), "a/b", "0" * 40, "file.onnx",
        len(BODY), hashlib.sha256(BODY).hexdigest(), "Apache-2.0", "for the test",
    )  # fmt: skip
    monkeypatch.setitem(catalogue.CATALOGUE, "test-file", entry)
    (tmp_path / "file.onnx").write_bytes(BODY)
    parser = argparse.ArgumentParser()
    models.add_parser(parser.add_subparsers())
    return lambda *args: models.run(parser.parse_args(["models", *args]))


def test_the_list_shows_what_there_is_and_what_is_here(command, capsys, tmp_path):
    assert command("list") == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert set(catalogue.CATALOGUE) <= set(lines)
    assert "here" in lines["test-file"]
    assert "134.4 MB" in lines["dw-ll-384"]
    assert "724f4ff2" in lines["dw-ll-384"]
    assert "unknown" in lines["dw-tt"]  # nobody published its checksum, and it says so
    assert str(tmp_path) in out


def test_the_list_can_be_narrowed_and_read_by_programs(command, capsys):
    assert command("list", "--role", "detector", "--here", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [model["id"] for model in found] == ["builtin-det", "test-file"]
    assert found[1]["state"] == "present"
    assert found[1]["input_size_hw"] == [640, 640]


def test_path_prints_a_path_and_nothing_else(command, capsys, tmp_path):
    assert command("path", "test-file") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'file.onnx'}\n"
    assert command("path") == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"


def test_path_of_an_absent_file_says_how_to_get_it(command, capsys):
    assert command("path", "dw-ll-384") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "dwpose models fetch dw-ll-384" in err


def test_verify_tells_right_from_wrong(command, capsys, tmp_path):
    assert command("verify") == 0
    assert "test-file: here, right" in capsys.readouterr().out
    (tmp_path / "file.onnx").write_bytes(BODY[::-1])
    assert command("verify") == 1
    assert "test-file: WRONG" in capsys.readouterr().out
    assert command("verify", "dw-ll-384") == 1
    assert "dw-ll-384: absent" in capsys.readouterr().out


def test_fetch_prints_paths_and_counts_failures(command, capsys, tmp_path, monkeypatch):
    assert command("fetch", "test-file", "dw-tt", "-q") == 1
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'file.onnx'}\n"
    assert "dw-tt: HF_HUB_OFFLINE" in err
    seen = []
    monkeypatch.setattr(
        hub, "fetch", lambda entry, folder, progress: seen.append((entry.id, folder)) or "there"
    )
    assert command("fetch", "dw-tt", "--models-folder", "elsewhere") == 0
    assert seen == [("dw-tt", "elsewhere")]


@pytest.mark.parametrize("action", ["fetch", "verify", "path"])
def test_an_unknown_id_is_a_wrong_call(command, capsys, action):
    assert command(action, "dw-ll-348") == 2
    assert "did you mean" in capsys.readouterr().err


def test_no_action_is_a_wrong_call(command):
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2
