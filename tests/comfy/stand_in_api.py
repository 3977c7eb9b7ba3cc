"""Stand-ins for `comfy_api.latest`, which take what ComfyUI 0.3.64 takes and no more."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


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


class VideoFromFile:
    def __init__(self, file):
        self.file = file

    def get_stream_source(self):
        return self.file


class VideoFromComponents:
    def __init__(self, components):
        self.components = components

    def get_components(self):
        return self.components

    def get_stream_source(self):
        raise AssertionError("frames in memory must not be encoded")


def make_io() -> types.SimpleNamespace:
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


def make_latest() -> types.ModuleType:
    """The module."""
    latest = types.ModuleType("comfy_api.latest")
    latest.io, latest.ComfyExtension = make_io(), ComfyExtension
    latest.ui = types.SimpleNamespace(PreviewImage=PreviewImage, PreviewText=PreviewText)
    latest.InputImpl = types.SimpleNamespace(
        VideoFromFile=VideoFromFile, VideoFromComponents=VideoFromComponents
    )
    return latest
