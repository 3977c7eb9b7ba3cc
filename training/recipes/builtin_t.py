"""The small built-in model: RTMPose-t at 256x192 on rendered people only.

Numbers that differ from DWPose's own settings are those of a short run on a CPU: a smaller batch
with a rate to match, a short warm-up, and coarse maps as deep supervision that fades out, because a
SimCC network learns slowly from nothing (see `coarse_map_loss`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from dwpose.training.pool import CropPool
from dwpose.training.supervised import SupervisedConfig, SupervisedTrainer

log = logging.getLogger("dwpose")


@dataclass(frozen=True)
class Settings:
    """What `--set` changes.

    Attributes:
        pool: folder of rendered crops (`dwpose synth render`).
        held_out: folder of rendered crops that are never learned from; "" for none.
        size: RTMPose size letter.
        iterations: length of the schedule.
        batch: crops a step.
        rate: full learning rate.
        coarse: weight of the deep supervision at the start.
        device: torch device.
        precision: fp32 or bf16.
        minutes: stop, resumable, after this long.
    """

    pool: str = "runs/pool"
    held_out: str = ""
    size: str = "t"
    iterations: int = 6000
    batch: int = 32
    rate: float = 1e-3
    coarse: float = 0.05
    device: str = "cpu"
    precision: str = "fp32"
    minutes: float | None = None


def run(settings: Settings, folder: Path) -> None:
    """Train; continues a run that is in `folder`."""
    config = SupervisedConfig(
        size=settings.size,
        iterations=settings.iterations,
        batch=settings.batch,
        rate=settings.rate,
        coarse=settings.coarse,
        device=settings.device,
        precision=settings.precision,
    )
    trainer = SupervisedTrainer(config, folder)
    trainer.run(
        CropPool(Path(settings.pool)),
        CropPool(Path(settings.held_out)) if settings.held_out else None,
        minutes=settings.minutes,
    )
    log.info("trained %d iterations; weights in %s", trainer.iteration, folder)
