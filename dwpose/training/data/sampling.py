"""In which order people are shown: a function of the seed and the epoch, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One sample to make; it says all that its chance depends on.

    Attributes:
        epoch: zero-based.
        person: who, an index into all sets joined.
        turn: how often the person was shown in this epoch before.
        gentle: which pipeline.
    """

    epoch: int
    person: int
    turn: int
    gentle: bool


def gentle_epoch(epochs: int) -> int:
    """Return the epoch (zero-based) from which the gentle pipeline is used.

    The configs switch 30 epochs before the end of 270; other lengths keep that share, a ninth.
    """
    return epochs - round(epochs / 9)


def epoch_order(count: int, total: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Shuffle: `total` indices below `count`, each person once before anybody comes twice."""
    rng = np.random.default_rng((seed, epoch))
    turns = -(-total // count)
    return np.concatenate([rng.permutation(count) for _ in range(turns)])[:total]


class EpochSampler(Sampler[list[Draw]]):
    """Batches of one process.

    The batch that all processes make together is a piece of one shuffled order, whatever their
    number: N processes with a batch of B see what one process with a batch of N * B sees. Sets are
    joined end to end, as in the originals: everybody is shown once an epoch. The last batch is
    filled up with people of a second shuffle, so that all batches are whole and nobody is left out.

    Args:
        count: people.
        batch: crops a batch and process.
        seed: any integer of at least 0.
        rank: which process this is.
        world: how many processes there are.
        iterations: batches an epoch; None for one pass over all people.
        gentle_from: epoch from which the gentle pipeline is used; None for never.

    Raises:
        ValueError: there is nobody, or a number is out of range.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        iterations: int | None = None,
        gentle_from: int | None = None,
    ) -> None:
        if count < 1:
            raise ValueError("datasets must hold at least one labelled person")
        if batch < 1 or not 0 <= rank < world or seed < 0:
            raise ValueError(
                "batch must be at least 1, seed at least 0 and rank below world; "
                f"got batch={batch}, seed={seed}, rank={rank}, world={world}"
            )
        if iterations is not None and iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {iterations}")
        self.count, self.batch, self.seed = count, batch, seed
        self.rank, self.world = rank, world
        self.batches = -(-count // (batch * world)) if iterations is None else iterations
        self._gentle_from = gentle_from
        self._epoch, self._start = 0, 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch (zero-based) and how many of its batches are passed over.

        Raises:
            ValueError: the epoch has no such batch.
        """
        if epoch < 0 or not 0 <= start <= self.batches:
            raise ValueError(f"start must be 0 to {self.batches} and epoch at least 0, got {start}")
        self._epoch, self._start = epoch, start

    def __len__(self) -> int:
        return self.batches - self._start

    def __iter__(self) -> Iterator[list[Draw]]:
        step = self.batch * self.world
        total = self.batches * step
        order = epoch_order(self.count, total, self.seed, self._epoch)
        gentle = self._gentle_from is not None and self._epoch >= self._gentle_from
        for first in range(self._start * step, total, step):
            places = range(first + self.rank, first + step, self.world)
            yield [Draw(self._epoch, int(order[i]), i // self.count, gentle) for i in places]
