"""Where tests find the numbers of the original programs and the shared photos."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "tests" / "data" / "reference"


def _shared() -> Path:
    return Path(os.environ.get("DWPOSE_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session", autouse=True)
def _own_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's model files out of the tests, and what tests export out of theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DWPOSE_MODELS", str(tmp_path_factory.mktemp("models")))
        yield


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of photos, tiny labelled sets and synthetic material."""
    folder = _shared()
    if not folder.is_dir():
        pytest.skip(f"needs the shared folder, absent at {folder}; DWPOSE_SHARED names another")
    return folder


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Path]:
    """A function from a fixture's file name to its path; skips where it is absent."""

    def find(name: str) -> Path:
        for folder in (COMMITTED, _shared() / "reference"):
            if (folder / name).exists():
                return folder / name
        pytest.skip(f"needs the reference file {name}, which is in the shared folder only")

    return find


@pytest.fixture(scope="session")
def load_reference(reference: Callable[[str], Path]) -> Callable[[str], dict[str, np.ndarray]]:
    """A function from a fixture's file name to its arrays."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(reference(name), allow_pickle=False) as archive:
            return dict(archive)

    return load


@pytest.fixture(scope="session")
def weights_by_name(reference: Callable[[str], Path]) -> ModuleType:
    """The module that makes weights, inputs and pictures from their names."""
    spec = importlib.util.spec_from_file_location(
        "weights_by_name", reference("weights_by_name.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
