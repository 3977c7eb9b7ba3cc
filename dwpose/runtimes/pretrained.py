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
    mode: str = "eager",
) -> tuple[Session, Session | None, str]:
    """Find, load and start the pose network and the detector; see `DWPose.from_pretrained`.

    Returns:
        the estimator's session, the detector's or None, and the notice for the user or "".
    """
    notices = []
    if estimator == "auto":
        estimator, notice = choose_estimator(folder)
        notices.append(notice)
    if detector == "auto":
        detector, notice = choose_detector(folder)
        # One line is enough: the first already names both files to fetch.
        notices.append("" if notices and notices[0] else notice)
    first = _open("estimator", estimator, runtime, device, precision, folder, mode)
    second = None
    if detector is not None and detector != "none":
        second = _open("detector", detector, runtime, device, precision, folder, mode)
    notice = next((n for n in notices if n), "")
    if notice:
        logger.info(notice)
    return first, second, notice


def open_detector(
    detector: str | os.PathLike[str] = "auto",
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    folder: str | os.PathLike[str] | None = None,
) -> Session:
    """Find, load and start a person detector alone; see `DWPose.from_pretrained`.

    Raises:
        ValueError: there is none here, or the file holds a pose network.
    """
    if detector == "auto":
        detector, notice = choose_detector(folder)
        if detector == "none":
            raise ValueError(notice)
    return _open("detector", detector, runtime, device, precision, folder)


def _open(
    role: str,
    name: str | os.PathLike[str],
    runtime: str,
    device: str,
    precision: str,
    folder: str | os.PathLike[str] | None,
    mode: str = "eager",
) -> Session:
    from ..weights.catalogue import CATALOGUE
    from ..weights.load import load_model

    entry = CATALOGUE.get(str(name))
    if entry is not None:
        _check_role(role, entry.id, entry.role)  # before anything is fetched
    model = load_model(name, folder=folder)
    _check_role(role, model.name, model.role)
    return open_session(model, runtime, device, precision, mode=mode)


def _check_role(wanted: str, name: str, role: str) -> None:
    if role != wanted:
        raise ValueError(f"{wanted} must name {_KIND[wanted]}; {name} is {_KIND[role]}")


_KIND = {"estimator": "a pose network", "detector": "a person detector"}


def choose_estimator(folder: str | os.PathLike[str] | None = None) -> tuple[str | Path, str]:
    """Pick the pose network that "auto" stands for; the network is not touched.

    Returns:
        the official model's id if its file is here, else the built-in one's, and a notice that
        says so, and names a file of the official one that is of the wrong size; or "".
    """
    from ..weights import catalogue, store

    official = catalogue.DEFAULT_ESTIMATOR
    entry = catalogue.find(official)
    if store.locate(entry, folder) is not None:
        return official, ""
    builtin = catalogue.BUILTIN_ESTIMATOR
    return builtin, _wrong(store.misfit(entry, folder)) + (
        f"using the small built-in model {builtin}, which learned poses from synthetic people "
        f"alone; the official DWPose model {official} is far better: "
        f"dwpose models fetch {official} {catalogue.DEFAULT_DETECTOR}"
    )


def choose_detector(folder: str | os.PathLike[str] | None = None) -> tuple[str, str]:
    """Pick the detector that "auto" stands for; the network is not touched.

    Returns:
        the id of a detector whose file is here, the official one first and the built-in one last,
        and a notice as of `choose_estimator` where it is that one, or ""; "none" where even that is
        missing.
    """
    from ..weights import catalogue, store

    official = catalogue.DEFAULT_DETECTOR
    wrong = _wrong(store.misfit(catalogue.find(official), folder))
    entries = [e for e in catalogue.CATALOGUE.values() if e.role == "detector"]
    for entry in sorted(entries, key=lambda e: (e.id != official, e.builtin)):
        if store.locate(entry, folder) is not None:
            if not entry.builtin:
                return entry.id, ""
            return entry.id, wrong + (
                f"using the small built-in person detector {entry.id}, trained on synthetic people "
                f"alone; the official one is far better: dwpose models fetch {official}"
            )
    return "none", wrong + (
        "no person detector is here, so whole pictures are searched for one person; the official "
        f"one comes with: dwpose models fetch {official}"
    )


def _wrong(misfit: str) -> str:
    """Begin a notice with a file that is passed over, see `store.misfit`."""
    return f"{misfit}, so it is passed over; " if misfit else ""
