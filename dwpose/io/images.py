"""Pictures in and out: files, arrays and tensors become uint8 RGB [H, W, 3].

Everything behind this module works on uint8 RGB, so each odd kind of picture (EXIF rotation,
alpha, grey, 16 bit, CMYK, palettes, animations, float images, torch tensors) is dealt with once,
here. Files are read by Pillow, which OpenCV cannot replace: it knows CMYK, EXIF and palettes and
opens any name that Python can.

Transparent pictures are composited on WHITE. What lies hidden under transparent pixels is often
garbage, so alpha cannot simply be dropped; and cut-outs of drawn characters have dark outlines,
which would vanish on black.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from .atomic import write_atomically

if TYPE_CHECKING:
    from PIL import Image

ImageArray: TypeAlias = npt.NDArray[np.uint8]

# Float pictures are 0..1. Upscalers and blends overshoot by a little, which is clipped; beyond
# these limits the numbers are on another scale (usually 0..255) and guessing would hide a mistake.
_FLOAT_RANGE = (-1.0, 2.0)
_BACKGROUND = 255
# Pictures that are worked on together are bounded in number by batch sizes, and in size by this
# many pixels (two of 8K, thirty of 1080p), so that long lists and films need little memory.
CHUNK_PIXELS: Final = 64_000_000
_SAVE_QUALITY = 95
# Bytes of a PNG's signature and of the header that must come first.
_PNG_HEAD = 8 + 25


def load_image(image: Any, name: str = "image") -> ImageArray:
    """Turn one picture of almost any kind into uint8 RGB.

    Args:
        image: one of
            a path (str or PathLike) of a file that Pillow can read; EXIF rotation is applied, an
            animation gives its first frame;
            a Pillow image, at the frame that it stands on;
            an array or torch tensor [H, W, 3] RGB, [H, W, 4] RGBA, [H, W] or [H, W, 1] grey, of
            dtype uint8, uint16 (0..65535) or float (0..1); or the same with a leading batch axis
            of one picture.
        name: what errors call the argument.

    Returns:
        uint8 [H, W, 3] RGB, contiguous. A uint8 RGB array is returned as it is, not copied.

    Raises:
        FileNotFoundError: the path names no file.
        ValueError: the file is no picture; the array is empty, holds NaN or infinity, or has a
            rank, channel count or range that is none of the above.
        TypeError: the argument or its dtype is of another kind.
    """
    if isinstance(image, (str, os.PathLike)):
        return _read_file(Path(image), name)
    if hasattr(image, "getbands") and hasattr(image, "convert"):
        return _from_pillow(image, name)
    array = _as_array(image, name)
    if array.ndim == 4:
        if len(array) != 1:
            raise ValueError(
                f"{name} must be one picture, got a batch of {len(array)}; "
                "take one of them or pass the batch to load_images"
            )
        array = array[0]
    return _from_array(array, name)


def load_images(images: Any, name: str = "images") -> list[ImageArray]:
    """Turn a batch array or tensor [B, H, W, C], or a sequence of pictures, into uint8 RGB.

    Args:
        images: a batch, or a list or tuple of anything that `load_image` takes.
        name: what errors call the argument.

    Returns:
        one uint8 [H, W, 3] RGB array for each picture.

    Raises:
        ValueError, TypeError, FileNotFoundError: as `load_image`, naming the picture's index.
    """
    return [load_image(image, f"{name}[{i}]") for i, image in enumerate(split_batch(images, name))]


def is_batch(images: Any) -> bool:
    """Tell whether the argument stands for several pictures: a list, a tuple or a rank-4 array."""
    if isinstance(images, (str, os.PathLike)):
        return False
    return isinstance(images, (list, tuple)) or len(getattr(images, "shape", ())) == 4


def split_batch(images: Any, name: str = "images") -> Sequence[Any]:
    """Return the pictures of a batch without loading them, so that a long list stays lazy.

    Raises:
        TypeError: the argument is one picture, or nothing that holds pictures.
    """
    if not is_batch(images):
        raise TypeError(
            f"{name} must be a list of pictures or a batch [B, H, W, 3], got {_describe(images)}"
        )
    return images


def save_image(
    path: str | os.PathLike[str],
    image: ImageArray,
    quality: int | None = None,
    text: Mapping[str, str] | None = None,
) -> Path:
    """Write a picture so that the file is either complete or not there.

    Args:
        path: where to; the ending chooses the format (.png, .jpg, .webp, ...). Missing folders
            are made.
        image: uint8 [H, W, 3] RGB, [H, W, 4] RGBA or [H, W] grey.
        quality: 1..100 for JPEG and WebP; 95 when omitted.
        text: what a PNG is to say about itself, see `read_text`: short keys and values in ASCII;
            other formats leave it out.

    Returns:
        the path written.

    Raises:
        TypeError: the array is not uint8.
        ValueError: its shape is not one of the above, or the ending names no known format.
        OSError: the file could not be written.
    """
    path = Path(path)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(f"image must be a uint8 array, got {_describe(image)}")
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        raise ValueError(
            f"image must have shape [H, W, 3], [H, W, 4] or [H, W], got {list(image.shape)}"
        )
    if image.ndim == 3:
        to_cv = cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        image = np.asarray(cv2.cvtColor(image, to_cv), np.uint8)
    ending = path.suffix.lower()
    options: list[int] = []
    if ending in (".jpg", ".jpeg"):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality or _SAVE_QUALITY]
    elif ending == ".webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, quality or _SAVE_QUALITY]
    try:
        done, encoded = cv2.imencode(ending, image, options)
    except cv2.error:
        done, encoded = False, None
    if not done or encoded is None:
        raise ValueError(
            f"path must end in a picture format such as .png, .jpg or .webp, got {path.name!r}"
        )
    data = encoded.tobytes()
    if text and ending == ".png":
        data = data[:_PNG_HEAD] + b"".join(map(_text_chunk, text, text.values())) + data[_PNG_HEAD:]
    return write_atomically(path, data)


def read_text(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return what a PNG says about itself; nothing where it is none, or is not there."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return {key: value for key, value in image.info.items() if isinstance(value, str)}
    except (OSError, SyntaxError, ValueError):
        return {}


def _text_chunk(key: str, value: str) -> bytes:
    # Length, kind, keyword, zero, text, CRC: PNG specification, 11.3.3.2.
    content = b"tEXt" + key.encode("ascii") + b"\0" + value.encode("ascii")
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def _read_file(path: Path, name: str) -> ImageArray:
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise FileNotFoundError(f"{name}: there is no file {str(path)!r}")
    try:
        with Image.open(path) as image:
            return _from_pillow(image, name)
    except UnidentifiedImageError:
        raise ValueError(f"{name}: {str(path)!r} is not a picture that Pillow can read") from None
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: {str(path)!r} could not be decoded ({error})") from error


def _from_pillow(image: Image.Image, name: str) -> ImageArray:
    image = _upright(image)
    if 0 in image.size:
        raise ValueError(f"{name} must not be empty, got {image.size[0]}x{image.size[1]} pixels")
    if image.mode.startswith("I;16"):
        return _from_array(np.asarray(image).astype(np.uint16, copy=False), name)
    if image.mode == "I":
        # Old Pillow opens 16-bit grey files in this 32-bit mode.
        return _from_array(np.clip(np.asarray(image), 0, 65535).astype(np.uint16), name)
    if image.mode == "F":
        return _from_array(np.asarray(image), name)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _composite(np.asarray(image.convert("RGBA")))
    return np.ascontiguousarray(image.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF says; damaged EXIF says nothing.

    Pillow's own exif_transpose also writes the other entries anew, which damaged ones prevent.
    """
    from PIL import Image

    ways = Image.Transpose
    turns = {
        2: ways.FLIP_LEFT_RIGHT,
        3: ways.ROTATE_180,
        4: ways.FLIP_TOP_BOTTOM,
        5: ways.TRANSPOSE,
        6: ways.ROTATE_270,
        7: ways.TRANSVERSE,
        8: ways.ROTATE_90,
    }
    image.load()  # so that errors of the pixels are told from those of the EXIF
    try:
        turn = turns.get(image.getexif().get(0x0112, 1))
    except Exception:  # whatever Pillow's parser trips over
        turn = None
    return image if turn is None else image.transpose(turn)


def _as_array(image: Any, name: str) -> npt.NDArray[Any]:
    if isinstance(image, np.ndarray):
        return image
    if hasattr(image, "detach") and hasattr(image, "cpu"):
        # A torch tensor, recognised without importing torch. NumPy has no bfloat16.
        tensor = image.detach().cpu()
        return (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
    raise TypeError(
        f"{name} must be a path, a Pillow image, an array or a torch tensor, got {_describe(image)}"
    )


def _from_array(array: npt.NDArray[Any], name: str) -> ImageArray:
    shape = list(array.shape)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3:
        raise ValueError(f"{name} must have shape [H, W, 3], got {shape}")
    if 0 in array.shape:
        raise ValueError(f"{name} must not be empty, got shape {shape}")
    if array.shape[2] not in (1, 3, 4):
        hint = "; move the channels last" if array.shape[0] in (1, 3, 4) else ""
        raise ValueError(f"{name} must have shape [H, W, 3], got {shape}{hint}")
    pixels = _to_uint8(array, name)
    if pixels.shape[2] == 4:
        return _composite(pixels)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels)


def _to_uint8(array: npt.NDArray[Any], name: str) -> ImageArray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return np.asarray((array.astype(np.uint32) + 128) // 257, np.uint8)
    if array.dtype.kind != "f":
        raise TypeError(
            f"{name} must be uint8, uint16 or float in 0..1, got dtype {array.dtype.name}"
        )
    low, high = float(array.min()), float(array.max())  # both are NaN if any number is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{name} must be finite; it holds NaN or infinity")
    if low < _FLOAT_RANGE[0] or high > _FLOAT_RANGE[1]:
        raise ValueError(
            f"{name} must be in 0..1 if it is float, got {low:g}..{high:g}; "
            "divide by its maximum or pass uint8"
        )
    # One pass that scales, rounds and clips; OpenCV's scalar acts on a single channel only.
    flat = np.ascontiguousarray(array, np.float32).reshape(array.shape[0], -1)
    scaled = cv2.multiply(flat, 255.0, dtype=cv2.CV_8U)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return np.asarray(scaled, np.uint8).reshape(array.shape)


def _composite(rgba: ImageArray) -> ImageArray:
    """Lay uint8 [H, W, 4] on white, rounding to nearest; returns uint8 [H, W, 3]."""
    alpha = rgba[:, :, 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[:, :, :3])
    weight = alpha.astype(np.uint32)
    mixed = rgba[:, :, :3] * weight + _BACKGROUND * (255 - weight)
    return np.asarray((mixed + 127) // 255, np.uint8)


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is None:
        return type(value).__name__
    return f"{type(value).__name__} of shape {list(shape)} and dtype {value.dtype}"
