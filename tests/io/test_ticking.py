"""Long files can be stopped at any frame: what the caller raises comes through, at once."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dwpose.io import coco, coco_write, openpose_json, openpose_read
from dwpose.people import follow_people
from dwpose.types import Boxes, People

FRAMES = 6


class Stop(Exception):
    pass


class Ticker:
    """Counts calls; raises at the `last`."""

    def __init__(self, last: int | None = None) -> None:
        self.calls, self.last = 0, last

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.last:
            raise Stop


@pytest.fixture(scope="module")
def frames() -> list[People]:
    rng = np.random.default_rng(0)
    box = Boxes(np.array([[0, 0, 50, 50]], np.float32), np.ones(1, np.float32))
    points = rng.uniform(5, 45, (133, 2))
    return [
        People((points + i)[None], np.full((1, 133), 0.9), box, (80, 80)) for i in range(FRAMES)
    ]


@pytest.fixture(scope="module")
def works(frames):
    """Everything that goes through many frames, by name: a function of a tick and a folder."""
    written = openpose_json.to_pose_keypoint(frames)
    data_set = coco_write.to_coco_annotations(frames)
    results = [
        result for i, people in enumerate(frames) for result in coco.to_coco_results(people, i)
    ]
    sizes = dict.fromkeys(range(FRAMES), (80, 80))
    return {
        "to": lambda tick, _: openpose_json.to_pose_keypoint(frames, on_frame=tick),
        "save": lambda tick, folder: openpose_json.save(frames, folder / "a.json", on_frame=tick),
        "save each": lambda tick, folder: openpose_json.save(
            frames, folder / "a", per_frame=True, on_frame=tick
        ),
        "from": lambda tick, _: openpose_json.from_pose_keypoint(written, on_frame=tick),
        "parse": lambda tick, _: openpose_read.parse_json(json.dumps(written), tick),
        "parse coco": lambda tick, _: openpose_read.parse_json(json.dumps(data_set), tick),
        "to coco": lambda tick, _: coco_write.to_coco_annotations(frames, on_frame=tick),
        "save coco": lambda tick, folder: coco_write.save_annotations(
            data_set, folder / "a.json", tick
        ),
        "coco": lambda tick, _: coco.read_annotations(data_set, tick),
        "coco results": lambda tick, _: coco.read_results(results, sizes, tick),
        "follow": lambda tick, _: follow_people(frames, [0], 4, on_frame=tick),
    }


NAMES = (
    *("to", "save", "save each", "from", "parse", "parse coco", "to coco", "save coco"),
    *("coco", "coco results", "follow"),
)


@pytest.mark.parametrize("name", NAMES)
def test_it_tells_of_every_frame(works, tmp_path, name):
    ticker = Ticker()
    works[name](ticker, tmp_path)
    # Who is followed is known in the frame where they were chosen.
    assert ticker.calls >= FRAMES - (name == "follow")


@pytest.mark.parametrize("name", NAMES)
def test_it_stops_whenever_it_is_told_to(works, tmp_path, name):
    whole = Ticker()
    works[name](whole, tmp_path / "whole")
    for call in range(1, whole.calls + 1):
        folder = tmp_path / str(call)
        with pytest.raises(Stop):
            works[name](Ticker(call), folder)
        left = [path.name for path in folder.glob("**/*") if path.is_file()]
        # No half file: of one file nothing, of one for each frame those that were finished.
        assert [n for n in left if name != "save each" or not n.endswith("_keypoints.json")] == []


def test_the_pieces_make_the_same_file(frames, tmp_path):
    [path] = openpose_json.save(frames, tmp_path / "a.json")
    written = openpose_json.to_pose_keypoint(frames)
    assert path.read_text() == json.dumps(written, separators=(",", ":"))
    document = coco_write.to_coco_annotations(frames) | {"info": {"year": 2026}}
    path = coco_write.save_annotations(document, tmp_path / "b.json")
    assert path.read_text() == json.dumps(document, separators=(",", ":"))
