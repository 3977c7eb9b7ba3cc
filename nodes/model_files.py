"""Where model files are looked for, which of them are chosen, and how missing ones get here."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .memory import ModelFile
from .sockets import Progress

if TYPE_CHECKING:
    from ..dwpose.weights.catalogue import ModelEntry, Role

KIND = "dwpose"
SUFFIXES = (".onnx", ".safetensors", ".pth", ".pt")
AUTO, NONE = "auto", "none"
_CALLED = {"estimator": "a pose estimator", "detector": "a person detector"}


def model_folders() -> list[str]:
    """The folders of our kind, models/dwpose and those of extra_model_paths.yaml; registers it."""
    import folder_paths  # pyright: ignore[reportMissingImports]

    table = folder_paths.folder_names_and_paths
    if KIND not in table or set(table[KIND][1]) != set(SUFFIXES):
        own = os.path.join(folder_paths.models_dir, KIND)
        # extra_model_paths.yaml comes first and may have made the kind, for every file.
        folder_paths.add_model_folder_path(KIND, own)
        paths, _ = table[KIND]
        table[KIND] = (paths, set(SUFFIXES))
    return folder_paths.get_folder_paths(KIND)


def own_files() -> list[str]:
    """Model files in our folders that are not those of the catalogue."""
    import folder_paths  # pyright: ignore[reportMissingImports]

    from ..dwpose.weights.catalogue import CATALOGUE

    model_folders()
    known = {entry.name for entry in CATALOGUE.values()}
    return [
        name
        for name in folder_paths.get_filename_list(KIND)
        if name.lower().endswith(SUFFIXES) and Path(name).name not in known
    ]


def offered(role: Role) -> list[ModelEntry]:
    """Catalogue entries for a loader's list: ready to run, so no training checkpoints."""
    from ..dwpose.weights.catalogue import CATALOGUE

    return [
        entry
        for entry in CATALOGUE.values()
        if entry.role == role and (entry.builtin or entry.suffix == ".onnx")
    ]


def locate(entry: ModelEntry) -> Path | None:
    """Find a catalogue file: in ComfyUI's folders, or where `dwpose models fetch` puts it."""
    from ..dwpose.weights import store

    for folder in (*model_folders(), None):
        path = store.locate(entry, folder)
        if path is not None:
            return path
    return None


def wrong_file(entry: ModelEntry) -> str:
    """What is wrong with a catalogue file that is not used for its size, see `store.misfit`."""
    from ..dwpose.weights import store

    if locate(entry) is not None:
        return ""
    return next(filter(None, (store.misfit(entry, f) for f in (*model_folders(), None))), "")


def _mend(entry: ModelEntry) -> str:
    """The sentence on a wrong file that was not chosen by its name, or ""."""
    wrong = wrong_file(entry)
    return wrong and (
        f"{wrong}, so it is not used; delete it and copy {entry.name} anew, or use Load DWPose "
        "Model with download_if_missing."
    )


def find_file(name: str, role: Role) -> ModelFile | ModelEntry:
    """Find what a loader's list names.

    Returns:
        the file, or the catalogue entry of one that is not here.

    Raises:
        TypeError: the name is none.
        ValueError: there is no such model.
    """
    import folder_paths  # pyright: ignore[reportMissingImports]

    from ..dwpose.weights.catalogue import CATALOGUE

    if not isinstance(name, str):  # only a link can bring that
        raise TypeError(
            f"{role} must be the name of a model, got {type(name).__name__}; connect a text, or "
            "choose from the list"
        )
    entry = CATALOGUE.get(name)
    if entry is not None:
        if entry.role != role:
            found = _CALLED[entry.role]
            raise ValueError(
                f"{role} must be {_CALLED[role]}, but {name} is {found}; choose another"
            )
        path = locate(entry)
        return entry if path is None else ModelFile(name, path, entry)
    folders = model_folders()
    if name.lower().endswith(SUFFIXES):
        path = folder_paths.get_full_path(KIND, name)
        if path is not None:
            return ModelFile(name, Path(path))
    raise ValueError(
        f"{role} {name!r} is neither a known model nor a file in {folders[0]}; choose another, or "
        "press R to list the files anew"
    )


def choose_estimator(download: bool = False) -> tuple[ModelFile | ModelEntry, str]:
    """What "auto" stands for, and what the user should know of it.

    The official DWPose if it is here or may be downloaded, else the built-in network.
    """
    from ..dwpose.weights import catalogue

    official = catalogue.find(catalogue.DEFAULT_ESTIMATOR)
    path = locate(official)
    if path is not None:
        return ModelFile(official.id, path, official), ""
    if download:
        return official, ""
    notice = (
        "Using the small built-in model, which learned poses from synthetic people alone. The "
        f"official DWPose is far better: put {official.name} and yolox_l.onnx into models/{KIND}, "
        "or use Load DWPose Model with download_if_missing."
    )
    found = find_file(catalogue.BUILTIN_ESTIMATOR, "estimator")
    return found, join_notices(_mend(official), notice)


def choose_detector(download: bool = False) -> ModelFile | ModelEntry | None:
    """What "auto" stands for: a detector that is here, the official first, the built-in last.

    Where downloads are allowed, the official one comes before the built-in one in any case.
    """
    official, *others = _detectors()
    for entry in (official, *others):
        if download and entry.builtin:
            break
        path = locate(entry)
        if path is not None:
            return ModelFile(entry.id, path, entry)
    return official if download else None


def _detectors() -> list[ModelEntry]:
    """Catalogue entries in the order in which "auto" wants them."""
    from ..dwpose.weights import catalogue

    entries = [e for e in catalogue.CATALOGUE.values() if e.role == "detector"]
    return sorted(entries, key=lambda e: (e.id != catalogue.DEFAULT_DETECTOR, e.builtin))


def detector_notice(chosen: ModelFile | ModelEntry | None) -> str:
    """What the user should know of the detector that "auto" chose, or ""."""
    own = chosen.entry if isinstance(chosen, ModelFile) else chosen
    return join_notices(*map(_mend, takewhile(lambda entry: entry is not own, _detectors())))


def resolve(
    estimator: str, detector: str, download: bool = False
) -> tuple[ModelFile | ModelEntry, ModelFile | ModelEntry | None, str]:
    """From a loader's choices to files; catalogue entries stand for files that are not here.

    Args:
        estimator: the loader's choice.
        detector: likewise.
        download: whether missing files may be downloaded, so that "auto" needs no built-in network.

    Raises:
        TypeError, ValueError: see `find_file`.
    """
    notice = ""
    if estimator == AUTO:
        pose, notice = choose_estimator(download)
    else:
        pose = find_file(estimator, "estimator")
    if detector == AUTO:
        found = choose_detector(download)
        return pose, found, join_notices(notice, detector_notice(found))
    return pose, None if detector == NONE else find_file(detector, "detector"), notice


def join_notices(*notices: str) -> str:
    """One line of those that say something."""
    return " ".join(filter(None, notices))


# Stamps of files that were fetched since ComfyUI started, which is as long as its caches live.
_fetched: set[tuple[str, int, int]] = set()


def fingerprint(*files: ModelFile | ModelEntry | None) -> list[Any]:
    """What changes when another file would be used.

    A file that was fetched counts as it did before, so that the node that fetched it, and all that
    follows, need not run again.
    """
    return [_mark(file) for file in files]


def _mark(file: ModelFile | ModelEntry | None) -> Any:
    if not isinstance(file, ModelFile):
        return file and file.id
    stamp = file.stamp
    return file.entry.id if file.entry is not None and stamp in _fetched else stamp


def fingerprint_choice(name: Any, role: Role, download: bool = False) -> list[Any]:
    """What changes when another file would be used for a loader's choice.

    Args:
        name: the choice; None where it comes by a link, for then it is not known yet, and any
            file may be meant.
        role: of the network.
        download: as `resolve` takes it.

    Raises:
        TypeError, ValueError: see `find_file`.
    """
    if name == NONE and role == "detector":
        return []
    if name == AUTO:
        if role == "estimator":
            return fingerprint(choose_estimator(download)[0])
        return fingerprint(choose_detector(download))
    if name is not None:
        return fingerprint(find_file(name, role))
    names = [*(entry.id for entry in offered(role)), *own_files()]
    return fingerprint(*(find_file(name, role) for name in names))


def megabytes(entry: ModelEntry) -> str:
    """Size of a catalogue file, for people."""
    if entry.builtin:
        return "built in"
    return f"{entry.bytes / 1e6:.0f} MB" if entry.bytes else "size unknown"


def download_folder() -> str:
    """The folder for downloads: the first that can be written to, else the first."""
    folders = model_folders()
    for folder in folders:
        there = next((p for p in (Path(folder), *Path(folder).parents) if p.exists()), Path(folder))
        if there.is_dir() and os.access(there, os.W_OK):
            return folder
    return folders[0]


def bring(entry: ModelEntry, download: bool) -> ModelFile:
    """Download a file that is not here, showing progress, if the user allowed it.

    Raises:
        WeightsError: it may not be downloaded, or cannot be had.
    """
    from ..dwpose.errors import WeightsError
    from ..dwpose.weights import hub, store

    folder = download_folder()
    if entry.builtin:
        raise WeightsError(store.absent_message(entry, folder))
    if not download:
        wrong = wrong_file(entry)
        what = f"{wrong}; delete it and" if wrong else f"{entry.id} is not here:"
        raise WeightsError(
            f"{what} switch on download_if_missing to fetch it ({megabytes(entry)} from "
            f"{entry.source}, licence {entry.licence}), or put {entry.name} into {folder}"
        )
    progress = Progress(entry.bytes or 1)
    file = ModelFile(entry.id, hub.fetch(entry, folder, progress=progress), entry)
    _fetched.add(file.stamp)
    return file
