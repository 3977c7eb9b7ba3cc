"""Rendered people with masks on disk: what scenes are put together from.

A folder of shards, see `training.shards`: ``NAME.pixels.npy`` (uint8 [M, 4], the pixels of all
its pieces row by row: RGB, and whose they are, 0 for nobody and 1, 2, ... for people) and
``NAME.pieces.npz`` (`hw` int32 [N, 2], `kind` uint8 [N], see `WHOLE` and `FRAMED`).

A render costs a tenth of a second of a CPU, pasting one a millisecond: a few thousand pieces give
scenes without end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from ..shards import open_shards, save_shard
from ..synthetic import SyntheticConfig, SyntheticPeople

WHOLE: Final = 0
"""One whole person with nothing cut off: may stand anywhere in a scene."""

FRAMED: Final = 1
"""A picture of one to three people whom its border may cut: has to fill a scene."""

SHARD_SIZE: Final = 256
DEFAULT_BATCH: Final = 16
KINDS: Final = ("pixels", "pieces")


class CutoutRenderer:
    """Renders pieces with the synthetic engine.

    Args:
        config: poses, split, size, and photos, which cloth is cut from; framing, neighbours,
            border and faults are set here.
        device: where to render.
        batch: pieces rendered at once, a divisor of `SHARD_SIZE` / 2; pieces depend on it.
    """

    def __init__(
        self, config: SyntheticConfig, device: str = "cpu", batch: int = DEFAULT_BATCH
    ) -> None:
        self.batch = batch
        # Nothing in front and no camera faults: the scene brings its own.
        plain = replace(config, occluders=0.0, faults=False, collars=0.0)
        self.whole = SyntheticPeople(
            replace(
                plain,
                framing=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
                neighbours=(1.0, 0.0, 0.0),
                tables=0.0,
                padding=1.04,
                box_jitter=0.0,
                box_shift=0.0,
                whole_picture=0.0,
            ),
            device,
        )
        # Waist-up and closer twice as often as people who pose for a body model.
        self.framed = SyntheticPeople(
            replace(
                plain,
                framing=(0.16, 0.2, 0.3, 0.24, 0.1, 0.0),
                neighbours=(0.5, 0.28, 0.22),
                padding=1.0,
                whole_picture=1.0,
            ),
            device,
        )

    def sample(self, kind: int, seed: int) -> list[npt.NDArray[np.uint8]]:
        """Render some pieces of a kind, uint8 [H, W, 4] each (RGB and owner)."""
        batch = (self.whole if kind == WHOLE else self.framed).sample(self.batch, seed)
        images = batch.images.permute(0, 2, 3, 1)
        owner = (batch.owner + 1).to(torch.uint8)
        stack = torch.cat([images, owner[..., None]], -1).cpu().numpy()
        # Outside the picture the crop is black, which no background is: not one value above 0.
        shown = [piece[..., :3].any(-1) for piece in stack]
        masks = [piece[..., 3] > 0 for piece in stack] if kind == WHOLE else shown
        return [tighten(piece, mask) for piece, mask in zip(stack, masks, strict=True)]


def tighten(piece: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Cut a piece [H, W, 4] to the box of `mask` [H, W]; at least one pixel stays."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return piece[:1, :1]
    return piece[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def render_cutouts(
    renderer: CutoutRenderer,
    folder: Path,
    shards: range,
    shard_size: int = SHARD_SIZE,
    seed: int = 0,
    on_shard: Callable[[int], None] | None = None,
) -> None:
    """Render shards that are not there yet, so that a cut run goes on where it stopped.

    Args:
        renderer: what renders.
        folder: where they go.
        shards: numbers of the shards; each depends on its number, `seed` and the renderer's batch,
            and, in camera noise and rounding, on the device.
        shard_size: pieces a shard, half of them of each kind.
        seed: below 1000.
        on_shard: called with the number of each shard that is there.
    """
    for number in shards:
        name = f"{number:05d}"
        if not (folder / f"{name}.pixels.npy").exists():
            pieces, kinds = [], []
            for step in range(-(-shard_size // renderer.batch)):
                kind = (WHOLE, FRAMED)[step % 2]
                found = renderer.sample(kind, (seed * 100_000 + number) * 1000 + step)
                pieces += found
                kinds += [kind] * len(found)
            pieces, kinds = pieces[:shard_size], kinds[:shard_size]
            write_cutouts(folder, name, pieces, kinds, renderer.batch)
        if on_shard is not None:
            on_shard(number)


def write_cutouts(
    folder: Path,
    name: str,
    pieces: list[npt.NDArray[np.uint8]],
    kinds: list[int],
    at_once: int = DEFAULT_BATCH,
) -> None:
    """Add a shard; half-written files are never left under the final names.

    Args:
        folder: made when absent.
        name: stem of the shard's files.
        pieces: uint8 [H, W, 4] each.
        kinds: `WHOLE` or `FRAMED` of each.
        at_once: how many were rendered at once.
    """
    pixels = np.concatenate([piece.reshape(-1, 4) for piece in pieces])
    hw = np.array([piece.shape[:2] for piece in pieces], np.int32).reshape(-1, 2)
    labels = {"kind": np.array(kinds, np.uint8), "at_once": np.array(at_once)}
    save_shard(folder, name, KINDS, pixels, hw=hw, **labels)


class Cutouts:
    """All pieces of a folder of shards, read by memory map.

    Args:
        folder: the pool.

    Attributes:
        kind: uint8 [N].

    Raises:
        FileNotFoundError: the folder holds no shard.
    """

    def __init__(self, folder: Path) -> None:
        self._pixels, about = open_shards(
            folder,
            KINDS,
            f"no rendered people in {folder}; make some with `dwpose synth cutouts -o {folder}`",
        )
        sizes = [part["hw"].prod(1) for part in about]
        self.kind = np.concatenate([part["kind"] for part in about])
        self._hw = np.concatenate([part["hw"] for part in about])
        self._shard = np.repeat(np.arange(len(sizes)), [len(part) for part in sizes])
        self._start = np.concatenate([np.cumsum(part) - part for part in sizes])

    def __len__(self) -> int:
        return len(self.kind)

    def piece(self, index: int) -> npt.NDArray[np.uint8]:
        """Return one piece, uint8 [H, W, 4] (a view of the file)."""
        height, width = (int(side) for side in self._hw[index])
        start = int(self._start[index])
        flat = self._pixels[self._shard[index]][start : start + height * width]
        return np.asarray(flat).reshape(height, width, 4)
