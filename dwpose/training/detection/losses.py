"""The losses of YOLOX for one class (Ge et al., 2021): IoU, objectness, class and, late, L1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.yolox import decode_boxes
from .assign import Cells, assign, pair_iou

BOX_WEIGHT = 5.0
"""Weight of the IoU loss (YOLOX)."""


def corners(boxes: Tensor) -> Tensor:
    """Turn centre x, centre y, width, height [..., 4] into xyxy."""
    half = boxes[..., 2:] / 2
    return torch.cat((boxes[..., :2] - half, boxes[..., :2] + half), -1)


def detection_losses(
    rows: Tensor, people: Tensor, count: Tensor, size_hw: tuple[int, int], cells: Cells
) -> tuple[dict[str, Tensor], int]:
    """Losses of a batch, each summed over its cells and divided by the cells that found someone.

    Args:
        rows: the network's raw rows with logits, float32 [N, A, 6].
        people: true boxes xyxy px [N, G, 4], padded.
        count: int64 [N], people of each picture.
        size_hw: height and width of the input in px.
        cells: of that size.

    Returns:
        `box` (weighted), `objectness`, `class` and `l1` (to be added late in training), and the
        number of matched cells.
    """
    boxes = corners(decode_boxes(rows, size_hw))
    objectness, classes = rows[..., 4], rows[..., 5]
    matches = assign(boxes.detach(), objectness.detach(), classes.detach(), people, count, cells)
    found = matches.person >= 0
    number = int(found.sum())
    share = 1 / max(number, 1)
    picture, cell = found.nonzero(as_tuple=True)
    truth = people[picture, matches.person[found]]  # [M,4]

    bce = F.binary_cross_entropy_with_logits
    losses = {
        "box": BOX_WEIGHT * share * (1 - pair_iou(boxes[found], truth) ** 2).sum(),
        "objectness": share * bce(objectness, found.float(), reduction="sum"),
        # How well the box fits is what the class shall say.
        "class": share * bce(classes[found], matches.iou[found], reduction="sum"),
    }
    stride = cells.strides[cell][:, None]
    middle = (truth[:, :2] + truth[:, 2:]) / 2
    # Raw offsets count from the cell's corner in strides, raw sizes are logarithms of strides.
    offset = middle / stride - (cells.centres[cell] / stride - 0.5)
    size = torch.log((truth[:, 2:] - truth[:, :2]) / stride + 1e-8)
    aim = torch.cat((offset, size), 1)
    losses["l1"] = share * (rows[..., :4][found] - aim).abs().sum()
    return losses, number
