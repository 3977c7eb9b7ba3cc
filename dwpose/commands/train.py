"""``dwpose train``: run a recipe, a small Python file that says what is trained and on what."""

from __future__ import annotations

import argparse
import sys

EXAMPLES = """examples:
  dwpose train training/recipes/builtin_lite.py -o runs/builtin-lite --set pool=runs/pool
  dwpose train training/recipes/stage_one.py -o runs/l-m --set row=l-m --set teacher=dw-l.pth
  torchrun --nproc_per_node 8 -m dwpose.cli train training/recipes/stage_one.py -o runs/l-m ...
  dwpose train training/recipes/builtin_lite.py --show

A run that was stopped (Ctrl-C, SIGTERM, --set minutes=) goes on with the same command. Its folder
holds the network (model.safetensors, the best one measured as best.safetensors), the state to go
on from, log.jsonl and, at the end, curves.png.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "train",
        help="run a training recipe",
        description="Run a recipe: a Python file with a frozen dataclass `Settings` and a "
        "function `run(settings, folder)`. A run that was stopped continues in its folder.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", help="path of the recipe, for instance training/recipes/NAME.py")
    parser.add_argument("-o", "--output", help="folder of the run; needed unless --show")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting"
    )
    parser.add_argument("--show", action="store_true", help="print the settings and stop")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 at the end or when stopped, 1 for a bad loss or worker, else 2."""
    from ..training.recipe import change, load_recipe

    try:
        recipe = load_recipe(args.recipe)
        settings = change(recipe.Settings(), args.set)
    except (OSError, ValueError) as fault:
        sys.stderr.write(f"dwpose train: {fault}\n")
        return 2
    if args.show:
        for name, value in vars(settings).items():
            sys.stdout.write(f"{name}={value}\n")
        return 0
    if not args.output:
        sys.stderr.write("dwpose train: name a folder for the run with -o\n")
        return 2
    import logging
    from pathlib import Path

    from ..errors import WeightsError

    # What the recipe tells (speed, memory, measurements) is for the reader of this command.
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("dwpose").setLevel(logging.INFO)
    try:
        recipe.run(settings, Path(args.output))
    except FloatingPointError as fault:
        sys.stderr.write(f"dwpose train: {fault}\n")
        return 1
    except (OSError, ValueError, WeightsError) as fault:
        sys.stderr.write(f"dwpose train: {fault}\n")
        return 2
    except RuntimeError as fault:
        # Told of by torch: a worker that makes batches has ended, mostly for want of memory.
        if not str(fault).startswith("DataLoader worker (pid"):
            raise
        said = str(fault).partition("\n")[0].rstrip(". ")
        sys.stderr.write(f"dwpose train: {said}; use fewer workers if memory has run out\n")
        return 1
    return 0
