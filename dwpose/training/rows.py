"""The rows of the paper's table: which network is taught by whom, with which numbers, on what data.

Every number is one of DWPose's configs; `Row.config` names the block of ``train_hparams.json``,
and a test compares them. The recipes ``student_alone``, ``stage_one`` and ``stage_two`` are thin.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from ..io.coco import load_annotations
from ..models.rtmpose import RTMPose, RTMPoseConfig, rtmpose_config
from ..weights.readers import read_checkpoint
from .data import (
    LabelledPeople,
    augmentation_of,
    build_loader,
    check_disjoint,
    gentle_epoch,
    load_coco_wholebody,
    load_ubody,
)
from .data.coco_wholebody import annotation_file, image_folder
from .distill import StageOne, StageTwo, load_teacher
from .distributed import Ranks, join, leave
from .evaluate import load_detections
from .learner import LearnerConfig
from .supervised import StudentAlone
from .trainer import LAST, TrainConfig, Trainer
from .validate import CocoMeasure

log = logging.getLogger("dwpose")

# Epochs of the base configs, whose schedule the released second stage inherits.
BASE_EPOCHS: Final = 270


@dataclass(frozen=True)
class Row:
    """One training of the paper.

    Attributes:
        config: the block in ``train_hparams.json``.
        student: RTMPose size letter.
        teacher: likewise; None where labels alone teach.
        stage: 0 for the student alone, 1 or 2.
        size_hw: height and width of the crops in pixels.
        batch: crops of all processes together (8 GPUs of 64, or of 32).
        epochs: length.
        clip: largest gradient norm, 0 for no limit.
        rate: full learning rate, for `batch`.
    """

    config: str
    student: str
    teacher: str | None = None
    stage: int = 0
    size_hw: tuple[int, int] = (256, 192)
    batch: int = 512
    epochs: int = BASE_EPOCHS
    clip: float = 0.0
    rate: float = 4e-3


def _large(config: str, student: str, **more: Any) -> Row:
    """A row at 384x288, which trains with 32 crops a GPU."""
    return Row(config, student, size_hw=(384, 288), batch=256, **more)


_ONE: Final = {"stage": 1, "clip": 1.0}
_TWO: Final = {"stage": 2, "clip": 1.0, "epochs": 60}

ALONE: Final = {
    "t": Row("t_256x192", "t"),
    "s": Row("s_256x192", "s"),
    "m": Row("m_256x192", "m"),
    "l": Row("l_256x192", "l"),
    "l-384": _large("l_384x288", "l"),
    "x": Row("x_256x192", "x", clip=35.0),
    "x-384": _large("x_384x288", "x", clip=35.0),
}
STAGE_ONE: Final = {
    "l-t": Row("dwpose_l_dis_t__coco-ubody-256x192", "t", "l", **_ONE),
    "l-s": Row("dwpose_l_dis_s__coco-ubody-256x192", "s", "l", **_ONE),
    "l-m": Row("dwpose_l_dis_m__coco-ubody-256x192", "m", "l", **_ONE),
    "x-l": Row("rtmpose_x_dis_l__coco-ubody-256x192", "l", "x", **_ONE),
    "x-l-384": _large("rtmpose_x_dis_l__coco-ubody-384x288", "l", teacher="x", **_ONE),
}
STAGE_TWO: Final = {
    "tt": Row("rtmpose_t-tt__coco-ubody-256x192", "t", "t", **_TWO),
    "ss": Row("rtmpose_s-ss__coco-ubody-256x192", "s", "s", **_TWO),
    "mm": Row("rtmpose_m-mm__coco-ubody-256x192", "m", "m", **_TWO),
    "ll": Row("dwpose_l-ll__coco-ubody-256x192", "l", "l", **_TWO),
    "ll-384": _large("dwpose_l-ll__coco-ubody-384x288", "l", teacher="l", **_TWO),
    "xx": Row("rtmpose_x-xx__coco-ubody-256x192", "x", "x", **_TWO),
}


@dataclass(frozen=True)
class RowSettings:
    """What ``--set`` changes in the recipes of the paper's rows.

    Attributes:
        row: which row; the recipe lists them.
        teacher: a trained network: a catalogue id, or the path of a .safetensors, .pth or .onnx
            file. Not used by a student alone.
        coco: the folder of COCO-WholeBody (`dwpose data check`).
        ubody: the folder of UBody; none leaves it out.
        detections: file of detected boxes to validate on, as the paper does; none takes the
            labelled boxes.
        init: checkpoint whose backbone the student starts from (the configs take RTMPose's own
            pre-trained CSPNeXt); none starts from random numbers.
        batch: crops of all processes together; none takes the row's.
        rate: full learning rate; none takes the row's, scaled with the batch.
        epochs: length; none takes the row's.
        iterations: batches of an epoch; none for one pass over everybody.
        warm_up: iterations of warm-up.
        seed: of first weights, order and variation.
        workers: processes that make crops, for each process that trains.
        device: torch device, or auto.
        precision: fp32, bf16 or fp16; auto takes bf16 on CUDA and fp32 elsewhere.
        compile: let torch compile the networks.
        teacher_training: let the teacher's batch norms move, as the released code does unnoticed.
        released_schedule: give the second stage the schedule of 270 epochs, of which it sees the
            first 60, as the released configs do; the gentle pipeline never comes then.
        decay_scalars: let the head's scalars decay, as the released code does.
        measure_every: epochs between validations.
        flip_test: average with the mirror image in validations, as the paper does.
        minutes: stop, resumable, after this long.
        tensorboard: also write event files.
    """

    row: str = ""
    teacher: str = ""
    coco: str = "data/coco"
    ubody: str | None = "data/UBody"
    detections: str | None = None
    init: str | None = None
    batch: int | None = None
    rate: float | None = None
    epochs: int | None = None
    iterations: int | None = None
    warm_up: int = 1000
    seed: int = 21
    workers: int = 8
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    teacher_training: bool = False
    released_schedule: bool = False
    decay_scalars: bool = False
    measure_every: int = 10
    flip_test: bool = True
    minutes: float | None = None
    tensorboard: bool = False


def train_row(rows: dict[str, Row], settings: RowSettings, folder: Path) -> Path | None:
    """Train one row; continues a run that is in `folder`.

    Args:
        rows: those of the recipe.
        settings: see there.
        folder: of the run.

    Returns:
        The plain network's file, or None where the run was stopped before its end.

    Raises:
        ValueError: a setting makes no sense.
        FileNotFoundError: data or teacher are not there.
    """
    if settings.row not in rows:
        raise ValueError(f"row must be one of {', '.join(rows)}, got {settings.row!r}")
    row = rows[settings.row]
    ranks = join(settings.device)
    try:
        trainer = _trainer(row, settings, folder, ranks)
        return folder / LAST if trainer.run() else None
    finally:
        leave()


def _trainer(row: Row, settings: RowSettings, folder: Path, ranks: Ranks) -> Trainer:
    epochs = row.epochs if settings.epochs is None else settings.epochs
    batch = row.batch if settings.batch is None else settings.batch
    if batch % ranks.world:
        raise ValueError(f"batch must be a multiple of the {ranks.world} processes, got {batch}")
    coco = Path(settings.coco)
    train = [load_coco_wholebody(coco, "train")]
    if settings.ubody:
        train += load_ubody(settings.ubody, "train")
    check_disjoint(train, [load_coco_wholebody(coco, "val")])
    _tell_dropped(train)
    released_two = row.stage == 2 and settings.released_schedule
    loader = build_loader(
        train,
        row.size_hw,
        batch // ranks.world,
        settings.seed,
        ranks.rank,
        ranks.world,
        workers=settings.workers,
        gentle_from=None if released_two else gentle_epoch(epochs),
        iterations=settings.iterations,
        strong=augmentation_of(row.student),
        gentle=augmentation_of(row.student, gentle=True),
    )
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if ranks.device.type == "cuda" else "fp32"
    learner = LearnerConfig(
        rate=row.rate * batch / row.batch if settings.rate is None else settings.rate,
        warm_up=settings.warm_up,
        decay_scalars=settings.decay_scalars,
        clip=row.clip,
        loss_batch=row.batch // 8,
        precision=precision,
        compile=settings.compile,
    )
    config = TrainConfig(
        learner,
        epochs,
        # The released second stage sees the beginning of a schedule that is 4.5 times as long.
        schedule_epochs=round(epochs * BASE_EPOCHS / row.epochs) if released_two else None,
        note=f"{row.config}, row {settings.row}",
        measure_every=settings.measure_every,
        log_every=min(50, len(loader)),
        minutes=settings.minutes,
        tensorboard=settings.tensorboard,
    )
    labels = load_annotations(annotation_file(coco, "val"))
    boxes = load_detections(settings.detections, labels) if settings.detections else "gt"
    images = image_folder(coco, "val")
    measure = CocoMeasure(labels, images, ranks.device, boxes, settings.flip_test)
    return Trainer(objective(row, settings, epochs), loader, config, folder, ranks, measure)


def objective(row: Row, settings: RowSettings, epochs: int) -> nn.Module:
    """Make what is trained in a row; its first weights depend on the seed alone.

    Raises:
        ValueError: the teacher is missing, or of another size.
    """
    config = rtmpose_config(row.student, row.size_hw)
    teacher = None if row.teacher is None else _teacher(row, settings.teacher)
    torch.manual_seed(settings.seed)
    if row.stage == 2:
        assert teacher is not None
        return StageTwo(teacher, teacher_training=settings.teacher_training)
    student = RTMPose(config)
    if settings.init:
        load_backbone(student, settings.init)
    if teacher is None:
        return StudentAlone(student, epochs)
    return StageOne(teacher, student, epochs, teacher_training=settings.teacher_training)


def _teacher(row: Row, name: str) -> RTMPose:
    height, width = row.size_hw
    what = f"a trained RTMPose-{row.teacher} of {height}x{width}"
    if not name:
        raise ValueError(f"teacher must name {what}: an id, or a .safetensors, .pth or .onnx file")
    teacher = load_teacher(name)
    wanted = rtmpose_config(row.teacher or "", row.size_hw)
    if _shape(teacher.config) != _shape(wanted):
        size = teacher.config.size
        found = "x".join(map(str, teacher.config.input_size_hw))
        raise ValueError(f"the teacher must be {what}, {name} holds an RTMPose-{size} of {found}")
    return teacher


def _shape(config: RTMPoseConfig) -> tuple[str, tuple[int, int]]:
    height, width = config.input_size_hw
    return config.size, (height, width)


def load_backbone(model: RTMPose, path: str) -> None:
    """Start a network from the backbone of a checkpoint, whatever head that has.

    Args:
        model: filled in place.
        path: a .safetensors or .pth file with weights under ``backbone.``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no such backbone, or one of another size.
    """
    prefix = "backbone."
    state = read_checkpoint(
        path, lambda keys: {k: k.removeprefix(prefix) for k in keys if k.startswith(prefix)}
    ).state
    try:
        model.backbone.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"init: {path} holds no backbone of an RTMPose-{model.config.size} ({error})"
        ) from None


def _tell_dropped(sets: Sequence[LabelledPeople]) -> None:
    for part in sets:
        dropped = ", ".join(f"{count} {reason}" for reason, count in part.dropped.items())
        log.info("%s: %d people; left out: %s", part.name, len(part), dropped or "nobody")
