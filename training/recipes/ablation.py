"""The ablation of the paper's losses on rendered people, all variants side by side in one process.

    dwpose train training/recipes/ablation.py -o runs/ablation --set device=cuda \
        --set teacher=runs/teacher/model.safetensors --set init=runs/start/model.safetensors

On a CPU the crops come from folders that were rendered before, and students of builtin-lite's kind
start from ImageNet: `training/README.md` has that command.

Student alone, + feature loss, + curves' loss, both, each with and without decay, then the second
stage on top; the teacher runs once a batch. Repetitions with other seeds follow one another, and
the report is written after the last. A run that was stopped continues in its folder.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from dwpose.io.coco import load_annotations
from dwpose.models.efficientnet import EfficientNetLite
from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.training.ablation import RESULTS, Ablation, AblationConfig
from dwpose.training.ablation_report import save_report
from dwpose.training.distill import load_teacher
from dwpose.training.distributed import join
from dwpose.training.learner import LearnerConfig
from dwpose.training.losses import FEATURE_ALPHA
from dwpose.training.pool import CropPool
from dwpose.training.rendered import RingConfig, crop_sources
from dwpose.training.rows import load_backbone
from dwpose.training.synthetic import SyntheticConfig, SyntheticPeople
from dwpose.training.validate import CocoMeasure, PoolMeasure, RenderedMeasure
from dwpose.training.variants import VARIANTS
from dwpose.weights.readers import read_checkpoint

log = logging.getLogger("dwpose")

# Far from the seeds of other recipes: a student of the teacher's own shape that starts from the
# numbers that the teacher once started from shares its features from the first step, see LOG.md.
FIRST_SEED = 1_000_000


@dataclass(frozen=True)
class Settings:
    """What `--set` changes.

    Attributes:
        teacher: a trained network, see `training/recipes/rendered.py`; its input size is taken.
        size: RTMPose size letter of the student, or lite.
        init: checkpoint whose backbone all variants start from; none starts from random numbers,
            with which SimCC alone learns nothing for a long while.
        imagenet: the same for a lite student, as in `training/recipes/builtin_lite.py`.
        frozen: first blocks of a lite student's backbone that do not learn, as there; they are the
            teacher's where it is lite too.
        samples: crops shown in the first stage, taken up to whole epochs; the second adds 22 %.
        seeds: of repetitions, with commas.
        variants: names with semicolons; none takes all.
        second_on: variants that the second stage follows on, with semicolons; none for no second
            stage.
        alpha: factor on the feature loss; the paper's was chosen for features of other size.
        batch, reuse, ring, at_once, epoch, poses, backgrounds: as in
            `training/recipes/rendered.py`.
        pool: folder of rendered crops to learn from, instead of rendering.
        pool_held_out: folder of rendered crops to measure on, instead of rendering.
        rate: full learning rate.
        backbone_rate: factor on it for the backbone.
        warm_up: iterations of warm-up.
        held_out: rendered crops to measure on.
        photos: labels of real photos (COCO's JSON) to measure on at the end, never to learn from.
        photo_folder: their pictures.
        report: where the report goes; none writes it into the run's folder.
        device: torch device, or auto.
        precision: fp32, bf16 or fp16.
        compile: let torch compile the networks.
        measure_every: epochs between measurements.
        minutes: stop, resumable, after this long (for each seed).
    """

    teacher: str = ""
    size: str = "s"
    init: str | None = None
    imagenet: str | None = None
    frozen: int = 5
    samples: int = 300_000
    seeds: str = "0,1,2"
    variants: str | None = None
    second_on: str | None = "both"
    alpha: float = FEATURE_ALPHA
    batch: int = 256
    reuse: int = 4
    ring: int = 16384
    at_once: int = 1024
    epoch: int = 100
    poses: str | None = None
    backgrounds: str | None = None
    pool: str | None = None
    pool_held_out: str | None = None
    rate: float = 2e-3
    backbone_rate: float = 1.0
    warm_up: int = 200
    held_out: int = 2000
    photos: str | None = None
    photo_folder: str | None = None
    report: str | None = None
    device: str = "auto"
    precision: str = "bf16"
    compile: bool = False
    measure_every: int = 3
    minutes: float | None = None


def run(settings: Settings, folder: Path) -> None:
    """Train all repetitions and write the report; continues what is in `folder`."""
    if not settings.teacher:
        raise ValueError("teacher must name a trained network, see training/recipes/rendered.py")
    device = join(settings.device).device
    teacher = load_teacher(settings.teacher)
    size_hw = teacher.config.input_size_hw
    scenes = {
        "size_hw": size_hw,
        "padding": teacher.config.usage.padding,
        "poses": settings.poses,
        "backgrounds": settings.backgrounds,
    }
    if settings.pool_held_out:
        crops = CropPool(Path(settings.pool_held_out), teacher.config.usage.padding)
        measure = PoolMeasure(crops, device, settings.held_out)
    else:
        held_out = SyntheticPeople(SyntheticConfig(**scenes, split="val"), device)
        measure = RenderedMeasure(held_out, settings.held_out)
    photos = None
    if settings.photos:
        labels = load_annotations(settings.photos)
        pictures = Path(settings.photo_folder or Path(settings.photos).parent)
        photos = CocoMeasure(labels, pictures, device)
    ring = RingConfig(
        settings.batch,
        settings.reuse,
        at_once=settings.at_once,
        capacity=settings.ring,
        epoch_length=settings.epoch,
    )
    crops = crop_sources(settings.pool, SyntheticConfig(**scenes, split="train"), ring, device)
    folders = []
    for seed in map(int, settings.seeds.split(",")):
        source = crops(seed)
        torch.manual_seed(FIRST_SEED + seed)
        student = RTMPose(rtmpose_config(settings.size, size_hw))
        if settings.init:
            load_backbone(student, settings.init)
        if isinstance(student.backbone, EfficientNetLite):
            if settings.imagenet:
                student.backbone.load_imagenet(read_checkpoint(settings.imagenet).state)
            student.backbone.freeze(settings.frozen)
            if isinstance(teacher.backbone, EfficientNetLite):
                # Nobody learns there: with the teacher's own, they run once a batch for all.
                theirs, own = teacher.backbone.state_dict(), student.backbone.named_parameters()
                fixed = {k: theirs[k] for k, value in own if not value.requires_grad}
                student.backbone.load_state_dict(fixed, strict=False)
        config = AblationConfig(
            LearnerConfig(
                rate=settings.rate,
                backbone_rate=settings.backbone_rate,
                warm_up=settings.warm_up,
                precision=settings.precision,
                compile=settings.compile,
            ),
            -(-settings.samples // (settings.batch * settings.epoch)),
            _names(settings.variants) if settings.variants else tuple(VARIANTS),
            _names(settings.second_on or ""),
            seed,
            settings.alpha,
            settings.measure_every,
            minutes=settings.minutes,
        )
        folders.append(folder / f"seed-{seed}")
        ablation = Ablation(teacher, student, source, config, folders[-1], measure, photos, device)
        if not ablation.run():
            return
    target = Path(settings.report) if settings.report else folder
    save_report([json.loads((part / RESULTS).read_text()) for part in folders], target)
    log.info("%s", target / "report.md")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(";") if name.strip())
