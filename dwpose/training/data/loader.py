"""Batches of varied crops, made by worker processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, TypedDict

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from ...geometry import BOX_PADDING
from ..batch import RawBatch
from .augment import GENTLE, PLAIN, STRONG, Augmentation, vary
from .labels import LabelledPeople
from .photos import read_photo
from .sampling import Draw, EpochSampler

log = logging.getLogger("dwpose")

# Pictures in a row that cannot be read before it is no longer an accident.
GIVE_UP_AFTER: Final = 50


class UnreadablePhotos(OSError):
    """Picture after picture could not be read."""


class Sample(TypedDict):
    """One crop, as the dataset gives it.

    Keys:
        image: uint8 [H, W, 3], RGB.
        keypoints: float32 [133, 2], crop pixels.
        weights: float32 [133], 1 where labelled, 0 where not taught.
        id: the person, an index into all sets joined (see `CropLoader.describe`).
        faults: pictures that could not be read on the way here, with the reasons.
    """

    image: npt.NDArray[np.uint8]
    keypoints: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    id: int
    faults: dict[str, str]


class CropDataset(Dataset[Sample]):
    """Makes the sample that a `Draw` names.

    Args:
        parts: the sets.
        size_hw: height and width of the crops in pixels.
        seed: of the variation.
        strong: the first pipeline.
        gentle: the pipeline of the last epochs.
        padding: crops are boxes enlarged by this, as the network's config says.
    """

    def __init__(
        self,
        parts: Sequence[LabelledPeople],
        size_hw: tuple[int, int],
        seed: int = 0,
        strong: Augmentation = STRONG,
        gentle: Augmentation = GENTLE,
        padding: float = BOX_PADDING,
    ) -> None:
        self.parts, self.size_hw, self.seed = list(parts), size_hw, seed
        self.padding = padding
        self.strong, self.gentle = strong, gentle
        self._starts = np.array([0, *accumulate(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def place(self, index: int) -> tuple[LabelledPeople, int]:
        """Return the set of a person and the row there."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[part], int(index - self._starts[part])

    def __getitem__(self, draw: Draw) -> Sample:
        rng = np.random.default_rng((self.seed, draw.epoch, draw.person, draw.turn))
        settings = self.gentle if draw.gentle else self.strong
        index, faults = draw.person, dict[str, str]()
        for _ in range(GIVE_UP_AFTER):
            sample = self._make(index, rng, settings, faults)
            if sample is not None:
                return sample
            # Somebody else takes the place: batches stay whole, and the choice repeatable.
            index = int(rng.integers(len(self)))
        example, reason = next(iter(faults.items()))
        raise UnreadablePhotos(
            f"{GIVE_UP_AFTER} pictures in a row could not be read, such as {example} ({reason}); "
            "see what is missing with: dwpose data check"
        )

    def plain(self, index: int) -> Sample | None:
        """Return somebody as validation sees them, or None where the picture cannot be read."""
        return self._make(index, np.random.default_rng(0), PLAIN, {})

    def _make(
        self, index: int, rng: np.random.Generator, settings: Augmentation, faults: dict[str, str]
    ) -> Sample | None:
        people, row = self.place(index)
        path = people.file(row)
        try:
            image = read_photo(path)
        except (OSError, ValueError) as error:
            faults[str(path)] = str(error)
            return None
        crop, keypoints, weights = vary(
            image,
            people.boxes[row],
            people.keypoints[row],
            people.visible[row],
            self.size_hw,
            rng,
            settings,
            self.padding,
        )
        return Sample(image=crop, keypoints=keypoints, weights=weights, id=index, faults=faults)


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """Stack samples into tensors; `faults` are joined."""
    faults: dict[str, str] = {}
    for sample in samples:
        faults.update(sample["faults"])
    return {
        "image": torch.from_numpy(np.stack([sample["image"] for sample in samples])),
        "keypoints": torch.from_numpy(np.stack([sample["keypoints"] for sample in samples])),
        "weights": torch.from_numpy(np.stack([sample["weights"] for sample in samples])),
        "id": torch.tensor([sample["id"] for sample in samples]),
        "faults": faults,
    }


def _in_a_sentence(batches: Iterable[Any]) -> Iterator[Any]:
    """Take what a worker raises without its traceback, at whose end the sentence stands."""
    try:
        yield from batches
    except UnreadablePhotos as error:
        sentence = str(error).rpartition(f"{UnreadablePhotos.__name__}: ")[2].strip()
        raise UnreadablePhotos(sentence) from None


def _start_worker(_: int) -> None:
    # A worker is one of many processes: threads of its own would only get in the others' way.
    cv2.setNumThreads(0)


class CropLoader:
    """Batches of one epoch after the other; see `build_loader`.

    Attributes:
        batch: crops a batch, in this process.
        faults: pictures that could not be read so far, with the reasons.
    """

    def __init__(
        self, dataset: CropDataset, sampler: EpochSampler, workers: int, pin: bool, prefetch: int
    ) -> None:
        self._dataset, self._sampler = dataset, sampler
        self.batch = sampler.batch
        self.faults: dict[str, str] = {}
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin,
            worker_init_fn=_start_worker,
            persistent_workers=workers > 0,
            prefetch_factor=prefetch if workers else None,
            # Its own, or each epoch would draw a number from torch's and change what follows.
            generator=torch.Generator().manual_seed(dataset.seed),
        )

    @property
    def skipped(self) -> int:
        """Pictures that could not be read so far, each counted once."""
        return len(self.faults)

    @property
    def people(self) -> int:
        """Labelled people in all sets."""
        return len(self._dataset)

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return self._sampler.batches

    def batches(self, epoch: int, start: int = 0) -> Iterator[RawBatch]:
        """Yield the batches of an epoch; each also has `id`, int64 [N], see `describe`.

        Args:
            epoch: zero-based; decides the order, the variation and which pipeline.
            start: how many of its batches were seen already, for resuming within it.

        Raises:
            UnreadablePhotos: picture after picture could not be read.
        """
        self._sampler.set_epoch(epoch, start)
        before = self.skipped
        # One pass at a time: the workers stay from epoch to epoch.
        for batch in _in_a_sentence(self._loader):
            for path, reason in batch.pop("faults").items():
                if path not in self.faults:
                    log.warning("skipped %s: %s", path, reason)
                self.faults[path] = reason
            yield batch
        if self.skipped > before:
            log.warning("%d pictures skipped so far, of %d people", self.skipped, self.people)

    def describe(self, index: int) -> str:
        """Say who a sample's `id` is: set, annotation and picture."""
        people, row = self._dataset.place(index)
        return f"{people.name}, annotation {people.ids[row]}, {people.file(row)}"

    def files(self) -> set[Path]:
        """Return all pictures."""
        return {file for part in self._dataset.parts for file in part.files}


def build_loader(
    datasets: Sequence[LabelledPeople],
    size_hw: tuple[int, int],
    batch: int,
    seed: int,
    rank: int = 0,
    world: int = 1,
    *,
    workers: int = 8,
    gentle_from: int | None = None,
    iterations: int | None = None,
    strong: Augmentation = STRONG,
    gentle: Augmentation = GENTLE,
    padding: float = BOX_PADDING,
    prefetch: int = 4,
) -> CropLoader:
    """Make a loader over all people of some sets.

    What batch `i` of an epoch holds depends on the sets, the seed, the epoch and `i` alone: not on
    the number of workers, and only in its division on the number of processes.

    Args:
        datasets: the sets, joined end to end.
        size_hw: height and width of the crops in pixels.
        batch: crops a batch and process.
        seed: of order and variation.
        rank: which process this is.
        world: how many processes there are.
        workers: processes that make crops, at most one for each CPU core; 0 makes them in this one.
        gentle_from: epoch from which the gentle pipeline is used (see `gentle_epoch`); None for
            never.
        iterations: batches an epoch; None for one pass over everybody.
        strong: the first pipeline.
        gentle: that of the last epochs.
        padding: crops are boxes enlarged by this, as the network's config says.
        prefetch: batches that each worker makes ahead.

    Raises:
        ValueError: nobody is labelled, or a number is out of range.
    """
    dataset = CropDataset(datasets, size_hw, seed, strong, gentle, padding)
    sampler = EpochSampler(len(dataset), batch, seed, rank, world, iterations, gentle_from)
    workers = min(workers, os.cpu_count() or 1)
    return CropLoader(dataset, sampler, workers, torch.cuda.is_available(), prefetch)


def plain_batches(
    datasets: Sequence[LabelledPeople],
    size_hw: tuple[int, int],
    batch: int = 64,
    padding: float = BOX_PADDING,
) -> Iterator[RawBatch]:
    """Yield everybody once, as validation sees them; pictures that cannot be read are left out.

    Args:
        datasets: the sets.
        size_hw: height and width of the crops in pixels.
        batch: crops a batch at most.
        padding: crops are boxes enlarged by this, as the network's config says.
    """
    dataset = CropDataset(datasets, size_hw, padding=padding)
    samples: list[Sample] = []
    for person in range(len(dataset)):
        sample = dataset.plain(person)
        if sample is not None:
            samples.append(sample)
        if samples and (len(samples) == batch or person == len(dataset) - 1):
            made = collate(samples)
            del made["faults"]
            yield made
            samples = []
