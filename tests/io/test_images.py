"""Every kind of picture becomes the same uint8 RGB, and every wrong one a sentence."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from dwpose.io.images import is_batch, load_image, load_images, read_text, save_image


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_a_png_comes_back_exactly(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png")
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, rgb)
    np.testing.assert_array_equal(load_image(str(tmp_path / "a.png")), rgb)


@pytest.mark.parametrize("name", ["人物.png", "Фото é ß.png", "a b'c.png", "🕺.png"])
def test_unicode_names_work_both_ways(tmp_path, rgb, name):
    save_image(tmp_path / name, rgb)
    np.testing.assert_array_equal(load_image(tmp_path / name), rgb)


def test_exif_rotation_is_applied(tmp_path, rgb):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned 90 degrees right
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), np.rot90(rgb, -1))


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_as_pillow_has_it(tmp_path, rgb, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), expected)


@pytest.mark.parametrize(
    ("exif", "turned"),
    [
        # Little-endian TIFF: the number of entries, then tag, type, count and value of each.
        (b"Exif\0\0no TIFF at all", False),
        # Orientation 6, and text where the resolution (0x011a) must be a fraction.
        (struct.pack("<6s4sIHHHIHHHHII", b"Exif", b"II*", 8, 2, 0x112, 3, 1, 6, 0, 0x11A, 2, 1, 0)
         + b"x" * 4 + bytes(4), True),
        # Orientation as text.
        (struct.pack("<6s4sIHHHI4sI", b"Exif", b"II*", 8, 1, 0x112, 2, 4, b"six", 0), False),
    ],
)  # fmt: skip
def test_damaged_exif_does_not_spoil_a_picture(tmp_path, rgb, exif, turned):
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    expected = np.rot90(rgb, -1) if turned else rgb
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), expected)


def test_alpha_is_composited_on_white(tmp_path):
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 255, 128]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    expected = [[[10, 20, 30], [255, 255, 255], [127, 177, 255]]]
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), expected)
    np.testing.assert_array_equal(load_image(rgba), expected)
    np.testing.assert_array_equal(load_image(rgba.astype(np.float32) / 255), expected)


def test_palette_transparency_is_composited_too(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.save(tmp_path / "a.gif", transparency=1)
    np.testing.assert_array_equal(load_image(tmp_path / "a.gif"), [[[200, 0, 0], [255, 255, 255]]])


def test_grey_files_have_three_equal_channels(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    Image.fromarray(grey).save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png")
    np.testing.assert_array_equal(loaded, np.repeat(grey[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(load_image(grey), loaded)
    np.testing.assert_array_equal(load_image(grey[:, :, None]), loaded)


def test_16_bit_grey_is_scaled_not_cut(tmp_path):
    values = np.array([[0, 257 * 100, 257 * 100 + 129, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.array([[0, 100, 101, 255]])
    for image in (tmp_path / "a.png", values):
        np.testing.assert_array_equal(load_image(image)[:, :, 1], expected)


def test_cmyk_one_bit_and_animation(tmp_path, rgb):
    Image.new("CMYK", (5, 4), (0, 255, 255, 0)).save(tmp_path / "c.jpg")
    red = load_image(tmp_path / "c.jpg")
    assert red.shape == (4, 5, 3)
    assert (red[..., 0] > 200).all()
    assert (red[..., 1:] < 60).all()
    Image.new("1", (3, 2), 1).save(tmp_path / "b.png")
    np.testing.assert_array_equal(load_image(tmp_path / "b.png"), np.full((2, 3, 3), 255))
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    for ending in ("gif", "webp", "png"):
        path = tmp_path / f"a.{ending}"
        frames[0].save(
            path,
            save_all=True,
            append_images=frames[1:],
            lossless=True,
        )
        np.testing.assert_array_equal(load_image(path)[0, 0], [255, 0, 0])


def test_a_pillow_image_is_taken(rgb):
    np.testing.assert_array_equal(load_image(Image.fromarray(rgb)), rgb)


def test_an_animated_pillow_image_is_taken_as_it_stands(rgb, tmp_path):
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    with Image.open(tmp_path / "a.webp") as image:
        image.seek(1)
        np.testing.assert_array_equal(load_image(image), 255 - rgb)
        assert image.tell() == 1


def test_uint8_rgb_is_not_copied(rgb):
    assert load_image(rgb) is rgb or np.shares_memory(load_image(rgb), rgb)
    mirrored = rgb[:, ::-1]
    assert load_image(mirrored).flags.c_contiguous
    np.testing.assert_array_equal(load_image(mirrored), mirrored)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_pictures_round_and_clip(dtype):
    values = np.array([[[0.0, 0.5, 1.0], [-0.2, 1.2, 100.4 / 255], [100.6 / 255, 0.2, 0.1]]], dtype)
    expected = [[[0, 128, 255], [0, 255, 100], [101, 51, 26]]]
    assert np.abs(load_image(values).astype(int) - expected).max() <= (dtype is np.float16)
    if dtype is np.float32:
        np.testing.assert_array_equal(load_image(values)[0, 1:], np.array(expected)[0, 1:])


def test_uint8_to_float_and_back_is_exact():
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    np.testing.assert_array_equal(load_image(every.astype(np.float32) / 255), every)


def test_torch_tensors(rgb):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(rgb.copy())
    np.testing.assert_array_equal(load_image(tensor), rgb)
    batch = torch.stack([tensor, tensor.flip(1)]).float() / 255
    np.testing.assert_array_equal(load_image(batch[:1]), rgb)
    first, second = load_images(batch)
    np.testing.assert_array_equal(first, rgb)
    np.testing.assert_array_equal(second, rgb[:, ::-1])
    half = load_image((tensor.float() / 255).to(torch.bfloat16).requires_grad_())
    assert np.abs(half.astype(int) - rgb).max() <= 1


def test_one_pixel_and_8k():
    np.testing.assert_array_equal(load_image(np.array([[[1, 2, 3]]], np.uint8)), [[[1, 2, 3]]])
    large = np.zeros((4320, 7680, 3), np.float32)
    large[-1, -1] = 1
    loaded = load_image(large)
    assert loaded.shape == large.shape
    assert loaded[-1, -1].tolist() == [255, 255, 255]
    assert not loaded[0].any()


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (np.zeros((0, 4, 3), np.uint8), ValueError, "empty"),
        (np.zeros((4, 0, 3), np.float32), ValueError, "empty"),
        (np.full((2, 2, 3), np.nan, np.float32), ValueError, "NaN"),
        (np.full((2, 2, 3), np.inf, np.float32), ValueError, "infinity"),
        (np.full((2, 2, 3), 255.0, np.float32), ValueError, r"0\.\.1"),
        (np.full((2, 2, 3), -9.0, np.float32), ValueError, r"0\.\.1"),
        (np.zeros(3, np.uint8), ValueError, r"\[H, W, 3\]"),
        (np.zeros((1, 1, 2, 2, 3), np.uint8), ValueError, r"\[H, W, 3\]"),
        (np.zeros((2, 2, 2), np.uint8), ValueError, r"\[H, W, 3\]"),
        (np.zeros((3, 8, 9), np.float32), ValueError, "channels last"),
        (np.zeros((2, 4, 4, 3), np.uint8), ValueError, "batch of 2"),
        (np.zeros((4, 4, 3), np.int64), TypeError, "int64"),
        (np.zeros((4, 4, 3), bool), TypeError, "bool"),
        (np.zeros((4, 4, 3), complex), TypeError, "complex"),
        (None, TypeError, "NoneType"),
        (7, TypeError, "int"),
    ],
)
def test_wrong_arrays_are_named(value, kind, words):
    with pytest.raises(kind, match=f"(?s)^photo .*{words}"):
        load_image(value, "photo")


def test_wrong_files_are_named(tmp_path, rgb):
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        load_image(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png.*not a picture"):
        load_image(tmp_path / "text.png")
    Image.fromarray(np.repeat(rgb, 40, axis=0)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.png.*decoded"):
        load_image(tmp_path / "half.png")


def test_a_bad_picture_of_a_list_is_named_by_its_index(rgb):
    with pytest.raises(ValueError, match=r"images\[1\]"):
        load_images([rgb, rgb[:0]])
    with pytest.raises(TypeError, match="images must be a list"):
        load_images(rgb)
    assert is_batch([rgb])
    assert not is_batch(rgb)
    assert not is_batch("ab.png")


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_save_image_writes_every_layout(tmp_path, channels):
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, *channels), dtype=np.uint8)
    path = save_image(tmp_path / "new" / "a.png", pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)
    assert os.listdir(path.parent) == ["a.png"]


def test_save_image_quality_matters(tmp_path, rgb):
    rgb = np.tile(rgb, (20, 20, 1))
    low = save_image(tmp_path / "a.jpg", rgb, quality=10).stat().st_size
    assert save_image(tmp_path / "b.jpg", rgb).stat().st_size > 2 * low


def test_save_image_leaves_the_old_file_when_it_fails(tmp_path, rgb, monkeypatch):
    path = save_image(tmp_path / "a.png", rgb)
    before = path.read_bytes()

    def refuse(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("dwpose.io.atomic.os.replace", refuse)
    with pytest.raises(OSError, match="no space"):
        save_image(path, rgb[::-1])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


def test_save_image_refuses(tmp_path, rgb):
    with pytest.raises(ValueError, match="must end in"):
        save_image(tmp_path / "a.xyz", rgb)
    with pytest.raises(TypeError, match="uint8"):
        save_image(tmp_path / "a.png", rgb / 255)
    with pytest.raises(ValueError, match=r"\[H, W, 3\]"):
        save_image(tmp_path / "a.png", rgb[:, :, :2])
    assert os.listdir(tmp_path) == []


def test_pngs_say_what_they_are_told_to(tmp_path, rgb):
    text = {"dwpose-origin": "abc map", "dwpose-frame": "7"}
    save_image(tmp_path / "a.png", rgb, text=text)
    assert read_text(tmp_path / "a.png") == text
    with Image.open(tmp_path / "a.png") as image:
        image.verify()  # the checksums of all chunks
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), rgb)
    save_image(tmp_path / "a.jpg", rgb, text=text)
    (tmp_path / "b.png").write_bytes(b"no picture")
    for name in ("a.jpg", "b.png", "c.png"):
        assert "dwpose-frame" not in read_text(tmp_path / name)
