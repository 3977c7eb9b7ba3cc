"""From an id or a path to a network that is ready to be given to a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from ..models.usage import Usage
from .catalogue import CATALOGUE, Family, ModelEntry, Role, find

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..models.rtmpose import RTMPoseConfig
    from ..models.yolox import YOLOXConfig

SIMCC_OUTPUTS = ("simcc_x", "simcc_y")
"""Output names of every exported RTMPose and RTMW."""

_COUNTER = "num_batches_tracked"
"""Batch norm's step counter: no weight, and some exporters drop it."""


class LoadedModel:
    """A model file that has been found, and the network in it.

    Attributes:
        path: The file.
        entry: Its catalogue entry, or None for a file of one's own.
        role: "estimator" or "detector".
        family: "rtmpose" or "yolox" for our own networks, "onnx" for any other graph.
        input_size_hw: Input height and width in px; None where the file leaves it open.
        onnx_path: The file again if it is ONNX (a runtime may use it directly), else None.
        meta: What the file says about itself: our metadata, and "size", the size letter, where it
            is known.
        usage: How the network is to be used, as its file says.
    """

    def __init__(
        self,
        path: Path,
        entry: ModelEntry | None,
        role: Role,
        family: Family,
        input_size_hw: tuple[int, int] | None,
        onnx_path: Path | None = None,
        module: nn.Module | None = None,
        meta: Mapping[str, Any] | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.path = path
        self.entry = entry
        self.role: Role = role
        self.family: Family = family
        self.input_size_hw = input_size_hw
        self.onnx_path = onnx_path
        self.meta = dict(meta or {})
        self.usage = usage or Usage()
        self._module = module

    @property
    def module(self) -> nn.Module:
        """The network in torch, in eval mode, fp32 on the CPU; an ONNX graph is built on demand.

        Raises:
            WeightsError: The ONNX graph cannot be run in torch.
        """
        if self._module is None:
            from ..models.onnx_graph import load_onnx

            self._module = load_onnx(self.path).eval()
        return self._module

    @property
    def name(self) -> str:
        """The catalogue id, or the file name."""
        return self.entry.id if self.entry else self.path.name

    def __repr__(self) -> str:
        size = "x".join(map(str, self.input_size_hw)) if self.input_size_hw else "any size"
        return f"LoadedModel({self.name}: {self.role}, {self.family}, {size}, {self.path})"


def load_model(
    id_or_path: str | PathLike[str],
    download: bool = True,
    folder: str | PathLike[str] | None = None,
) -> LoadedModel:
    """Find a model file, check it, and build its network.

    Args:
        id_or_path: A catalogue id (`dwpose models list`), or the path of a ``.safetensors``,
            ``.pth`` or ``.onnx`` file.
        download: Fetch a catalogue file that is not here; otherwise that is an error.
        folder: Where models lie; None means `dwpose.weights.hub.default_folder`.

    Raises:
        FileNotFoundError: A path that leads nowhere.
        ValueError: Neither a known id nor a path.
        WeightsError: A file that cannot be had, is damaged, or holds another network.
    """
    from . import hub

    text = str(id_or_path)
    if isinstance(id_or_path, str) and text in CATALOGUE:
        entry = find(text)
        path = hub.locate(entry, folder)
        if path is None:
            if not download or entry.builtin:
                raise WeightsError(hub.absent_message(entry, folder))
            path = hub.fetch(entry, folder)
        else:
            hub.check(entry, path)
        return load_file(path, entry)
    path = Path(text).expanduser()
    if not path.is_file():
        if isinstance(id_or_path, str) and not path.suffix and len(path.parts) == 1:
            find(text)  # raises, naming the ids that are near
        raise FileNotFoundError(
            f"there is no model file {text}; give an existing file, or an id that "
            "`dwpose models list` shows"
        )
    return load_file(path, None)


def load_file(path: Path, entry: ModelEntry | None = None) -> LoadedModel:
    """Build the network in a file that is here.

    Args:
        path: A ``.safetensors``, ``.pth`` or ``.onnx`` file.
        entry: Its catalogue entry, if it has one.

    Raises:
        WeightsError: An unknown extension, a damaged file, or another network.
    """
    from .readers import SUFFIXES, read_checkpoint

    suffix = path.suffix.lower()
    if suffix == ".onnx":
        known = entry or _by_name(path)
        if known is not None:
            return LoadedModel(
                path, entry, known.role, known.family, known.input_size_hw, onnx_path=path,
                meta={"size": known.size},
            )  # fmt: skip
        role, size_hw, usage = _describe_onnx(path)
        return LoadedModel(path, None, role, "onnx", size_hw, onnx_path=path, usage=usage)
    if suffix not in SUFFIXES:
        raise WeightsError(
            f"{path.name} has the unknown extension {suffix or '(none)'!r}; known are .onnx, "
            f"{', '.join(SUFFIXES)}."
        )
    checkpoint = read_checkpoint(path)
    hint = entry.input_size_hw if entry else checkpoint.meta.get("input_size_hw")
    module, role, family = build(checkpoint.state, path.name, hint)
    if role == "detector":  # a pose network's own shape tells
        rough = bool(checkpoint.meta.get("rough_boxes"))
        module.config = replace(module.config, rough_boxes=rough)
    config = module.config
    return LoadedModel(
        path, entry, role, family, config.input_size_hw, module=module,
        meta={"size": config.size, **checkpoint.meta}, usage=config.usage,
    )  # fmt: skip


def _by_name(path: Path) -> ModelEntry | None:
    """The catalogue entry of a file that was given by its path: same name, same known size."""
    size = path.stat().st_size
    return next((e for e in CATALOGUE.values() if e.name == path.name and e.bytes == size), None)


def build(
    state: Mapping[str, Tensor], name: str, input_size_hw: Any = None
) -> tuple[Any, Role, Family]:
    """Build the network whose weights these are, and fill it.

    Args:
        state: Parameter and buffer name -> tensor; any float precision.
        name: File name, for messages.
        input_size_hw: Usual input size of a detector, which its weights do not tell; an
            estimator's weights tell its own.

    Returns:
        The network in eval mode and fp32, its role, and its family.

    Raises:
        WeightsError: Weights of another network, or incomplete ones.
    """
    from ..models.rtmpose import RTMPose
    from ..models.yolox import YOLOX

    try:
        if "head.cls_x.weight" in state and "head.final_layer.weight" in state:
            _refuse_neck(state, name)
            module: nn.Module = RTMPose(infer_rtmpose(state))
            role, family = "estimator", "rtmpose"
        elif "head.cls_preds.0.weight" in state and _YOLOX_STEM in state:
            module = YOLOX(infer_yolox(state, input_size_hw))
            role, family = "detector", "yolox"
        else:
            known = ", ".join(sorted(state)[:3]) or "nothing"
            raise WeightsError(
                f"{name} holds neither an RTMPose nor a YOLOX (it starts with {known}); use the "
                "network's .onnx file, which needs no known architecture."
            )
    except (ValueError, IndexError, KeyError) as error:
        raise WeightsError(f"{name} holds a network of an unknown shape: {error}.") from None
    own = module.state_dict()
    # Weights of an inference form: biases where the network that learns has batch norms.
    if any(key.endswith(".conv.bias") and key not in own for key in state):
        from ..models.fold import fold_batchnorm

        module = fold_batchnorm(module)
    _fill(module, state, name)
    return module.eval(), role, family


_YOLOX_STEM = "backbone.backbone.stem.conv.conv.weight"


def _refuse_neck(state: Mapping[str, Tensor], name: str) -> None:
    if any(key.startswith("neck.") for key in state):
        raise WeightsError(
            f"{name} is an RTMW (RTMPose with a neck), which is read as .onnx only; "
            "fetch rtmw-x-l-384 instead."
        )


def _blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of numbered children under ``prefix``."""
    numbers = {key[len(prefix) :].split(".", 1)[0] for key in state if key.startswith(prefix)}
    return len(numbers)


def _nearest_size(sizes: Mapping[str, tuple[Any, ...]], deepen: float, widen: float) -> str:
    for size, values in sizes.items():
        if abs(values[0] - deepen) < 0.02 and abs(values[1] - widen) < 0.01:
            return size
    return "custom"


def infer_rtmpose(state: Mapping[str, Tensor]) -> RTMPoseConfig:
    """Read an RTMPose's configuration off the shapes of its weights.

    Raises:
        KeyError: A tensor that tells one of the values is missing.
        ValueError: Values that fit no RTMPose.
    """
    from ..models.cspnext import STAGE_BLOCKS, STAGE_CHANNELS
    from ..models.efficientnet import EfficientNetLite
    from ..models.rtmpose import LITE, SIZES, RTMPoseConfig

    points, channels, kernel = state["head.final_layer.weight"].shape[:3]
    dim, cells = state["head.mlp.1.weight"].shape
    bins_x, bins_y = state["head.cls_x.weight"].shape[0], state["head.cls_y.weight"].shape[0]
    split = 2.0  # every published RTMPose; with it the feature map's size is a check
    height, width = int(bins_y / split), int(bins_x / split)
    lite = "backbone.mix.0.weight" in state
    stride = EfficientNetLite.stride if lite else 32
    if (height // stride) * (width // stride) != cells:
        raise ValueError(
            f"{bins_y} and {bins_x} bins do not belong to a feature map of {cells} cells"
        )
    attention_dim = state["head.gau.gamma"].shape[1]
    expansion = state["head.gau.o.weight"].shape[1] // dim
    rest = ((height, width), points, split, dim, attention_dim, expansion, kernel)
    if lite:
        return RTMPoseConfig(LITE, 1.0, 1.0, *rest)
    widen = channels / STAGE_CHANNELS[-1]
    blocks = _blocks(state, "backbone.stage2.1.blocks.")
    deepen = blocks / STAGE_BLOCKS[1]
    candidates = [d for d, w in SIZES.values() if abs(w - widen) < 0.01]
    # A size's own factor gives the same block count as the fraction read off here, or it is not it.
    deepen = next((d for d in candidates if max(round(STAGE_BLOCKS[1] * d), 1) == blocks), deepen)
    return RTMPoseConfig(_nearest_size(SIZES, deepen, widen), deepen, widen, *rest)


def infer_yolox(state: Mapping[str, Tensor], input_size_hw: Any = None) -> YOLOXConfig:
    """Read a YOLOX's configuration off the shapes of its weights.

    Args:
        state: The weights.
        input_size_hw: Usual input size, if known; otherwise 416 for nano and tiny, else 640,
            the sizes they were trained at.

    Raises:
        KeyError: A tensor that tells one of the values is missing.
        ValueError: Values that fit no YOLOX.
    """
    from ..models.yolox import SIZES, YOLOXConfig

    classes, width = state["head.cls_preds.0.weight"].shape[:2]
    widen = width / 256  # the head's width at factor one, from YOLOX's own configuration
    # dark3 has 3 * (3 * deepen) blocks; the smallest unit is the one of dark2.
    blocks = _blocks(state, "backbone.backbone.dark2.1.m.")
    depthwise = any(".dconv." in key for key in state)
    candidates = [d for d, w, _ in SIZES.values() if abs(w - widen) < 0.01]
    deepen = next((d for d in candidates if max(round(3 * d), 1) == blocks), blocks / 3)
    size = next(
        (
            size
            for size, (d, w, separable) in SIZES.items()
            if (d, separable) == (deepen, depthwise) and abs(w - widen) < 0.01
        ),
        "custom",
    )
    side = 416 if size in ("nano", "tiny") else 640
    height, width_px = (int(n) for n in (input_size_hw or (side, side)))
    return YOLOXConfig(size, deepen, widen, depthwise, classes, (height, width_px))


def _fill(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load strictly, but for batch norm's counters; every float becomes fp32."""
    import torch

    target = module.state_dict()
    tensors = {
        key: value.to(torch.float32) if value.is_floating_point() else value
        for key, value in state.items()
    }
    for key, value in target.items():
        if key.endswith(_COUNTER) and key not in tensors:
            tensors[key] = torch.zeros_like(value)
    missing = sorted(set(target) - set(tensors))
    extra = sorted(set(tensors) - set(target))
    shapes = [key for key in target if key in tensors and tensors[key].shape != target[key].shape]
    for problem, keys in (("lacks", missing), ("has the unknown", extra), ("misshapes", shapes)):
        if keys:
            rest = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise WeightsError(
                f"{name} {problem} {', '.join(keys[:3])}{rest}; it belongs to another network, "
                "or is damaged."
            )
    module.load_state_dict(tensors, strict=True)


def _describe_onnx(path: Path) -> tuple[Role, tuple[int, int] | None, Usage]:
    """Role, input size and usage of a file, from the ends of its graph and from its metadata."""
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
        usage = Usage.of_notes({entry.key: entry.value for entry in model.metadata_props})
    except Exception as error:  # protobuf's errors share no base class worth naming
        raise WeightsError(
            f"{path.name} is damaged or no ONNX file; download it again ({error})."
        ) from None
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    outputs = [value.name for value in graph.output]
    if len(inputs) != 1 or not outputs:
        raise WeightsError(f"{path.name} has {len(inputs)} inputs; a pose network has one.")
    dims = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
    size_hw = (dims[2], dims[3]) if len(dims) == 4 and min(dims[2:]) > 0 else None
    heatmaps = len(outputs) == 1 and _rank(graph.output[0]) == 4
    estimator = set(SIMCC_OUTPUTS) <= set(outputs) or heatmaps
    return ("estimator" if estimator else "detector"), size_hw, usage


def _rank(value: Any) -> int:
    return len(value.type.tensor_type.shape.dim)
