"""The trainer learns, stops, goes on where it was, and writes files that load."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dwpose.models.rtmpose import RTMPose, RTMPoseConfig
from dwpose.training.checkpoint import load_state
from dwpose.training.distill import StageOne, StageTwo
from dwpose.training.distributed import Ranks
from dwpose.training.journal import Journal, read_log
from dwpose.training.learner import LearnerConfig
from dwpose.training.pool import CropPool, PoolSource, VariationConfig, write_shard
from dwpose.training.supervised import StudentAlone
from dwpose.training.trainer import TrainConfig, Trainer
from dwpose.training.validate import PoolMeasure
from dwpose.weights.load import load_model

LEARNER = LearnerConfig(rate=1e-3, warm_up=2, clip=1.0, loss_batch=4)
CONFIG = TrainConfig(LEARNER, epochs=4, measure_every=2, best_by="pck", log_every=1, bar=False)


def network(seed=0, side=64):
    torch.manual_seed(seed)
    return RTMPose(RTMPoseConfig("t", 0.167, 0.125, (side, side), dim=64, attention_dim=32))


def alone():
    return StudentAlone(network(), 4)


def coarse():
    return StudentAlone(network(), 4, coarse=0.05)


def stage_one(side=64):
    return StageOne(network(1, side).eval(), network(0, side), 4)


def stage_one_as_released():
    return StageOne(network(1).eval(), network(), 4, teacher_training=True)


def stage_two():
    torch.manual_seed(3)
    return StageTwo(network(1).eval())


OBJECTIVES = [alone, coarse, stage_one, stage_one_as_released, stage_two]


class Stopping(PoolSource):
    """A source that tells its own process to stop before a certain batch is used."""

    stop_at = (1, 1)
    signal = signal.SIGINT

    def batches(self, epoch, start=0):
        for step, raw in enumerate(super().batches(epoch, start), start):
            if (epoch, step) == self.stop_at:
                os.kill(os.getpid(), self.signal)
            yield raw


def source(pool):
    return PoolSource(pool, 4, 2, seed=7)


@pytest.mark.parametrize("make", OBJECTIVES, ids=lambda make: make.__name__)
def test_two_and_two_epochs_equal_four(make, spot_pool, tmp_path):
    number = signal.SIGTERM if make is coarse else signal.SIGINT
    whole = Trainer(make(), source(spot_pool), CONFIG, tmp_path / "whole")
    assert whole.run()
    stopping = Stopping(spot_pool, 4, 2, seed=7)
    stopping.signal = number
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    first = Trainer(make(), stopping, CONFIG, tmp_path / "parts")
    assert not first.run()
    assert first.iteration == 4
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    # Other first weights: all must come from the checkpoint.
    again = make()
    with torch.no_grad():
        for parameter in again.student.parameters():
            parameter.add_(0.1)
    second = Trainer(again, source(spot_pool), CONFIG, tmp_path / "parts")
    assert second.iteration == 4
    assert second.run()
    expected, got = whole.learner.state()[0], second.learner.state()[0]
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=0, msg=name)
    losses = [
        [line["loss"] for line in read_log(tmp_path / name / "log.jsonl")]
        for name in ("whole", "parts")
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 8


def test_frozen_teachers_are_neither_changed_nor_stored(spot_pool, tmp_path):
    objective = stage_one()
    before = {k: v.clone() for k, v in objective.teacher.state_dict().items()}
    Trainer(objective, source(spot_pool), replace(CONFIG, epochs=1), tmp_path).run()
    for name, value in objective.teacher.state_dict().items():
        assert torch.equal(value, before[name])
    tensors, facts = load_state(tmp_path / "state.safetensors")
    assert not any("teacher" in name for name in tensors)
    assert facts == json.loads((tmp_path / "state.json").read_text())


@pytest.mark.parametrize("make", [alone, stage_one, stage_two], ids=lambda make: make.__name__)
def test_the_outcome_is_a_plain_network_that_loads(make, spot_pool, tmp_path):
    config = replace(CONFIG, epochs=2)
    trainer = Trainer(make(), source(spot_pool), config, tmp_path, measure=PoolMeasure(spot_pool))
    trainer.run()
    loaded = load_model(tmp_path / "model.safetensors")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = trainer.learner.plain_model()(images)
        for a, b in zip(loaded.module(images), expected, strict=True):
            torch.testing.assert_close(a, b)
    assert "4 of 4 iterations" in loaded.meta["note"]
    assert trainer.best == read_log(tmp_path / "log.jsonl")[-1]["measured"]["pck"]
    assert "best pck" in load_model(tmp_path / "best.safetensors").meta["note"]
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_the_best_weights_are_kept(spot_pool, tmp_path):
    scores = iter([0.5, 0.9, 0.7])
    kept = []

    def measure(model):
        kept.append(model)
        return {"pck": next(scores)}

    config = replace(CONFIG, epochs=3, measure_every=1)
    Trainer(alone(), source(spot_pool), config, tmp_path, measure=measure).run()
    best = load_model(tmp_path / "best.safetensors").module.state_dict()
    for name, value in kept[1].state_dict().items():
        assert torch.equal(best[name], value)


def test_other_settings_and_other_teachers_are_refused_in_the_same_folder(spot_pool, tmp_path):
    stopped = replace(CONFIG, minutes=0.0)
    trainer = Trainer(stage_one(), source(spot_pool), stopped, tmp_path)
    assert not trainer.run()
    assert trainer.iteration == 1
    faster = replace(CONFIG, learner=replace(LEARNER, rate=1.0))
    with pytest.raises(ValueError, match="learner"):
        Trainer(stage_one(), source(spot_pool), faster, tmp_path)
    other = StageOne(network(2), network(), 4)
    with pytest.raises(ValueError, match="teacher"):
        Trainer(other, source(spot_pool), CONFIG, tmp_path)
    assert Trainer(stage_one(), source(spot_pool), CONFIG, tmp_path).iteration == 1


@pytest.mark.parametrize(
    "numbers",
    [
        {"epochs": 0},
        {"schedule_epochs": 0},
        {"measure_every": 0},
        {"log_every": 0},
        {"minutes": -1},
    ],
)
def test_numbers_out_of_range_are_refused_before_the_work(numbers):
    (name,) = numbers
    with pytest.raises(ValueError, match=f"^{name} must be"):
        replace(CONFIG, **numbers)


def test_a_damaged_state_is_one_sentence(spot_pool, tmp_path):
    trainer = Trainer(alone(), source(spot_pool), replace(CONFIG, epochs=1), tmp_path)
    trainer.save()
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"state\.safetensors is damaged .*; remove it"):
        load_state(state)


def test_a_loss_that_is_not_finite_stops_before_weights_change(spot_pool, tmp_path):
    trainer = Trainer(alone(), source(spot_pool), CONFIG, tmp_path)
    before = {k: v.clone() for k, v in trainer.learner.objective.state_dict().items()}
    raw = dict(spot_pool.batch(np.arange(4)))
    raw["weights"] = torch.full_like(raw["weights"], torch.nan)
    with pytest.raises(FloatingPointError, match="iteration 0"):
        trainer.step(raw)
    for name, parameter in trainer.learner.objective.named_parameters():
        assert torch.equal(parameter, before[name])
    tensors, facts = load_state(tmp_path / "bad_batch.safetensors")
    assert torch.equal(tensors["image"], raw["image"])
    assert facts["losses"]["loss"] == "nan"


def test_the_network_learns_the_spot(spot_pool, tmp_path):
    still = VariationConfig(flip=0, rotate=0, zoom=(1, 1), shift=0, colour=0, drop=0)
    config = replace(CONFIG, learner=replace(LEARNER, rate=2e-3, loss_batch=8), epochs=1)
    Trainer(alone(), PoolSource(spot_pool, 8, 100, 0, still), config, tmp_path).run()
    losses = [line["loss"] for line in read_log(tmp_path / "log.jsonl") if "loss" in line]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_the_loss_does_not_depend_on_the_batch_where_it_is_scaled(spot_pool, tmp_path):
    def loss(rows, loss_batch):
        config = replace(CONFIG, learner=replace(LEARNER, loss_batch=loss_batch))
        trainer = Trainer(alone(), source(spot_pool), config, tmp_path)
        return trainer.step(spot_pool.batch(np.array(rows)))["loss_kpt"].item()

    assert loss([0, 1, 0, 1], 8) == pytest.approx(loss([0, 1], 8), rel=1e-4)
    assert loss([0, 1, 0, 1], None) == pytest.approx(2 * loss([0, 1], None), rel=1e-4)


def test_half_precision_trains(spots, tmp_path):
    images, keypoints, visibility = spots(16, 0)
    # Twice as large: on maps of 2x2 cells torch leaves those numbers of a bf16 gradient of a 7x7
    # kernel as they lay in memory that touch no cell (2.13, CPU).
    images = images.repeat(2, axis=1).repeat(2, axis=2)
    write_shard(tmp_path / "pool", "a", images, keypoints * 2, visibility)
    pool = CropPool(tmp_path / "pool")
    for precision in ("bf16", "fp16"):
        config = replace(CONFIG, learner=replace(LEARNER, precision=precision), epochs=1)
        trainer = Trainer(stage_one(128), source(pool), config, tmp_path / precision)
        exact = Trainer(stage_one(128), source(pool), CONFIG, tmp_path / "exact")
        raw = pool.batch(np.arange(4))
        got, expected = trainer.step(raw), exact.step(raw)
        assert got["loss"].item() == pytest.approx(expected["loss"].item(), rel=0.02)
        assert got["loss"].item() != expected["loss"].item()
        assert trainer.run()
    _, facts = load_state(tmp_path / "fp16" / "state.safetensors")
    assert facts["learner"]["scaler"]["scale"] > 0
    with pytest.raises(ValueError, match="precision"):
        LearnerConfig(precision="fp8")


def test_lines_of_the_log_after_the_checkpoint_are_dropped(tmp_path):
    with Journal(tmp_path, 0, 10, 4, bar=False) as journal:
        for iteration in (1, 2, 3):
            journal.write(iteration, {"loss": float(iteration)})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"iteration": 4, "lo')
    with Journal(tmp_path, 2, 10, 4, bar=False) as journal:
        journal.write(3, {"loss": 30.0})
    assert [line["loss"] for line in read_log(tmp_path / "log.jsonl")] == [1.0, 2.0, 30.0]


def test_tensorboard_is_written_or_asked_for(tmp_path):
    pytest.importorskip("tensorboard")
    with Journal(tmp_path, 0, 10, 4, tensorboard=True, bar=False) as journal:
        journal.write(1, {"loss": 1.0, "measured": {"pck": 0.5}})
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    assert b"loss" in content
    assert b"measured/pck" in content


def test_absent_tensorboard_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match="pip install"):
        Journal(tmp_path, 0, 10, 4, tensorboard=True, bar=False)


def test_moments_come_back_in_the_layout_of_their_parameters(spot_pool, tmp_path):
    """CUDA's fused optimizer asks for it, and a file has lost it."""
    config = replace(CONFIG, epochs=1)
    Trainer(alone(), source(spot_pool), config, tmp_path).run()
    learner = Trainer(alone(), source(spot_pool), config, tmp_path).learner
    strides = {
        (parameter.stride(), moment.stride())
        for parameter, state in learner.optimizer.state.items()
        for moment in (state["exp_avg"], state["exp_avg_sq"])
    }
    assert all(own == moment for own, moment in strides)
    # Some are channels last, where contiguous ones would differ.
    assert any(len(own) == 4 and own[1] == 1 and own[2] > 1 for own, _ in strides)


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="needs Linux's list of mapped files"
)
def test_a_run_that_goes_on_lets_go_of_its_state(spot_pool, tmp_path):
    config = replace(CONFIG, epochs=1)
    assert Trainer(alone(), source(spot_pool), config, tmp_path).run()
    again = Trainer(alone(), source(spot_pool), config, tmp_path)
    assert again.finished
    # Windows replaces no file that is mapped.
    assert str(tmp_path / "state.safetensors") not in Path("/proc/self/maps").read_text()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_trains_resumes_and_stops_for_a_bad_loss(spot_pool, tmp_path):
    ranks = Ranks(torch.device("cuda", 0))
    config = replace(CONFIG, learner=replace(LEARNER, precision="bf16"), epochs=2)
    assert Trainer(stage_one(), source(spot_pool), config, tmp_path, ranks).run()
    again = Trainer(stage_one(), source(spot_pool), config, tmp_path, ranks)
    assert again.finished
    raw = dict(spot_pool.batch(np.arange(4)))
    raw["weights"] = torch.full_like(raw["weights"], torch.nan)
    again.step(raw)
    with pytest.raises(FloatingPointError, match="iteration 4"):
        again.save()
    tensors, _ = load_state(tmp_path / "bad_batch.safetensors")
    assert torch.equal(tensors["image"], raw["image"])
