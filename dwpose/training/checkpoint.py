"""Training state on disk: weights as safetensors beside a JSON of facts, placed atomically."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..io.atomic import write_atomically
from ..weights.load import load_model
from ..weights.readers import halved, write_safetensors


def network_metadata(model: nn.Module, note: str = "") -> dict[str, Any]:
    """What a weights file of ours says of its network, so that the path alone is enough."""
    config: Any = model.config
    return {
        "family": "rtmpose",
        "size": config.size,
        "input_size_hw": list(config.input_size_hw),
        "num_keypoints": config.num_keypoints,
        "note": note,
    }


def save_network(path: Path, model: nn.Module, half: bool = False, note: str = "") -> None:
    """Write a network that `load_model` takes by path.

    Args:
        path: the new file, ``*.safetensors``.
        model: an `RTMPose`.
        half: store floating point tensors as fp16, see `weights.readers.halved`.
        note: a sentence on where the weights come from.
    """
    state = halved(model.state_dict()) if half else model.state_dict()
    write_safetensors(path, state, network_metadata(model, note))


def earlier_notes(models: Iterable[str]) -> str:
    """What trained networks say of themselves, for the note of a run that goes on from them.

    Args:
        models: ids or files, as `load_model` takes them.

    Returns:
        " (before: NOTE)", or "" where none says anything.
    """
    notes = dict.fromkeys(str(load_model(model).meta.get("note", "")) for model in models)
    said = ", and ".join(note for note in notes if note)
    return said and f" (before: {said})"


def save_state(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a resumable state: one safetensors file with the facts in its header.

    A copy of the facts for people goes beside it as ``.json``; it is never read back, so the two
    cannot disagree.

    Args:
        path: the file, ``*.safetensors``.
        tensors: by name.
        facts: anything that JSON can hold.
    """
    write_safetensors(path, tensors, facts)
    text = json.dumps(facts, indent=1, sort_keys=True)
    write_atomically(path.with_suffix(".json"), text.encode())


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_state` wrote: tensors on the CPU, and the facts.

    The tensors are copies: those of safetensors lie in the mapped file, and what keeps one of them
    would keep Windows from replacing the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds no facts.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if "dwpose" not in metadata:
                raise ValueError(f"{path} holds no training state; name the folder of another run")
            names = file.keys()
            tensors = {name: file.get_tensor(name).clone() for name in names}
            return tensors, json.loads(metadata["dwpose"])
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged ({error}); remove it to start anew, or name another folder"
        ) from error


def fingerprint(module: nn.Module) -> str:
    """Sum up a network's weights: the same text for the same weights, on whatever device."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
