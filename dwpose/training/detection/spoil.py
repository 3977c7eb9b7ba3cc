"""What light, cameras and web sites do to a picture, on uint8 pictures with OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[Any]


def colour_change(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw a light and a strength of colour for one piece, a matrix [3, 4] for `cv2.transform`."""
    strength = rng.uniform(0.25, 1.05)  # rendered cloth is more colourful than real cloth
    gain = np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.05, 3))
    mix = (strength * np.eye(3) + (1 - strength) / 3) * gain[:, None]
    return np.hstack((mix, np.full((3, 1), rng.normal(0, 8)))).astype(np.float32)


def spoil(picture: Picture, rng: np.random.Generator) -> Picture:
    """Blur, shrink, tint, grain and compress a picture, each now and then.

    Args:
        picture: uint8 [H, W, 3] RGB.
        rng: random numbers.
    """
    height, width = picture.shape[:2]
    if rng.random() < 0.35:
        sigma = rng.uniform(0.3, 1.6, 2) if rng.random() < 0.3 else (rng.uniform(0.3, 1.4),) * 2
        picture = cv2.GaussianBlur(picture, (0, 0), float(sigma[0]), sigmaY=float(sigma[1]))
    if rng.random() < 0.2:
        factor = rng.uniform(0.35, 0.85)
        size = (max(int(width * factor), 1), max(int(height * factor), 1))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    table = np.arange(256, dtype=np.float32)[:, None] / 255
    table = table ** np.exp(rng.normal(0, 0.25))
    cast = np.exp(rng.normal(0, 0.15)) * (1 + rng.normal(0, 0.05, 3))
    table = (table - 0.45) * cast + 0.45 + rng.normal(0, 0.05)
    table = np.clip(table * 255, 0, 255).astype(np.uint8)
    picture = cv2.LUT(picture, table[None])
    if rng.random() < 0.12:
        picture = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    if rng.random() < 0.4:
        noise = np.empty(picture.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(1.0, 10.0)))
        picture = cv2.add(picture, noise, dtype=cv2.CV_8U)
    if rng.random() < 0.6:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))]
        # The order of the channels does not matter to what the compression loses by eye.
        pressed = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
        picture = picture if pressed is None else pressed
    return picture
