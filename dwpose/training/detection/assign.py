"""SimOTA: which cells of a YOLOX answer for which person (Ge et al., YOLOX, 2021, section 2.3).

Everything is done for a whole batch at once; people are padded. Shapes: N pictures, A cells of the
three maps together, G people of the fullest picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.yolox import STRIDES

CENTRE_RADIUS: Final = 2.5
"""Cells within so many strides of a person's centre are candidates (YOLOX)."""

MOST_CELLS: Final = 10
"""A person gets as many cells as the IoUs of their best ten candidates sum up to (YOLOX)."""

IOU_WEIGHT: Final = 3.0
"""Weight of the IoU in the cost of a match (YOLOX)."""

_OFF_CENTRE: Final = 1e5
_IMPOSSIBLE: Final = 1e9


@dataclass(frozen=True)
class Cells:
    """The cells of the three maps, in the order of the network's rows.

    Attributes:
        centres: float32 [A, 2], px.
        strides: float32 [A], px.
    """

    centres: Tensor
    strides: Tensor

    @classmethod
    def of(cls, size_hw: tuple[int, int], device: torch.device | str = "cpu") -> Cells:
        """Cells of an input of this height and width, multiples of 32."""
        centres, strides = [], []
        for stride in STRIDES:
            rows, columns = size_hw[0] // stride, size_hw[1] // stride
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            grid = torch.stack((x.flatten(), y.flatten()), 1)
            centres.append((grid + 0.5) * stride)
            strides.append(torch.full((rows * columns,), float(stride)))
        return cls(torch.cat(centres).to(device), torch.cat(strides).to(device))


@dataclass(frozen=True)
class Matches:
    """Who answers for whom.

    Attributes:
        person: int64 [N, A], index of the person of each cell, -1 for background.
        iou: float32 [N, A], of the cell's box with its person's, 0 for background.
    """

    person: Tensor
    iou: Tensor


def pair_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boxes xyxy that broadcast against each other, [..., 4] and [..., 4] to [...]."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    both = (high - low).clamp_min(0).prod(-1)
    areas = (first[..., 2:] - first[..., :2]).prod(-1) + (second[..., 2:] - second[..., :2]).prod(
        -1
    )
    return both / (areas - both).clamp_min(1e-6)


@torch.no_grad()
def assign(
    boxes: Tensor, objectness: Tensor, classes: Tensor, people: Tensor, count: Tensor, cells: Cells
) -> Matches:
    """Match cells with people by the cost of their present predictions.

    Args:
        boxes: predicted, xyxy px, [N, A, 4].
        objectness: logits [N, A].
        classes: logits of "person" [N, A].
        people: true boxes, xyxy px, [N, G, 4]; rows from `count` on are padding.
        count: int64 [N].
        cells: of this input size.
    """
    most = people.shape[1]
    real = torch.arange(most, device=people.device) < count[:, None]
    if most == 0 or not bool(real.any()):
        nobody = torch.full(objectness.shape, -1, dtype=torch.int64, device=objectness.device)
        return Matches(nobody, torch.zeros_like(objectness))

    x, y = cells.centres.unbind(-1)
    left, top, right, bottom = people[..., None].unbind(-2)  # [N,G,1] each
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    reach = CENTRE_RADIUS * cells.strides
    near = ((x - (left + right) / 2).abs() < reach) & ((y - (top + bottom) / 2).abs() < reach)
    candidate = (inside | near) & real[..., None]

    iou = pair_iou(people[:, :, None], boxes[:, None])  # [N,G,A]
    # The score of a cell is the product of both probabilities; YOLOX takes its square root here.
    log_score = (F.logsigmoid(objectness) + F.logsigmoid(classes)) / 2
    cost = -log_score[:, None] - IOU_WEIGHT * torch.log(iou + 1e-8)
    cost = cost + _OFF_CENTRE * ~(inside & near)
    cost = cost.masked_fill(~candidate, _IMPOSSIBLE)

    tries = min(MOST_CELLS, iou.shape[-1])
    best = (iou * candidate).topk(tries, -1).values
    wanted = best.sum(-1).int().clamp_min(1)  # [N,G]
    cheapest, where = cost.topk(tries, -1, largest=False)
    taken = (torch.arange(tries, device=iou.device) < wanted[..., None]) & (cheapest < _IMPOSSIBLE)
    chosen = torch.zeros_like(candidate).scatter_(-1, where, taken)

    # A cell that several people want goes to the one whom it suits best.
    person = cost.masked_fill(~chosen, _IMPOSSIBLE).argmin(1)  # [N,A]
    answered = chosen.any(1)
    own = iou.gather(1, person[:, None])[:, 0]
    return Matches(torch.where(answered, person, -1), torch.where(answered, own, 0.0))
