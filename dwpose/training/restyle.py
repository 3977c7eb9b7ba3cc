"""Change how a rendered crop looks and not where anything is, so that a network relies on shapes.

Renders have one manner: shading, cloth and cameras of one engine. What is learned from them carries
over to photographs as far as it does not depend on that manner. Random filters after Xu et al.,
"Robust and Generalizable Visual Representation Learning via Random Convolutions" (ICLR 2021); the
other changes are the usual ones of colour, light and shade.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Each change is made with this chance, one after the other, in a random order.
_CHANCE: Final = 0.35


def restyle(
    image: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Change tones, colours, light, texture and sharpness.

    Args:
        image: uint8 [H, W, 3], RGB; not changed.
        other: uint8 [H, W, 3], any other picture; a breath of it is laid over now and then.
        rng: random numbers.

    Returns:
        uint8 [H, W, 3].
    """
    out: Array = image.astype(np.float32) / 255
    for number in rng.permutation(len(_CHANGES)):
        if rng.random() < _CHANCE:
            out = np.clip(_CHANGES[number](out, other, rng), 0, 1)
    return (out * 255 + 0.5).astype(np.uint8)


def _tones(image: Array, _: Array, rng: np.random.Generator) -> Array:
    """Bend the curve of brightness, of each channel a little differently."""
    gamma = np.exp(rng.normal(0, 0.3) + rng.normal(0, 0.1, 3)).astype(np.float32)
    return image**gamma


def _colours(image: Array, _: Array, rng: np.random.Generator) -> Array:
    """Turn hues and change how strong colours are; now and then grey, or channels change places."""
    kind = rng.random()
    if kind < 0.25:
        grey = image @ np.array((0.299, 0.587, 0.114), np.float32)
        return image + np.float32(rng.uniform(0.5, 1)) * (grey[..., None] - image)
    if kind < 0.4:
        return image[..., rng.permutation(3)]
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(0, 360)) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.3, 1.8), 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _light(image: Array, _: Array, rng: np.random.Generator) -> Array:
    """Uneven light: soft patches, or the hard edge of a shadow."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        coarse = rng.normal(0, 0.35, rng.integers(2, 7, 2)).astype(np.float32)
        field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        return image * np.exp(field)[..., None]
    corners = rng.uniform(-0.3, 1.3, (rng.integers(3, 6), 2)) * (width, height)
    shade = np.zeros((height, width), np.float32)
    cv2.fillPoly(shade, [corners.astype(np.int32)], 1.0)
    shade = cv2.GaussianBlur(shade, (0, 0), rng.uniform(0.6, 6))
    return image * (1 - np.float32(rng.uniform(0.25, 0.65)) * shade[..., None])


def _filter(image: Array, _: Array, rng: np.random.Generator) -> Array:
    """A random filter over places and channels, brought to the old mean and contrast and mixed."""
    side = int(rng.choice((1, 3, 5)))
    mixed = image.reshape(-1, 3) @ rng.normal(0, 1, (3, 3)).astype(np.float32)
    out = mixed.reshape(image.shape)
    if side > 1:
        out = cv2.filter2D(out, -1, rng.normal(0, 1, (side, side)).astype(np.float32))
    out = (out - out.mean((0, 1))) / (out.std((0, 1)) + 1e-3)
    out = out * image.std((0, 1)) + image.mean((0, 1))
    return image + np.float32(rng.uniform(0.2, 0.7)) * (out - image)


def _lay_over(image: Array, other: Array, rng: np.random.Generator) -> Array:
    """A breath of another picture: prints, reflections, spots of light."""
    laid = other.astype(np.float32) / 255
    return image + np.float32(rng.uniform(0.08, 0.3)) * (laid - laid.mean())


def _sharpness(image: Array, _: Array, rng: np.random.Generator) -> Array:
    """Sharpen too much, or soften."""
    soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.8))
    return image + np.float32(rng.uniform(-0.8, 1.5)) * (image - soft)


def _grain(image: Array, _: Array, rng: np.random.Generator) -> Array:
    """Noise of a sensor, fine or coarse."""
    height, width = image.shape[:2]
    coarse = int(rng.integers(1, 4))
    shape = (height // coarse, width // coarse, 3)
    noise = rng.normal(0, rng.uniform(0.01, 0.07), shape).astype(np.float32)
    return image + cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)


_CHANGES: Final[tuple[Callable[[Array, Array, np.random.Generator], Array], ...]] = (
    _tones,
    _colours,
    _light,
    _filter,
    _lay_over,
    _sharpness,
    _grain,
)
