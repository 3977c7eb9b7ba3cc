"""DWPose Doctor: what is installed, what would run, and what to do about what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from .memory import ModelFile
from .model_files import KIND, choose_detector, choose_estimator, model_folders, wrong_file
from .sockets import schema

if TYPE_CHECKING:
    from ..dwpose.doctor import Report


class Doctor(io.ComfyNode):
    """Looks at this installation and changes nothing."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "Doctor",
            "DWPose Doctor",
            "Reports versions, devices, runtimes, the models that are here and which would be "
            "used, and what to do about each fault. Changes and downloads nothing. Paste the "
            "report into bug reports.",
            inputs=[
                io.Boolean.Input(
                    "ask_the_hub",
                    default=False,
                    tooltip="Also ask whether the model hub answers: one small network request.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="The report as text; shown in the node, too.",
                ),
            ],
            search=("diagnose", "debug", "versions", "gpu", "onnxruntime", "slow"),
            is_output_node=True,
            not_idempotent=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> float:
        """Look anew every time."""
        return float("nan")

    @classmethod
    def execute(cls, ask_the_hub: bool = False) -> Any:
        """Look and report."""
        from ..dwpose.commands.doctor import as_text
        from ..dwpose.doctor import report

        found = report(model_folders()[0], network=ask_the_hub)
        _add_wrong_files(found)
        text = "\n".join([_here(), _in_comfyui(as_text(_without_command_line(found)))])
        return io.NodeOutput(text, ui={"text": (text,)})


def _here() -> str:
    """ComfyUI's side: its device, the folders, and what a node without a model would use."""
    from comfy import model_management  # pyright: ignore[reportMissingImports]

    estimator, _ = choose_estimator()
    detector = choose_detector()
    pose = estimator.path if isinstance(estimator, ModelFile) else f"{estimator.id}, missing"
    rows = [
        ("device", str(model_management.get_torch_device())),
        ("rests on", str(model_management.unet_offload_device())),
        *((f"models/{KIND}", folder) for folder in model_folders()),
        ("estimator", str(pose)),
        (
            "detector",
            str(detector.path)
            if isinstance(detector, ModelFile)
            else "none: whole pictures, one person",
        ),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(["ComfyUI", *(f"  {name.ljust(width)}  {text}" for name, text in rows)])


def _add_wrong_files(found: Report) -> None:
    """Note wrong files in the other folders, too."""
    from ..dwpose.weights.catalogue import CATALOGUE

    known = {finding.what for finding in found.findings}
    for entry in CATALOGUE.values():
        wrong = wrong_file(entry)
        if wrong and wrong not in known:
            found.add("fault", wrong, f"delete it and run `dwpose models fetch {entry.id}`")


def _without_command_line(found: Report) -> Report:
    """Leave out what "auto" of the command line would choose; ComfyUI has its own device."""
    found.choices.clear()
    return found


def _in_comfyui(text: str) -> str:
    """Replace what is mended on the command line by what is mended here."""
    lines = [line for line in text.splitlines() if line != "auto would use"]
    return "\n".join(_mend(line) for line in lines)


def _mend(line: str) -> str:
    head, found, tail = line.partition("dwpose models fetch ")
    if not found:
        return line
    names = tail.strip("`.")
    return (
        f"{head.rstrip('`').removesuffix('run ')}use Load DWPose Model with download_if_missing "
        f"for {names}, or put the files into models/{KIND}"
    )
