"""Fine-tuning: a trained network learns from one's own photos and keypoint files.

    dwpose data check --own photos
    dwpose train training/recipes/finetune.py -o runs/mine --set photos=photos
    dwpose image photo.jpg -o out --model runs/mine/best.safetensors

The folder is described in docs/training.md: photos with OpenPose files beside them, as `dwpose
image --json` and pose editors write them, or with one COCO file. What its labels leave out, such as
hands and faces where only bodies are labelled, the network keeps by learning from what it said
before (see `keep`).

None of the numbers is DWPose's, which has no such recipe: the rate is that of the base configs for
this batch, halved, as the network is trained already.
"""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from dwpose.models.rtmpose import RTMPose
from dwpose.training.checkpoint import earlier_notes
from dwpose.training.data import (
    LabelledPeople,
    build_loader,
    check_disjoint,
    gentle_epoch,
    load_own_folder,
    plain_batches,
    split_people,
)
from dwpose.training.distill import StageOne, load_teacher
from dwpose.training.distributed import join, leave
from dwpose.training.learner import LearnerConfig
from dwpose.training.trainer import BEST, TrainConfig, Trainer
from dwpose.training.validate import estimate_crops, measure_crops

log = logging.getLogger("dwpose")


@dataclass(frozen=True)
class Settings:
    """What `--set` changes.

    Attributes:
        photos: folder of photos and keypoint files.
        labels: name of the COCO file in it; none finds it, or takes the OpenPose files.
        val_photos: such a folder to measure on; none takes a part of `photos`.
        val_share: that part, of the photos.
        model: what to start from: a catalogue id, or a .safetensors, .pth or .onnx file of an
            RTMPose. Its licence is that of the outcome.
        keep: weight of what the network said before, on labelled points and others; 0 lets it
            forget. 0.1 is the weight of the curves' loss in the first stage of distillation.
        epochs: passes over the photos.
        batch: crops of all processes together.
        rate: full learning rate.
        warm_up: iterations of warm-up.
        seed: of order, variation and the choice of photos to measure on.
        workers: processes that make crops, for each process that trains.
        device: torch device, or auto.
        precision: fp32, bf16 or fp16; auto takes bf16 on CUDA and fp32 elsewhere.
        measure_every: epochs between measurements.
        minutes: stop, resumable, after this long.
    """

    photos: str = "photos"
    labels: str | None = None
    val_photos: str | None = None
    val_share: float = 0.1
    model: str = "builtin-lite"
    keep: float = 0.1
    epochs: int = 60
    batch: int = 32
    rate: float = 1.25e-4
    warm_up: int = 20
    seed: int = 0
    workers: int = 4
    device: str = "auto"
    precision: str = "auto"
    measure_every: int = 5
    minutes: float | None = None


class FineTuning(StageOne):
    """The first stage, with itself of before as teacher and without features.

    The student's batch norms keep the statistics that they came with. Those of a few photos are
    other ones, and what the network knows of points that are not labelled would go with them.
    """

    def train(self, mode: bool = True) -> FineTuning:
        """Switch all but the batch norms."""
        super().train(mode)
        for part in self.student.modules():
            if isinstance(part, (nn.BatchNorm2d, nn.SyncBatchNorm)):
                part.eval()
        return self


class HeldOut:
    """Measures on photos that are never learned from: AP as if each person were a picture, and PCK.

    Args:
        people: who is measured on.
        device: where.
    """

    def __init__(self, people: LabelledPeople, device: str) -> None:
        self._people, self._device = people, device

    def __call__(self, model: RTMPose) -> dict[str, float]:
        """Measure a network."""
        config = model.config
        batches = plain_batches([self._people], config.input_size_hw, padding=config.usage.padding)
        found = estimate_crops(model, batches, self._device)
        return measure_crops(found)


def run(settings: Settings, folder: Path) -> None:
    """Train; continues a run that is in `folder`. The outcome is `best.safetensors` there."""
    if not settings.keep >= 0:
        raise ValueError(f"keep must be at least 0, got {settings.keep}")
    train, val = _read(settings)
    teacher = load_teacher(settings.model)
    student = deepcopy(teacher)
    ranks = join(settings.device)
    try:
        if settings.batch % ranks.world:
            raise ValueError(f"batch must be a multiple of the {ranks.world} processes")
        precision = settings.precision
        if precision == "auto":
            precision = "bf16" if ranks.device.type == "cuda" else "fp32"
        loader = build_loader(
            [train],
            student.config.input_size_hw,
            settings.batch // ranks.world,
            settings.seed,
            ranks.rank,
            ranks.world,
            workers=settings.workers,
            gentle_from=gentle_epoch(settings.epochs),
            padding=student.config.usage.padding,
        )
        objective = FineTuning(
            teacher, student, settings.epochs, alpha=0, logit_weight=settings.keep, decay=False
        )
        learner = LearnerConfig(settings.rate, settings.warm_up, precision=precision)
        config = TrainConfig(
            learner,
            settings.epochs,
            note=f"{settings.model}, fine-tuned on {len(train)} people of {settings.photos}"
            f"{earlier_notes([settings.model])}",
            measure_every=settings.measure_every,
            log_every=min(50, len(loader)),
            minutes=settings.minutes,
        )
        measure = HeldOut(val, str(ranks.device))
        trainer = Trainer(objective, loader, config, folder, ranks, measure)
        if ranks.first and trainer.iteration == 0:
            log.info("%d people to learn from, %d to measure on", len(train), len(val))
            log.info("before: %s", measure(student))
        trainer.run()
        if ranks.first:
            log.info("%s: ap %s; %d photos skipped", folder / BEST, trainer.best, loader.skipped)
    finally:
        leave()


def _read(settings: Settings) -> tuple[LabelledPeople, LabelledPeople]:
    own = load_own_folder(settings.photos, settings.labels)
    for reason, count in own.dropped.items():
        log.warning("%s: %d left out: %s", settings.photos, count, reason)
    if settings.val_photos is None:
        train, val = split_people(own, settings.val_share, settings.seed)
    else:
        train, val = own, load_own_folder(settings.val_photos)
    check_disjoint([train], [val])
    return train, val
