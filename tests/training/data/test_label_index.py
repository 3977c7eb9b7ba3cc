"""The compact copy of a label file: equal to it, never stale, and never needed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from dwpose.training.data import LabelledPeople, coco_wholebody, load_coco_wholebody
from dwpose.training.data.index import index_file


@pytest.fixture
def reads(monkeypatch) -> list[Path]:
    """Label files that were read in full."""
    seen: list[Path] = []
    whole = coco_wholebody.read_json

    def count(path: Path):
        seen.append(path)
        return whole(path)

    monkeypatch.setattr(coco_wholebody, "read_json", count)
    return seen


def same(a: LabelledPeople, b: LabelledPeople) -> bool:
    columns = ("image_ids", "image_index", "ids", "boxes", "keypoints", "visible")
    facts = (a.name, a.source, a.files, dict(a.dropped)) == (b.name, b.source, b.files, b.dropped)
    return facts and all(np.array_equal(getattr(a, c), getattr(b, c)) for c in columns)


def test_the_second_time_the_copy_is_read(make_coco, reads):
    root = make_coco(4)
    first, second = load_coco_wholebody(root), load_coco_wholebody(root)
    assert len(reads) == 1
    assert same(first, second)
    assert second.visible.dtype == bool
    assert second.keypoints.dtype == np.float32


def test_another_place_of_the_data_is_no_matter(make_coco, reads):
    root = make_coco(2)
    load_coco_wholebody(root)
    moved = root.rename(root.with_name("elsewhere"))
    people = load_coco_wholebody(moved)
    assert len(reads) == 1
    assert all(file.is_file() for file in people.files)


def test_changed_labels_are_read_anew(make_coco, reads):
    root = make_coco(4)
    load_coco_wholebody(root)
    path = coco_wholebody.annotation_file(root, "train")
    labels = json.loads(path.read_text())
    labels["annotations"].pop()
    path.write_text(json.dumps(labels))
    assert len(load_coco_wholebody(root)) == 3
    os.utime(path, ns=(1, 1))
    assert len(load_coco_wholebody(root)) == 3
    assert len(reads) == 3


def test_a_damaged_copy_is_made_anew(make_coco, reads):
    root = make_coco(3)
    whole = load_coco_wholebody(root)
    copy = index_file(coco_wholebody.annotation_file(root, "train"), "train")
    data = copy.read_bytes()
    for spoiled in (b"", b"no archive", data[: len(data) // 2]):
        copy.write_bytes(spoiled)
        assert same(load_coco_wholebody(root), whole)
    assert len(reads) == 4
    assert copy.read_bytes() == data


def test_a_folder_that_cannot_be_written_is_no_matter(make_coco, reads, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("dwpose.training.data.index.write_atomically", refuse)
    root = make_coco(3)
    assert same(load_coco_wholebody(root), load_coco_wholebody(root))
    assert len(reads) == 2


def test_labels_that_went_away_are_missed(make_coco):
    root = make_coco(3)
    load_coco_wholebody(root)
    coco_wholebody.annotation_file(root, "train").unlink()
    with pytest.raises(FileNotFoundError):
        load_coco_wholebody(root)
