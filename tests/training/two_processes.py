"""What each process of `test_distributed.py` runs under torchrun: all kinds, into FOLDER/KIND."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from dwpose.models.rtmpose import RTMPose, RTMPoseConfig
from dwpose.training.distill import StageOne, StageTwo
from dwpose.training.distributed import join, leave
from dwpose.training.learner import LearnerConfig
from dwpose.training.plots import CURVES
from dwpose.training.supervised import StudentAlone
from dwpose.training.trainer import TrainConfig, Trainer

WHOLE = 4


def network(seed):
    torch.manual_seed(seed)
    model = RTMPose(RTMPoseConfig("t", 0.167, 0.125, (64, 64), dim=64, attention_dim=32))
    # Curves that say something, or the teachers' would all be flat.
    with torch.no_grad():
        model.head.cls_x.weight *= 20
        model.head.cls_y.weight *= 20
    return model


class Slices:
    """Random batches of which each process takes its part."""

    def __init__(self, rank, world):
        self.rank, self.world, self.batch = rank, world, WHOLE // world

    def __len__(self):
        return 3

    def batches(self, epoch, start=0):
        for step in range(start, 3):
            dice = torch.Generator().manual_seed(step)
            part = slice(self.rank, None, self.world)
            image = torch.randint(0, 256, (WHOLE, 64, 64, 3), generator=dice, dtype=torch.uint8)
            keypoints = torch.rand(WHOLE, 133, 2, generator=dice) * 64
            weights = (torch.rand(WHOLE, 133, generator=dice) > 0.3).float()
            yield {"image": image[part], "keypoints": keypoints[part], "weights": weights[part]}


KINDS = {
    "alone": lambda: StudentAlone(network(0), 1),
    "stage_one": lambda: StageOne(network(1).eval(), network(0), 1),
    "stage_two": lambda: StageTwo(network(1).eval(), network(2).head),
}


def main(folder):
    torch.set_num_threads(1)
    ranks = join("cpu")
    for kind, make in KINDS.items():
        learner = LearnerConfig(rate=1e-4, warm_up=2, loss_batch=64)
        config = TrainConfig(learner, epochs=1, log_every=1, bar=False)
        source = Slices(ranks.rank, ranks.world)
        Trainer(make(), source, config, Path(folder) / kind, ranks).run()
        # Written by the first process, and there for all when a run is over.
        assert (Path(folder) / kind / CURVES).exists()
    leave()


if __name__ == "__main__":
    main(sys.argv[1])
