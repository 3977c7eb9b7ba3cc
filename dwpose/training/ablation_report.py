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

METRIC = "ap"


def gains(results: Sequence[Mapping[str, Any]], metric: str = METRIC) -> dict[str, dict[str, Any]]:
    """Compare variants over repetitions with other seeds.

    Args:
        results: of one or several comparisons (`Ablation.results`).
        metric: a measured number.

    Returns:
        for each variant "values" (one a repetition), their "mean" and "spread" (largest minus
        smallest), and "gain": the mean of the paired differences to "alone".
    """
    names = [name for name in results[0]["last"] if all(name in r["last"] for r in results)]
    table: dict[str, dict[str, Any]] = {}
    for name in names:
        values = [float(r["last"][name][metric]) for r in results]
        table[name] = {
            "values": values,
            "mean": sum(values) / len(values),
            "spread": max(values) - min(values),
        }
        if "alone" in names:
            base = [float(r["last"]["alone"][metric]) for r in results]
            table[name]["gain"] = table[name]["mean"] - sum(base) / len(base)
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
    _draw_gains(gains(results), folder / "gains.png")


def _table(results: Sequence[Mapping[str, Any]]) -> str:
    first = results[0]
    samples, crops = first["settings"]["epochs"] * first["epoch_length"], first["crops"]
    lines = [
        "# Ablation of distillation on rendered people",
        "",
        f"Student RTMPose-{first['student']['size']}, teacher RTMPose-{first['teacher']['size']}; "
        f"{samples * first['batch']} samples in the first stage of batches of {first['batch']}, "
        f"{crops} different crops in all; {len(results)} seeds.",
        "",
        "Whole-body AP (COCO's, on held-out rendered crops), in points. Gain: mean of the paired "
        "differences to the student alone. Spread: largest minus smallest over the seeds.",
        "",
        "| | AP | spread | gain | PCK | OKS, photos | PCK, photos |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = [("teacher", [r["teacher"]["measured"] for r in results])]
    table = gains(results)
    rows += [(name, [r["last"][name] for r in results]) for name in table]
    for name, numbers in rows:
        more = table.get(name, {})
        spread, gain = (_points(more.get(key)) for key in ("spread", "gain"))
        means = [_mean(numbers, key) for key in (METRIC, "pck", "photos_oks", "photos_pck")]
        ap, pck, oks, near = (_points(value) for value in means)
        lines.append(f"| {name} | {ap} | {spread} | {gain} | {pck} | {oks} | {near} |")
    return "\n".join(lines) + "\n"


def _mean(numbers: Sequence[Mapping[str, float]], key: str) -> float | None:
    values = [row[key] for row in numbers if key in row]
    return sum(values) / len(values) if values else None


def _points(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _draw_curves(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axis: Any = figure.subplots()
    names = list(dict.fromkeys(name for r in results for name in r["curves"]))
    for place, name in enumerate(names):
        colour = COLOURS[place % len(COLOURS)]
        style = "--" if "no decay" in name else "-"
        for number, result in enumerate(results):
            lines = result["curves"].get(name, [])
            axis.plot(
                [line["samples"] for line in lines],
                [100 * line[METRIC] for line in lines],
                color=colour,
                ls=style,
                marker="." if len(lines) < 30 else None,
                label=name if number == 0 else None,
                alpha=0.9 if len(results) == 1 else 0.6,
            )
    axis.axhline(100 * results[0]["teacher"]["measured"][METRIC], color="grey", ls=":")
    axis.annotate("teacher", (0.01, 0.99), xycoords="axes fraction", va="top", color="grey")
    axis.set(xlabel="samples", ylabel="whole-body AP, held-out crops")
    axis.set_title("Variants side by side (averaged weights)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save_figure(figure, path)


def _draw_gains(table: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw each variant's distance to the student alone, seed by seed; nothing without that."""
    if "alone" not in table:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.45 * len(table) + 1.4), layout="constrained")
    axis: Any = figure.subplots()
    base = table["alone"]["values"]
    others = {name: row for name, row in table.items() if name != "alone"}
    for place, row in enumerate(others.values()):
        apart = [100 * (v - b) for v, b in zip(row["values"], base, strict=True)]
        axis.barh(place, 100 * row["gain"], color=COLOURS[place % len(COLOURS)], alpha=0.6)
        axis.plot(apart, [place] * len(apart), "k.", ms=6)
        edge = max([0.0, *apart])
        axis.annotate(
            f"{100 * row['gain']:+.2f}",
            (edge, place),
            (8, 0),
            textcoords="offset points",
            va="center",
        )
    axis.axvline(0, color="k", lw=1)
    axis.set_yticks(range(len(others)), list(others))
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set_title("Gain over the student alone, points of whole-body AP (dots: seeds)")
    axis.grid(alpha=0.3, axis="x")
    save_figure(figure, path)
