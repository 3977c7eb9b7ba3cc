"""What the ablation compares: variants of the losses, and what they share."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from ..models.efficientnet import EfficientNetLite
from ..models.rtmpose import RTMPose
from .distill import StageOne, StageTwo
from .learner import LearnerConfig
from .losses import FEATURE_ALPHA, LOGIT_WEIGHT_ONE
from .supervised import StudentAlone

# What the names of the second stage's two forms end in.
FRESH_HEAD: Final = ", second stage"
KEPT_HEAD: Final = ", second stage, head kept"


@dataclass(frozen=True)
class Variant:
    """What teaches a student beside the labels.

    Attributes:
        features: the teacher's feature map.
        curves: the teacher's SimCC curves.
        decay: whether both fade out over the run.
    """

    features: bool = False
    curves: bool = False
    decay: bool = True


VARIANTS: Final = {
    "alone": Variant(),
    "features": Variant(features=True),
    "features, no decay": Variant(features=True, decay=False),
    "curves": Variant(curves=True),
    "curves, no decay": Variant(curves=True, decay=False),
    "both": Variant(features=True, curves=True),
    "both, no decay": Variant(features=True, curves=True, decay=False),
}


def shared_trunk(
    teacher: RTMPose, student: RTMPose, config: LearnerConfig
) -> EfficientNetLite | None:
    """Return the frozen blocks if teacher and students have the same, to run them once a batch."""
    theirs, own = teacher.backbone, student.backbone
    if not isinstance(theirs, EfficientNetLite) or not isinstance(own, EfficientNetLite):
        return None
    known = theirs.state_dict()
    fixed = {k: value for k, value in own.named_parameters() if not value.requires_grad}
    if not fixed or not all(torch.equal(known[key], value) for key, value in fixed.items()):
        return None
    theirs.freeze(own.frozen)
    trunk = deepcopy(own)
    trunk.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if config.compile:
        trunk.trunk = torch.compile(trunk.trunk)
    return trunk


def stage_one(
    variant: Variant,
    teacher: RTMPose,
    student: RTMPose,
    epochs: int,
    alpha: float = FEATURE_ALPHA,
) -> nn.Module:
    """Return what teaches a copy of the student in the first stage.

    Args:
        variant: what teaches.
        teacher: a trained network.
        student: is copied.
        epochs: length of the stage.
        alpha: factor on the feature loss, where that teaches.
    """
    own = deepcopy(student)
    if not variant.features and not variant.curves:
        return StudentAlone(own, epochs)
    # The alignment's first weights are those of its own construction: the same for all.
    torch.manual_seed(0)
    return StageOne(
        teacher,
        own,
        epochs,
        alpha=alpha if variant.features else 0.0,
        logit_weight=LOGIT_WEIGHT_ONE if variant.curves else 0.0,
        decay=variant.decay,
        always_align=True,
    )


def stage_two(teacher: RTMPose, seed: int, keep_head: bool) -> StageTwo:
    """Return what teaches a head in the second stage, a fresh one or the first stage's."""
    torch.manual_seed(seed)
    head = deepcopy(teacher.head).requires_grad_(True) if keep_head else None
    return StageTwo(teacher, head)
