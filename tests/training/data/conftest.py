"""Tiny labelled sets in the published layouts, made of drawn pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dwpose.io.images import save_image
from dwpose.skeleton import PARTS
from dwpose.training.data.coco_wholebody import LISTS


def picture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A smooth picture unlike that of any other seed."""
    y, x = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin((x * (c + 1) + y * (3 - c) + 37 * seed) / 19) for c in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def annotation(number: int, image: int, **changes: Any) -> dict[str, Any]:
    """Somebody whose 133 points lie on a line within the box 20, 10, 60, 70."""
    points = np.zeros((133, 3))
    points[:, 0] = np.linspace(25, 75, 133)
    points[:, 1] = np.linspace(15, 75, 133)
    points[:, 2] = 2
    entry: dict[str, Any] = {
        LISTS[part]: points[where].ravel().tolist() for part, where in PARTS.items()
    }
    entry |= {"id": number, "image_id": image, "category_id": 1, "bbox": [20, 10, 60, 70]}
    entry |= {"iscrowd": 0, "num_keypoints": 17, "area": 3000}
    return entry | changes


def document(names: list[str], ids: list[int] | None = None, **extra: Any) -> dict[str, Any]:
    """A COCO file with one person on each picture."""
    numbers = ids or list(range(1, len(names) + 1))
    images = [
        {"id": number, "file_name": name, "height": 96, "width": 128}
        for number, name in zip(numbers, names, strict=True)
    ]
    people = [annotation(100 + number, number) for number in numbers]
    return {"images": images, "annotations": people, **extra}


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def make_coco(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a folder `coco` with some pictures of one person each."""

    def make(count: int = 6, split: str = "train", first: int = 1) -> Path:
        root = tmp_path / "coco"
        names = [f"{first + i:012d}.jpg" for i in range(count)]
        labels = document(names, list(range(first, first + count)))
        labels["categories"] = [{"id": 1, "name": "person"}]
        write_json(root / "annotations" / f"coco_wholebody_{split}_v1.0.json", labels)
        for i, name in enumerate(names):
            save_image(root / f"{split}2017" / name, picture(first + i))
        return root

    return make
