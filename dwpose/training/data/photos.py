"""Reading photos fast, for training: OpenCV where it is sure to see what Pillow sees.

`io.images.load_image` knows every odd kind of picture, at two to three times the CPU time for a
common JPEG. Most of the loader's time is spent reading, so whole 8-bit JPEG and opaque PNG files
are decoded by OpenCV here (the pixels are the same, EXIF rotation is applied too); all others,
and all that look damaged, which OpenCV fills with grey in silence, go to `load_image`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from ...io.images import load_image

_JPEG: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND\xaeB`\x82"
# Bit depth and colour type of a PNG (its header is always the first chunk): 8 bits, RGB.
_PNG_KIND: Final = slice(24, 26)
_RGB8: Final = b"\x08\x02"


def read_photo(path: Path) -> npt.NDArray[np.uint8]:
    """Read a photo as uint8 [H, W, 3] RGB.

    Raises:
        OSError, ValueError: it cannot be read; see `io.images.load_image`.
    """
    data = path.read_bytes()
    if not _is_plain(data):
        return load_image(path)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        return load_image(path)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)  # pyright: ignore[reportReturnType]


def _is_plain(data: bytes) -> bool:
    """Tell whether this is a whole JPEG or PNG of three (or, in a JPEG, one) 8-bit channels."""
    if data.startswith(_JPEG):
        # Files with Adobe's marker may be CMYK.
        return data.endswith(_JPEG_END) and b"Adobe" not in data[:4096]
    whole = data.startswith(_PNG) and data.endswith(_PNG_END)
    return whole and data[_PNG_KIND] == _RGB8 and b"tRNS" not in data[:4096]
