"""The 133 points of COCO-WholeBody: names, parts, mirror pairs, OKS sigmas, OpenPose order.

Names, order and sigmas are those of the COCO-WholeBody annotation v1.0 as mmpose lists them
(configs/_base_/datasets/coco_wholebody.py); the OpenPose order is the one that ControlNet models
were trained on.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

NUM_KEYPOINTS: Final = 133

BODY: Final = slice(0, 17)
FEET: Final = slice(17, 23)
FACE: Final = slice(23, 91)
LEFT_HAND: Final = slice(91, 112)
RIGHT_HAND: Final = slice(112, 133)
PARTS: Final[dict[str, slice]] = {
    "body": BODY,
    "feet": FEET,
    "face": FACE,
    "left_hand": LEFT_HAND,
    "right_hand": RIGHT_HAND,
}

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")


def _hand_names(side: str) -> tuple[str, ...]:
    joints = [f"{side}_{finger}{joint}" for finger in _FINGERS for joint in range(1, 5)]
    return (f"{side}_hand_root", *joints)


KEYPOINT_NAMES: Final[tuple[str, ...]] = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
    *(f"face-{i}" for i in range(68)),
    *_hand_names("left"),
    *_hand_names("right"),
)

# Mirror partner of each point: swapping sides keeps every part's own order.
_FACE_FLIP = (
    16,
    15,
    14,
    13,
    12,
    11,
    10,
    9,
    8,
    7,
    6,
    5,
    4,
    3,
    2,
    1,
    0,
    26,
    25,
    24,
    23,
    22,
    21,
    20,
    19,
    18,
    17,
    27,
    28,
    29,
    30,
    35,
    34,
    33,
    32,
    31,
    45,
    44,
    43,
    42,
    47,
    46,
    39,
    38,
    37,
    36,
    41,
    40,
    54,
    53,
    52,
    51,
    50,
    49,
    48,
    59,
    58,
    57,
    56,
    55,
    64,
    63,
    62,
    61,
    60,
    67,
    66,
    65,
)
FLIP_INDICES: Final[npt.NDArray[np.int64]] = np.array(
    (
        0,
        2,
        1,
        4,
        3,
        6,
        5,
        8,
        7,
        10,
        9,
        12,
        11,
        14,
        13,
        16,
        15,
        20,
        21,
        22,
        17,
        18,
        19,
        *(23 + i for i in _FACE_FLIP),
        *range(112, 133),
        *range(91, 112),
    ),
    dtype=np.int64,
)

# Per-point standard deviation of annotators over the square root of the person's area
# (COCO-WholeBody v1.0); both hands share theirs.
_BODY_SIGMAS = (
    0.026,
    0.025,
    0.025,
    0.035,
    0.035,
    0.079,
    0.079,
    0.072,
    0.072,
    0.062,
    0.062,
    0.107,
    0.107,
    0.087,
    0.087,
    0.089,
    0.089,
)
_FEET_SIGMAS = (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)
_FACE_SIGMAS = (
    0.042,
    0.043,
    0.044,
    0.043,
    0.04,
    0.035,
    0.031,
    0.025,
    0.02,
    0.023,
    0.029,
    0.032,
    0.037,
    0.038,
    0.043,
    0.041,
    0.045,
    0.013,
    0.012,
    0.011,
    0.011,
    0.012,
    0.012,
    0.011,
    0.011,
    0.013,
    0.015,
    0.009,
    0.007,
    0.007,
    0.007,
    0.012,
    0.009,
    0.008,
    0.016,
    0.01,
    0.017,
    0.011,
    0.009,
    0.011,
    0.009,
    0.007,
    0.013,
    0.008,
    0.011,
    0.012,
    0.01,
    0.034,
    0.008,
    0.008,
    0.009,
    0.008,
    0.008,
    0.007,
    0.01,
    0.008,
    0.009,
    0.009,
    0.009,
    0.007,
    0.007,
    0.008,
    0.011,
    0.008,
    0.008,
    0.008,
    0.01,
    0.008,
)
_HAND_SIGMAS = (
    0.029,
    0.022,
    0.035,
    0.037,
    0.047,
    0.026,
    0.025,
    0.024,
    0.035,
    0.018,
    0.024,
    0.022,
    0.026,
    0.017,
    0.021,
    0.021,
    0.032,
    0.02,
    0.019,
    0.022,
    0.031,
)
SIGMAS: Final[npt.NDArray[np.float32]] = np.array(
    (*_BODY_SIGMAS, *_FEET_SIGMAS, *_FACE_SIGMAS, *_HAND_SIGMAS, *_HAND_SIGMAS), dtype=np.float32
)

NUM_OPENPOSE: Final = 134
NECK: Final = 1
OPENPOSE_BODY: Final = slice(0, 18)
OPENPOSE_FEET: Final = slice(18, 24)
OPENPOSE_FACE: Final = slice(24, 92)
OPENPOSE_LEFT_HAND: Final = slice(92, 113)
OPENPOSE_RIGHT_HAND: Final = slice(113, 134)

# COCO index of each OpenPose body point; -1 stands for the neck, the mean of both shoulders.
_OPENPOSE_BODY_SOURCE = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_OPENPOSE_SOURCE = np.array((*_OPENPOSE_BODY_SOURCE, *range(17, 133)), dtype=np.int64)
_LEFT_SHOULDER, _RIGHT_SHOULDER = 5, 6

# Limbs that ControlNet's pose maps show, by OpenPose point (0-based), in drawing order.
BODY_LIMBS: Final[tuple[tuple[int, int], ...]] = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
# Within one hand: from the wrist to each finger's base, then along the finger.
HAND_EDGES: Final[tuple[tuple[int, int], ...]] = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1)
    for finger in range(5)
    for joint in range(4)
)


def to_openpose(
    keypoints: npt.NDArray[Any], scores: npt.NDArray[Any], neck_threshold: float = 0.3
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Reorder COCO-WholeBody points into OpenPose order and add the neck.

    Args:
        keypoints: float [..., 133, 2].
        scores: float [..., 133].
        neck_threshold: the neck scores 1 where both shoulders score above this, else 0 (the
            original program's rule).

    Returns:
        keypoints [..., 134, 2] and scores [..., 134] of the same dtypes: body 0-17, feet 18-23,
        face 24-91, left hand 92-112, right hand 113-133.

    Raises:
        ValueError: the arrays do not hold 133 points.
    """
    if keypoints.shape[-2:] != (NUM_KEYPOINTS, 2) or scores.shape != keypoints.shape[:-1]:
        raise ValueError(
            f"keypoints must be [..., 133, 2] and scores [..., 133], got {list(keypoints.shape)} "
            f"and {list(scores.shape)}"
        )
    left, right = _LEFT_SHOULDER, _RIGHT_SHOULDER
    points = keypoints.take(_OPENPOSE_SOURCE, axis=-2)
    points[..., NECK, :] = (keypoints[..., left, :] + keypoints[..., right, :]) / 2
    values = scores.take(_OPENPOSE_SOURCE, axis=-1)
    values[..., NECK] = (scores[..., left] > neck_threshold) & (scores[..., right] > neck_threshold)
    return points, values


def from_openpose(
    keypoints: npt.NDArray[Any], scores: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Undo `to_openpose`: [..., 134, 2] and [..., 134] to [..., 133, 2] and [..., 133].

    The neck is dropped: COCO-WholeBody has none.

    Raises:
        ValueError: the arrays do not hold 134 points.
    """
    if keypoints.shape[-2:] != (NUM_OPENPOSE, 2) or scores.shape != keypoints.shape[:-1]:
        raise ValueError(
            f"keypoints must be [..., 134, 2] and scores [..., 134], got {list(keypoints.shape)} "
            f"and {list(scores.shape)}"
        )
    keep = np.delete(np.arange(NUM_OPENPOSE), NECK)
    target = _OPENPOSE_SOURCE[keep]
    points = np.empty((*keypoints.shape[:-2], NUM_KEYPOINTS, 2), keypoints.dtype)
    values = np.empty((*scores.shape[:-1], NUM_KEYPOINTS), scores.dtype)
    points[..., target, :] = keypoints[..., keep, :]
    values[..., target] = scores[..., keep]
    return points, values
