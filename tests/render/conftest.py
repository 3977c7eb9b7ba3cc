"""People and pictures for the drawing tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from dwpose.types import Boxes, People

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Case:
    """Points of one golden picture, in double precision."""

    keypoints: np.ndarray
    scores: np.ndarray
    image_hw: tuple[int, int]

    def people(self) -> People:
        """The same as People, hence in single precision."""
        boxes = Boxes(np.tile(np.float32([0, 0, 1, 1]), (len(self.keypoints), 1)))
        return People(self.keypoints, self.scores, boxes, self.image_hw)


@pytest.fixture(scope="session")
def case() -> Callable[[str], Case]:
    """A function from a case's name to its points."""
    cases = {c["name"]: c for c in json.loads((DATA / "cases.json").read_text())["cases"]}

    def load(name: str) -> Case:
        found = cases[name.removesuffix("_029")]
        people = found["people"]
        keypoints = np.array([p["keypoints"] for p in people], float).reshape(-1, 133, 2)
        scores = np.array([p["scores"] for p in people], float).reshape(-1, 133)
        if name.endswith("_029"):
            scores = np.where(scores == 0.3, 0.29, scores)
        return Case(keypoints, scores, (found["height"], found["width"]))

    return load


@pytest.fixture(scope="session")
def golden() -> Callable[[str, str], np.ndarray]:
    """A function from folder and case to the picture uint8 [H, W, 3], RGB."""

    @cache
    def load(folder: str, name: str) -> np.ndarray:
        picture = cv2.imread(str(DATA / folder / f"{name}.png"))
        assert picture is not None, f"{folder}/{name}.png is missing"
        picture = np.ascontiguousarray(picture[..., ::-1])
        picture.flags.writeable = False
        return picture

    return load
