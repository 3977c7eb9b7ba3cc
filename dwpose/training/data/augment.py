"""How a person's crop is varied in training: DWPose's two pipelines, number for number.

The order is that of the originals: mirror, half body, scale, rotation and shift of the box, the
warp itself, colour, blur, median blur, one black rectangle. Points under the rectangle stay taught.

OpenCV and the standard library are enough for all of it. albumentations, which the originals use
for the last three, is not: its wheels bring `opencv-python-headless`, which overwrites the
`opencv-python` that others need, its generators are hidden state while a sample here must depend on
its seed alone, and the parameters that the configs give it no longer exist in its current version.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from ...geometry import BOX_PADDING, box_center_scale, fix_aspect, transform_points, warp_matrix
from ...skeleton import FLIP_INDICES

Array = npt.NDArray[Any]

# upper_body_ids and lower_body_ids of mmpose's description of COCO-WholeBody: face and hands belong
# to neither, so a half body is chosen by its body points (and feet) alone.
UPPER_BODY: Final = slice(0, 11)
LOWER_BODY: Final = slice(11, 23)
# Kernel sides that Blur and MedianBlur choose from (albumentations' default blur_limit of 7).
BLUR_SIDES: Final = (3, 5, 7)
_NORMAL = NormalDist()
# scipy.stats.truncnorm(-1, 1): a standard normal cut at one sigma.
_LOW, _HIGH = _NORMAL.cdf(-1.0), _NORMAL.cdf(1.0)


@dataclass(frozen=True)
class Augmentation:
    """Settings of one pipeline. The defaults are the configs' own (`train_hparams.json`).

    Attributes:
        flip: share of crops that are mirrored.
        half_body: share of well labelled people of whom only a half is shown.
        half_body_padding: factor on the extent of that half's points.
        half_body_points: labelled points below which nobody is halved.
        upper_points: labelled points a shown upper half has at least.
        lower_points: labelled points a shown lower half has at least.
        upper: share of upper halves where both are possible.
        shift: largest shift as a share of the padded box.
        shift_share: share of crops that are shifted.
        scale: smallest and largest factor on the shown area.
        rotation_deg: largest turn.
        rotation_share: share of crops that are turned.
        hue: largest change of OpenCV's hue (0..179).
        saturation: largest change of saturation, 0..255.
        value: largest change of value, 0..255.
        blur: share of crops that a box blur softens.
        median: share of crops that a median filter softens.
        dropout: share of crops with a black rectangle.
        dropout_size: smallest and largest side of it, as a share of the crop's.
    """

    flip: float = 0.5
    half_body: float = 0.3
    half_body_padding: float = 1.5
    half_body_points: int = 9
    upper_points: int = 2
    lower_points: int = 3
    upper: float = 0.7
    shift: float = 0.16
    shift_share: float = 0.3
    scale: tuple[float, float] = (0.6, 1.4)
    rotation_deg: float = 80.0
    rotation_share: float = 0.6
    hue: float = 5.0
    saturation: float = 30.0
    value: float = 30.0
    blur: float = 0.1
    median: float = 0.1
    dropout: float = 1.0
    dropout_size: tuple[float, float] = (0.2, 0.4)


# train_pipeline, and train_pipeline_stage2 to which the configs switch 30 epochs before the end.
STRONG: Final = Augmentation()
GENTLE: Final = Augmentation(shift=0.0, scale=(0.75, 1.25), rotation_deg=60.0, dropout=0.5)
# The person as validation sees them.
PLAIN: Final = Augmentation(
    flip=0.0,
    half_body=0.0,
    shift_share=0.0,
    scale=(1.0, 1.0),
    rotation_share=0.0,
    hue=0.0,
    saturation=0.0,
    value=0.0,
    blur=0.0,
    median=0.0,
    dropout=0.0,
)


def augmentation_of(size: str, gentle: bool = False) -> Augmentation:
    """Return the pipeline of a model size: `x` turns and scales more, in both pipelines.

    Args:
        size: RTMPose size letter, t, s, m, l or x.
        gentle: that of the last epochs.
    """
    chosen = GENTLE if gentle else STRONG
    return replace(chosen, scale=(0.5, 1.5), rotation_deg=90.0) if size == "x" else chosen


def truncated_normal(rng: np.random.Generator) -> float:
    """Draw from a standard normal cut at -1 and 1 (scipy's truncnorm(-1, 1))."""
    return _NORMAL.inv_cdf(rng.uniform(_LOW, _HIGH))


def half_body_box(
    keypoints: Array, visible: Array, rng: np.random.Generator, settings: Augmentation
) -> tuple[Array, Array] | None:
    """Choose the upper or the lower half of a person.

    Args:
        keypoints: float [133, 2] in pixels.
        visible: [133], above 0 where labelled.
        rng: decides whether and which.
        settings: shares and limits.

    Returns:
        centre (the MEAN of the half's labelled points) and padded size, float [2] each in pixels;
        None where the whole person is shown.
    """
    labelled = np.asarray(visible) > 0
    if labelled.sum() < settings.half_body_points or rng.random() > settings.half_body:
        return None
    points = np.asarray(keypoints, np.float64)
    upper = points[UPPER_BODY][labelled[UPPER_BODY]]
    lower = points[LOWER_BODY][labelled[LOWER_BODY]]
    prefer_upper = rng.random() < settings.upper
    enough_upper = len(upper) >= settings.upper_points
    enough_lower = len(lower) >= settings.lower_points
    if not (enough_upper or enough_lower):
        return None
    chosen = upper if enough_upper and (prefer_upper or not enough_lower) else lower
    extent = chosen.max(axis=0) - chosen.min(axis=0)
    return chosen.mean(axis=0), extent * settings.half_body_padding


def vary(
    image: npt.NDArray[np.uint8],
    box: Array,
    keypoints: Array,
    visible: Array,
    size_hw: tuple[int, int],
    rng: np.random.Generator,
    settings: Augmentation = STRONG,
    padding: float = BOX_PADDING,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Cut one person out of a picture, varied.

    Args:
        image: uint8 [H, W, 3] RGB; not changed.
        box: float [4], xyxy in pixels of the picture.
        keypoints: float [133, 2] in pixels of the picture.
        visible: [133], above 0 where labelled.
        size_hw: height and width of the crop in pixels.
        rng: the only source of chance.
        settings: which pipeline.
        padding: the crop is the box enlarged by this, as the network's config says.

    Returns:
        the crop uint8 [h, w, 3] RGB, its points float32 [133, 2] in crop pixels and their weights
        float32 [133], 1 where labelled. Points beyond the crop keep their weight: the SimCC
        encoder drops them.
    """
    height, width = size_hw
    center, scale = box_center_scale(np.asarray(box, np.float64), padding)
    points, weights = (
        np.asarray(keypoints, np.float64),
        (np.asarray(visible) > 0).astype(np.float32),
    )
    mirrored = rng.random() < settings.flip
    if mirrored:
        last = image.shape[1] - 1
        points, weights = points[FLIP_INDICES].copy(), weights[FLIP_INDICES]
        points[:, 0] = last - points[:, 0]
        center = np.array((last - center[0], center[1]))
    half = half_body_box(points, weights, rng, settings)
    if half is not None:
        center, scale = half
    center, scale, turn = _move_box(center, scale, rng, settings)
    scale = np.maximum(fix_aspect(scale, width / height), 1.0)
    matrix = warp_matrix(center, scale, (width, height), turn)
    points = transform_points(points, matrix).astype(np.float32)
    if mirrored:
        # The mirror is folded into the warp, so that the large picture is not copied for it.
        matrix = matrix @ np.array(((-1.0, 0, image.shape[1] - 1), (0, 1, 0), (0, 0, 1)))
    crop = np.empty((height, width, 3), np.uint8)
    cv2.warpAffine(image, matrix, (width, height), dst=crop, flags=cv2.INTER_LINEAR)
    return _change_pixels(crop, rng, settings), points, weights


def _move_box(
    center: Array, scale: Array, rng: np.random.Generator, settings: Augmentation
) -> tuple[Array, Array, float]:
    """Shift, scale and turn: centre, size in pixels and degrees."""
    shift = np.array((truncated_normal(rng), truncated_normal(rng))) * settings.shift
    if rng.random() < settings.shift_share:
        center = center + shift * scale
    low, high = settings.scale
    factor = (low + high) / 2 + truncated_normal(rng) * (high - low) / 2
    turn = truncated_normal(rng) * settings.rotation_deg
    return center, scale * factor, turn if rng.random() < settings.rotation_share else 0.0


def _change_pixels(
    crop: npt.NDArray[np.uint8], rng: np.random.Generator, settings: Augmentation
) -> npt.NDArray[np.uint8]:
    """Colour, blur, median blur and the black rectangle."""
    limits = np.array((settings.hue, settings.saturation, settings.value))
    # Each of the three is changed in half of the crops.
    change = (rng.uniform(-1, 1, 3) * limits * rng.integers(0, 2, 3)).astype(np.int16)
    if change.any():
        crop = recolour(crop, change)
    if rng.random() < settings.blur:
        side = int(rng.choice(BLUR_SIDES))
        crop = cv2.blur(crop, (side, side))  # pyright: ignore[reportAssignmentType]
    if rng.random() < settings.median:
        crop = cv2.medianBlur(crop, int(rng.choice(BLUR_SIDES)))  # pyright: ignore[reportAssignmentType]
    if rng.random() < settings.dropout:
        height, width = crop.shape[:2]
        high = int(height * rng.uniform(*settings.dropout_size))
        wide = int(width * rng.uniform(*settings.dropout_size))
        top, left = rng.integers(0, height - high + 1), rng.integers(0, width - wide + 1)
        crop[top : top + high, left : left + wide] = 0
    return crop


def recolour(crop: npt.NDArray[np.uint8], change: Array) -> npt.NDArray[np.uint8]:
    """Add to hue (a circle of 180), saturation and value (clipped) by tables.

    Args:
        crop: uint8 [h, w, 3] RGB.
        change: integer [3], what is added to each.
    """
    hsv = cv2.cvtColor(crop, cv2.COLOR_RGB2HSV)
    levels = np.arange(256, dtype=np.int16)
    tables = np.empty((256, 1, 3), np.uint8)
    tables[:, 0, 0] = (levels + change[0]) % 180
    tables[:, 0, 1] = np.clip(levels + change[1], 0, 255)
    tables[:, 0, 2] = np.clip(levels + change[2], 0, 255)
    return cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2RGB)  # pyright: ignore[reportReturnType]
