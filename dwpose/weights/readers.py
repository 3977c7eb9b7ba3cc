"""Reads model files into state dicts: ``.safetensors`` and torch's ``.pth``.

No reader executes anything that lies in a file. ONNX files are graphs, not state dicts, and
belong to `dwpose.models.onnx_graph`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from ..io.atomic import write_atomically
from .restricted import PickleFile
from .standins import LazyTensor

if TYPE_CHECKING:
    from torch import Tensor

METADATA_KEY = "dwpose"
"""Key of our JSON in the metadata of a safetensors file."""

PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin")
SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)
"""Extensions that `read_checkpoint` takes."""

_CONTAINERS = ("state_dict", "model", "model_state_dict")
"""Where checkpoints keep the weights: mmengine and Lightning, YOLOX, plain torch. mmengine puts
the averaged weights into ``state_dict`` when it saves, so ``ema_state_dict`` is not wanted."""

_FOREIGN = (
    "teacher.",
    "distill_losses.",
    "data_preprocessor.",
    "ema_model.",
    "connectors.",
)
"""Parts of a training checkpoint that are not the network: DWPose's distiller keeps teacher and
losses beside the student, mmengine the preprocessor's constants."""

_STUDENT = "student."
"""Prefix of the trained network in DWPose's distillation checkpoints."""

_WRAPPERS = ("module.", "model.", "_orig_mod.")
"""Prefixes of wrappers around the whole network: data parallel, Lightning, torch.compile."""


@dataclass(frozen=True)
class Checkpoint:
    """A state dict and what its file says about itself.

    Attributes:
        state: Parameter and buffer name -> tensor on the CPU, in the file's own precision.
        meta: Our JSON metadata, empty where a file has none.
    """

    state: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)


def rename(keys: Iterable[str]) -> dict[str, str]:
    """Map the keys of a checkpoint to those of a bare network.

    Wrapper prefixes that all keys share are removed; if there is a student, only it is kept;
    what is not the network is dropped.

    Args:
        keys: Keys as they stand in the file.

    Returns:
        Old key -> new key, for the keys that are kept.
    """
    names = {key: key for key in keys}
    changed = True
    while changed and names:
        changed = False
        for prefix in _WRAPPERS:
            if all(new.startswith(prefix) for new in names.values()):
                names = {old: new.removeprefix(prefix) for old, new in names.items()}
                changed = True
        if any(new.startswith(_STUDENT) for new in names.values()):
            names = {
                old: new.removeprefix(_STUDENT)
                for old, new in names.items()
                if new.startswith(_STUDENT)
            }
            changed = True
    return {old: new for old, new in names.items() if not new.startswith(_FOREIGN)}


def _weights_in(contents: Any, name: str) -> Mapping[str, Any]:
    """Find the mapping of names to tensors in an unpickled checkpoint."""
    candidates = [contents]
    if isinstance(contents, Mapping):
        candidates = [contents[key] for key in _CONTAINERS if key in contents] + candidates
    for candidate in candidates:
        if isinstance(candidate, Mapping) and any(
            isinstance(value, LazyTensor) for value in candidate.values()
        ):
            return {
                key: value
                for key, value in candidate.items()
                if isinstance(key, str) and isinstance(value, LazyTensor)
            }
    raise WeightsError(
        f"{name} holds no weights under {', '.join(_CONTAINERS)} or at its top; it may be a "
        "checkpoint of another program."
    )


Selection = Callable[[Iterable[str]], Mapping[str, str]]
"""From the keys of a file to those to read, with their new names; see `rename`."""


def _read_pickle(path: Path, select: Selection) -> Checkpoint:
    with PickleFile(path) as file:
        lazy = _weights_in(file.contents, path.name)
        return Checkpoint({new: file.read(lazy[old]) for old, new in select(lazy).items()})


def _read_safetensors(path: Path, select: Selection) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            names = select(file.keys())
            state = {new: file.get_tensor(old) for old, new in names.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path.name} is damaged or no safetensors file; download it again ({error})."
        ) from None
    try:
        meta = json.loads(metadata.get(METADATA_KEY, "{}"))
    except ValueError:
        meta = None
    if not isinstance(meta, dict):
        raise WeightsError(f"{path.name} has metadata under {METADATA_KEY!r} that is no JSON.")
    return Checkpoint(state, meta)


def read_checkpoint(path: str | PathLike[str], select: Selection = rename) -> Checkpoint:
    """Read the weights in a file, with its metadata.

    Args:
        path: A ``.safetensors``, ``.pth``, ``.pt``, ``.ckpt`` or ``.bin`` file.
        select: Which tensors to read, and under which names.

    Raises:
        FileNotFoundError: No such file.
        WeightsError: An unknown extension, a damaged file, one without weights, or a pickle that
            names anything but tensors and training logs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return _read_safetensors(path, select)
    if suffix in PICKLE_SUFFIXES:
        return _read_pickle(path, select)
    raise WeightsError(
        f"{path.name} has the unknown extension {suffix or '(none)'!r}; known are .onnx and "
        f"{', '.join(SUFFIXES)}."
    )


def read_state_dict(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read the weights in a file; see `read_checkpoint`."""
    return read_checkpoint(path).state


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating point tensors as fp16, but those with numbers beyond its range as they are.

    Variances of a first layer over pixels of 0 to 255 are such; as infinity they would silence
    their channels.
    """
    import torch

    most = torch.finfo(torch.float16).max
    return {
        name: value.half() if value.is_floating_point() and (value.abs() <= most).all() else value
        for name, value in state.items()
    }


def write_safetensors(
    path: str | PathLike[str], state: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> Path:
    """Write weights and our metadata, whole or not at all.

    Args:
        path: Where to; an existing file is replaced at the end.
        state: Parameter and buffer name -> tensor; those that share memory are written each.
        meta: JSON-able facts: family, size, input_size_hw, num_keypoints or num_classes, note.

    Returns:
        ``path``.
    """
    from safetensors.torch import save

    # Not save_file: its files can be read by nobody but their owner, whatever the umask says.
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    data = save(tensors, {METADATA_KEY: json.dumps(dict(meta))})
    return write_atomically(path, data)
