r"""The built-in person detector: YOLOX-nano with one class, on composed scenes only.

Numbers that differ from YOLOX's own settings are those of a short run on a CPU: AdamW instead of
SGD, a batch of 16 and an input of 256 instead of 416, no mosaic (a scene is put together anew from
many pieces anyway). The file in the package saw 8800 batches of 16 scenes, of 160 to 224 px and
then of 224 to 288 (`sides` may change when a run goes on), 110 minutes of one core; then 2900
batches of 64, of 256 to 384 px, all but the last 274 in four minutes of a shared H200, see LOG.md.
The scenes are put together on the processor, some 140 a second and core:

    for first in 0 10 20 30; do
        dwpose synth cutouts -o runs/cutouts --first $first --count 2560 --device cuda \
            --poses POSES.npz --backgrounds PHOTOS &
    done; wait
    dwpose synth cutouts -o runs/cutouts_held_out --count 512 --split val --seed 7 \
        --device cuda --poses POSES.npz --backgrounds PHOTOS
    dwpose train training/recipes/builtin_det.py -o runs/builtin-det \
        --set init=builtin-det --set backgrounds=PHOTOS --set device=cuda --set precision=bf16 \
        --set batch=64 --set side=320 --set sides=256,288,320,352,384 --set rate=1.5e-3 \
        --set iterations=3600 --set workers=12
    dwpose evaluate-detector LABELS.json --images FOLDER \
        --detector runs/builtin-det/builtin-det.safetensors
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from dwpose.training.checkpoint import earlier_notes
from dwpose.training.detection.calibrate import score_shift, shift_scores
from dwpose.training.detection.cutouts import Cutouts
from dwpose.training.detection.scenes import Composer, SceneConfig
from dwpose.training.detection.trainer import DetectorConfig, DetectorTrainer, save_detector

log = logging.getLogger("dwpose")


@dataclass(frozen=True)
class Settings:
    """What `--set` changes.

    Attributes:
        cutouts: folder of rendered people (`dwpose synth cutouts`).
        held_out: folder of rendered people that are never learned from: to measure on, and to put
            the scores on the usual scale at the end.
        backgrounds: folder of photos without people.
        init: a trained one-class detector of this size to go on from; none starts from random
            numbers.
        size: YOLOX size name.
        side: usual input side in px; measured with, and written into the file.
        sides: of the batches in px, with commas; small ones first and large ones at the end learn
            most in little time, so they may change when a run goes on.
        iterations: length of the schedule.
        batch: scenes a step.
        rate: full learning rate.
        workers: processes that put scenes together.
        device: torch device.
        precision: fp32 or bf16.
        minutes: stop, resumable, after this long.
    """

    cutouts: str = "runs/cutouts"
    held_out: str = "runs/cutouts_held_out"
    backgrounds: str | None = None
    init: str | None = None
    size: str = "nano"
    side: int = 256
    sides: str = "224,256,288"
    iterations: int = 4500
    batch: int = 16
    rate: float = 2e-3
    workers: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    minutes: float | None = None


def run(settings: Settings, folder: Path) -> None:
    """Train; continues a run that is in `folder`."""
    config = DetectorConfig(
        size=settings.size,
        side=settings.side,
        sides=tuple(int(side) for side in settings.sides.split(",")),
        iterations=settings.iterations,
        batch=settings.batch,
        rate=settings.rate,
        warm_up=300,
        workers=settings.workers,
        device=settings.device,
        precision=settings.precision,
    )
    trainer = DetectorTrainer(config, folder, settings.init)
    scenes, held_out = (
        Composer(Cutouts(Path(where)), SceneConfig(backgrounds=settings.backgrounds, split=split))
        for where, split in ((settings.cutouts, "train"), (settings.held_out, "val"))
    )
    trainer.run(scenes, held_out, minutes=settings.minutes)
    if trainer.iteration < settings.iterations:
        log.info("stopped at iteration %d; run again to continue", trainer.iteration)
        return
    network = trainer.network.cpu().eval()
    shift = score_shift(network, held_out, settings.side)
    shift_scores(network, shift)
    scenes_seen = trainer.iteration * settings.batch
    note = f"trained on {scenes_seen} composed scenes; logits of scores plus {shift:.2f}"
    note += earlier_notes(filter(None, [settings.init]))
    path = folder / "builtin-det.safetensors"
    save_detector(path, network, half=True, note=note)
    log.info("%s: %s", path, note)
