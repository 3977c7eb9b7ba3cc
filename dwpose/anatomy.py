"""What bodies look like: lengths of limbs relative to each other, and how large a person is.

Shapes: leading axes are people or frames, K = 133 points.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Lengths relative to the height of the torso, shoulders' to hips' middle.  Rounded from the rest
# pose of the average adult of MakeHuman's parametric body (training/synthetic/assets, CC0), at the
# places where COCO-WholeBody puts its points.  Adults of other builds differ by some 15 %.
TORSO: Final = 1.0
LENGTHS: Final[dict[str, float]] = {
    "torso": 1.0,
    "shoulders": 0.62,
    "hips": 0.36,
    "neck": 0.45,  # shoulders' middle to the nose
    "head": 0.29,  # from ear to ear
    "arm": 0.54,
    "forearm": 0.47,
    "hand": 0.2,  # its root to the base of the middle finger
    "leg": 0.78,
    "shin": 0.78,
    "foot": 0.39,  # ankle to the middle of the toes
}
# Limb -> its two ends on the left and on the right.
LIMBS: Final[dict[str, tuple[tuple[int, int], tuple[int, int]]]] = {
    "arm": ((5, 7), (6, 8)),
    "forearm": ((7, 9), (8, 10)),
    "leg": ((11, 13), (12, 14)),
    "shin": ((13, 15), (14, 16)),
}
SHOULDERS: Final = (5, 6)
HIPS: Final = (11, 12)
# How near to each other scales must be to confirm each other.
_AGREE: Final = 1.35


def length(points: Array, pair: tuple[int, int]) -> Array:
    """Distance [...] between two of the points [..., K, 2]."""
    return np.linalg.norm(points[..., pair[0], :] - points[..., pair[1], :], axis=-1)


def torso_px(points: Array, seen: npt.NDArray[np.bool_]) -> Array:
    """Estimate how high each torso would be, seen upright, in pixels.

    A picture only ever shortens limbs, so the largest of what limbs, shoulders, hips, torso and
    head say is nearest; but what no two others come near is taken for a fault.

    Args:
        points: float [..., 133, 2], pixels.
        seen: bool [..., 133].

    Returns:
        float [...]; 0 where too little is seen.
    """
    found: list[Array] = []

    def tell(name: str, distance: Array, known: Array) -> None:
        found.append(np.where(known, distance / LENGTHS[name], 0.0))

    for name, pair in (("shoulders", SHOULDERS), ("hips", HIPS), ("head", (3, 4))):
        tell(name, length(points, pair), seen[..., pair[0]] & seen[..., pair[1]])
    for name, sides in LIMBS.items():
        for pair in sides:
            tell(name, length(points, pair), seen[..., pair[0]] & seen[..., pair[1]])
    trunk = [*SHOULDERS, *HIPS]
    shoulders = points[..., list(SHOULDERS), :].mean(axis=-2)
    hips = points[..., list(HIPS), :].mean(axis=-2)
    tell(
        "torso",
        np.linalg.norm(shoulders - hips, axis=-1),
        np.asarray(seen[..., trunk].all(axis=-1)),
    )
    neck = np.linalg.norm(points[..., 0, :] - shoulders, axis=-1)
    tell("neck", neck, np.asarray(seen[..., [0, *SHOULDERS]].all(axis=-1)))
    scales = np.sort(np.stack(found, axis=-1), axis=-1)[..., ::-1]
    # Two that agree may be one fault, such as exchanged arms: a third must come near.
    first = np.zeros(scales.shape[:-1], np.int64)
    for others in (1, 2):
        near = (scales[..., others:] > 0) & (scales[..., :-others] <= scales[..., others:] * _AGREE)
        first = np.where(near.any(axis=-1), near.argmax(axis=-1), first)
    best = np.take_along_axis(scales, first[..., None], axis=-1)[..., 0]
    return np.where((scales > 0).sum(axis=-1) >= 2, best, 0.0)
