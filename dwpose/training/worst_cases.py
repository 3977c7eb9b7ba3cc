"""A sheet of the people a network got most wrong, to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..geometry import box_center_scale, fix_aspect, transform_points, warp_matrix
from ..io.images import load_image, save_image
from ..render import overlay
from ..skeleton import (
    BODY_LIMBS,
    HAND_EDGES,
    OPENPOSE_BODY,
    OPENPOSE_FACE,
    OPENPOSE_FEET,
    OPENPOSE_LEFT_HAND,
    OPENPOSE_RIGHT_HAND,
    to_openpose,
)
from ..types import Boxes, People
from .evaluate import Estimates, Pair

Image = npt.NDArray[np.uint8]

TILE_HW = (352, 264)
"""Height and width in pixels of a person on the sheet."""
_CAPTION = 22
_COLUMNS = 6
# Labels are white on black lines: they show on any picture and are no colour of the pose.
_LABEL, _EDGE = (255, 255, 255), (0, 0, 0)


def worst(found: Sequence[Pair], count: int = 24) -> list[tuple[float, Pair]]:
    """Return the pairs with the lowest OKS over all labelled points, lowest first."""
    scored = [(pair.oks(), pair) for pair in found]
    scored = [(oks, pair) for oks, pair in scored if not np.isnan(oks)]
    return sorted(scored, key=lambda entry: entry[0])[:count]


def save_sheet(
    path: str | os.PathLike[str],
    found: Sequence[Pair],
    estimates: Estimates,
    count: int = 24,
) -> int:
    """Write a picture of the worst cases: the pose over the crop, the label in thin lines.

    Args:
        path: the new file, JPEG or PNG.
        found: labelled people and what was found.
        estimates: where the pictures are.
        count: how many people at most.

    Returns:
        how many people are on the sheet; no file is written for none.
    """
    tiles = [
        draw_case(load_image(estimates.paths[pair.person.image_id]), pair, oks, name)
        for oks, pair in worst(found, count)
        if pair.person.image_id in estimates.paths
        for name in [estimates.paths[pair.person.image_id].name]
    ]
    if not tiles:
        return 0
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    blank = np.full_like(tiles[0], 32)
    tiles += [blank] * (rows * columns - len(tiles))
    lines = [np.concatenate(tiles[i * columns : (i + 1) * columns], axis=1) for i in range(rows)]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_image(path, np.concatenate(lines))
    return rows * columns - sum(tile is blank for tile in tiles)


def draw_case(picture: Image, pair: Pair, oks: float, name: str) -> Image:
    """Draw one person.

    Args:
        picture: uint8 [H, W, 3] RGB.
        pair: the label, and who was found.
        oks: written below.
        name: of the picture, written below.

    Returns:
        uint8 [h + caption, w, 3] RGB, h and w those of `TILE_HW`.
    """
    height, width = TILE_HW
    center, scale = box_center_scale(pair.person.xyxy[None], 1.4)
    scale = fix_aspect(scale, width / height)
    matrix = warp_matrix(center[0], scale[0], (width, height))
    tile: Image = cv2.warpAffine(picture, matrix, (width, height), borderValue=(90, 90, 90))  # pyright: ignore[reportAssignmentType]
    if pair.keypoints is not None and pair.scores is not None:
        # What counts in the OKS is drawn however unsure the network is of it.
        counted = np.where(pair.person.visible > 0, np.float32(1), pair.scores)
        people = People(
            transform_points(pair.keypoints, matrix)[None],
            counted[None],
            Boxes(np.array([[0, 0, width, height]], np.float32)),
            (height, width),
        )
        tile = overlay(tile, people, 0.8, line_scale=0.7, dot_scale=0.7)
    tile = np.ascontiguousarray(tile)
    truth = transform_points(pair.person.keypoints, matrix)
    _draw_label(tile, truth, (pair.person.visible > 0).astype(np.float32))
    caption = np.full((_CAPTION, width, 3), 32, np.uint8)
    state = f"OKS {oks:.2f}" if pair.keypoints is not None else "not found"
    text = f"{state}  {name[-20:]} #{pair.person.id}"
    cv2.putText(caption, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _LABEL, 1, cv2.LINE_AA)
    return np.concatenate([tile, caption])


def _draw_label(tile: Image, keypoints: npt.NDArray[Any], scores: npt.NDArray[Any]) -> None:
    points, seen = to_openpose(keypoints, scores)
    edges = list(BODY_LIMBS)
    for part in (OPENPOSE_LEFT_HAND, OPENPOSE_RIGHT_HAND):
        edges += [(a + part.start, b + part.start) for a, b in HAND_EDGES]
    places = np.round(np.clip(points, -9999, 9999)).astype(int).tolist()
    for colour, thickness in ((_EDGE, 3), (_LABEL, 1)):
        for a, b in edges:
            if min(seen[a], seen[b]) > 0:
                cv2.line(tile, places[a], places[b], colour, thickness, cv2.LINE_AA)
    for part in (OPENPOSE_BODY, OPENPOSE_FEET, OPENPOSE_FACE):
        for i in range(part.start, part.stop):
            if seen[i] > 0:
                cv2.circle(tile, places[i], 1, _LABEL, -1, cv2.LINE_AA)
