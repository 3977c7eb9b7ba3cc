"""A picture of what the network will see: varied crops with their labels drawn."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ...render import overlay
from ...types import Boxes, People
from .loader import CropLoader

COLUMNS: Final = 8
_LINE: Final = 0.5


def draw_sheet(
    loader: CropLoader, count: int, epoch: int = 0, labels: bool = True
) -> npt.NDArray[np.uint8]:
    """Draw the first crops of an epoch.

    Args:
        loader: makes them.
        count: how many, at least 1; fewer where the epoch is shorter.
        epoch: which, zero-based.
        labels: draw the taught points.

    Returns:
        uint8 [H, W, 3] RGB, the crops in rows of eight.
    """
    tiles: list[npt.NDArray[np.uint8]] = []
    for batch in loader.batches(epoch):
        columns = (batch[name].numpy() for name in ("image", "keypoints", "weights"))
        for image, keypoints, weights in zip(*columns, strict=True):
            tiles.append(_drawn(image, keypoints, weights) if labels else image)
        if len(tiles) >= count:
            break
    tiles = tiles[:count]
    blank = np.full_like(tiles[0], 32)
    wide = min(COLUMNS, len(tiles))
    tiles += [blank] * (-len(tiles) % wide)
    rows = [np.concatenate(tiles[i : i + wide], axis=1) for i in range(0, len(tiles), wide)]
    return np.concatenate(rows)


def _drawn(
    image: npt.NDArray[np.uint8],
    keypoints: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
) -> npt.NDArray[np.uint8]:
    size_hw = image.shape[0], image.shape[1]
    box = np.array([[0, 0, size_hw[1], size_hw[0]]], np.float32)
    people = People(keypoints[None], weights[None], Boxes(box), size_hw)
    return overlay(image, people, 0.8, line_scale=_LINE, dot_scale=_LINE)
