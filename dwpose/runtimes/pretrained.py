"""From what the user asked, or left open, to running networks."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from .auto import open_session
from .session import Session

logger = logging.getLogger("dwpose")


def open_models(
    estimator: str | os.PathLike[str],
    detector: str | os.PathLike[str] | None,
    runtime: str,
    device: str,
    precision: str,
    folder: str | os.PathLike[str] | None,
) -> tuple[Session, Session | None, str]:
    """Find, load and start the pose network and the detector; see `DWPose.from_pretrained`.

    Returns:
        the estimator's session, the detector's or None, and the notice for the user or "".
    """
    from ..weights.load import load_model

    notices = []
    if estimator == "auto":
        estimator, notice = choose_estimator(folder)
        notices.append(notice)
    if detector == "auto":
        detector, notice = choose_detector(folder)
        # One line is enough: the first already names both files to fetch.
        notices.append("" if notices and notices[0] else notice)
    sessions: list[Session | None] = []
    for role, name in (("estimator", estimator), ("detector", detector)):
        if role == "detector" and (name is None or name == "none"):
            sessions.append(None)
            continue
        model = load_model(name, folder=folder)  # pyright: ignore[reportArgumentType]
        if model.role != role:
            raise ValueError(f"{role} must name {_KIND[role]}; {model.name} is {_KIND[model.role]}")
        sessions.append(open_session(model, runtime, device, precision))
    notice = next((n for n in notices if n), "")
    if notice:
        logger.info(notice)
    first, second = sessions
    assert first is not None
    return first, second, notice


_KIND = {"estimator": "a pose network", "detector": "a person detector"}


def choose_estimator(folder: str | os.PathLike[str] | None = None) -> tuple[str | Path, str]:
    """Pick the pose network that "auto" stands for; the network is not touched.

    Returns:
        the official model's id if its file is here, else the built-in one's, and a notice that
        says so, or "".
    """
    from ..weights import catalogue, store

    official = catalogue.DEFAULT_ESTIMATOR
    if store.locate(catalogue.find(official), folder) is not None:
        return official, ""
    builtin = catalogue.BUILTIN_ESTIMATOR
    return builtin, (
        f"using the small built-in model {builtin}, trained on synthetic people alone; the "
        f"official DWPose model {official} is far better: "
        f"dwpose models fetch {official} {catalogue.DEFAULT_DETECTOR}"
    )


def choose_detector(folder: str | os.PathLike[str] | None = None) -> tuple[str, str]:
    """Pick the detector that "auto" stands for; the network is not touched.

    Returns:
        the id of a detector whose file is here, the official one first, or "none", and a notice
        that says so, or "".
    """
    from ..weights import catalogue, store

    official = catalogue.DEFAULT_DETECTOR
    entries = [e for e in catalogue.CATALOGUE.values() if e.role == "detector"]
    for entry in sorted(entries, key=lambda e: (e.id != official, e.builtin)):
        if store.locate(entry, folder) is not None:
            return entry.id, ""
    return "none", (
        "no person detector is here, so whole pictures are searched for one person; the official "
        f"one comes with: dwpose models fetch {official}"
    )
