"""Load DWPose Model, and the model of nodes that have none connected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from .memory import ModelFile, PoseModel, default_model, keep_default_model, open_model
from .model_files import (
    AUTO,
    KIND,
    NONE,
    bring,
    choose_detector,
    choose_estimator,
    detector_notice,
    fingerprint,
    fingerprint_choice,
    join_notices,
    megabytes,
    offered,
    own_files,
    resolve,
    wrong_file,
)
from .sockets import MODEL_TYPE, advanced, check_choice, schema, show_text

if TYPE_CHECKING:
    from ..dwpose.weights.catalogue import Role

RUNTIMES = ("auto", "torch", "onnxruntime")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
MODES = ("eager", "graph", "compile")


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
        assert detector is None or isinstance(detector, ModelFile)  # without downloads
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
        """Run again when the default model would be another one, if that is used at all."""
        if "model" in inputs:  # there, but None, where one is connected
            return None
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
                    "is here or download_if_missing is on, else builtin-lite. Size and licence: "
                    f"{_list_of('estimator')}.",
                ),
                io.Combo.Input(
                    "detector",
                    options=[AUTO, NONE, *(e.id for e in offered("detector")), *files],
                    default=AUTO,
                    tooltip="Finds the people. auto = a detector that is here, yolox-l first, "
                    "builtin-det last, or with download_if_missing yolox-l in its place; none = "
                    "the whole picture is searched for one person. Size and licence: "
                    f"{_list_of('detector')}.",
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
        """Run again when a file came, other than by this node, or went or changed."""
        download = inputs.get("download_if_missing") is True
        try:
            return [
                fingerprint_choice(inputs.get("estimator"), "estimator", download),
                fingerprint_choice(inputs.get("detector"), "detector", download),
            ]
        except (TypeError, ValueError, OSError) as error:
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
        pose, find, notice = resolve(estimator, detector, download_if_missing)
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
