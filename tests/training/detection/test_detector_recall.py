"""Recall, precision and AP of a detector, on cases counted by hand."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import pytest

from dwpose.detector import PersonDetector
from dwpose.io.coco import read_annotations
from dwpose.training.detection.recall import Truth, detector_scores, match_people, score_photos
from dwpose.types import Boxes


def boxes(*rows: tuple[float, ...]) -> Boxes:
    array = np.array(rows, np.float32).reshape(-1, 5)
    return Boxes(array[:, :4], array[:, 4])


def truth(*rows: tuple[float, ...], small: int = 0) -> Truth:
    array = np.array(rows, np.float32).reshape(-1, 4)
    return Truth(array, np.arange(len(array)) < len(array) - small)


ONE, TWO, SMALL = (0, 0, 10, 40), (20, 0, 30, 40), (50, 0, 54, 8)


def test_a_person_is_found_once():
    found = boxes((*ONE, 0.6), (*ONE, 0.9), (20, 0, 30, 15, 0.8), (*SMALL, 0.7))
    hit, counts = match_people(found, truth(ONE, TWO, SMALL, small=1))
    assert hit.tolist() == [False, True, False, False]  # twice; found; overlaps by 0.375; small
    assert counts.tolist() == [True, True, True, False]


def test_counts():
    found = [boxes((*ONE, 0.9), (*TWO, 0.2), (70, 0, 80, 40, 0.5)), boxes(), boxes((*ONE, 0.8))]
    truths = [truth(ONE, TWO, SMALL, small=1), truth(ONE), truth()]
    scores = detector_scores(found, truths, threshold=0.3)
    assert (scores.pictures, scores.people) == (3, 3)
    assert scores.recall == pytest.approx(1 / 3)
    assert scores.precision == pytest.approx(1 / 3)
    assert scores.false_per_picture == pytest.approx(2 / 3)
    # In falling score: right, wrong, wrong, right. Precision is 1 up to a recall of a third (34 of
    # 101 recalls), 2 / 4 up to two thirds (33), and 0 beyond.
    assert scores.ap50 == pytest.approx((34 + 33 * 0.5) / 101)


def test_everything_found_and_nobody_there():
    perfect = detector_scores([boxes((*ONE, 0.9))], [truth(ONE)])
    assert perfect.recall == perfect.precision == perfect.ap50 == 1
    empty = detector_scores([boxes()], [truth()])
    assert (empty.people, empty.recall, empty.false_per_picture, empty.ap50) == (0, 0, 0, 0)


def test_photos(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 80, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    people = [(0, 0, 20, 40, 0), (30, 0, 10, 20, 0), (40, 50, 40, 50, 1)]
    document = {
        "images": [
            {"id": i, "file_name": f"elsewhere/{n}.png", "height": 100, "width": 80}
            for i, n in enumerate("ab")
        ],
        "annotations": [
            {
                "id": i,
                "image_id": 0,
                "category_id": 1,
                "keypoints": [0] * 51,
                "bbox": person[:4],
                "area": 1.0,
                "iscrowd": person[4],
            }
            for i, person in enumerate(people)
        ],
    }

    def detector(images: Any, score_threshold: float) -> list[Boxes]:
        assert images[0].shape == (100, 80, 3)
        return [boxes((0, 0, 20, 42, 0.9), (40, 52, 80, 100, 0.8), (30, 0, 40, 20, 0.7))]

    scores, faults = score_photos(
        cast(PersonDetector, detector), read_annotations(document), tmp_path
    )
    assert list(faults) == ["elsewhere/b.png"]
    # One is large enough, one small, one a crowd: the last two were found and count for nothing.
    assert (scores.pictures, scores.people, scores.recall, scores.precision) == (1, 1, 1, 1)
