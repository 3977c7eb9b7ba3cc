"""The dispatcher: every command is there, answers --help, and fails in a sentence."""

from __future__ import annotations

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
