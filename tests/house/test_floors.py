"""Imports point down only, inside are relative, and heavy libraries wait until they are needed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A module or folder of dwpose/ and its floor. A new one has to be given a floor here.
FLOORS = {
    "__init__": 0,
    "errors": 0,
    "types": 0,
    "skeleton": 0,
    "geometry": 0,
    "style_names": 0,
    "simcc": 1,
    "heatmap": 1,
    "people": 1,
    "parts": 1,
    "steady_crops": 1,
    "crop": 1,
    "render": 1,
    "io": 1,
    "models": 2,
    "weights": 3,
    "runtimes": 4,
    "tracking": 2,
    "watching": 2,
    "filling": 3,
    "follow_options": 3,
    "following": 4,
    "batch_following": 5,
    "stream": 6,
    "detector": 5,
    "estimator": 5,
    "anatomy": 1,
    "sequences": 1,
    "spline": 1,
    "principal": 2,
    "smoothing": 3,
    "one_euro": 4,
    "swaps": 2,
    "sanity": 3,
    "proportions": 4,
    "retarget": 5,
    "refine": 5,
    "second_look": 3,
    "search": 6,
    "pose_options": 7,
    "pipeline": 8,
    "doctor": 9,
    "video": 9,
    "training": 9,
    "commands": 10,
    "cli": 11,
    "__main__": 12,
}
TORCH_FLOOR = FLOORS["models"]
COMFY = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "server", "execution"}
# Third-party modules by the floor from which they may be used at all: anything else is an error.
ANYWHERE = {"numpy", "cv2"}
FROM_IO = {"PIL", "av"}
FROM_MODELS = {"torch", "onnx", "onnxruntime", "huggingface_hub", "safetensors", "tqdm", "filelock"}
# Used where it happens to be installed, see weights/transfer.py.
FROM_MODELS |= {"certifi"}
FROM_TRAINING = {"matplotlib"}


@dataclass(frozen=True)
class Import:
    """One import of one module, as it stands in a file."""

    file: str
    line: int
    unit: str
    top: bool  # at module level, so executed on import
    level: int  # dots
    target: str  # "numpy.typing", or for relative imports the unit of dwpose/ meant

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {'.' * self.level}{self.target}"


def _sources(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _walk(nodes: list[ast.stmt], top: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, top
            continue
        inner = not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        inner = inner and not _is_type_checking(node)
        for field in ("body", "orelse", "finalbody"):
            yield from _walk(getattr(node, field, []), top and inner)
        for handler in getattr(node, "handlers", []) + getattr(node, "cases", []):
            yield from _walk(handler.body, top and inner)


def _imports(path: Path) -> Iterator[Import]:
    """Every import of a file of dwpose/ or nodes/, relative ones resolved to a unit of dwpose/."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = list(parts[:-1])
    unit = parts[1] if len(parts) > 1 else "__init__"
    name = "/".join(path.relative_to(ROOT).parts)
    for node, top in _walk(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, node.lineno, unit, top, 0, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield Import(name, node.lineno, unit, top, 0, node.module or "")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            assert len(package) >= node.level - 1, f"{name}:{node.lineno} leaves the pack"
            for alias in node.names:
                full = [*base, *(node.module or "").split("."), alias.name]
                full = [part for part in full if part]
                if full[0] != "dwpose":
                    target = full[0]
                elif len(full) == 2 and full[1] not in FLOORS:
                    target = "__init__"  # a name such as __version__
                else:
                    target = full[1]
                yield Import(name, node.lineno, unit, top, node.level, target)


DWPOSE = [found for path in _sources("dwpose") for found in _imports(path)]
EVERYTHING = DWPOSE + [found for path in _sources("nodes") for found in _imports(path)]


def test_every_part_of_dwpose_has_a_floor():
    present = {
        p.stem for p in (ROOT / "dwpose").iterdir() if p.suffix == ".py" or any(p.glob("*.py"))
    }
    assert present - set(FLOORS) == set()


def test_the_walk_sees_imports():
    # The rules below hold for an empty list too: make sure that it is not empty.
    assert any(i.unit == "types" and i.target == "skeleton" and i.level == 1 for i in DWPOSE)
    assert any(i.unit == "cli" and i.target == "argparse" and i.top for i in DWPOSE)
    assert any(not i.top for i in DWPOSE)


def test_imports_point_down():
    wrong = [
        str(found)
        for found in DWPOSE
        if found.level
        and found.file != "dwpose/__init__.py"
        and found.target != found.unit
        and FLOORS[found.target] >= FLOORS[found.unit]
        and not FLOORS[found.target] == FLOORS[found.unit] == 0
    ]
    assert wrong == []


def test_the_package_imports_only_lazily():
    assert [str(i) for i in DWPOSE if i.file == "dwpose/__init__.py" and i.level and i.top] == []


def test_imports_of_the_pack_are_relative():
    absolute = {"dwpose", "nodes"}
    wrong = [str(i) for i in EVERYTHING if i.level == 0 and i.target.split(".")[0] in absolute]
    assert wrong == []


def test_only_nodes_know_comfy():
    wrong = [str(i) for i in DWPOSE if i.level == 0 and i.target.split(".")[0] in COMFY]
    assert wrong == []


def _third_party(found: Import) -> str | None:
    top = found.target.split(".")[0]
    if found.level or top in sys.stdlib_module_names or top in ("dwpose", "nodes"):
        return None
    return top


def test_libraries_stay_on_their_floor():
    wrong = []
    for found in DWPOSE:
        module = _third_party(found)
        allowed = set(ANYWHERE)
        if found.unit == "io" or FLOORS[found.unit] >= TORCH_FLOOR:
            allowed |= FROM_IO
        if FLOORS[found.unit] >= TORCH_FLOOR:
            allowed |= FROM_MODELS
        if FLOORS[found.unit] >= FLOORS["training"]:
            allowed |= FROM_TRAINING
        if module is not None and module not in allowed:
            wrong.append(str(found))
    assert wrong == []


def test_optional_libraries_are_imported_where_needed():
    wrong = []
    for found in DWPOSE:
        module = _third_party(found)
        allowed = set(ANYWHERE)
        if FLOORS[found.unit] >= TORCH_FLOOR:
            allowed.add("torch")
        if found.unit in ("cli", "commands"):
            allowed = set()  # --help and argument errors answer at once
        if found.top and module is not None and module not in allowed:
            wrong.append(str(found))
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch", [("torch", True)]),
        ("def f():\n    import torch", [("torch", False)]),
        ("class A:\n    import torch", [("torch", True)]),
        ("try:\n    import a\nexcept ImportError:\n    import b", [("a", True), ("b", True)]),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", [("a", False), ("b", False)]),
        ("with x:\n    import a", [("a", True)]),
    ],
)
def test_the_walk_tells_module_level_from_inside(source: str, expected: list[tuple[str, bool]]):
    found = [(n.names[0].name, top) for n, top in _walk(ast.parse(source).body)]  # type: ignore[attr-defined]
    assert found == expected
