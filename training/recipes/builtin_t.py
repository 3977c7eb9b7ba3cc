"""The small built-in model: RTMPose-t at 256x192 on rendered people only.

Numbers that differ from DWPose's own settings are those of a short run on a CPU: a smaller batch
with a rate to match, a short warm-up, and coarse maps as deep supervision that fades out, because a
SimCC network learns slowly from nothing (see `coarse_map_loss`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.training.calibrate import scale_scores, score_gain
from dwpose.training.checkpoint import save_network
from dwpose.training.distributed import join
from dwpose.training.learner import LearnerConfig
from dwpose.training.pool import CropPool, PoolSource
from dwpose.training.supervised import StudentAlone
from dwpose.training.trainer import TrainConfig, Trainer
from dwpose.training.validate import PoolMeasure

log = logging.getLogger("dwpose")

# Iterations that are called an epoch: the coarse maps fade and crops are measured by it.
EPOCH = 250


@dataclass(frozen=True)
class Settings:
    """What `--set` changes.

    Attributes:
        pool: folder of rendered crops (`dwpose synth render`).
        held_out: folder of rendered crops that are never learned from; measured on, and used to
            put the scores on the usual scale at the end.
        size: RTMPose size letter.
        iterations: length of the schedule, taken up to whole epochs of 250.
        batch: crops a step.
        rate: full learning rate.
        coarse: weight of the deep supervision at the start.
        seed: of first weights and of draws.
        device: torch device, or auto.
        precision: fp32 or bf16.
        compile: let torch compile the network.
        minutes: stop, resumable, after this long.
    """

    pool: str = "runs/pool"
    held_out: str = "runs/held_out"
    size: str = "t"
    iterations: int = 6000
    batch: int = 32
    rate: float = 1e-3
    coarse: float = 0.05
    seed: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    compile: bool = False
    minutes: float | None = None


def run(settings: Settings, folder: Path) -> None:
    """Train; continues a run that is in `folder`."""
    ranks = join(settings.device)
    pool, held_out = CropPool(Path(settings.pool)), CropPool(Path(settings.held_out))
    torch.manual_seed(settings.seed)
    network = RTMPose(rtmpose_config(settings.size, pool.size_hw))
    # At least two, so that a dry run fades too.
    length = max(1, min(EPOCH, settings.iterations // 2))
    epochs = -(-settings.iterations // length)
    config = TrainConfig(
        learner=LearnerConfig(
            rate=settings.rate,
            warm_up=200,
            loss_batch=32,
            precision=settings.precision,
            compile=settings.compile,
        ),
        epochs=epochs,
        note="trained on rendered crops",
        measure_every=1,
        best_by="pck",
        log_every=min(10, length),
        minutes=settings.minutes,
    )
    trainer = Trainer(
        StudentAlone(network, epochs, coarse=settings.coarse),
        PoolSource(pool, settings.batch, length, settings.seed, rank=ranks.rank),
        config,
        folder,
        ranks,
        PoolMeasure(held_out, ranks.device),
    )
    if not trainer.run() or not ranks.first:
        return
    network = trainer.learner.plain_model()
    gain = score_gain(network, held_out)
    scale_scores(network, gain)
    seen = trainer.iteration * settings.batch * ranks.world
    note = f"trained on {seen} rendered crops; scores times {gain:.3f}"
    path = folder / f"builtin-{settings.size}.safetensors"
    save_network(path, network, half=True, note=note)
    log.info("%s: %s", path, note)
