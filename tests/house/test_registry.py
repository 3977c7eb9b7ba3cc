"""What ComfyUI's registry needs: names, pictures, the archive, the published pyproject.toml."""

from __future__ import annotations

import importlib.util
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def registry():
    spec = importlib.util.spec_from_file_location("registry", ROOT / ".ci" / "registry.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_names_are_those_the_registry_takes(text):
    found = tomllib.loads(text)
    name = found["project"]["name"]
    assert re.fullmatch(r"[a-z](?:[-_.]?[a-z0-9])*", name)
    assert len(name) < 100
    assert "comfyui" not in name
    comfy = found["tool"]["comfy"]
    assert comfy["PublisherId"]
    assert comfy["DisplayName"] == "DWPose Studio"
    assert re.fullmatch(r">=\d+\.\d+\.\d+", comfy["requires-comfyui"])
    # Served by the root __init__.py; both together would load every script twice.
    assert "web" not in comfy


def test_icon_and_banner_have_the_registrys_shape(text):
    comfy = tomllib.loads(text)["tool"]["comfy"]
    width, height = size(ROOT / comfy["Icon"])
    assert width == height <= 400
    width, height = size(ROOT / comfy["Banner"])
    assert width * 9 == height * 21


def test_the_published_file_has_addresses_and_a_licence_table(text, registry):
    found = tomllib.loads(registry.for_registry(text, "someone/Pack", "v1.2.3", "somebody"))
    before = tomllib.loads(text)
    project, comfy = found["project"], found["tool"]["comfy"]
    assert project["license"] == {"text": before["project"]["license"]}
    assert project["urls"]["Repository"] == "https://github.com/someone/Pack"
    for picture in ("Icon", "Banner"):
        address = f"https://raw.githubusercontent.com/someone/Pack/v1.2.3/{before['tool']['comfy'][picture]}"
        assert comfy[picture] == address
    assert comfy["PublisherId"] == "somebody"
    assert project["dependencies"] == before["project"]["dependencies"]


def test_a_line_that_is_gone_is_an_error(text, registry):
    with pytest.raises(ValueError, match="mend"):
        registry.for_registry(
            text.replace("Icon =", "Sign =").replace("Banner =", "Flag ="), "a/b", "v1.0.0"
        )


def test_the_archive_keeps_what_the_nodes_need():
    lines = (ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines()
    ignored = [line for line in lines if line and not line.startswith("#")]
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    if not any(listed):
        pytest.skip("not a git checkout")
    kept = [
        name
        for name in listed
        if name and not any(name == i or (i.endswith("/") and name.startswith(i)) for i in ignored)
    ]
    tops = {name.split("/")[0] for name in kept}
    needed = {"__init__.py", "dwpose", "nodes", "web", "locales", "example_workflows"}
    assert needed | {"pyproject.toml", "requirements.txt", "LICENSE", "NOTICE"} <= tops
    assert not tops & {"tests", "benchmarks", "training", ".github"}
    assert not [i for i in ignored if not (ROOT / i).exists()]
