"""Second stage: a trained network's curves teach a fresh head on its own frozen backbone.

    dwpose train training/recipes/stage_two.py -o runs/mm --set row=mm \
        --set teacher=runs/l-m/model.safetensors

Rows: tt, ss, mm, ll, xx at 256x192; ll-384 at 384x288. The teacher is the outcome of the first
stage. The outcome, `model.safetensors`, is the old backbone with the new head, a plain network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dwpose.training.rows import STAGE_TWO, RowSettings, train_row


@dataclass(frozen=True)
class Settings(RowSettings):
    """See `RowSettings`."""

    row: str = "mm"


def run(settings: Settings, folder: Path) -> None:
    """Train; continues a run that is in `folder`."""
    train_row(STAGE_TWO, settings, folder)
