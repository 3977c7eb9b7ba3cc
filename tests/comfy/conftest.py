"""The pack under a hostile name, on stand-ins for ComfyUI's modules.

The stand-ins take exactly the arguments that ComfyUI 0.3.64 takes (the oldest core supported), so
that an argument of newer cores fails here as it would there. Tests of the real thing read
COMFYUI_PATH (a checkout) and COMFYUI_PYTHON (an interpreter that can run it) and skip without.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PACK = "/custom_nodes/my pack-1_x_2 (copy)"


# --- comfy_api.latest --------------------------------------------------------------------------


class Input:
    def __init__(
        self, id, display_name=None, optional=False, tooltip=None, lazy=None, extra_dict=None
    ):
        self.id, self.display_name, self.optional = id, display_name, optional
        self.tooltip, self.lazy, self.extra_dict = tooltip, lazy, dict(extra_dict or {})
        self.io_type = getattr(type(self), "parent_type", None)

    def get_io_type(self) -> str:
        return str(self.io_type)

    def as_dict(self) -> dict[str, Any]:
        skip = ("id", "io_type", "extra_dict")
        own = {k: v for k, v in vars(self).items() if k not in skip and v is not None}
        return {**own, **self.extra_dict}


def _widget(*extra: str) -> type[Input]:
    """A widget input class that takes these arguments besides the common ones."""

    class WidgetInput(Input):
        def __init__(
            self, id, display_name=None, optional=False, tooltip=None, lazy=None, default=None,
            socketless=None, **options,
        ):  # fmt: skip
            unknown = set(options) - set(extra)
            if unknown:
                raise TypeError(f"unexpected keyword arguments {sorted(unknown)}")
            super().__init__(id, display_name, optional, tooltip, lazy)
            self.default, self.socketless = default, socketless
            vars(self).update(options)

    return WidgetInput


class Output:
    def __init__(self, id=None, display_name=None, tooltip=None, is_output_list=False):
        self.id, self.display_name, self.tooltip = id, display_name, tooltip
        self.is_output_list = is_output_list
        self.io_type = getattr(type(self), "parent_type", None)


def _kind(io_type: str, base: type[Input] = Input) -> type:
    members = {
        "io_type": io_type,
        "Input": type("Input", (base,), {"parent_type": io_type}),
        "Output": type("Output", (Output,), {"parent_type": io_type}),
    }
    return type(io_type.title(), (), members)


class MultiTypeInput(Input):
    def __init__(self, id, types, **options):
        super().__init__(id, **options)
        self.io_type = ",".join(kind.io_type for kind in types)


class Hidden(str, Enum):
    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"


class UploadType(str, Enum):
    image = "image_upload"
    audio = "audio_upload"
    video = "video_upload"


class FolderType(str, Enum):
    input = "input"
    output = "output"
    temp = "temp"


class NumberDisplay(str, Enum):
    number = "number"
    slider = "slider"


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    hidden: list | None = None
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False

    def validate(self) -> None:
        ids = [i.id for i in self.inputs] + [o.id for o in self.outputs]
        if len(set(ids)) != len(ids):
            raise ValueError(f"ids must be unique across inputs and outputs, got {ids}")


class NodeOutput:
    def __init__(self, *args, ui=None, expand=None, block_execution=None):
        self.args, self.result = args, args
        self.ui, self.expand, self.block_execution = ui, expand, block_execution

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class ComfyNode:
    hidden = None

    def __init__(self):
        self.local_resources = None

    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        schema = cls.define_schema()
        for index, output in enumerate(schema.outputs):
            output.id = output.id or f"_{index}_{output.io_type}_"
        schema.validate()
        return schema


class ComfyExtension:
    pass


class PreviewImage:
    def __init__(self, image, animated=False, cls=None, **kwargs):
        self.image = image

    def as_dict(self) -> dict[str, Any]:
        return {"images": [{"filename": "preview.png", "subfolder": "", "type": "temp"}]}


class PreviewText:
    def __init__(self, value, **kwargs):
        self.value = value

    def as_dict(self) -> dict[str, Any]:
        return {"text": (self.value,)}


def _io() -> types.SimpleNamespace:
    numbers = ("min", "max", "step", "control_after_generate", "display_mode", "force_input")
    combo = ("options", "control_after_generate", "upload", "image_folder", "remote")
    plain = {
        name: _kind(io_type)
        for name, io_type in {
            "Image": "IMAGE", "Mask": "MASK", "Latent": "LATENT", "Audio": "AUDIO",
            "Video": "VIDEO", "BBOX": "BBOX", "SEGS": "SEGS", "AnyType": "*",
        }.items()
    }  # fmt: skip
    return types.SimpleNamespace(
        **plain,
        Int=_kind("INT", _widget(*numbers)),
        Float=_kind("FLOAT", _widget(*numbers[:3], "round", *numbers[4:])),
        String=_kind(
            "STRING", _widget("multiline", "placeholder", "dynamic_prompts", "force_input")
        ),
        Boolean=_kind("BOOLEAN", _widget("label_on", "label_off", "force_input")),
        Combo=_kind("COMBO", _widget(*combo)),
        Custom=_kind,
        MultiType=types.SimpleNamespace(Input=MultiTypeInput),
        ComfyNode=ComfyNode,
        Schema=Schema,
        NodeOutput=NodeOutput,
        Hidden=Hidden,
        UploadType=UploadType,
        FolderType=FolderType,
        NumberDisplay=NumberDisplay,
    )


# --- comfy, folder_paths, server ---------------------------------------------------------------


class InterruptProcessingException(Exception):
    pass


class FakeModelManagement(types.ModuleType):
    """What the nodes ask ComfyUI's memory manager, recorded."""

    OOM_EXCEPTION = torch.cuda.OutOfMemoryError
    InterruptProcessingException = InterruptProcessingException

    def __init__(self) -> None:
        super().__init__("comfy.model_management")
        self.interrupted = False
        self.interrupt_after: int | None = None
        self.checks = 0
        self.loaded: list[Any] = []
        self.calls: list[tuple[str, Any]] = []
        self.device = torch.device("cpu")

    def get_torch_device(self) -> torch.device:
        return self.device

    def unet_offload_device(self) -> torch.device:
        return torch.device("cpu")

    def intermediate_device(self) -> torch.device:
        return torch.device("cpu")

    def free_memory(self, size, device, keep_loaded=()) -> None:
        self.calls.append(("free_memory", (size, device)))

    def soft_empty_cache(self, force: bool = False) -> None:
        self.calls.append(("soft_empty_cache", None))

    def load_models_gpu(self, models, memory_required=0, force_full_load=False, **kwargs) -> None:
        self.calls.append(("load_models_gpu", list(models)))
        self.loaded += [m for m in models if m not in self.loaded]

    def throw_exception_if_processing_interrupted(self) -> None:
        self.checks += 1
        if self.interrupted or (
            self.interrupt_after is not None and self.checks > self.interrupt_after
        ):
            self.interrupted = False
            raise InterruptProcessingException


class FakeModelPatcher:
    def __init__(self, model, load_device, offload_device, size=0, weight_inplace_update=False):
        self.model, self.load_device, self.offload_device = model, load_device, offload_device


class ProgressBar:
    shown: list[tuple[int, int]] = []  # noqa: RUF012

    def __init__(self, total, node_id=None):
        self.total, self.current = total, 0

    def update_absolute(self, value, total=None, preview=None):
        self.current, self.total = value, total or self.total
        type(self).shown.append((self.current, self.total))

    def update(self, value):
        self.update_absolute(self.current + value)


def _folder_paths(base: Path) -> types.ModuleType:
    module = types.ModuleType("folder_paths")
    module.base_path = str(base)
    module.models_dir = str(base / "models")
    module.folder_names_and_paths = {}
    extensions = {".onnx", ".safetensors", ".pth", ".pt", ".ckpt", ".bin"}

    def add_model_folder_path(kind: str, path: str, is_default: bool = False) -> None:
        paths, _ = module.folder_names_and_paths.setdefault(kind, ([], set()))
        if path not in paths:
            paths.insert(0, path) if is_default else paths.append(path)

    def get_folder_paths(kind: str) -> list[str]:
        return list(module.folder_names_and_paths[kind][0])

    def get_filename_list(kind: str) -> list[str]:
        paths, known = module.folder_names_and_paths[kind]
        found = set()
        for folder in paths:
            for path in Path(folder).rglob("*"):
                if path.is_file() and (not known or path.suffix in known):
                    found.add(str(path.relative_to(folder)))
        return sorted(found)

    def get_full_path(kind: str, name: str) -> str | None:
        for folder in get_folder_paths(kind):
            if (Path(folder) / name).is_file():
                return str(Path(folder) / name)
        return None

    def get_save_image_path(prefix: str, folder: str, width: int = 0, height: int = 0) -> tuple:
        prefix = prefix.replace("%width%", str(width)).replace("%height%", str(height))
        where = Path(folder) / Path(prefix).parent
        where.mkdir(parents=True, exist_ok=True)
        name = Path(prefix).name
        taken = [p.name[len(name) + 1 :].split("_")[0] for p in where.glob(f"{name}_*")]
        counter = max([int(n) for n in taken if n.isdigit()], default=0) + 1
        return str(where), name, counter, str(Path(prefix).parent).removeprefix("."), prefix

    for name in ("input", "output", "temp"):
        (base / name).mkdir(parents=True, exist_ok=True)
        setattr(module, f"get_{name}_directory", lambda name=name: str(base / name))
    module.supported_pt_extensions = extensions
    module.add_model_folder_path = add_model_folder_path
    module.get_folder_paths = get_folder_paths
    module.get_filename_list = get_filename_list
    module.get_full_path = get_full_path
    module.get_save_image_path = get_save_image_path
    return module


def _stand_ins(base: Path) -> dict[str, types.ModuleType]:
    latest = types.ModuleType("comfy_api.latest")
    latest.io, latest.ComfyExtension = _io(), ComfyExtension
    latest.ui = types.SimpleNamespace(PreviewImage=PreviewImage, PreviewText=PreviewText)
    api, comfy = types.ModuleType("comfy_api"), types.ModuleType("comfy")
    api.latest = latest
    comfy.model_management = FakeModelManagement()
    comfy.utils = types.ModuleType("comfy.utils")
    comfy.utils.ProgressBar = ProgressBar
    comfy.model_patcher = types.ModuleType("comfy.model_patcher")
    comfy.model_patcher.ModelPatcher = FakeModelPatcher
    comfy.cli_args = types.ModuleType("comfy.cli_args")
    comfy.cli_args.args = types.SimpleNamespace(disable_metadata=False)
    server = types.ModuleType("server")
    server.PromptServer = type("PromptServer", (), {})
    return {
        "comfy_api": api,
        "comfy_api.latest": latest,
        "comfy": comfy,
        "comfy.model_management": comfy.model_management,
        "comfy.utils": comfy.utils,
        "comfy.model_patcher": comfy.model_patcher,
        "comfy.cli_args": comfy.cli_args,
        "folder_paths": _folder_paths(base),
        "server": server,
    }


@pytest.fixture(scope="session")
def comfy_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ComfyUI's base directory: models/, input/, output/, temp/."""
    return tmp_path_factory.mktemp("comfy_base")


@pytest.fixture(scope="session")
def pack(comfy_base: Path) -> Iterator[Callable[[str], Any]]:
    """A function from a module's name inside the pack ("nodes.sockets") to the module."""
    ours = _stand_ins(comfy_base)
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
def management(pack: Callable[[str], Any]) -> Iterator[FakeModelManagement]:
    """ComfyUI's memory manager, fresh."""
    found = sys.modules["comfy.model_management"]
    assert isinstance(found, FakeModelManagement)
    fresh = FakeModelManagement()
    keep = dict(vars(found))
    vars(found).update(vars(fresh))
    ProgressBar.shown.clear()
    yield found
    vars(found).update(keep)


@pytest.fixture
def progress_bar(management: FakeModelManagement) -> type[ProgressBar]:
    """ComfyUI's progress bar, which notes in `shown` what it was told."""
    return ProgressBar


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
def make_model(pack: Callable[[str], Any], management: FakeModelManagement) -> Callable[..., Any]:
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
