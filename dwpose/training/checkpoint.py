"""Training state on disk: weights as safetensors beside a JSON of facts, placed atomically."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..io.atomic import write_atomically


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


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write a safetensors file whose header carries `metadata` under the key ``dwpose``."""
    from safetensors.torch import save

    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(ready, {"dwpose": json.dumps(metadata, sort_keys=True)}))


def save_network(path: Path, model: nn.Module, half: bool = False, note: str = "") -> None:
    """Write a network that `load_model` takes by path.

    Args:
        path: the new file, ``*.safetensors``.
        model: an `RTMPose`.
        half: store floating point tensors as fp16.
        note: a sentence on where the weights come from.
    """
    state = model.state_dict()
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_tensors(path, state, network_metadata(model, note))


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a resumable state (networks, optimizer, counters) with torch, atomically."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; only tensors and plain values are accepted."""
    return torch.load(path, map_location="cpu", weights_only=True)
