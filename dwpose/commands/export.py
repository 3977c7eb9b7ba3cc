"""``dwpose export``: a trained network as one file for use elsewhere."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  dwpose export runs/student/model.safetensors -o student.onnx
      names, opset and dynamic batch of the official files
  dwpose export builtin-lite -o builtin-lite.onnx --half
  dwpose export epoch_270.pth -o student.safetensors
      the student of a distillation run, ours or DWPose's own
  dwpose export epoch_60.pth --stage 2 -o student.onnx
      the outcome of a second stage: the teacher's backbone under the student's head

The file is compared with its source on random inputs before it counts as written. It works by
its path wherever a model is asked for: dwpose image photo.jpg --model student.onnx
exit codes: 0 written, 1 it could not be done, 2 wrong call
"""
SUFFIXES = (".onnx", ".safetensors")


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="write a trained network as ONNX or safetensors",
        description="Write an RTMPose or YOLOX as an ONNX or safetensors file.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model file, a distillation checkpoint, or an id")
    add("-o", "--output", metavar="FILE", required=True, help="the new .onnx or .safetensors file")
    add("--opset", type=int, default=17, help="ONNX operator set, 11 to 17 (default: 17)")
    add("--half", action="store_true", help="half precision (fp16)")
    add("--stage", type=int, choices=(1, 2), help="of the distillation that MODEL is a run of")
    add("--note", default="", help="a sentence to keep in a safetensors file")
    add("--models-folder", metavar="DIR", help="where model files are kept")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export one network; see the module's exit codes."""
    output = Path(args.output)
    if output.suffix.lower() not in SUFFIXES:
        sys.stderr.write(f"dwpose export: {output} must end in {' or '.join(SUFFIXES)}\n")
        return 2
    try:
        parity = _export(args, output)
    except (OSError, TypeError, ValueError, RuntimeError) as fault:  # WeightsError among the last
        sys.stderr.write(f"dwpose export: {fault}\n")
        return 1
    sys.stdout.write(
        f"{output} ({output.stat().st_size / 1e6:.1f} MB): differs from its source by "
        f"{parity.difference:.1e} of the largest output, run by {parity.runtime}\n"
    )
    return 0


def _export(args: argparse.Namespace, output: Path) -> Any:
    from ..models.rtmpose import RTMPose
    from ..models.yolox import YOLOX
    from ..training.checkpoint import save_network
    from ..training.convert import load_distilled
    from ..training.export import check_parity, write_onnx
    from ..weights.load import load_model
    from .convert import convert

    with tempfile.TemporaryDirectory() as scratch:
        source = args.model
        if args.stage is not None:
            name = Path(source).stem
            source = Path(scratch) / f"{name}.safetensors"
            note = f"stage {args.stage} of {Path(args.model).name}"
            save_network(source, load_distilled(args.model, args.stage), note=note)
        model = load_model(source, folder=args.models_folder)
        module = model.module
        if not isinstance(module, RTMPose | YOLOX):
            raise ValueError(
                f"{model.name} is neither an RTMPose nor a YOLOX; it works as the file that it is"
            )
        module = module.float()
        if output.suffix.lower() == ".onnx":
            return write_onnx(module, output, args.opset, args.half)
        convert(source, output, args.half, args.note, args.models_folder)
        return check_parity(module, output, args.half)
