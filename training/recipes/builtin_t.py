"""The small built-in model: RTMPose-t at 256x192 on rendered people only.

Numbers that differ from DWPose's own settings are those of a short run on a CPU: a smaller batch
with a rate to match, a short warm-up, and coarse maps as deep supervision that fades out, because a
SimCC network learns slowly from nothing (see `coarse_map_loss`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from dwpose.training.calibrate import scale_scores, score_gain
from dwpose.training.checkpoint import save_network
from dwpose.training.pool import CropPool
from dwpose.training.supervised import SupervisedConfig, SupervisedTrainer

log = logging.getLogger("dwpose")


@dataclass(frozen=True)
class Settings:
    """What `--set` changes.

    Attributes:
        pool: folder of rendered crops (`dwpose synth render`).
        held_out: folder of rendered crops that are never learned from; measured on, and used to
            put the scores on the usual scale at the end.
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
    held_out: str = "runs/held_out"
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
    held_out = CropPool(Path(settings.held_out))
    trainer.run(CropPool(Path(settings.pool)), held_out, minutes=settings.minutes)
    if trainer.iteration < settings.iterations:
        log.info("stopped at iteration %d; run again to continue", trainer.iteration)
        return
    network = trainer.average.module.cpu().eval()
    gain = score_gain(network, held_out)
    scale_scores(network, gain)
    note = (
        f"trained on {trainer.iteration * settings.batch} rendered crops; scores times {gain:.3f}"
    )
    save_network(folder / "builtin-t.safetensors", network, half=True, note=note)
    log.info("%s: %s", folder / "builtin-t.safetensors", note)
