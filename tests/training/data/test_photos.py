"""Photos read fast are the photos that are read carefully."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dwpose.io.images import load_image
from dwpose.training.data import photos
from dwpose.training.data.photos import read_photo

from .conftest import picture

KINDS = {
    "plain.jpg": ("RGB", {"quality": 90}),
    "progressive.jpg": ("RGB", {"progressive": True}),
    "grey.jpg": ("L", {}),
    "cmyk.jpg": ("CMYK", {}),
    "plain.png": ("RGB", {}),
    "alpha.png": ("RGBA", {}),
    "palette.png": ("P", {}),
    "sixteen.png": ("I;16", {}),
    "other.webp": ("RGB", {"lossless": True}),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_reads_as_it_does_elsewhere(name: str, tmp_path: Path):
    mode, options = KINDS[name]
    image = Image.fromarray(picture(3))
    if mode == "I;16":
        image = Image.fromarray(picture(3)[..., 0].astype(np.uint16) * 200)
    elif mode == "RGBA":
        image.putalpha(Image.fromarray(picture(4)[..., 0]))
    else:
        image = image.convert(mode)
    image.save(tmp_path / name, **options)
    np.testing.assert_array_equal(read_photo(tmp_path / name), load_image(tmp_path / name))


def test_rotation_flags_are_obeyed(tmp_path: Path):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.jpg"
        Image.fromarray(picture(5)).save(path, exif=exif)
        image = read_photo(path)
        assert image.shape[:2] == ((96, 128) if orientation < 5 else (128, 96))
        np.testing.assert_array_equal(image, load_image(path))


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_cut_files_are_refused(name: str, tmp_path: Path):
    path = tmp_path / name
    Image.fromarray(picture(6)).save(path)
    data = path.read_bytes()
    for kept in (0, 10, len(data) // 2, len(data) * 3 // 4):
        path.write_bytes(data[:kept])
        with pytest.raises((OSError, ValueError)):
            read_photo(path)
    with pytest.raises(OSError, match="nowhere"):
        read_photo(tmp_path / "nowhere.jpg")


def test_common_photos_take_the_fast_way(tmp_path: Path, monkeypatch):
    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} was read slowly")

    for name in ("a.jpg", "a.png"):
        Image.fromarray(picture(7)).save(tmp_path / name)
    monkeypatch.setattr(photos, "load_image", refuse)
    for name in ("a.jpg", "a.png"):
        assert read_photo(tmp_path / name).shape == (96, 128, 3)
