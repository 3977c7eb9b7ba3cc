"""What a person looks like in POSE_KEYPOINT: the five lists, their sizes, our extra key.

A person is five flat lists of ``x, y, c`` (pixels, confidence).  OpenPose, ControlNet's
preprocessors and ComfyUI's editors all read these; they differ only in what they leave out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .. import skeleton

Confidence: TypeAlias = Literal["binary", "score"]
CONFIDENCES: Final = ("binary", "score")

# Everything that the plain lists cannot say is kept under this key of each person.
EXTRA_KEY: Final = "dwpose"
EXTRA_VERSION: Final = 1


@dataclass(frozen=True)
class Part:
    """One list of a person.

    Args:
        key: its name in the file.
        points: where its points stand among the 134 of OpenPose order.
        length: how many points we write (the face has 68 and both eyes).
    """

    key: str
    points: slice
    length: int


BODY: Final = Part("pose_keypoints_2d", skeleton.OPENPOSE_BODY, 18)
FACE: Final = Part("face_keypoints_2d", skeleton.OPENPOSE_FACE, 70)
LEFT_HAND: Final = Part("hand_left_keypoints_2d", skeleton.OPENPOSE_LEFT_HAND, 21)
RIGHT_HAND: Final = Part("hand_right_keypoints_2d", skeleton.OPENPOSE_RIGHT_HAND, 21)
FEET: Final = Part("foot_keypoints_2d", skeleton.OPENPOSE_FEET, 6)
PARTS: Final = (BODY, FACE, LEFT_HAND, RIGHT_HAND, FEET)

# The face's points 69 and 70 are the pupils; DWPose has none, so ControlNet's preprocessors
# write the body's right and left eye there, and their readers expect them. Where no point of
# the face is shown they write none either: their readers would draw two dots without a face.
EYES: Final = (14, 15)
NUM_POINTS: Final = 134

# Beyond this a coordinate (pixels) is damage, and float32 loses whole pixels.
MAX_COORDINATE: Final = 1e7


def openpose_order(
    keypoints: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], neck_threshold: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """`skeleton.to_openpose`, silent about shoulders that are infinite (the neck is then too)."""
    with np.errstate(all="ignore"):
        return skeleton.to_openpose(keypoints, scores, neck_threshold=neck_threshold)


def shown_points(
    keypoints: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    threshold: float,
    confidence: Confidence,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what the plain lists say about people, in OpenPose order.

    The reader calls this too, to learn whether somebody edited the lists after we wrote them.

    Args:
        keypoints: float32 [P, 133, 2], pixels.
        scores: float32 [P, 133], raw.
        threshold: points scoring less are hidden, and so are points scoring 0 or that are not
            finite or absurdly far (`MAX_COORDINATE`).
        confidence: "binary" writes 1 for a shown point, "score" its score clipped to 0..1.

    Returns:
        points float32 [P, 134, 2] and c float32 [P, 134]; hidden points are 0, 0 with c = 0.
    """
    points, values = openpose_order(keypoints, scores, threshold)
    shown = (values >= threshold) & (values > 0)
    shown &= (np.abs(points) <= MAX_COORDINATE).all(axis=-1)
    points = np.where(shown[..., None], points, np.float32(0))
    said = np.float32(1) if confidence == "binary" else np.clip(values, 0, 1)
    return points, np.where(shown, said, np.float32(0))


def person_lists(
    points: npt.NDArray[np.float64], c: npt.NDArray[np.float64]
) -> dict[str, list[float]]:
    """Return the five flat lists of one person from points [134, 2] and c [134]."""
    triples = np.concatenate([points, c[:, None]], axis=1)
    lists: dict[str, list[float]] = {}
    for part in PARTS:
        chosen = triples[part.points]
        if part is FACE:
            pupils = triples[list(EYES)] if c[part.points].any() else np.zeros((len(EYES), 3))
            chosen = np.concatenate([chosen, pupils])
        lists[part.key] = chosen.ravel().tolist()
    return lists


def shortest_decimals(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return float64 numbers with few decimals that turn back into the same float32.

    A float32 widened to float64 prints as 123.45600128173828; the nearest short decimal,
    123.456, is as exact for whoever reads it back as float32, and a third of the file's size.
    """
    exact = np.asarray(values, dtype=np.float32)
    wide = exact.astype(np.float64)
    result = wide.copy()
    open_ = np.isfinite(wide)
    for decimals in range(10):
        if not open_.any():
            break
        rounded = np.round(wide, decimals)
        fits = open_ & (rounded.astype(np.float32) == exact)
        result[fits] = rounded[fits]
        open_ &= ~fits
    return result
