"""Labelled photos as training batches: COCO-WholeBody, UBody or one's own folder.

A set is read into `LabelledPeople` (columns, one row a person); `build_loader` mixes sets, cuts the
people out, varies the crops and yields batches::

    train = [load_coco_wholebody("data/coco", "train"), *load_ubody("data/UBody", "train")]
    loader = build_loader(train, (256, 192), 64, seed=0, gentle_from=gentle_epoch(270))
    for epoch in range(270):
        for batch in loader.batches(epoch):
            batch["image"]  # uint8 [N, H, W, 3] RGB; also "keypoints", "weights" and "id"
"""

from __future__ import annotations

from .augment import GENTLE, PLAIN, STRONG, Augmentation, augmentation_of, vary
from .coco_wholebody import load_coco_wholebody
from .labels import LabelledPeople, check_disjoint
from .loader import CropLoader, Sample, build_loader, plain_batches
from .own_folder import load_own_folder, split_people
from .sampling import gentle_epoch
from .ubody import SCENES, load_ubody

__all__ = [
    "GENTLE",
    "PLAIN",
    "SCENES",
    "STRONG",
    "Augmentation",
    "CropLoader",
    "LabelledPeople",
    "Sample",
    "augmentation_of",
    "build_loader",
    "check_disjoint",
    "gentle_epoch",
    "load_coco_wholebody",
    "load_own_folder",
    "load_ubody",
    "plain_batches",
    "split_people",
    "vary",
]
