"""The report of an ablation: pictures, a table and the raw numbers."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..io.atomic import write_atomically
from .plots import COLOURS, save_figure

log = logging.getLogger("dwpose")

# What is compared. AP is the paper's number; of students that have seen little it is next to zero.
METRICS = {
    "ap": "whole-body AP, points",
    "oks": "mean whole-body OKS, points",
    "pck": "PCK at 5 % of the width, points",
}


def gains(results: Sequence[Mapping[str, Any]], metric: str) -> dict[str, dict[str, Any]]:
    """Compare variants over repetitions with other seeds.

    Args:
        results: of one or several comparisons (`Ablation.results`).
        metric: a measured number.

    Returns:
        for each variant "values" (one a repetition), their "mean", "gains" (the paired
        differences to "alone") and "gain" (their mean).
    """
    names = [name for name in results[0]["last"] if all(name in r["last"] for r in results)]
    table: dict[str, dict[str, Any]] = {}
    for name in names:
        values = [float(r["last"][name][metric]) for r in results]
        table[name] = {"values": values, "mean": sum(values) / len(values)}
        if "alone" in names:
            base = [float(r["last"]["alone"][metric]) for r in results]
            apart = [value - alone for value, alone in zip(values, base, strict=True)]
            table[name] |= {"gains": apart, "gain": sum(apart) / len(apart)}
    return table


def save_report(results: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write ``results.json`` (everything), ``report.md`` (a table) and, with matplotlib, pictures.

    Args:
        results: of repetitions of one comparison with other seeds (`ablation.Ablation.results`).
        folder: where they go.
    """
    write_atomically(folder / "results.json", json.dumps(list(results), indent=1).encode())
    write_atomically(folder / "report.md", _table(results).encode())
    if importlib.util.find_spec("matplotlib") is None:
        log.warning("no pictures: they need matplotlib (pip install dwpose-studio[train])")
        return
    _draw_curves(results, folder / "curves.png")
    _draw_gains(results, folder / "gains.png")


def _table(results: Sequence[Mapping[str, Any]]) -> str:
    first = results[0]
    samples, crops = first["settings"]["epochs"] * first["epoch_length"], first["crops"]
    seeds = "seed" if len(results) == 1 else "seeds"
    lines = [
        "# Ablation of distillation on rendered people",
        "",
        f"Student RTMPose-{first['student']['size']}, teacher RTMPose-{first['teacher']['size']}; "
        f"{samples * first['batch']} samples in the first stage of batches of {first['batch']}, "
        f"{crops} different crops in all; {len(results)} {seeds}.",
        "",
        "Of the whole body, on held-out rendered crops, in points: COCO's AP, mean OKS, and PCK at "
        "5 % of the crop's width. Gain: mean of the paired differences to the student alone (in "
        "brackets the smallest and largest over the seeds).",
        "",
        "| | AP | gain | OKS | gain | PCK | gain | OKS, photos | PCK, photos |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    tables = {metric: gains(results, metric) for metric in METRICS}
    rows = [("teacher", [r["teacher"]["measured"] for r in results])]
    rows += [(name, [r["last"][name] for r in results]) for name in tables["ap"]]
    for name, numbers in rows:
        cells = [name]
        for metric, table in tables.items():
            cells += [_points(_mean(numbers, metric)), _gain(table.get(name, {}).get("gains"))]
        cells += [_points(_mean(numbers, f"photos_{metric}")) for metric in ("oks", "pck")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _gain(apart: Sequence[float] | None) -> str:
    if not apart or not any(apart):
        return ""
    text = f"{100 * sum(apart) / len(apart):+.2f}"
    if len(apart) > 1:
        text += f" ({100 * min(apart):+.2f} to {100 * max(apart):+.2f})"
    return text


def _mean(numbers: Sequence[Mapping[str, float]], key: str) -> float | None:
    values = [row[key] for row in numbers if key in row]
    return sum(values) / len(values) if values else None


def _points(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _colours(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(results[0]["last"])}


def _draw_curves(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 5), layout="constrained")
    axes: Any = figure.subplots(1, len(METRICS))
    for axis, (metric, words) in zip(axes, METRICS.items(), strict=True):
        for name, colour in _colours(results).items():
            for number, result in enumerate(results):
                lines = [line for line in result["curves"].get(name, []) if metric in line]
                axis.plot(
                    [line["samples"] for line in lines],
                    [100 * line[metric] for line in lines],
                    color=colour,
                    ls="--" if "no decay" in name else "-",
                    marker="." if len(lines) < 30 else None,
                    label=name if number == 0 else None,
                    alpha=0.9 if len(results) == 1 else 0.6,
                )
        teacher = _mean([r["teacher"]["measured"] for r in results], metric)
        if teacher is not None:
            axis.axhline(100 * teacher, color="grey", ls=":")
            place, units = (0.01, 100 * teacher), ("axes fraction", "data")
            axis.annotate("teacher", place, (0, 3), units, "offset points", color="grey")
        axis.set(xlabel="samples", ylabel=words, ylim=(0, None))
        axis.margins(y=0.1)
        axis.grid(alpha=0.3)
    axes[-1].legend(fontsize=8)
    figure.suptitle("Variants side by side on held-out crops (averaged weights)")
    save_figure(figure, path)


def _draw_gains(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw each variant's distance to the student alone, seed by seed; nothing without that."""
    tables = {metric: gains(results, metric) for metric in METRICS}
    others = [name for name in tables["ap"] if name != "alone"]
    if "alone" not in tables["ap"] or not others:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 0.45 * len(others) + 1.6), layout="constrained")
    axes: Any = figure.subplots(1, len(METRICS), sharey=True)
    colours = _colours(results)
    for axis, (metric, words) in zip(axes, METRICS.items(), strict=True):
        for place, name in enumerate(others):
            row = tables[metric][name]
            apart = [100 * value for value in row["gains"]]
            axis.barh(place, 100 * row["gain"], color=colours[name], alpha=0.6)
            axis.plot(apart, [place] * len(apart), "k.", ms=6)
            axis.annotate(
                f"{100 * row['gain']:+.2f}",
                (max([0.0, *apart]), place),
                (8, 0),
                textcoords="offset points",
                va="center",
            )
        axis.axvline(0, color="k", lw=1)
        axis.set_yticks(range(len(others)), others)
        axis.margins(x=0.25)
        axis.set(xlabel=words)
        axis.grid(alpha=0.3, axis="x")
    axes[0].invert_yaxis()
    figure.suptitle("Gain over the student alone on held-out crops (dots: seeds)")
    save_figure(figure, path)
