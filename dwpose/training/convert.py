"""From a distiller's checkpoint to a plain network."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ..errors import WeightsError
from ..models.layers import ConvBNAct
from ..models.rtmpose import RTMPose
from ..weights.load import build
from ..weights.readers import read_checkpoint

Module = TypeVar("Module", bound=nn.Module)

_STUDENT = "student."
_STUDENT_HEAD = "student.head."
_TEACHER_BACKBONE = "teacher.backbone."


def student_keys(keys: Iterable[str]) -> dict[str, str]:
    """Choose the student of a first-stage distiller: old key -> key of the plain network."""
    return {key: key.removeprefix(_STUDENT) for key in keys if key.startswith(_STUDENT)}


def joined_keys(keys: Iterable[str]) -> dict[str, str]:
    """Choose the teacher's backbone and the student's head, the outcome of the second stage."""
    return {
        key: key.split(".", 1)[1]
        for key in keys
        if key.startswith((_TEACHER_BACKBONE, _STUDENT_HEAD))
    }


def load_distilled(path: str | os.PathLike[str], stage: int | None = None) -> RTMPose:
    """Read the network that a distillation run made.

    Args:
        path: a checkpoint of `StageOne` or `StageTwo` (weights under ``model`` or bare), or of
            DWPose's own distiller (``.pth``).
        stage: 1 takes the student; 2 the teacher's backbone with the student's head, as the
            released conversion does with its ``--two_dis``. None takes 2 if the student has no
            backbone, as in ours; DWPose's own second-stage files hold one that was never taught
            and need to be told.

    Returns:
        The network in eval mode and fp32.

    Raises:
        ValueError: `stage` is neither.
        FileNotFoundError: there is no such file.
        WeightsError: the file holds no such run.
    """
    if stage not in (None, 1, 2):
        raise ValueError(f"stage must be 1, 2 or None, got {stage!r}")
    name = Path(path).name

    def select(keys: Iterable[str]) -> dict[str, str]:
        names = list(keys)
        whole = any(key.startswith("student.backbone.") for key in names)
        taken = stage or (1 if whole else 2)
        return student_keys(names) if taken == 1 else joined_keys(names)

    state = read_checkpoint(path, select).state
    if not state:
        raise WeightsError(
            f"{name} holds no distillation run (no weights under student.); a plain network "
            "needs no conversion."
        )
    module, _, family = build(state, name)
    if family != "rtmpose":
        raise WeightsError(f"{name} holds no RTMPose.")
    return module


def unfold_batchnorm(module: Module) -> Module:
    """Give convolutions that have swallowed their batch norm a neutral one again.

    Networks read from ONNX files come folded, and plain weights files hold batch norms: as a
    teacher whose backbone lives on, such a network has to look like the others.

    Args:
        module: an `RTMPose` or part of one; left as it is. One that is not folded is returned
            unchanged.

    Returns:
        A copy in eval mode with the same outcome: the norm keeps mean 0 and variance 1 - eps, and
        the convolution's bias has become the norm's.
    """
    folded = [p for p in module.modules() if isinstance(p, ConvBNAct)]
    if not any(isinstance(part.bn, nn.Identity) for part in folded):
        return module
    whole = copy.deepcopy(module)
    for part in whole.modules():
        if isinstance(part, ConvBNAct) and isinstance(part.bn, nn.Identity):
            _unfold(part)
    return whole.eval()


@torch.no_grad()
def _unfold(part: ConvBNAct) -> None:
    bias = part.conv.bias
    assert bias is not None  # fold_batchnorm gave it one
    norm = nn.BatchNorm2d(part.conv.out_channels, device=bias.device, dtype=bias.dtype)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_var.fill_(1 - norm.eps)
    norm.bias.copy_(bias)
    part.conv.bias = None
    part.bn = norm
