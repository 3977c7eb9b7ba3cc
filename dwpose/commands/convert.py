"""`dwpose convert`: any model file of ours becomes a safetensors file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

_EPILOG = """\
examples:
  dwpose convert dw-ll_ucoco_384.pth -o dw-ll-384.safetensors
      drops optimizer and training logs: 407 MB become 134 MB, and nothing in it can run
  dwpose convert dw-ll-384 -o dw-ll-384-fp16.safetensors --half
      an id works as well as a file; half precision halves the size again
  dwpose convert yolox_l.onnx -o yolox-l.safetensors

exit codes: 0 written, 1 it could not be done, 2 wrong call
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the dispatcher's parser."""
    parser = subparsers.add_parser(
        "convert",
        help="turn a model file into safetensors",
        description="Write the weights of an RTMPose or YOLOX file as safetensors.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("input", metavar="IN", help="a .pth, .onnx or .safetensors file, or a catalogue id")
    add("-o", "--output", metavar="OUT", required=True, help="the new .safetensors file")
    add("--half", action="store_true", help="store half precision (fp16)")
    add("--note", default="", help="a sentence to keep in the file")
    add("--models-folder", metavar="DIR", help="where model files are kept")


def run(args: argparse.Namespace) -> int:
    """Convert one file; see the module's exit codes."""
    output = Path(args.output)
    if output.suffix.lower() != ".safetensors":
        print(f"dwpose convert: {output} must end in .safetensors", file=sys.stderr)
        return 2
    try:
        convert(args.input, output, args.half, args.note, args.models_folder)
    except (ValueError, OSError, RuntimeError) as error:  # WeightsError among the last
        print(f"dwpose convert: {error}", file=sys.stderr)
        return 1
    print(f"{output} ({output.stat().st_size / 1e6:.1f} MB)")
    return 0


def convert(
    source: str | Path,
    output: Path,
    half: bool = False,
    note: str = "",
    folder: str | Path | None = None,
) -> None:
    """Write a model's weights as safetensors with metadata that make the path alone enough.

    Args:
        source: A file or a catalogue id.
        output: The new file.
        half: Store floating point numbers as fp16 where they fit, see `weights.readers.halved`.
        note: A sentence to keep in the file; one on its origin is kept from the source.
        folder: Models folder.

    Raises:
        WeightsError: The source cannot be read, or is no RTMPose or YOLOX.
    """
    from ..errors import WeightsError
    from ..models.rtmpose import RTMPose
    from ..models.yolox import YOLOX
    from ..weights.load import load_model
    from ..weights.readers import halved, write_safetensors

    model = load_model(source, folder=folder)
    module = model.module
    if not isinstance(module, RTMPose | YOLOX):
        raise WeightsError(
            f"{model.name} is a graph of another network than RTMPose and YOLOX; it works as "
            "the .onnx file that it is, and cannot be turned into safetensors."
        )
    config = module.config
    meta: dict[str, Any] = {
        "family": "rtmpose" if isinstance(module, RTMPose) else "yolox",
        "size": config.size,
        "input_size_hw": list(model.input_size_hw or config.input_size_hw),
        "note": note or str(model.meta.get("note", "")) or f"converted from {model.path.name}",
    }
    if isinstance(module, RTMPose):
        meta["num_keypoints"] = module.config.num_keypoints
    else:
        meta["num_classes"] = module.config.num_classes
        meta["rough_boxes"] = module.config.rough_boxes
    if model.entry is not None:
        meta |= {"source": model.entry.source, "licence": model.entry.licence}
    state = module.state_dict()
    write_safetensors(output, halved(state) if half else state, meta)
