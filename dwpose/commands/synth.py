"""`dwpose synth`: look at synthetic people, and render them into a pool to train on."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from .options import number, parse_count, whole

_EPILOG = """\
examples:
  dwpose synth preview -o sheet.png
  dwpose synth preview -o sheet.png --keypoints --count 48 --seed 7
  dwpose synth preview -o sheet.png --poses body_poses_cmu.npz --backgrounds photos/ --framing face
  dwpose synth render -o runs/pool --padding 1.1 --poses body_poses_cmu.npz --backgrounds photos/
      for training/recipes/builtin_lite.py, whose network wants boxes enlarged by 1.1
  dwpose synth cutouts -o runs/cutouts --poses body_poses_cmu.npz --backgrounds photos/
  dwpose synth scenes -o sheet.png --cutouts runs/cutouts --backgrounds photos/

The same seed gives the same people where as many are rendered at once: 16 on a CPU, half a shard
elsewhere; a folder goes on with the number that it began with. Camera noise and the last bit of a
colour are each device's own.
"""
# RGB of the dots: body and feet, face, left hand, right hand.
_COLOURS = ((255, 60, 60), (0, 255, 255), (60, 255, 60), (255, 170, 0))


def add_parser(subparsers: Any) -> None:
    """Add `synth` with its actions to the command line."""
    from . import synth_scenes

    parser = subparsers.add_parser(
        "synth",
        help="look at, or render, the synthetic people that models are trained on",
        description="Render synthetic people with 133 exactly known points each.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    preview = actions.add_parser(
        "preview",
        help="write a contact sheet",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    preview.add_argument("-o", "--output", type=Path, required=True, help="the picture to write")
    preview.add_argument(
        "--keypoints",
        action="store_true",
        help="also write NAME_keypoints beside it with the points drawn, hidden ones darker",
    )
    preview.add_argument("--count", type=parse_count, default=32, help="crops (default 32)")
    preview.add_argument("--columns", type=parse_count, default=8, help="crops per row (default 8)")
    preview.add_argument(
        "--framing",
        choices=("mixed", "full", "knees", "waist", "bust", "face", "hand"),
        default="mixed",
        help="what part of the person is shown (default: the training mix)",
    )
    preview.add_argument("--clean", action="store_true", help="no camera faults, nothing in front")
    preview.set_defaults(split="all")
    render = actions.add_parser(
        "render",
        help="fill a pool of crops for `dwpose train`; a cut run goes on where it stopped",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    render.add_argument("-o", "--output", type=Path, required=True, help="folder of the pool")
    render.add_argument(
        "--count",
        type=parse_count,
        default=20480,
        help="crops, taken up to whole shards of 512 (default 20480)",
    )
    render.add_argument(
        "--first", type=whole(0, 99_999), default=0, help="number of the first shard"
    )
    render.add_argument("--seed", type=whole(0, 999), default=0, help="0 to 999 (default 0)")
    render.add_argument(
        "--split",
        choices=("all", "train", "val"),
        default="train",
        help="which poses, bodies and backgrounds; train and val share none (default train)",
    )
    render.set_defaults(framing="mixed", clean=False)
    preview.add_argument("--seed", type=whole(0, 2**31), default=0, help="at least 0 (default 0)")
    for action in (preview, render):
        action.add_argument(
            "--size", default="256x192", help="crop HEIGHTxWIDTH, divisible by 16 (default 256x192)"
        )
        action.add_argument("--supersample", type=int, default=1, help="render larger and average")
        action.add_argument(
            "--padding",
            type=number(0, 10, above=True),
            default=1.25,
            help="a crop is the person's box enlarged by this, on average (default 1.25)",
        )
        action.add_argument(
            "--collars",
            type=float,
            default=0.05,
            help="share of people with a ring around the neck (default 0.05)",
        )
        action.add_argument(
            "--padded",
            type=float,
            default=0.04,
            help="share of people in thick coats and suits (default 0.04)",
        )
        action.add_argument(
            "--poses", type=Path, help="a motion library (.npz); else made-up poses"
        )
        action.add_argument("--backgrounds", type=Path, help="a folder of photos without people")
        action.add_argument("--device", default="cpu", help="torch device (default cpu)")
    synth_scenes.add_actions(actions, _EPILOG)


def run(args: argparse.Namespace) -> int:
    """Preview or render; 0 when all went well, 1 with one sentence otherwise."""
    if args.action in ("cutouts", "scenes"):
        from . import synth_scenes

        return synth_scenes.run(args)
    from ..training.distributed import join
    from ..training.synthetic import SyntheticConfig, SyntheticPeople
    from ..training.synthetic.camera import FRAMING_NAMES

    try:
        size = re.fullmatch(r"(\d+)x(\d+)", args.size.lower())
        if size is None:
            raise ValueError(f"--size must be HEIGHTxWIDTH such as 256x192, got {args.size!r}")
        height, width = (int(side) for side in size.groups())
        changes: dict[str, Any] = {"collars": args.collars, "padded": args.padded}
        if args.framing != "mixed":
            changes["framing"] = tuple(float(name == args.framing) for name in FRAMING_NAMES)
        if args.clean:
            changes.update(faults=False, occluders=0.0, tables=0.0, collars=0.0)
        config = SyntheticConfig(
            size_hw=(height, width),
            supersample=args.supersample,
            padding=args.padding,
            poses=args.poses,
            backgrounds=args.backgrounds,
            split=args.split,
            **changes,
        )
        engine = SyntheticPeople(config, join(args.device).device)
        return (_preview if args.action == "preview" else _render)(args, engine)
    except (ValueError, OSError) as error:
        print(f"dwpose synth: {error}", file=sys.stderr)
        return 1


def _render(args: argparse.Namespace, engine: Any) -> int:
    from tqdm import tqdm

    from ..training.pool import KINDS
    from ..training.render_pool import SHARD_SIZE, render_pool
    from ..training.shards import rendered_at_once

    shards = range(args.first, args.first + -(-args.count // SHARD_SIZE))
    with tqdm(total=len(shards) * SHARD_SIZE, unit="crop") as bar:

        def advance(_: int) -> None:
            bar.update(SHARD_SIZE)

        # A GPU takes about as long for many as for a few.
        usual = 16 if engine.device.type == "cpu" else SHARD_SIZE // 2
        batch = rendered_at_once(args.output, KINDS) or usual
        render_pool(engine, args.output, shards, batch=batch, seed=args.seed, on_shard=advance)
    return 0


def _preview(args: argparse.Namespace, engine: Any) -> int:
    plain, dotted = [], []
    while len(plain) < args.count:
        batch = engine.sample(min(16, args.count - len(plain)), args.seed + len(plain))
        pictures = batch.images.permute(0, 2, 3, 1).cpu().numpy()
        plain.extend(pictures)
        points, seen = batch.keypoints.cpu().numpy(), batch.visibility.cpu().numpy()
        dotted.extend(draw_points(*crop) for crop in zip(pictures, points, seen, strict=True))

    outputs = [(args.output, plain)]
    if args.keypoints:
        beside = args.output.with_name(f"{args.output.stem}_keypoints{args.output.suffix}")
        outputs.append((beside, dotted))
    for path, pictures in outputs:
        write_sheet(path, pictures, args.columns)
    return 0


def write_sheet(path: Path, pictures: list[Any], columns: int) -> None:
    """Write pictures of one size, uint8 RGB [H,W,3], as a table, and print its path.

    Raises:
        ValueError: OpenCV writes no files with that suffix.
    """
    import cv2
    import numpy as np

    tiles = [*pictures, *[np.zeros_like(pictures[0])] * (-len(pictures) % columns)]
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    try:
        done, data = cv2.imencode(path.suffix or ".png", np.concatenate(rows)[..., ::-1])
    except cv2.error:
        done, data = False, None
    if not done or data is None:
        raise ValueError(f"cannot write a {path.suffix} file; use .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    data.tofile(path)
    print(path)


def draw_points(picture: Any, points: Any, seen: Any) -> Any:
    """Return a copy of a crop with its points drawn.

    Args:
        picture: uint8 RGB [H,W,3].
        points: [133,2] crop pixels.
        seen: [133] 0 outside, 1 hidden (drawn darker), 2 seen.
    """
    import cv2
    import numpy as np

    out = np.ascontiguousarray(picture).copy()
    for k in np.nonzero(seen)[0]:
        part = 1 if 23 <= k < 91 else 2 if 91 <= k < 112 else 3 if k >= 112 else 0
        shade = 1.0 if seen[k] == 2 else 0.45
        colour = tuple(int(c * shade) for c in _COLOURS[part])
        x, y = (round(float(v)) for v in points[k])
        cv2.circle(out, (x, y), 1, colour, -1)
    return out
