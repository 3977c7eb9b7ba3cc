"""The dispatcher: every command is there, answers --help, and fails in a sentence."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import dwpose
from dwpose import cli

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def _exit_code(argv: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_version(capsys: pytest.CaptureFixture[str]):
    assert _exit_code(["--version"]) == 0
    assert capsys.readouterr().out == f"dwpose {dwpose.__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]):
    assert _exit_code([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "example" in text
    assert f"dwpose {name}" in text


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["image"], ["image", "x.png", "--style", "x"]])
def test_a_wrong_call_exits_with_2(argv: list[str]):
    assert _exit_code(argv) == 2


@pytest.mark.parametrize(
    ("call", "option", "numbers", "span"),
    [
        ("evaluate a.json --images .", "--nms-threshold", "5 -0.1 nan", "from 0 to 1"),
        ("evaluate a.json --images .", "--worst-count", "-3 0", "of at least 1"),
        ("evaluate a.json --images .", "--batch-size", "0", "of at least 1"),
        ("evaluate a.json --images .", "--min-points", "-1 18", "from 0 to 17"),
        ("evaluate a.json --images .", "--padding", "0 -1 inf nan", "above 0 to 10"),
        ("evaluate-detector a.json --images .", "--score", "nan -1 2 x", "from 0 to 1"),
        ("doctor", "--timeout", "0 -3 inf nan", "above 0 to 3600"),
        ("data check .", "--open", "-1 2.5", "of at least 0"),
        ("data ubody-frames .", "--workers", "0", "of at least 1"),
        ("data ubody-frames .", "--jpeg", "0 101", "from 1 to 100"),
        ("data preview -o a.png", "--count", "0", "of at least 1"),
        ("data preview -o a.png", "--seed", "-1", "from 0 to"),
        ("video a.mp4 -o b.mp4", "--track-id", "-1", "of at least 0"),
        ("video a.mp4 -o b.mp4", "--batch", "0 x", "of at least 1"),
        ("synth preview -o a.png", "--columns", "0", "of at least 1"),
        ("synth preview -o a.png", "--padding", "0 inf", "above 0 to 10"),
        ("synth preview -o a.png", "--seed", "-1 99999999999", "from 0 to"),
        ("synth render -o pool", "--count", "0", "of at least 1"),
        ("synth render -o pool", "--first", "-1 100000", "from 0 to 99999"),
        ("synth render -o pool", "--seed", "-1 1000", "from 0 to 999"),
        ("synth cutouts -o pool", "--first", "-1 100000", "from 0 to 99999"),
        ("synth cutouts -o pool", "--seed", "-1 1000", "from 0 to 999"),
        ("synth scenes -o a.png --cutouts pool", "--seed", "-1", "from 0 to"),
        ("synth scenes -o a.png --cutouts pool", "--side", "31", "from 32 to 4096"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    call: str, option: str, numbers: str, span: str, capsys: pytest.CaptureFixture[str]
):
    for number in numbers.split():
        assert _exit_code([*call.split(), option, number]) == 2
        error = capsys.readouterr().err
        assert f"argument {option}: {number!r} is not a" in error
        assert f"number {span}" in error


def test_an_interrupt_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("dwpose.commands.image.run", interrupted)
    assert cli.main(["image", "x.png"]) == 130
    assert capsys.readouterr().err == "dwpose: interrupted\n"


def _documented() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("dwpose ")]


def test_the_readme_shows_commands():
    assert len(_documented()) >= 5


@pytest.mark.parametrize("line", _documented())
def test_commands_of_the_readme_are_right(line: str):
    args = cli.build_parser().parse_args(shlex.split(line)[1:])
    assert callable(args.run)


def test_the_readme_lists_every_command():
    listed = re.findall(r"^\| `dwpose ([\w-]+)` \|", README, re.MULTILINE)
    assert listed == list(cli.COMMANDS)


def test_make_targets_of_the_readme_exist():
    makefile = (Path(__file__).resolve().parents[1] / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b(?=[`\s]*(?:#|`|TORCH|$))", README)) <= targets
    assert {"demo", "test"} <= targets


def test_the_package_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "dwpose", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"dwpose {dwpose.__version__}"


def test_names_that_the_output_cannot_encode_are_escaped(tmp_path: Path):
    folder = tmp_path / "\u4eba\u7269"
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "DWPOSE_MODELS": str(folder)}
    command = [sys.executable, "-m", "dwpose", "models", "path"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u4eba\u7269" in done.stdout
