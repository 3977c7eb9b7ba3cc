"""The `dwpose` command: a thin dispatcher to the modules of `dwpose.commands`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from . import __version__

# Each is a module of `dwpose.commands` (with _ for -) with `add_parser(subparsers)` and
# `run(args) -> int`, which imports nothing but the standard library until it runs: `dwpose --help`
# must answer at once.
COMMANDS = (
    "image",
    "video",
    "models",
    "convert",
    "doctor",
    "synth",
    "data",
    "train",
    "evaluate",
    "evaluate-detector",
    "export",
)

_EPILOG = """\
examples:
  dwpose image photo.jpg -o out
  dwpose image holiday/ -o out --json --overlay
  dwpose models fetch dw-ll-384 yolox-l
  dwpose doctor
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every command in place; `args.run` is the chosen command."""
    parser = argparse.ArgumentParser(
        prog="dwpose",
        description="Whole-body pose: photos to pose maps and keypoints.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dwpose {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f".commands.{name.replace('-', '_')}", __package__)
        module.add_parser(subparsers)
        subparsers.choices[name].set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after the program's name; those of the process when None.

    Returns:
        0 when all went well, 1 when the work or a part of it failed, 2 for a wrong call (argparse
        leaves by SystemExit(2) itself), 130 when interrupted.
    """
    args = build_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that a pipe's old encoding (Windows) lacks is written as \u...., as stderr does.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output (head, less) has had enough. Python flushes once more when it
        # ends, so that has to go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("dwpose: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
