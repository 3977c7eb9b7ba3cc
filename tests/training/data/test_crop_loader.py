"""Batches: what they hold, that they are repeatable, and what becomes of bad pictures."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dwpose.training.data import (
    GENTLE,
    PLAIN,
    STRONG,
    CropLoader,
    build_loader,
    gentle_epoch,
    load_coco_wholebody,
)
from dwpose.training.data.loader import CropDataset
from dwpose.training.data.sampling import Draw, EpochSampler, epoch_order

SIZE_HW = (64, 48)


def loader(root: Path, batch: int = 4, seed: int = 3, **changes) -> CropLoader:
    settings = {"workers": 0, **changes}
    return build_loader([load_coco_wholebody(root)], SIZE_HW, batch, seed, **settings)


def equal(a: Iterator, b: Iterator) -> bool:
    first, second = list(a), list(b)
    assert len(first) == len(second) > 0
    return all(torch.equal(x[key], y[key]) for x, y in zip(first, second, strict=True) for key in x)


def test_a_batch_is_what_the_trainer_takes(make_coco):
    batches = list(loader(make_coco(6)).batches(0))
    assert len(batches) == 2  # six people, the last batch filled up
    for batch in batches:
        assert set(batch) == {"image", "keypoints", "weights", "id"}
        assert batch["image"].shape == (4, *SIZE_HW, 3)
        assert batch["image"].dtype == torch.uint8
        assert batch["keypoints"].shape == (4, 133, 2)
        assert batch["keypoints"].dtype == batch["weights"].dtype == torch.float32
        assert batch["weights"].shape == (4, 133)
        assert batch["id"].dtype == torch.int64
    shown = torch.cat([batch["id"] for batch in batches])
    assert set(shown[:6].tolist()) == set(range(6))


def test_workers_do_not_matter(make_coco):
    root = make_coco(6)
    alone, helped = loader(root), loader(root, workers=2)
    for epoch in (0, 1):  # the second with the same, persistent workers
        assert equal(alone.batches(epoch), helped.batches(epoch))
    assert not equal(alone.batches(0), alone.batches(1))
    assert not equal(alone.batches(0), loader(root, seed=4).batches(0))


def test_an_epoch_goes_on_in_its_middle(make_coco):
    root = make_coco(9)
    whole = list(loader(root, 2).batches(5))
    resumed = list(loader(root, 2, workers=1).batches(5, start=3))
    assert len(whole) == len(resumed) + 3 == 5
    assert equal(iter(whole[3:]), iter(resumed))
    with pytest.raises(ValueError, match="start"):
        next(loader(root).batches(0, start=9))


def test_an_epoch_that_was_left_does_not_leak_into_the_next(make_coco):
    left = loader(make_coco(9), 1, workers=1)
    for _ in left.batches(0):
        break
    assert equal(left.batches(1), loader(make_coco(9), 1).batches(1))


def test_processes_share_one_batch(make_coco):
    root = make_coco(9)
    one = list(loader(root, 4).batches(1))
    two = [list(loader(root, 2, rank=rank, world=2).batches(1)) for rank in range(2)]
    assert len(one) == len(two[0]) == len(two[1]) == 3
    for whole, *parts in zip(one, *two, strict=True):
        # The same people with the same variation, in whatever order.
        order = torch.argsort(whole["id"], stable=True)
        joined = {key: torch.cat([part[key] for part in parts]) for key in whole}
        mixed = torch.argsort(joined["id"], stable=True)
        for key in whole:
            assert torch.equal(whole[key][order], joined[key][mixed])


def test_the_random_state_of_torch_is_left_alone(make_coco):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(loader(make_coco(4)).batches(0))
    assert torch.equal(before, torch.get_rng_state())


def test_everybody_comes_once_before_anybody_comes_twice():
    order = epoch_order(7, 25, seed=0, epoch=2)
    for first in (0, 7, 14):
        assert sorted(order[first : first + 7]) == list(range(7))
    assert len(order) == 25


def test_repeats_within_an_epoch_are_varied_anew(make_coco):
    (batch,) = loader(make_coco(1), 4).batches(0)
    assert batch["id"].tolist() == [0] * 4
    assert not torch.equal(batch["keypoints"][0], batch["keypoints"][1])


def test_epochs_of_chosen_length(make_coco):
    assert len(list(loader(make_coco(3), 4, iterations=5).batches(0))) == 5
    assert len(loader(make_coco(3), 4, iterations=5)) == 5


def test_the_late_switch(make_coco):
    assert gentle_epoch(270) == 240
    assert gentle_epoch(60) == 53
    root = make_coco(6)
    both = loader(root, gentle_from=2, strong=PLAIN, gentle=GENTLE)
    assert equal(both.batches(1), loader(root, strong=PLAIN).batches(1))
    assert equal(both.batches(2), loader(root, strong=GENTLE).batches(2))
    assert not equal(both.batches(2), loader(root, strong=STRONG).batches(2))


def test_bad_pictures_are_reported_skipped_and_counted(make_coco, caplog):
    root = make_coco(6)
    pictures = sorted((root / "train2017").iterdir())
    pictures[0].unlink()
    pictures[1].write_bytes(pictures[1].read_bytes()[:200])
    pictures[2].write_text("no picture")
    for workers in (0, 2):
        caplog.clear()
        spoiled = loader(root, workers=workers)
        with caplog.at_level(logging.WARNING, logger="dwpose"):
            for epoch in range(3):
                for batch in spoiled.batches(epoch):
                    assert len(batch["id"]) == 4
                    assert not set(batch["id"].tolist()) & {0, 1, 2}
        assert spoiled.skipped == 3
        assert set(spoiled.faults) == {str(path) for path in pictures[:3]}
        assert caplog.text.count("skipped /") == 3  # once each, not once an epoch
        assert caplog.text.count("3 pictures skipped so far, of 6 people") == 1
    assert equal(loader(root).batches(0), loader(root, workers=2).batches(0))


@pytest.mark.parametrize("workers", [0, 2])
def test_no_picture_at_all_stops_with_advice(make_coco, workers):
    root = make_coco(3)
    for path in (root / "train2017").iterdir():
        path.unlink()
    with pytest.raises(OSError, match=r"^50 pictures in a row .*: dwpose data check$"):
        next(loader(root, workers=workers).batches(0))


def test_a_sample_can_be_looked_up(make_coco):
    sets = [load_coco_wholebody(make_coco(n, split, first=n * 10), split) for n, split in
            ((3, "train"), (2, "val"))]  # fmt: skip
    mixed = build_loader(sets, SIZE_HW, 5, 0, workers=0)
    assert mixed.people == 5
    (batch,) = mixed.batches(0)
    assert sorted(batch["id"].tolist()) == list(range(5))
    text = mixed.describe(3)
    assert "coco val2017" in text
    assert "annotation 120" in text
    assert "000000000020.jpg" in text


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"seed": -1}, {"rank": 2, "world": 2}], ids=["batch", "seed", "rank"]
)
def test_numbers_out_of_range_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EpochSampler(**{"count": 3, "batch": 2, "seed": 0, **wrong})


def test_workers_can_be_started_anew(make_coco):
    # Where processes are not forked, the sets travel to them.
    made = CropDataset([load_coco_wholebody(make_coco(3))], SIZE_HW, seed=2)
    copy = pickle.loads(pickle.dumps(made))
    draw = Draw(1, 2, 0, gentle=False)
    np.testing.assert_array_equal(made[draw]["image"], copy[draw]["image"])


def test_crops_are_as_tight_as_asked(make_coco):
    sets = [load_coco_wholebody(make_coco(3))]
    usual, tight = (CropDataset(sets, SIZE_HW, padding=padding) for padding in (1.25, 1.0))
    spans = [np.ptp(made.plain(0)["keypoints"], axis=0) for made in (usual, tight)]
    np.testing.assert_allclose(spans[1], 1.25 * spans[0], rtol=1e-4)


def test_nobody_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        build_loader([], SIZE_HW, 4, 0)


def test_order_is_the_same_on_every_machine():
    # Recorded: a resumed run has to find the order of the run that it goes on with.
    sampler = EpochSampler(10, 4, seed=21)
    sampler.set_epoch(3)
    people = [[draw.person for draw in batch] for batch in sampler]
    assert people == [[5, 7, 2, 4], [6, 9, 8, 3], [0, 1, 5, 8]]
