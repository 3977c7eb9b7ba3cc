"""Stand-ins for ComfyUI's modules but `comfy_api`: memory manager, progress, folders, server."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import torch


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
    previews: list[tuple[str, tuple[int, int], int]] = []  # noqa: RUF012

    def __init__(self, total, node_id=None):
        self.total, self.current = total, 0

    def update_absolute(self, value, total=None, preview=None):
        self.current, self.total = value, total or self.total
        if preview is not None:
            kind, picture, longest = preview
            type(self).previews.append((kind, picture.size, longest))
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
        # As ComfyUI counts: nothing where the prefix ends in a slash.
        end = len(prefix.rpartition("/")[2]) + 1
        found = [p.name for p in where.iterdir() if p.name[:end] == f"{name}_"]
        taken = [one[end:].split("_")[0] for one in found]
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


def make_stand_ins(base: Path, latest: types.ModuleType) -> dict[str, types.ModuleType]:
    """The modules by name; `base` is ComfyUI's base directory, `latest` comfy_api's module."""
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
