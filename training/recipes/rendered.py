"""A network on people that are rendered while it learns: the synthetic teacher and its students.

    dwpose train training/recipes/rendered.py -o runs/teacher --set size=l --set device=cuda
    dwpose train training/recipes/rendered.py -o runs/student --set size=s --set device=cuda \
        --set teacher=runs/teacher/model.safetensors --set init=runs/start/model.safetensors

Without a teacher, coarse maps help the first steps and fade out; with one it is stage one of the
distillation. A network that starts from random numbers needs coarse maps, or `init`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.training.checkpoint import earlier_notes
from dwpose.training.distill import StageOne, load_teacher
from dwpose.training.distributed import join
from dwpose.training.learner import LearnerConfig
from dwpose.training.losses import FEATURE_ALPHA
from dwpose.training.rendered import RenderedSource, RingConfig
from dwpose.training.rows import load_backbone
from dwpose.training.supervised import StudentAlone, part_emphasis
from dwpose.training.synthetic import SyntheticConfig, SyntheticPeople
from dwpose.training.trainer import TrainConfig, Trainer
from dwpose.training.validate import RenderedMeasure


@dataclass(frozen=True)
class Settings:
    """What `--set` changes.

    Attributes:
        size: RTMPose size letter, or lite.
        teacher: a trained network of 256x192 for stage one; none trains the network alone.
        init: checkpoint whose backbone the network starts from; none starts from random numbers.
        samples: crops shown in all, taken up to whole epochs.
        batch: crops a step.
        reuse: times that a rendered crop is shown on average.
        ring: rendered crops that are kept.
        at_once: crops that are rendered together; 1024 take 13 GB of a GPU's memory.
        epoch: steps that are called an epoch.
        height, width: of the crops in pixels.
        poses, backgrounds: a motion library and a folder of photos without people; none takes
            made-up ones.
        rate: full learning rate.
        backbone_rate: factor on it for the backbone; 0.2 for one that has seen photographs.
        warm_up: iterations of warm-up.
        coarse: weight of the coarse maps at the start, without a teacher.
        emphasis: let points count as `supervised.EMPHASIS` has them, without a teacher.
        held_out: crops to measure on, of bodies, poses and backgrounds that are never learned from.
        seed: of first weights and pictures.
        device: torch device, or auto.
        precision: fp32, bf16 or fp16.
        compile: let torch compile the networks.
        minutes: stop, resumable, after this long.
    """

    size: str = "l"
    teacher: str | None = None
    init: str | None = None
    samples: int = 2_000_000
    batch: int = 256
    reuse: int = 4
    ring: int = 16384
    at_once: int = 1024
    epoch: int = 100
    height: int = 256
    width: int = 192
    poses: str | None = None
    backgrounds: str | None = None
    rate: float = 2e-3
    backbone_rate: float = 1.0
    warm_up: int = 500
    coarse: float = 0.05
    emphasis: bool = False
    held_out: int = 2000
    seed: int = 0
    device: str = "auto"
    precision: str = "bf16"
    compile: bool = False
    minutes: float | None = None


def run(settings: Settings, folder: Path) -> None:
    """Train; continues a run that is in `folder`."""
    ranks = join(settings.device)
    size_hw = (settings.height, settings.width)
    network_config = rtmpose_config(settings.size, size_hw)
    scenes = {
        "size_hw": size_hw,
        "padding": network_config.usage.padding,
        "poses": settings.poses,
        "backgrounds": settings.backgrounds,
    }
    batch = settings.batch
    ring = RingConfig(
        batch,
        settings.reuse,
        at_once=settings.at_once,
        capacity=settings.ring,
        epoch_length=settings.epoch,
    )
    source = RenderedSource(
        SyntheticPeople(SyntheticConfig(**scenes, split="train"), ranks.device),
        ring,
        settings.seed * ranks.world + ranks.rank,
    )
    epochs = -(-settings.samples // (batch * settings.epoch * ranks.world))
    torch.manual_seed(settings.seed)
    network = RTMPose(network_config)
    if settings.init:
        load_backbone(network, settings.init)
    if settings.teacher:
        teacher = load_teacher(settings.teacher)
        # Features can be compared where the maps are of one size; lite's are finer.
        alike = teacher.config.map_hw == network.config.map_hw
        objective = StageOne(teacher, network, epochs, alpha=FEATURE_ALPHA if alike else 0)
    else:
        emphasis = part_emphasis() if settings.emphasis else None
        objective = StudentAlone(network, epochs, coarse=settings.coarse, emphasis=emphasis)
    start = f", backbone of {Path(settings.init).name}" if settings.init else ""
    taught = earlier_notes([settings.teacher]) if settings.teacher else ""
    held_out = SyntheticPeople(SyntheticConfig(**scenes, split="val"), ranks.device)
    config = TrainConfig(
        LearnerConfig(
            rate=settings.rate,
            backbone_rate=settings.backbone_rate,
            warm_up=settings.warm_up,
            precision=settings.precision,
            compile=settings.compile,
        ),
        epochs,
        note=f"trained on rendered crops{start}{taught}",
        measure_every=5,
        log_every=min(20, settings.epoch),
        minutes=settings.minutes,
    )
    measure = RenderedMeasure(held_out, settings.held_out)
    Trainer(objective, source, config, folder, ranks, measure).run()
