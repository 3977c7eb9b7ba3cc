"""COCO-WholeBody data sets out, and in again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dwpose.io import coco
from dwpose.io.coco_write import save_annotations, to_coco_annotations
from dwpose.types import Boxes, People

HW = (120, 90)


def people(count, seed=0, ids=None):
    rng = np.random.default_rng(seed)
    return People(
        rng.uniform(0, 80, (count, 133, 2)),
        rng.uniform(0, 1, (count, 133)),
        Boxes(np.tile(np.array([[1.5, 2, 80, 100.25]], np.float32), (count, 1))),
        HW,
        ids,
    )


def test_what_is_written_is_read_again(tmp_path):
    frames = [people(2, 0, [4, 9]), People.empty(HW), people(1, 2)]
    path = save_annotations(to_coco_annotations(frames), tmp_path / "set.json")
    dataset = coco.load_annotations(path)
    assert [(i.id, i.height, i.width) for i in dataset.images.values()] == [
        (1, *HW), (2, *HW), (3, *HW)
    ]  # fmt: skip
    for number, frame in enumerate(frames):
        back = dataset.people(number + 1)
        assert len(back) == len(frame)
        shown = frame.scores >= 0.3
        np.testing.assert_array_equal(back.scores > 0, shown)
        np.testing.assert_array_equal(back.keypoints[shown], frame.keypoints[shown])
        assert not back.keypoints[~shown].any()
        np.testing.assert_allclose(back.boxes.xyxy, frame.boxes.xyxy)
    assert [a["id"] for a in json.loads(path.read_text())["annotations"]] == [1, 2, 3]


def test_flags_counts_and_names():
    frame = people(1)
    scores = frame.scores.copy()
    scores[0, 23:91] = 0
    keypoints = frame.keypoints.copy()
    keypoints[0, 112:] = np.nan
    frame = People(keypoints, scores, frame.boxes, HW)
    made = to_coco_annotations([frame], ["a.png"], threshold=0.5)
    assert made["images"][0]["file_name"] == "a.png"
    (entry,) = made["annotations"]
    assert not entry["face_valid"]
    assert not entry["righthand_valid"]
    assert entry["lefthand_valid"]
    assert entry["num_keypoints"] == (scores[0, :17] >= 0.5).sum()
    assert entry["bbox"] == [1.5, 2.0, 78.5, 98.25]
    assert "track_id" not in entry
    with pytest.raises(ValueError, match="file_names"):
        to_coco_annotations([frame], ["a", "b"])
