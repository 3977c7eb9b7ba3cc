"""SimOTA and the losses of the detector, on cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from dwpose.detector import decode_boxes as decode_rows
from dwpose.models.yolox import YOLOX, decode_boxes, yolox_config
from dwpose.training.detection.assign import Cells, assign, pair_iou
from dwpose.training.detection.losses import corners, detection_losses

SIZE = (64, 64)
CELLS = Cells.of(SIZE)


def rows_that_say(boxes: torch.Tensor, objectness: float = 0.0) -> torch.Tensor:
    """Raw rows [1,A,6] whose decoded boxes are `boxes` [A,4] xyxy."""
    stride = CELLS.strides[:, None]
    middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    offset = middle / stride - (CELLS.centres / stride - 0.5)
    logits = torch.full((len(boxes), 2), objectness)
    return torch.cat((offset, torch.log(size / stride), logits), 1)[None]


def test_cells_are_those_of_the_decoder():
    raw = torch.randn(1, len(CELLS.strides), 4)
    mine = corners(decode_boxes(raw, SIZE))[0]
    torch.testing.assert_close(mine, torch.from_numpy(decode_rows(raw[0].numpy(), SIZE)))
    raw[..., :2] = 0.5  # the middle of a cell
    torch.testing.assert_close(decode_boxes(raw, SIZE)[0, :, :2], CELLS.centres)
    assert len(CELLS.strides) == 64 + 16 + 4


def test_iou_of_pairs():
    first = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1]])
    second = torch.tensor([[1.0, 1, 3, 3], [2, 2, 3, 3]])
    torch.testing.assert_close(pair_iou(first, second), torch.tensor([1 / 7, 0.0]))


def test_the_best_fitting_cells_answer():
    person = torch.tensor([[[8.0, 8, 40, 40]]])
    # Everybody guesses a far corner, but three cells in the middle guess right, one of them less.
    boxes = torch.tensor([60.0, 60, 63, 63]).repeat(len(CELLS.strides), 1)
    good = [27, 36, 64 + 5]  # cells (28,28), (36,36) of stride 8 and (24,24) of stride 16
    boxes[good] = person[0]
    boxes[36] = torch.tensor([8.0, 8, 40, 28])  # IoU 0.625
    logits = torch.zeros(1, len(boxes))
    found = assign(boxes[None], logits, logits, person, torch.tensor([1]), CELLS)
    # The IoUs add up to 2.625: two cells, the two that fit best.
    assert (found.person[0] >= 0).nonzero()[:, 0].tolist() == [27, 64 + 5]
    torch.testing.assert_close(found.iou[0, [27, 36, 69]], torch.tensor([1.0, 0.0, 1.0]))


def test_of_equal_boxes_the_surer_cell_answers():
    person = torch.tensor([[[8.0, 8, 40, 40]]])
    boxes = torch.tensor([60.0, 60, 63, 63]).repeat(len(CELLS.strides), 1)
    boxes[[27, 36]] = torch.tensor([8.0, 8, 40, 28])
    objectness = torch.zeros(1, len(boxes))
    objectness[0, 36] = 2.0
    found = assign(
        boxes[None], objectness, torch.zeros_like(objectness), person, torch.tensor([1]), CELLS
    )
    assert (found.person[0] >= 0).nonzero()[:, 0].tolist() == [36]


def test_a_cell_serves_one_person_and_padding_nobody():
    people = torch.tensor(
        [[[8.0, 8, 40, 40], [8, 8, 40, 44], [0, 0, 64, 64]], [[0, 0, 0, 0]] * 3],
    )
    boxes = torch.tensor([60.0, 60, 63, 63]).repeat(2, len(CELLS.strides), 1)
    boxes[0, 27] = people[0, 1]
    logits = torch.zeros(2, len(CELLS.strides))
    found = assign(boxes, logits, logits, people, torch.tensor([2, 0]), CELLS)
    assert found.person[0, 27] == 1
    assert set(found.person[0].unique().tolist()) <= {-1, 0, 1}
    assert (found.person[1] == -1).all()


def test_far_cells_never_answer():
    person = torch.tensor([[[48.0, 48, 56, 56]]])
    boxes = person[0, 0].repeat(1, len(CELLS.strides), 1)  # all guess right
    logits = torch.zeros(1, len(CELLS.strides))
    found = assign(boxes, logits, logits, person, torch.tensor([1]), CELLS)
    taken = CELLS.centres[found.person[0] >= 0]
    assert len(taken) == 10
    assert (taken > 52 - 2.5 * 32).all()
    # The cells of stride 8 that lie within the person are preferred to those around.
    assert found.person[0, 6 * 8 + 6] == 0


def test_losses_of_a_perfect_answer():
    person = torch.tensor([[[8.0, 8, 40, 40]]])
    rows = rows_that_say(person[0].expand(len(CELLS.strides), 4), objectness=-2.0)
    losses, matched = detection_losses(rows, person, torch.tensor([1]), SIZE, CELLS)
    assert matched == 10
    assert float(losses["box"]) == pytest.approx(0, abs=1e-4)
    assert float(losses["l1"]) == pytest.approx(0, abs=1e-4)
    below, above = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    assert float(losses["class"]) == pytest.approx(above, rel=1e-4)
    others = len(CELLS.strides) - 10
    assert float(losses["objectness"]) == pytest.approx((10 * above + others * below) / 10)


def test_box_loss_by_hand():
    person = torch.tensor([[[8.0, 8, 40, 40]]])
    guess = torch.tensor([8.0, 8, 40, 24]).expand(len(CELLS.strides), 4)  # IoU 0.5
    losses, matched = detection_losses(rows_that_say(guess), person, torch.tensor([1]), SIZE, CELLS)
    assert matched == 5  # ten candidates of 0.5
    assert float(losses["box"]) == pytest.approx(5 * 0.75, rel=1e-4)


def test_an_empty_scene_teaches_background_alone():
    rows = torch.zeros(2, len(CELLS.strides), 6, requires_grad=True)
    losses, matched = detection_losses(
        rows, torch.zeros(2, 1, 4), torch.tensor([0, 0]), SIZE, CELLS
    )
    assert matched == 0
    assert [losses[name].item() for name in ("box", "class", "l1")] == [0, 0, 0]
    torch.stack(list(losses.values())).sum().backward()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()
    assert (rows.grad[..., 4] > 0).all()
    assert (rows.grad[..., [0, 1, 2, 3, 5]] == 0).all()


def test_logits_are_what_the_sigmoid_gets():
    network = YOLOX(yolox_config("nano", 1, SIZE)).eval()
    with torch.no_grad():
        maps = network.backbone(torch.rand(1, 3, *SIZE) * 255)
        logits, rows = network.head(maps, logits=True), network.head(maps)
    torch.testing.assert_close(logits[..., 4:].sigmoid(), rows[..., 4:])
    torch.testing.assert_close(logits[..., :4], rows[..., :4])
