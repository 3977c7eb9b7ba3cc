"""DWPose's two stages of distillation, as modules that turn a batch into losses.

Stage one teaches a student of another size by the teacher's features and curves beside the
labels. Stage two keeps a trained network's backbone and teaches a fresh head by the old one's
curves alone. Both keep the parameter names of DWPose's own distiller (``teacher.``, ``student.``,
``distill_losses.``), so that its checkpoints load, see `dwpose.training.convert`.

Shapes: N crops, K keypoints, H and W the crop's size in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..models.rtmpose import RTMPose, RTMPoseConfig
from ..skeleton import FLIP_INDICES
from ..weights.catalogue import CATALOGUE
from ..weights.load import load_model
from .convert import unfold_batchnorm
from .losses import (
    FEATURE_ALPHA,
    LOGIT_WEIGHT_ONE,
    LOGIT_WEIGHT_TWO,
    FeaLoss,
    fade,
    kd_loss,
    kl_discrete_loss,
)
from .supervised import copy_network

Distiller = TypeVar("Distiller", bound="_Distiller")


@dataclass(frozen=True)
class Taught:
    """What the teacher says of a batch; give it to several distillers to run the teacher once.

    Attributes:
        features: float [N, C, H/32, W/32], the backbone's last map.
        simcc_x: float [N, K, 2W], raw curves over x.
        simcc_y: float [N, K, 2H], over y.
    """

    features: Tensor
    simcc_x: Tensor
    simcc_y: Tensor


class _Distiller(nn.Module):
    """A teacher that is never taught."""

    def __init__(self, teacher: RTMPose, teacher_training: bool) -> None:
        super().__init__()
        self.teacher_training = teacher_training
        self.teacher = teacher.requires_grad_(False).eval()

    def train(self: Distiller, mode: bool = True) -> Distiller:
        """Switch what is taught; the teacher follows only with `teacher_training`."""
        super().train(mode)
        self.teacher.train(mode and self.teacher_training)
        return self

    @torch.no_grad()
    def teach(self, images: Tensor) -> Taught:
        """Run the teacher on normalised RGB [N, 3, H, W]."""
        features = self.teacher.features(images)
        return Taught(features, *self.teacher.head(features))


class StageOne(_Distiller):
    """Labels, the teacher's features and the teacher's curves teach a student.

    Args:
        teacher: a trained network; its parameters are frozen in place.
        student: the network to teach, of the same input size and keypoints.
        max_epochs: length of the run, in the unit of `forward`'s epoch.
        alpha: factor on the feature loss; 0 leaves it and its alignment out.
        logit_weight: factor on the curves' loss; 0 leaves it out.
        decay: let both fade linearly over the run, as the paper does.
        always_align: put a 1x1 convolution between the features also where channels agree. Without
            one, a student of the teacher's own shape must bring its channels into the teacher's
            order, unless it started from the same random numbers.
        teacher_training: let the teacher's batch norms use the batch's statistics and move their
            buffers while the student trains. The released code does that unnoticed (the training
            loop switches everything to train mode); the paper's teacher is fixed, which is the
            default here.

    Raises:
        ValueError: the networks do not fit each other.
    """

    def __init__(
        self,
        teacher: RTMPose,
        student: RTMPose,
        max_epochs: float,
        *,
        alpha: float = FEATURE_ALPHA,
        logit_weight: float = LOGIT_WEIGHT_ONE,
        decay: bool = True,
        always_align: bool = False,
        teacher_training: bool = False,
    ) -> None:
        _check_pair(teacher.config, student.config)
        super().__init__(teacher, teacher_training)
        self.student = student
        self.max_epochs = max_epochs
        self.logit_weight = logit_weight
        self.decay = decay
        self.label_loss, self.curve_loss = kl_discrete_loss, kd_loss
        self.distill_losses = nn.ModuleDict()
        if alpha:
            if teacher.config.map_hw != student.config.map_hw:
                raise ValueError(
                    f"the feature loss needs maps of one size, got {teacher.config.map_hw} of the "
                    f"teacher and {student.config.map_hw} of the student; set alpha to 0"
                )
            self.distill_losses["loss_fea"] = FeaLoss(
                student.backbone.out_channels, teacher.backbone.out_channels, alpha, always_align
            )

    def forward(
        self,
        images: Tensor,
        labels_x: Tensor,
        labels_y: Tensor,
        weights: Tensor | None = None,
        epoch: float = 0,
        taught: Taught | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch; their sum is what to go down on.

        Args:
            images: float [N, 3, H, W], normalised RGB.
            labels_x: float [N, K, 2W] as `simcc.encode` makes them.
            labels_y: float [N, K, 2H].
            weights: float [N, K]; None counts all points alike.
            epoch: zero-based, for the decay; fractions are fine.
            taught: the teacher's answer, where it is known already.

        Returns:
            "loss_kpt", and "loss_fea" and "loss_logit" where they are on.
        """
        features = self.student.features(images)
        simcc_x, simcc_y = (curves.float() for curves in self.student.head(features))
        losses = {"loss_kpt": self.label_loss(simcc_x, simcc_y, labels_x, labels_y, weights)}
        feature_loss = self.distill_losses["loss_fea"] if self.distill_losses else None
        if feature_loss is None and not self.logit_weight:
            return losses
        taught = self.teach(images) if taught is None else taught
        factor = fade(epoch, self.max_epochs) if self.decay else 1.0
        if feature_loss is not None:
            losses["loss_fea"] = factor * feature_loss(features, taught.features)
        if self.logit_weight:
            losses["loss_logit"] = factor * self.curve_loss(
                simcc_x,
                simcc_y,
                taught.simcc_x.float(),
                taught.simcc_y.float(),
                self.logit_weight,
            )
        return losses

    def plain_model(self, student: nn.Module | None = None) -> RTMPose:
        """Return the student alone, a copy in eval mode.

        Args:
            student: an averaged copy of `self.student` to take instead.
        """
        return copy_network(self.student if student is None else student, self.student)


class _Head(nn.Module):
    """The student of stage two: a head without a backbone, under the original's names."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head


class StageTwo(_Distiller):
    """A trained network's curves teach a fresh head on its own frozen backbone.

    DWPose's second stage ("head-aware self-distillation"). The released code gives its student a
    backbone too, which is never used nor taught; here it has none.

    Args:
        teacher: the trained network, usually the outcome of stage one; frozen in place.
        head: the head to teach; a new one of the teacher's shape when None.
        logit_weight: factor on the loss.
        teacher_training: as in `StageOne`; the backbone's buffers, which the result keeps, would
            then drift away from those that were trained.
        mirror: teach the mean of the teacher's curves and those of the mirror image, turned back,
            as a flip test takes it. Not in the paper: what looking twice is worth is taught to a
            head that looks once.
    """

    def __init__(
        self,
        teacher: RTMPose,
        head: nn.Module | None = None,
        *,
        logit_weight: float = LOGIT_WEIGHT_TWO,
        teacher_training: bool = False,
        mirror: bool = False,
    ) -> None:
        super().__init__(teacher, teacher_training)
        self.student = _Head(RTMPose(teacher.config).head if head is None else head)
        self.curve_loss = kd_loss
        self.logit_weight = logit_weight
        self.mirror = mirror
        mirrored = torch.as_tensor(FLIP_INDICES) if mirror else None
        self.register_buffer("_mirrored", mirrored, persistent=False)

    @torch.no_grad()
    def teach(self, images: Tensor) -> Taught:
        """Run the teacher on normalised RGB [N, 3, H, W], and on its mirror image with `mirror`."""
        taught = super().teach(images)
        if not self.mirror:
            return taught
        simcc_x, simcc_y = self.teacher(images.flip(-1))
        order = self._mirrored
        return Taught(
            taught.features,
            (taught.simcc_x + simcc_x[:, order].flip(-1)) / 2,
            (taught.simcc_y + simcc_y[:, order]) / 2,
        )

    def forward(
        self,
        images: Tensor,
        labels_x: Tensor | None = None,
        labels_y: Tensor | None = None,
        weights: Tensor | None = None,
        epoch: float = 0,
        taught: Taught | None = None,
    ) -> dict[str, Tensor]:
        """Compute the loss of a batch: "loss_logit", the same in every epoch.

        Args:
            images: float [N, 3, H, W], normalised RGB.
            labels_x: not used; so that both stages are called alike.
            labels_y: not used.
            weights: not used.
            epoch: not used.
            taught: the teacher's answer, where it is known already.
        """
        taught = self.teach(images) if taught is None else taught
        simcc_x, simcc_y = self.student.head(taught.features)
        return {
            "loss_logit": self.curve_loss(
                simcc_x.float(),
                simcc_y.float(),
                taught.simcc_x.float(),
                taught.simcc_y.float(),
                self.logit_weight,
            )
        }

    def plain_model(self, student: nn.Module | None = None) -> RTMPose:
        """Return a copy of the backbone joined with the taught head, in eval mode.

        Args:
            student: an averaged copy of `self.student` to take instead.
        """
        state = {f"backbone.{k}": v for k, v in self.teacher.backbone.state_dict().items()}
        state |= (self.student if student is None else student).state_dict()
        model = RTMPose(self.teacher.config).to(next(self.teacher.parameters()).device)
        model.load_state_dict(state)
        return model.eval()


def _check_pair(teacher: RTMPoseConfig, student: RTMPoseConfig) -> None:
    for name in ("input_size_hw", "num_keypoints", "split"):
        ours, theirs = getattr(student, name), getattr(teacher, name)
        if ours != theirs:
            raise ValueError(
                f"teacher and student must agree in {name}, got {theirs} and {ours}; "
                "take networks of one input size"
            )


def load_teacher(
    id_or_path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None
) -> RTMPose:
    """Find a trained pose network to learn from, or to go on with: all its weights may learn.

    Args:
        id_or_path: a catalogue id (downloaded if it is not here), or the path of a .safetensors,
            .pth or .onnx file. An ONNX file must hold an RTMPose.
        folder: where model files lie.

    Raises:
        ValueError: it is no RTMPose.
        FileNotFoundError, WeightsError: as of `load_model`.
    """
    entry = CATALOGUE.get(str(id_or_path))
    if entry is not None and entry.role != "estimator":  # before anything is fetched
        raise ValueError(f"the teacher must be an RTMPose; {entry.id} is a person detector")
    model = load_model(id_or_path, folder=folder)
    module = model.module
    if not isinstance(module, RTMPose):
        raise ValueError(f"the teacher must be an RTMPose; {model.name} holds another network")
    # An ONNX file may be in half precision, and an inference form does not learn.
    return unfold_batchnorm(module.float()).requires_grad_(True)


def load_distiller_state(distiller: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill a distiller from a state dict of ours or of DWPose's own distiller.

    Args:
        distiller: `StageOne` or `StageTwo`.
        state: with keys ``teacher.*``, ``student.*``, ``distill_losses.*``. The unused backbone
            of the original's second-stage student, and its preprocessor's constants, are
            skipped; all else must fit.

    Raises:
        RuntimeError: keys or shapes do not fit, as torch reports it.
    """
    skipped = ["data_preprocessor."]
    if isinstance(distiller, StageTwo):
        skipped += ["student.backbone.", "distill_losses."]
    kept = {k: v for k, v in state.items() if not k.startswith(tuple(skipped))}
    distiller.load_state_dict(kept)
