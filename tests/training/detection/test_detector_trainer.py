"""The detector's trainer: it learns, goes on where it stopped, and its files load."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dwpose.cli import main
from dwpose.training.detection.cutouts import FRAMED, WHOLE, Cutouts, write_cutouts
from dwpose.training.detection.scenes import Composer, SceneBatch, SceneConfig
from dwpose.training.detection.trainer import DetectorConfig, DetectorTrainer, save_detector
from dwpose.training.recipe import change, load_recipe
from dwpose.weights.load import load_model

RECIPE = Path(__file__).resolve().parents[3] / "training" / "recipes" / "builtin_det.py"
TINY = DetectorConfig(side=64, iterations=4, batch=2, warm_up=2, measure_every=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """People are bright blocks."""
    piece = np.full((50, 25, 4), 250, np.uint8)
    piece[..., 3] = 1
    framed = np.full((50, 50, 4), 250, np.uint8)
    framed[..., 3] = 0
    framed[20:, 10:30, 3] = 1
    write_cutouts(tmp_path / "cut", "00000", [piece, framed], [WHOLE, FRAMED])
    return tmp_path / "cut"


@pytest.fixture
def scenes(folder: Path) -> Composer:
    return Composer(Cutouts(folder), SceneConfig())


def weights(trainer: DetectorTrainer) -> list[torch.Tensor]:
    return [*trainer.model.state_dict().values(), *trainer.network.state_dict().values()]


def test_it_learns_two_pictures_by_heart(tmp_path: Path):
    config = replace(TINY, iterations=40, rate=2e-3, average=0.2, average_from=1, clip=10.0)
    trainer = DetectorTrainer(config, tmp_path)
    images = torch.full((2, 3, 64, 64), 30, dtype=torch.uint8)
    images[0, :, 8:56, 16:40] = 220
    boxes = torch.tensor([[[16.0, 8, 40, 56]], [[0, 0, 0, 0]]])
    batch = SceneBatch(images, boxes, torch.tensor([1, 0]))
    losses = [trainer.step(batch) for _ in range(40)]
    total = [line["box"] + line["objectness"] + line["class"] for line in losses]
    assert np.mean(total[-5:]) < 0.5 * np.mean(total[:5])
    assert np.mean([line["box"] for line in losses[-5:]]) < 3.0


def test_a_run_may_start_from_a_trained_detector(tmp_path: Path):
    trained = load_model("builtin-det").module.state_dict()
    started = DetectorTrainer(TINY, tmp_path, "builtin-det").model.state_dict()
    assert all(torch.equal(started[key], value.float()) for key, value in trained.items())
    with pytest.raises(ValueError, match="one-class YOLOX-tiny"):
        DetectorTrainer(replace(TINY, size="tiny"), tmp_path, "builtin-det")


def test_a_cut_run_goes_on_to_the_same_weights(tmp_path: Path, scenes: Composer):
    whole = DetectorTrainer(TINY, tmp_path / "whole")
    whole.run(scenes)
    first = DetectorTrainer(replace(TINY, save_every=0.0), tmp_path / "cut-run")

    def stop(iteration: int, losses: dict[str, float]) -> None:
        if iteration == 2:
            raise KeyboardInterrupt

    first.run(scenes, on_step=stop)
    assert first.iteration == 2
    second = DetectorTrainer(TINY, tmp_path / "cut-run")
    assert second.iteration == 2
    second.run(scenes)
    assert second.iteration == 4
    for one, other in zip(weights(whole), weights(second), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    journal = (tmp_path / "cut-run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in journal] == [1, 2, 3, 4]


def test_another_run_is_not_continued(tmp_path: Path, scenes: Composer):
    DetectorTrainer(replace(TINY, iterations=1), tmp_path).run(scenes)
    with pytest.raises(ValueError, match="rate"):
        DetectorTrainer(replace(TINY, rate=5e-4), tmp_path)
    with pytest.raises(ValueError, match="init"):
        DetectorTrainer(replace(TINY, iterations=1), tmp_path, "builtin-det")


def test_a_bad_loss_leaves_the_weights(tmp_path: Path, scenes: Composer):
    trainer = DetectorTrainer(TINY, tmp_path)
    with torch.no_grad():
        trainer.model.get_parameter("head.obj_preds.0.bias").fill_(torch.inf)
    before = [w.clone() for w in trainer.model.parameters()]
    batch = scenes.batch(2, 64, np.random.default_rng(0))
    with pytest.raises(FloatingPointError, match="iteration 0"):
        trainer.step(batch)
    for one, other in zip(before, trainer.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_file_loads_and_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trainer = DetectorTrainer(TINY, tmp_path)
    path = tmp_path / "mine.safetensors"
    variance = trainer.network.backbone.backbone.stem.conv.bn.running_var
    variance.fill_(7e4)  # of pixels 0..255; beyond half precision
    save_detector(path, trainer.network, half=True, note="a test")
    model = load_model(path)
    assert torch.equal(model.module.backbone.backbone.stem.conv.bn.running_var, variance)
    assert (model.role, model.family, model.input_size_hw) == ("detector", "yolox", (64, 64))
    assert model.meta["note"] == "a test"
    assert model.usage.rough_boxes
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 60, 3), np.uint8))
    person = {"id": 1, "image_id": 5, "category_id": 1, "keypoints": [0] * 51}
    labels = {
        "images": [{"id": 5, "file_name": "a.png", "height": 60, "width": 60}],
        "annotations": [{**person, "bbox": [0, 0, 20, 30], "area": 600, "iscrowd": 0}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    call = ["evaluate-detector", str(tmp_path / "labels.json"), "--images", str(tmp_path)]
    report = tmp_path / "report.json"
    assert main([*call, "--detector", str(path), "--json", str(report)]) == 0
    assert "1 people in 1 pictures" in capsys.readouterr().out
    assert json.loads(report.read_text())["sets"]["labels.json"]["people"] == 1
    assert main([*call, "--detector", "nothing-like-it"]) == 2


def test_other_processes_make_the_same_scenes(tmp_path: Path, scenes: Composer):
    here = DetectorTrainer(TINY, tmp_path / "here")
    there = DetectorTrainer(replace(TINY, workers=1), tmp_path / "there")
    for one, other in zip(here._batches(scenes), there._batches(scenes), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.boxes, other.boxes)


def test_recipe(tmp_path: Path, folder: Path):
    recipe = load_recipe(RECIPE)
    texts = [f"cutouts={folder}", f"held_out={folder}", "iterations=2", "batch=2", "side=64"]
    settings = change(recipe.Settings(), [*texts, "sides=32,64"])
    recipe.run(change(settings, ["minutes=0"]), tmp_path / "run")
    assert not (tmp_path / "run" / "builtin-det.safetensors").exists()
    recipe.run(settings, tmp_path / "run")
    shipped = tmp_path / "run" / "builtin-det.safetensors"
    assert shipped.stat().st_size < 4e6
    note = load_model(shipped).meta["note"]
    assert "4 composed scenes" in note
    recipe.run(change(settings, [f"init={shipped}"]), tmp_path / "more")
    after = load_model(tmp_path / "more" / "builtin-det.safetensors").meta["note"]
    assert after.endswith(f" (before: {note})")
