"""What learns, compiled: the same losses, from the functions that were meant to be compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from dwpose.models.rtmpose import RTMPose, RTMPoseConfig
from dwpose.training.batch import PoseBatch
from dwpose.training.distill import StageOne, StageTwo
from dwpose.training.distributed import Ranks
from dwpose.training.learner import Learner, LearnerConfig
from dwpose.training.losses import kd_loss, kl_discrete_loss
from dwpose.training.supervised import StudentAlone


def network(seed: int = 0) -> RTMPose:
    torch.manual_seed(seed)
    return RTMPose(RTMPoseConfig("t", 0.167, 0.125, (64, 64), dim=64, attention_dim=32))


def alone() -> StudentAlone:
    return StudentAlone(network(), coarse=0.05)


def stage_one() -> StageOne:
    return StageOne(network(1), network(), 1)


def stage_two() -> StageTwo:
    teacher = network(1)
    return StageTwo(teacher, network().head)


def batch() -> PoseBatch:
    torch.manual_seed(5)
    curves = torch.rand(2, 133, 128)
    return PoseBatch(torch.randn(2, 3, 64, 64), curves, curves.flip(-1), torch.ones(2, 133))


def learner(make: Callable[[], torch.nn.Module], compile: bool) -> Learner:
    return Learner(make(), LearnerConfig(compile=compile), 4, Ranks(torch.device("cpu")))


@pytest.mark.parametrize(
    ("make", "functions", "networks"),
    [
        (alone, [kl_discrete_loss], 3),  # the coarse maps, the student's backbone and head
        (stage_one, [kl_discrete_loss, kd_loss], 4),
        (stage_two, [kd_loss], 3),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_curves_losses_and_networks_are_compiled(make, functions, networks, monkeypatch):
    compiled = []
    # Traced as a whole, but not made machine code of, for which torch takes a minute.
    real = partial(torch.compile, backend="eager", fullgraph=True)

    def compile(what, **_):
        compiled.append(what)
        return real(what) if what in functions else what  # networks would take long

    monkeypatch.setattr(torch, "compile", compile)
    plain = learner(make, compile=False).losses(batch(), 0)
    assert not compiled
    quick = learner(make, compile=True)
    assert compiled[: len(functions)] == functions
    assert len(compiled) == len(functions) + networks
    losses = quick.losses(batch(), 0)
    assert losses.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(losses[name], value)
    quick.descend(losses["loss"])
