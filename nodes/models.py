"""Load DWPose Model, and where model files are looked for."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from .memory import ModelFile, PoseModel, default_model, keep_default_model, open_model
from .sockets import MODEL_TYPE, Progress, advanced, check_choice, schema, show_text

if TYPE_CHECKING:
    from ..dwpose.weights.catalogue import ModelEntry, Role

KIND = "dwpose"
SUFFIXES = (".onnx", ".safetensors", ".pth", ".pt")
AUTO, NONE = "auto", "none"
RUNTIMES = ("auto", "torch", "onnxruntime")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
MODES = ("eager", "graph", "compile")


# --- files -------------------------------------------------------------------------------------


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
        ValueError: there is no such model.
    """
    import folder_paths  # pyright: ignore[reportMissingImports]

    from ..dwpose.weights.catalogue import CATALOGUE

    entry = CATALOGUE.get(name)
    if entry is not None:
        if entry.role != role:
            raise ValueError(f"{role} must be a pose {role}; {name} is a {entry.role}")
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


def choose_estimator() -> tuple[ModelFile | ModelEntry, str]:
    """What "auto" stands for: the official DWPose if it is here, else the built-in network."""
    from ..dwpose.weights import catalogue

    official = catalogue.find(catalogue.DEFAULT_ESTIMATOR)
    path = locate(official)
    if path is not None:
        return ModelFile(official.id, path, official), ""
    notice = (
        "Using the small built-in model, which learned poses from synthetic people alone. The "
        f"official DWPose is far better: put {official.name} and yolox_l.onnx into models/{KIND}, "
        "or use Load DWPose Model with download_if_missing."
    )
    found = find_file(catalogue.BUILTIN_ESTIMATOR, "estimator")
    return found, join_notices(_mend(official), notice)


def choose_detector() -> ModelFile | None:
    """What "auto" stands for: a detector that is here, the official first, the built-in last."""
    for entry in _detectors():
        path = locate(entry)
        if path is not None:
            return ModelFile(entry.id, path, entry)
    return None


def _detectors() -> list[ModelEntry]:
    """Catalogue entries in the order in which "auto" wants them."""
    from ..dwpose.weights import catalogue

    entries = [e for e in catalogue.CATALOGUE.values() if e.role == "detector"]
    return sorted(entries, key=lambda e: (e.id != catalogue.DEFAULT_DETECTOR, e.builtin))


def detector_notice(chosen: ModelFile | None) -> str:
    """What the user should know of the detector that "auto" chose, or ""."""
    better = takewhile(lambda entry: chosen is None or entry is not chosen.entry, _detectors())
    return join_notices(*map(_mend, better))


def resolve(
    estimator: str, detector: str
) -> tuple[ModelFile | ModelEntry, ModelFile | ModelEntry | None, str]:
    """From a loader's choices to files; catalogue entries stand for files that are not here.

    Raises:
        ValueError: see `find_file`.
    """
    notice = ""
    if estimator == AUTO:
        pose, notice = choose_estimator()
    else:
        pose = find_file(estimator, "estimator")
    if detector == AUTO:
        found = choose_detector()
        return pose, found, join_notices(notice, detector_notice(found))
    return pose, None if detector == NONE else find_file(detector, "detector"), notice


def join_notices(*notices: str) -> str:
    """One line of those that say something."""
    return " ".join(filter(None, notices))


def fingerprint(*files: ModelFile | ModelEntry | None) -> list[Any]:
    """What changes when another file would be used."""
    return [file.stamp if isinstance(file, ModelFile) else file and file.id for file in files]


def megabytes(entry: ModelEntry) -> str:
    """Size of a catalogue file, for people."""
    if entry.builtin:
        return "built in"
    return f"{entry.bytes / 1e6:.0f} MB" if entry.bytes else "size unknown"


def bring(entry: ModelEntry, download: bool) -> ModelFile:
    """Download a file that is not here, showing progress, if the user allowed it.

    Raises:
        WeightsError: it may not be downloaded, or cannot be had.
    """
    from ..dwpose.errors import WeightsError
    from ..dwpose.weights import hub, store

    folder = model_folders()[0]
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
    return ModelFile(entry.id, hub.fetch(entry, folder, progress=progress), entry)


def model_or_default(model: PoseModel | None) -> PoseModel:
    """The connected model, or the default one.

    Raises:
        TypeError: something else is connected.
        WeightsError: the built-in model is missing.
    """
    if model is None:
        estimator, notice = choose_estimator()
        if not isinstance(estimator, ModelFile):
            estimator = bring(estimator, download=False)
        detector = choose_detector()
        notice = join_notices(notice, detector_notice(detector))
        chosen = default_model(estimator, detector, notice)
        chosen.notice = notice  # of now: a model that was kept has that of its first use
        return chosen
    if not isinstance(model, PoseModel):
        raise TypeError(
            f"model must come from Load DWPose Model of this pack, got {type(model).__name__}"
        )
    return model


class UsesDefaultModel(io.ComfyNode):
    """Base of the nodes with an optional model input.

    ComfyUI keeps an object of each node's class as long as the node is in the workflow that was
    run last and its caches are not freed. Nodes are run as classes, so the object serves only to
    tell how long the default model is wanted.
    """

    def __init__(self) -> None:
        super().__init__()
        keep_default_model(self)

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> Any:
        """Run again when the default model would be another one."""
        return fingerprint(choose_estimator()[0], choose_detector())

    @classmethod
    def choose_model(cls, model: PoseModel | None) -> PoseModel:
        """The connected model, or the default one; shows its notice under the node.

        Raises:
            TypeError, WeightsError: see `model_or_default`.
        """
        chosen = model_or_default(model)
        show_text(chosen.notice, getattr(getattr(cls, "hidden", None), "unique_id", None))
        return chosen


# --- the node ----------------------------------------------------------------------------------


def _list_of(role: Role) -> str:
    return "; ".join(f"{e.id}: {megabytes(e)}, {e.licence}" for e in offered(role))


class LoadModel(io.ComfyNode):
    """Chooses the networks, how they run, and whether missing ones may be downloaded."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        files = own_files()
        return schema(
            "LoadModel",
            "Load DWPose Model",
            "Loads a pose network and a person detector for the other DWPose nodes: official "
            "DWPose, RTMW, YOLOX, the small built-in model, or files of your own in "
            f"models/{KIND}. Nothing is downloaded unless download_if_missing is on; files are "
            "checked against their published sha256.",
            inputs=[
                io.Combo.Input(
                    "estimator",
                    options=[AUTO, *(e.id for e in offered("estimator")), *files],
                    default=AUTO,
                    tooltip="The pose network. auto = dw-ll-384, the official DWPose, if its file "
                    f"is here, else builtin-lite. Size and licence: {_list_of('estimator')}.",
                ),
                io.Combo.Input(
                    "detector",
                    options=[AUTO, NONE, *(e.id for e in offered("detector")), *files],
                    default=AUTO,
                    tooltip="Finds the people. auto = a detector that is here, yolox-l first, "
                    "builtin-det last; none = the whole picture is searched for one person. Size "
                    f"and licence: {_list_of('detector')}.",
                ),
                io.Combo.Input(
                    "runtime",
                    options=list(RUNTIMES),
                    default=AUTO,
                    tooltip="What runs the networks: torch, on ComfyUI's device and under its "
                    "memory management; onnxruntime, if installed; auto = the faster of them "
                    "here. The info output says which it is and why.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default=AUTO,
                    tooltip="Numbers to compute with. auto = fp16 on NVIDIA cards, else fp32, or "
                    "bf16 where a CPU has it and it is faster.",
                ),
                io.Boolean.Input(
                    "download_if_missing",
                    default=False,
                    tooltip="Fetch chosen models that are not on this machine, once, into "
                    f"models/{KIND}: 134 MB for dw-ll-384, 217 MB for yolox-l; the sizes, "
                    "licences and sources of all are in the help page. Off: nothing touches the "
                    "network.",
                ),
                advanced(
                    io.Combo.Input(
                        "mode",
                        options=list(MODES),
                        default=MODES[0],
                        optional=True,
                        tooltip="How torch runs the networks on an NVIDIA card. graph = each "
                        "starts as one CUDA graph, faster above all for one person, for some "
                        "memory; compile = compiled too, for minutes at the first run. Elsewhere "
                        "all run as eager, and the info output says so.",
                    )
                ),
            ],
            outputs=[
                io.Custom(MODEL_TYPE).Output(
                    "model",
                    display_name=MODEL_TYPE,
                    tooltip="For the model input of the other DWPose nodes. Loaders that choose "
                    "the same share one copy in memory.",
                ),
                io.String.Output(
                    "info",
                    display_name="info",
                    tooltip="Which runtime, device and precision run each network, and why.",
                ),
            ],
            search=("download", "checkpoint", "yolox", "rtmpose", "rtmw"),
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> Any:
        """Run again when a file came, went or changed."""
        try:
            return fingerprint(*resolve(inputs["estimator"], inputs["detector"])[:2])
        except (ValueError, KeyError, OSError) as error:
            return str(error)

    @classmethod
    def execute(
        cls,
        estimator: str,
        detector: str,
        runtime: str = AUTO,
        precision: str = AUTO,
        download_if_missing: bool = False,
        mode: str = MODES[0],
    ) -> Any:
        """Load the networks."""
        check_choice("runtime", runtime, RUNTIMES)
        check_choice("precision", precision, PRECISIONS)
        check_choice("mode", mode, MODES)
        pose, find, notice = resolve(estimator, detector)
        for absent in (pose, find):
            if absent is not None and not isinstance(absent, ModelFile):
                wrong = wrong_file(absent)
                notice = join_notices(notice, wrong and f"{wrong}, so it was fetched anew.")
        if not isinstance(pose, ModelFile):
            pose = bring(pose, download_if_missing)
        if find is not None and not isinstance(find, ModelFile):
            find = bring(find, download_if_missing)
        model = open_model(pose, find, runtime, precision, notice, mode)
        return io.NodeOutput(model, model.describe())
