"""The declarations of the repository agree with one another and with the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dwpose

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _names(requirements: list[str]) -> list[str]:
    return [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in requirements]


def test_requirements_equal_the_dependencies(pyproject: dict[str, Any]):
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines == pyproject["project"]["dependencies"]


def test_onnxruntime_is_an_extra(pyproject: dict[str, Any]):
    names = _names(pyproject["project"]["dependencies"])
    assert not [name for name in names if name.startswith("onnxruntime")]
    assert _names(pyproject["project"]["optional-dependencies"]["onnxruntime"]) == ["onnxruntime"]


def test_version_is_static_and_the_same_everywhere(pyproject: dict[str, Any]):
    version = pyproject["project"]["version"]
    assert dwpose.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] in (version, "Unreleased")  # type: ignore[index]


def test_script_is_the_dispatcher(pyproject: dict[str, Any]):
    assert pyproject["project"]["scripts"] == {"dwpose": "dwpose.cli:main"}


def test_the_wheel_holds_dwpose_alone(pyproject: dict[str, Any]):
    from setuptools import find_packages

    include = pyproject["tool"]["setuptools"]["packages"]["find"]["include"]
    found = find_packages(str(ROOT), include=include)
    folders = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "dwpose").rglob("*.py")}
    # Equal: a folder without __init__.py would be left out of the wheel without a word.
    assert set(found) == folders


def test_licence_is_complete(pyproject: dict[str, Any]):
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert pyproject["project"]["license"] == "Apache-2.0"


@pytest.mark.parametrize("folder", ["dwpose", "nodes", "tests", "benchmarks", "examples"])
def test_files_are_one_room_each(folder: str):
    long = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / folder).rglob("*.py")
        if len(p.read_text(encoding="utf-8").splitlines()) > MAX_LINES
    }
    assert long == set()


def test_modules_are_not_called_utils():
    names = [p.name for f in ("dwpose", "nodes") for p in (ROOT / f).rglob("*.py")]
    assert [n for n in names if re.search(r"util|helper|common|misc", n)] == []


def test_test_files_have_names_of_their_own():
    names = [p.name for p in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_import_is_light():
    heavy = ["torch", "onnxruntime", "onnx", "cv2", "PIL", "huggingface_hub", "matplotlib", "tqdm"]
    code = (
        "import sys, dwpose, dwpose.cli; dwpose.cli.build_parser();"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_ground_floor_works_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None;"
        "import dwpose, dwpose.types, dwpose.skeleton, dwpose.geometry, dwpose.simcc, dwpose.crop;"
        "import dwpose.render, dwpose.io.images, dwpose.io.openpose_json;"
        "print(len(dwpose.People.empty((4, 5))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("0\n", "")
