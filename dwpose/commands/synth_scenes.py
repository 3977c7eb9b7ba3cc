"""The actions of `dwpose synth` for detectors: rendered people with masks, and scenes of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .options import parse_count, whole


def add_actions(actions: Any, epilog: str) -> None:
    """Add `cutouts` and `scenes` to the command's actions."""

    def add(name: str, help: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(
            name, help=help, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        return parser

    cutouts = add(
        "cutouts",
        "render people with masks, from which scenes for a detector are put together; a cut run "
        "goes on where it stopped",
    )
    cutouts.add_argument("-o", "--output", type=Path, required=True, help="folder of the shards")
    cutouts.add_argument("--seed", type=whole(0, 999), default=0, help="0 to 999 (default 0)")
    cutouts.add_argument(
        "--count",
        type=parse_count,
        default=10240,
        help="pieces, taken up to whole shards of 256 (default 10240)",
    )
    cutouts.add_argument(
        "--first", type=whole(0, 99_999), default=0, help="number of the first shard"
    )
    cutouts.add_argument("--side", type=int, default=320, help="px, divisible by 16 (default 320)")
    cutouts.add_argument("--poses", type=Path, help="a motion library (.npz); else made-up poses")
    cutouts.add_argument("--device", default="cpu", help="torch device (default cpu)")

    scenes = add("scenes", "write a sheet of scenes with everybody's box")
    scenes.add_argument("-o", "--output", type=Path, required=True, help="the picture to write")
    scenes.add_argument("--cutouts", type=Path, required=True, help="folder of rendered people")
    scenes.add_argument("--seed", type=whole(0, 2**31), default=0, help="at least 0 (default 0)")
    scenes.add_argument("--count", type=parse_count, default=24, help="scenes (default 24)")
    scenes.add_argument("--columns", type=parse_count, default=6, help="per row (default 6)")
    scenes.add_argument("--side", type=whole(32, 4096), default=320, help="px (default 320)")

    for action in (cutouts, scenes):
        action.add_argument("--backgrounds", type=Path, help="a folder of photos without people")
        action.add_argument(
            "--split",
            choices=("all", "train", "val"),
            default="train",
            help="which poses, bodies and backgrounds; train and val share none (default train)",
        )


def run(args: argparse.Namespace) -> int:
    """Render or preview; 0 when all went well, 1 with one sentence otherwise."""
    try:
        (_cutouts if args.action == "cutouts" else _scenes)(args)
    except (ValueError, OSError) as error:
        print(f"dwpose synth: {error}", file=sys.stderr)
        return 1
    return 0


def _cutouts(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..training.detection.cutouts import (
        DEFAULT_BATCH,
        KINDS,
        SHARD_SIZE,
        CutoutRenderer,
        render_cutouts,
    )
    from ..training.distributed import join
    from ..training.shards import rendered_at_once
    from ..training.synthetic import SyntheticConfig

    size = (args.side, args.side)
    config = SyntheticConfig(
        size_hw=size, poses=args.poses, backgrounds=args.backgrounds, split=args.split
    )
    # A GPU takes about as long for many as for a few.
    device = join(args.device).device
    usual = DEFAULT_BATCH if device.type == "cpu" else SHARD_SIZE // 2
    batch = rendered_at_once(args.output, KINDS) or usual
    renderer = CutoutRenderer(config, str(device), batch)
    shards = range(args.first, args.first + -(-args.count // SHARD_SIZE))
    with tqdm(total=len(shards) * SHARD_SIZE, unit="piece") as bar:

        def advance(_: int) -> None:
            bar.update(SHARD_SIZE)

        render_cutouts(renderer, args.output, shards, seed=args.seed, on_shard=advance)


def _scenes(args: argparse.Namespace) -> None:
    import cv2
    import numpy as np

    from ..training.detection.cutouts import Cutouts
    from ..training.detection.scenes import Composer, SceneConfig
    from .synth import write_sheet

    config = SceneConfig(backgrounds=args.backgrounds, split=args.split)
    composer = Composer(Cutouts(args.cutouts), config)
    batch = composer.batch(args.count, args.side, np.random.default_rng(args.seed))
    tiles = []
    for image, boxes, count in zip(batch.images, batch.boxes, batch.count, strict=True):
        tile = np.ascontiguousarray(image.numpy()[::-1].transpose(1, 2, 0))
        for left, top, right, bottom in boxes[:count].int().tolist():
            cv2.rectangle(tile, (left, top), (right - 1, bottom - 1), (0, 255, 0), 1)
        tiles.append(tile)
    write_sheet(args.output, tiles, args.columns)
