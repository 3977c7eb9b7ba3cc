"""The pack under a hostile name, on stand-ins for ComfyUI's modules.

The stand-ins (stand_in_api.py, stand_ins.py) take exactly the arguments that ComfyUI 0.3.64 takes
(the oldest core supported), so that an argument of newer cores fails here as it would there. Tests
of the real thing read COMFYUI_PATH (a checkout) and COMFYUI_PYTHON (an interpreter that can run it)
and skip without.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PACK = "/custom_nodes/my pack-1_x_2 (copy)"


def _beside(name: str) -> types.ModuleType:
    """Import a file beside this one, which is in no package."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"comfy_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


stand_in_api, stand_ins = _beside("stand_in_api"), _beside("stand_ins")


@pytest.fixture(scope="session")
def comfy_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ComfyUI's base directory: models/, input/, output/, temp/."""
    return tmp_path_factory.mktemp("comfy_base")


@pytest.fixture(scope="session")
def pack(comfy_base: Path) -> Iterator[Callable[[str], Any]]:
    """A function from a module's name inside the pack ("nodes.sockets") to the module."""
    ours = stand_ins.make_stand_ins(comfy_base, stand_in_api.make_latest())
    before = {name: sys.modules.get(name) for name in ours}
    sys.modules.update(ours)
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    root = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = root
    spec.loader.exec_module(root)
    yield lambda name="": importlib.import_module(f"{PACK}.{name}") if name else root
    for name, module in before.items():
        if module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = module
    for name in [n for n in sys.modules if n.split(".")[0] == PACK]:
        del sys.modules[name]


@pytest.fixture
def management(pack: Callable[[str], Any]) -> Iterator[Any]:
    """ComfyUI's memory manager, fresh."""
    found = sys.modules["comfy.model_management"]
    assert isinstance(found, stand_ins.FakeModelManagement)
    fresh = stand_ins.FakeModelManagement()
    keep = dict(vars(found))
    vars(found).update(vars(fresh))
    stand_ins.ProgressBar.shown.clear()
    stand_ins.ProgressBar.previews.clear()
    yield found
    vars(found).update(keep)


@pytest.fixture
def progress_bar(management: Any) -> type[Any]:
    """ComfyUI's progress bar, which notes in `shown` what it was told."""
    return stand_ins.ProgressBar


@pytest.fixture
def folder_paths(pack: Callable[[str], Any]) -> types.ModuleType:
    """ComfyUI's folder_paths."""
    return sys.modules["folder_paths"]


# --- networks ----------------------------------------------------------------------------------

CROP_HW = (64, 48)


class Poser:
    """A pose session: points on the outline of what is bright, score by how much of it is."""

    def __init__(self, info: Any) -> None:
        self.info, self.input_size_hw, self.max_batch = info, CROP_HW, None
        self.input_dtype = "float32"
        self.asked: list[int] = []
        self.fail: list[BaseException] = []

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        self.asked.append(len(images))
        if self.fail:
            raise self.fail.pop(0)
        x = np.zeros((len(images), 133, CROP_HW[1] * 2), np.float32)
        y = np.zeros((len(images), 133, CROP_HW[0] * 2), np.float32)
        for i, image in enumerate(images):
            rows, columns = np.nonzero(image[0] > 1.9)  # above grey level 235 after normalising
            if not len(rows):
                continue
            corners = list(itertools.product(_ends(columns), _ends(rows)))
            score = 0.5 + 0.5 * min(len(rows) / 1000, 1)
            for k in range(133):
                x[i, k, 2 * corners[k % 4][0]] = score
                y[i, k, 2 * corners[k % 4][1]] = score
        return x, y


class Finder:
    """A detector session: every brightness of 250, 240, 230, if there, is a person's rectangle."""

    def __init__(self, info: Any) -> None:
        self.info, self.input_size_hw, self.max_batch = info, (128, 128), None
        self.input_dtype = "float32"

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        rows = np.zeros((len(images), 3, 5), np.float32)
        for i, image in enumerate(images):
            for k, value in enumerate((250, 240, 230)):
                y, x = np.nonzero(np.abs(image[0] - value) < 2)
                if len(y):
                    rows[i, k] = (x.min(), y.min(), x.max() + 1, y.max() + 1, 0.9 - k / 10)
        return rows, np.zeros((len(images), 3))


def _ends(values: np.ndarray) -> tuple[int, int]:
    return int(values.min()), int(values.max())


def _picture(*people: tuple[int, int, int, int]) -> torch.Tensor:
    image = np.zeros((1, 128, 128, 3), np.float32)
    for value, (left, top, right, bottom) in zip((250, 240, 230), people, strict=False):
        image[0, top:bottom, left:right] = value / 255
    return torch.from_numpy(image)


@pytest.fixture(scope="session")
def picture() -> Callable[..., torch.Tensor]:
    """A function from rectangles (left, top, right, bottom) to an IMAGE with people in them."""
    return _picture


@pytest.fixture
def make_model(pack: Callable[[str], Any], management: Any) -> Callable[..., Any]:
    """A function that makes a DWPOSE_MODEL of stand-ins; without a detector if asked."""

    def make(detector: bool = True) -> Any:
        info = pack("dwpose.runtimes.session").RuntimeInfo("onnxruntime", "cpu", "fp32", "a stub")
        memory = pack("nodes.memory")
        return memory.PoseModel(
            memory.Network(Poser(info), "estimator"),
            memory.Network(Finder(info), "detector") if detector else None,
        )

    return make


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A safetensors file of a very small pose network with made-up weights."""
    from safetensors.torch import save_file

    from dwpose.models.rtmpose import RTMPose, RTMPoseConfig

    torch.manual_seed(0)
    network = RTMPose(RTMPoseConfig("custom", 1 / 3, 0.125, (128, 96)))
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return path.read_bytes()


@pytest.fixture
def models_folder(
    folder_paths: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty models/dwpose, with nothing elsewhere on the machine to be found."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    for name in ("DWPOSE_MODELS", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "models" / "dwpose"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def tiny(models_folder: Path, tiny_weights: bytes) -> Path:
    """The very small pose network, in models/dwpose."""
    path = models_folder / "tiny.safetensors"
    path.write_bytes(tiny_weights)
    return path


@pytest.fixture(scope="session")
def load_model(pack: Callable[[str], Any]) -> Callable[..., Any]:
    """Run Load DWPose Model, with the very small network where no other is asked for."""

    def load(**options: Any) -> Any:
        usual = {"estimator": "tiny.safetensors", "detector": "none", "runtime": "torch"}
        return pack("nodes.models").LoadModel.execute(**{**usual, **options}).args

    return load


# --- the real thing ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def comfyui_path() -> Path:
    """A checkout of ComfyUI, or skip."""
    path = os.environ.get("COMFYUI_PATH")
    if not path:
        pytest.skip("needs a ComfyUI checkout in COMFYUI_PATH")
    return Path(path)


@pytest.fixture(scope="session")
def comfyui_python() -> str:
    """An interpreter that has ComfyUI's requirements: COMFYUI_PYTHON, else this one."""
    return os.environ.get("COMFYUI_PYTHON", sys.executable)
