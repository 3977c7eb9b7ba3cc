"""Pictures of a run: how losses and measured numbers went."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..io.atomic import write_atomically
from .journal import LOG, read_log

log = logging.getLogger("dwpose")

CURVES = "curves.png"
# Colours that also people who see red and green alike can tell apart (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")


def save_curves(folder: Path) -> Path | None:
    """Draw a run's log: losses, then what was measured, then rate and speed.

    Args:
        folder: of the run; reads ``log.jsonl`` and writes ``curves.png``.

    Returns:
        The picture, or None where matplotlib is not installed or nothing was logged.
    """
    lines = read_log(folder / LOG)
    steps = [line for line in lines if "loss" in line]
    measured = [(line["iteration"], line["measured"]) for line in lines if "measured" in line]
    if not steps:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError:
        log.warning("no %s: it needs matplotlib (pip install dwpose-studio[train])", CURVES)
        return None
    figure = Figure(figsize=(15, 4), layout="constrained")
    axes: Any = figure.subplots(1, 3)
    at = [line["iteration"] for line in steps]
    names = [n for n in steps[0] if n == "loss" or n.startswith("loss_")]
    for name, colour in zip(names, COLOURS, strict=False):
        values = [line.get(name, math.nan) for line in steps]
        label = "sum" if name == "loss" else name.removeprefix("loss_")
        axes[0].plot(at, values, colour, label=label, lw=1.2, marker=_mark(at))
    axes[0].set(title="Losses", xlabel="iteration", yscale="log")
    axes[0].legend()
    if measured:
        at_measured = [iteration for iteration, _ in measured]
        for name, colour in zip(measured[0][1], COLOURS, strict=False):
            values = [numbers.get(name, math.nan) for _, numbers in measured]
            axes[1].plot(at_measured, values, colour, label=name, marker="o", ms=3)
        axes[1].legend(fontsize=7, ncols=2, loc="upper left", framealpha=0.6)
    else:
        axes[1].text(0.5, 0.5, "nothing was measured", ha="center", transform=axes[1].transAxes)
    axes[1].set(title="Held-out pictures", xlabel="iteration", ylim=(0, 1.25 if measured else 1))
    axes[2].plot(at, [line["rate"] for line in steps], COLOURS[0], marker=_mark(at))
    axes[2].set(title="Learning rate and speed", xlabel="iteration")
    axes[2].set_ylabel("learning rate", color=COLOURS[0])
    speed = axes[2].twinx()
    speed.plot(at, [line["images_per_s"] for line in steps], COLOURS[1], lw=1, marker=_mark(at))
    speed.set_ylabel("images/s", color=COLOURS[1])
    speed.set_ylim(bottom=0)
    for axis in axes:
        axis.grid(alpha=0.3)
    return save_figure(figure, folder / CURVES)


def _mark(points: Sequence[object]) -> str:
    # A line through one point is not seen.
    return "." if len(points) < 30 else ""


def save_figure(figure: Any, path: Path) -> Path:
    """Write a matplotlib figure as PNG, atomically."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return write_atomically(path, buffer.getvalue())
