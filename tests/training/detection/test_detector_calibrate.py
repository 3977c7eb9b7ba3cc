"""Scores are moved, boxes are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dwpose.models.yolox import YOLOX, yolox_config
from dwpose.training.detection import calibrate
from dwpose.training.detection.recall import DetectorScores


@pytest.fixture
def network() -> YOLOX:
    """Has logits of -1 for each cell's objectness and class."""
    torch.manual_seed(0)
    model = YOLOX(yolox_config("nano", 1, (64, 64))).eval()
    for layers in (model.head.obj_preds, model.head.cls_preds):
        for layer in layers:
            assert isinstance(layer, nn.Conv2d)
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, -1.0)
    return model


def test_a_shift_moves_scores_and_no_boxes(network: YOLOX):
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        before = network(images)
    calibrate.shift_scores(network, 0.7)
    with torch.inference_mode():
        after = network(images)
    torch.testing.assert_close(after[..., :4], before[..., :4], rtol=0, atol=0)
    torch.testing.assert_close(torch.logit(after[..., 4:]), torch.logit(before[..., 4:]) + 0.7)


@pytest.mark.parametrize(("wrong_from", "shift"), [(0.5, 1.88), (0.0, 0.0), (1.0, 3.0)])
def test_the_largest_shift_that_is_precise_enough(network, monkeypatch, wrong_from, shift):
    """Boxes are right up to a score: sigmoid(-1 + 1.88) ** 2 is 0.5."""

    def score_scenes(answer, scenes, side, count):
        rows = answer(torch.zeros(1, 3, side, side, dtype=torch.uint8))
        right = float(rows[0, 0, 4] * rows[0, 0, 5]) <= wrong_from
        return DetectorScores(1, 1, 1.0, float(right), float(not right), 1.0)

    monkeypatch.setattr(calibrate, "score_scenes", score_scenes)
    assert calibrate.score_shift(network, None, 64) == pytest.approx(shift, abs=0.06)


def test_a_network_that_boxes_nobody_is_shifted(network, monkeypatch):
    none = DetectorScores(1, 1, 0.0, 0.0, 0.0, 0.0)
    monkeypatch.setattr(calibrate, "score_scenes", lambda *_: none)
    assert calibrate.score_shift(network, None, 64) > 2.9
