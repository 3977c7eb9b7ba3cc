"""Fill a pool (see `pool`) with crops of the synthetic engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .pool import HIDDEN, OUTSIDE, write_shard
from .synthetic import SyntheticPeople

SHARD_SIZE = 512


def render_pool(
    engine: SyntheticPeople,
    folder: Path,
    shards: range,
    shard_size: int = SHARD_SIZE,
    batch: int = 16,
    seed: int = 0,
    on_shard: Callable[[int], None] | None = None,
) -> None:
    """Render shards that are not there yet, so that a cut run goes on where it stopped.

    A face or hand of which next to nothing is seen is stored as absent: what is behind a head or
    a back shall score low, or faces get drawn on the backs of heads.

    Args:
        engine: what renders.
        folder: the pool.
        shards: numbers of the shards; each depends on its number, `seed` and `batch`, and, in
            camera noise and rounding, on the device.
        shard_size: crops a shard, a multiple of `batch`.
        batch: crops rendered at once; the shards say so, see `shards.rendered_at_once`.
        seed: below 1000.
        on_shard: called with the number of each shard that is there.
    """
    for number in shards:
        name = f"{number:05d}"
        if not (folder / f"{name}.images.npy").exists():
            parts = [
                engine.sample(batch, seed=(seed * 100_000 + number) * 1000 + step)
                for step in range(shard_size // batch)
            ]
            images = np.concatenate([part.images.permute(0, 2, 3, 1).cpu() for part in parts])
            visibility = np.concatenate([part.visibility.cpu() for part in parts])
            weights = np.concatenate([part.weights.cpu() for part in parts])
            visibility[(visibility == HIDDEN) & (weights == 0)] = OUTSIDE
            keypoints = np.concatenate([part.keypoints.cpu() for part in parts])
            padding = engine.config.padding
            write_shard(folder, name, images, keypoints, visibility, padding, batch)
        if on_shard is not None:
            on_shard(number)
