"""Rendered people on disk, and the scenes that are put together from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from dwpose.cli import main
from dwpose.training.detection import cutouts as module
from dwpose.training.detection.cutouts import FRAMED, WHOLE, Cutouts, tighten, write_cutouts
from dwpose.training.detection.scenes import Canvas, Composer, SceneConfig
from dwpose.training.detection.spoil import spoil


def block(height: int, width: int, owner: int = 1, colour: int = 200) -> np.ndarray:
    """A piece that is all person."""
    piece = np.full((height, width, 4), colour, np.uint8)
    piece[..., 3] = owner
    return piece


@pytest.fixture
def pool(tmp_path: Path) -> Cutouts:
    framed = block(60, 40, owner=0)
    framed[20:, 5:20, 3], framed[10:, 25:40, 3] = 1, 2
    write_cutouts(tmp_path, "00000", [block(50, 20), framed], [WHOLE, FRAMED])
    write_cutouts(tmp_path, "00001", [block(30, 30, colour=7)], [WHOLE])
    return Cutouts(tmp_path)


def test_pieces_come_back_as_they_were(pool: Cutouts, tmp_path: Path):
    assert len(pool) == 3
    assert pool.kind.tolist() == [WHOLE, FRAMED, WHOLE]
    np.testing.assert_array_equal(pool.piece(0), block(50, 20))
    assert pool.piece(1).shape == (60, 40, 4)
    np.testing.assert_array_equal(pool.piece(2), block(30, 30, colour=7))
    with pytest.raises(FileNotFoundError, match="synth cutouts"):
        Cutouts(tmp_path / "nothing")


def test_tighten():
    piece = np.zeros((6, 8, 4), np.uint8)
    piece[2:4, 3:7, 3] = 1
    assert tighten(piece, piece[..., 3] > 0).shape == (2, 4, 4)
    assert tighten(piece, piece[..., 3] > 5).shape == (1, 1, 4)


class StandIn:
    """Renders blocks and remembers its seeds."""

    batch = 16

    def __init__(self):
        self.seeds = []

    def sample(self, kind, seed):
        self.seeds.append(seed)
        return [block(4, 3, owner=1 + kind)] * self.batch


def test_rendering_goes_on_where_it_stopped(tmp_path: Path):
    renderer: Any = StandIn()
    module.render_cutouts(renderer, tmp_path, range(2), shard_size=32)
    assert len(set(renderer.seeds)) == 4
    module.render_cutouts(renderer, tmp_path, range(3), shard_size=32)
    assert len(renderer.seeds) == 6
    found = Cutouts(tmp_path)
    assert np.bincount(found.kind).tolist() == [48, 48]
    assert all(int(found.piece(i)[0, 0, 3]) == 1 + found.kind[i] for i in range(96))


def test_a_pasted_person_is_where_its_box_says():
    canvas = Canvas(np.zeros((100, 80, 3), np.uint8))
    canvas.paste(block(50, 20), (10, 30), (20, 50))
    canvas.paste(block(10, 10), (70, -10), (20, 40))
    np.testing.assert_array_equal(canvas.boxes(0.1), [(10, 30, 30, 80), (70, 0, 80, 30)])
    assert (canvas.image[30:80, 10:30] == 200).all()
    assert (canvas.image[:30, :70] == 0).all()


def test_boxes_shrink_to_what_is_seen():
    canvas = Canvas(np.zeros((100, 80, 3), np.uint8))
    canvas.paste(block(50, 20), (10, 30), (20, 50))
    canvas.paste(block(10, 10, colour=90), (0, 60), (80, 40))  # somebody before their legs
    np.testing.assert_array_equal(canvas.boxes(0.1), [(10, 30, 30, 60), (0, 60, 80, 100)])
    canvas.paste(block(10, 10), (0, 0), (80, 55), person=False)  # a thing before their head
    np.testing.assert_array_equal(canvas.boxes(0.05), [(10, 55, 30, 60), (0, 60, 80, 100)])
    np.testing.assert_array_equal(canvas.boxes(0.12), [(0, 60, 80, 100)])


def test_edges_show_no_hidden_colour():
    piece = block(40, 40, owner=0, colour=255)
    piece[10:30, 10:30] = (50, 50, 50, 1)
    canvas = Canvas(np.full((20, 20, 3), 50, np.uint8))
    canvas.paste(piece, (0, 0), (13, 13))
    assert canvas.image.max() <= 51


def test_scenes_are_filled_and_repeat(pool: Cutouts):
    composer = Composer(pool, SceneConfig(nobody=0.0, clutter=(1.0,)))
    first = composer.batch(12, 64, np.random.default_rng(3))
    again = composer.batch(12, 64, np.random.default_rng(3))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.boxes, again.boxes)
    assert first.images.shape == (12, 3, 64, 64)
    assert first.count.min() >= 1
    assert first.images.dtype == torch.uint8
    for boxes, count in zip(first.boxes, first.count, strict=True):
        assert (boxes[:count, 2:] > boxes[:count, :2]).all()
        assert boxes.min() >= 0
        assert boxes.max() <= 64
        assert (boxes[count:] == 0).all()


def test_nobody(pool: Cutouts):
    batch = Composer(pool, SceneConfig(nobody=1.0)).batch(6, 64, np.random.default_rng(0))
    assert batch.count.tolist() == [0] * 6
    assert batch.boxes.shape == (6, 1, 4)


def test_split_of_the_photos(pool: Cutouts, tmp_path: Path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(20):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((40, 40, 3), i, np.uint8))
    shown = [
        {int(photo[0, 0, 0]) for photo in Composer(pool, SceneConfig(folder, split))._photos}
        for split in ("train", "val", "all")
    ]
    assert shown[0] & shown[1] == set()
    assert shown[0] | shown[1] == shown[2] == set(range(20))


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SHARD_SIZE", 32)
    monkeypatch.setattr(module.render_cutouts, "__defaults__", (32, 0, None))
    folder, sheet = str(tmp_path / "cut"), tmp_path / "sheet.png"
    assert main(["synth", "cutouts", "-o", folder, "--count", "32", "--side", "64"]) == 0
    found = Cutouts(tmp_path / "cut")
    assert np.bincount(found.kind).tolist() == [16, 16]
    for i in np.flatnonzero(found.kind == WHOLE):
        mask = found.piece(int(i))[..., 3] > 0
        assert mask.any()
        assert tighten(found.piece(int(i)), mask).shape[:2] == mask.shape
    call = ["synth", "scenes", "-o", str(sheet), "--cutouts", folder, "--side", "64"]
    assert main([*call, "--count", "3", "--columns", "2"]) == 0
    drawn = cv2.imread(str(sheet))
    assert drawn is not None
    assert drawn.shape == (128, 128, 3)
    assert main([*call[:-4], "--cutouts", str(tmp_path / "none")]) == 1


def test_grain_is_alike_in_all_channels():
    """OpenCV fills one channel alone when it is told one deviation."""
    grey = np.full((64, 64, 3), 128, np.uint8)
    deviations = []
    for seed in range(60):
        rough = spoil(grey, np.random.default_rng(seed)).astype(np.float64)
        deviations.append((rough - cv2.blur(rough, (7, 7))).std(axis=(0, 1)))
    grainy = [d for d in deviations if d.max() > 3]
    assert len(grainy) > 5
    for deviation in grainy:
        assert deviation.max() < 3 * deviation.min()
