"""Labels alone teach a network: RTMPose as DWPose's base configs train it, also the teachers.

    dwpose train training/recipes/student_alone.py -o runs/l --set row=l

Rows: t, s, m, l, x at 256x192; l-384, x-384 at 384x288.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dwpose.training.rows import ALONE, RowSettings, train_row


@dataclass(frozen=True)
class Settings(RowSettings):
    """See `RowSettings`."""

    row: str = "t"


def run(settings: Settings, folder: Path) -> None:
    """Train; continues a run that is in `folder`."""
    train_row(ALONE, settings, folder)
