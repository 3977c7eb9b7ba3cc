"""First stage of distillation: labels, the teacher's features and its curves teach a student.

    dwpose train training/recipes/stage_one.py -o runs/l-m --set row=l-m --set teacher=TEACHER

Rows: l-t, l-s, l-m, x-l at 256x192; x-l-384 at 384x288. The outcome, `model.safetensors`, is a
plain network: no conversion is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dwpose.training.rows import STAGE_ONE, RowSettings, train_row


@dataclass(frozen=True)
class Settings(RowSettings):
    """See `RowSettings`."""

    row: str = "l-m"


def run(settings: Settings, folder: Path) -> None:
    """Train; continues a run that is in `folder`."""
    train_row(STAGE_ONE, settings, folder)
