"""The root loads as ComfyUI loads it: under a name made of its path, in any folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What ComfyUI 0.3.64's loader does, with stand-ins for the two classes that the nodes build on.
# A top-level `dwpose` or `nodes` must not be needed: the first is made unimportable, the second
# is ComfyUI's own module and must be left alone.
LOADER = """
import asyncio, importlib, importlib.util, json, os, pkgutil, sys, types

folder = sys.argv[1]
sys.modules["dwpose"] = None
nodes = sys.modules["nodes"] = types.ModuleType("nodes")
api = types.ModuleType("comfy_api")
latest = types.ModuleType("comfy_api.latest")
latest.ComfyExtension = type("ComfyExtension", (), {})
latest.io = types.SimpleNamespace(ComfyNode=type("ComfyNode", (), {}))
sys.modules.update({"comfy_api": api, "comfy_api.latest": latest})

before, path_before = set(sys.modules), list(sys.path)
name = folder.replace(".", "_x_")
spec = importlib.util.spec_from_file_location(name, os.path.join(folder, "__init__.py"))
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
extension = asyncio.run(module.comfy_entrypoint())
listed = asyncio.run(extension.get_node_list())
loaded = sorted(m.split(".")[0] for m in set(sys.modules) - before)

failed = {}
pack = importlib.import_module(name + ".dwpose")
for info in pkgutil.walk_packages(pack.__path__, pack.__name__ + "."):
    try:
        importlib.import_module(info.name)
    except Exception as error:
        failed[info.name] = repr(error)
print(json.dumps({
    "is_extension": isinstance(extension, latest.ComfyExtension),
    "is_list": isinstance(listed, list),
    "has_mappings": hasattr(module, "NODE_CLASS_MAPPINGS"),
    "heavy": [m for m in ("torch", "cv2", "onnxruntime", "PIL") if m in loaded],
    "path_changed": sys.path != path_before,
    "nodes_replaced": sys.modules["nodes"] is not nodes,
    "failed": failed,
}))
"""


@pytest.fixture(scope="module", params=["my pack-1.2 (copy)", "ComfyUI-DWPose"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("custom_nodes") / request.param
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.npz")
    for name in ("dwpose", "nodes"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / "__init__.py", folder)
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", LOADER, str(folder)],
        capture_output=True,
        text=True,
        cwd=folder.parent,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 1, f"something is printed on import: {lines[:-1]}"
    return json.loads(lines[0])


def test_entrypoint_gives_an_extension_with_a_node_list(report: dict):
    assert report["is_extension"]
    assert report["is_list"]


def test_there_are_no_v1_mappings_to_hide_the_entrypoint(report: dict):
    assert not report["has_mappings"]


def test_loading_is_light_and_leaves_the_process_alone(report: dict):
    assert report["heavy"] == []
    assert not report["path_changed"]
    assert not report["nodes_replaced"]


def test_every_module_imports_under_a_hostile_name(report: dict):
    assert report["failed"] == {}
