"""Look again, closer, at hands and faces that were small in the first crop.

The pose network sees a person at the size of its input: of somebody who fills it, a hand is some
20 pixels wide, and of a crowd's figure with half a body out of the box, fewer. A second crop
around the hand or face, with as much of the body as the network needs to know what it sees, has
more pixels. What it says counts where it is surer.

Shapes: P people of one picture, K = 133 points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from .geometry import BOX_PADDING, box_center_scale, fix_aspect
from .skeleton import FACE, LEFT_HAND, RIGHT_HAND
from .types import DEFAULT_THRESHOLD, Boxes, People

Array = npt.NDArray[Any]

# Part -> its points, and the body points that a crop shows along with it.
_PARTS: Final[dict[str, tuple[slice, tuple[int, ...]]]] = {
    "face": (FACE, (0, 1, 2, 3, 4)),
    "left_hand": (LEFT_HAND, (9,)),
    "right_hand": (RIGHT_HAND, (10,)),
}


class Estimate(Protocol):
    """Poses in boxes: what `estimator.Estimator` does."""

    size_hw: tuple[int, int]

    def __call__(
        self,
        images: Sequence[npt.NDArray[np.uint8]],
        boxes: Sequence[Boxes],
        *,
        flip_test: bool | None = None,
        on_batch: Callable[[], None] | None = None,
    ) -> list[People]:
        """Estimate everybody in all pictures."""
        ...


@dataclass(frozen=True)
class SecondLookOptions:
    """When to look again, and what to believe.

    Attributes:
        hands: look again at hands.
        face: look again at faces.
        small_px: parts whose longer side has fewer pixels than this in the first crop are looked
            at again. In a crop 256 pixels high a hand of a standing adult has about 20.
        least_px: parts with fewer pixels than this in the picture itself are left: there is
            nothing more to see.
        context: side of the new crop, as a multiple of the part's longer side. The network was
            trained on people, not on lone hands.
        least_zoom: the new crop must show the part at least this many times larger.
        threshold: raw score that counts as seen; a part needs the middle of its points, or its
            wrist, to be looked for.
        gain: how much surer the mean score of a part must have become to be taken over.
        reach: the new part's middle may be at most this many of its sizes from the old one's;
            else somebody else's hand was seen.

    Raises:
        ValueError: a number is out of range.
    """

    hands: bool = True
    face: bool = True
    small_px: float = 48.0
    least_px: float = 6.0
    context: float = 4.0
    least_zoom: float = 1.3
    threshold: float = DEFAULT_THRESHOLD
    gain: float = 0.0
    reach: float = 0.6

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, low in (("context", 1.0), ("least_zoom", 1.0), ("reach", 0.0), ("small_px", 0.0)):
            if not getattr(self, name) >= low:
                raise ValueError(f"{name} must be at least {low:g}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Look:
    """One part of one person that is worth another look."""

    picture: int
    person: int
    part: str
    box: tuple[float, float, float, float]
    size_px: float


def find_looks(
    people: People,
    size_hw: tuple[int, int],
    options: SecondLookOptions,
    picture: int = 0,
    padding: float = BOX_PADDING,
) -> list[Look]:
    """Find the parts of a picture's people that deserve another look.

    Args:
        people: as first estimated, with the boxes that they were estimated from.
        size_hw: the network's input.
        options: when.
        picture: a number to remember.
        padding: factor by which the estimator enlarges boxes.
    """
    aspect = size_hw[1] / size_hw[0]
    _, scale = box_center_scale(people.boxes.xyxy, padding)
    first = size_hw[0] / np.maximum(fix_aspect(scale, aspect)[:, 1], 1.0)
    found = []
    for i in range(len(people)):
        for name, (part, anchors) in _PARTS.items():
            if not (options.face if name == "face" else options.hands):
                continue
            points, scores = people.keypoints[i, part], people.scores[i, part]
            sure = scores >= options.threshold
            anchor = people.scores[i, list(anchors)] >= options.threshold
            if sure.sum() < len(sure) / 2 and not anchor.any():
                continue
            points = points if sure.sum() < 3 else points[sure]
            low, high = points.min(axis=0), points.max(axis=0)
            size = float((high - low).max())
            if (
                not np.isfinite(size)
                or size < options.least_px
                or size * first[i] > options.small_px
            ):
                continue
            half = size * options.context / 2
            # The crop is as high as wide times the aspect: the box is made for its width.
            zoom = size_hw[1] / (2 * half * padding)
            if zoom < options.least_zoom * first[i]:
                continue
            x, y = (float(c) for c in (low + high) / 2)
            found.append(Look(picture, i, name, (x - half, y - half, x + half, y + half), size))
    return found


def look_again(
    images: Sequence[npt.NDArray[np.uint8]],
    people: Sequence[People],
    estimator: Estimate,
    options: SecondLookOptions | None = None,
    *,
    flip_test: bool | None = None,
    on_batch: Callable[[], None] | None = None,
) -> list[People]:
    """Estimate small hands and faces a second time and keep what is surer.

    All crops of all pictures go through the network together.

    Args:
        images: uint8 [H, W, 3] RGB each.
        people: of each picture, as first estimated.
        estimator: the same network as before, or another one with 133 points.
        options: when, and what to believe.
        flip_test: see `Estimator`.
        on_batch: called after each run of the network.

    Returns:
        one `People` a picture, the same people; only points of hands and faces, and their
        scores, may differ.

    Raises:
        ValueError: there are not as many pictures as `People`.
    """
    options = options or SecondLookOptions()
    if len(images) != len(people):
        raise ValueError(f"people must be given for each of {len(images)} pictures")
    padding = float(getattr(estimator, "padding", BOX_PADDING))
    looks = [
        find_looks(found, estimator.size_hw, options, i, padding) for i, found in enumerate(people)
    ]
    boxes = [Boxes(np.array([look.box for look in own]).reshape(-1, 4)) for own in looks]
    busy = [i for i, own in enumerate(looks) if own]
    out = list(people)
    if not busy:
        return out
    seen = estimator(
        [images[i] for i in busy],
        [boxes[i] for i in busy],
        flip_test=flip_test,
        on_batch=on_batch,
    )
    for i, closer in zip(busy, seen, strict=True):
        out[i] = _merge(people[i], closer, looks[i], options)
    return out


def _merge(people: People, closer: People, looks: list[Look], options: SecondLookOptions) -> People:
    keypoints, scores = people.keypoints.copy(), people.scores.copy()
    for row, look in enumerate(looks):
        part, _ = _PARTS[look.part]
        old, new = people.scores[look.person, part], closer.scores[row, part]
        if np.minimum(new, 1).mean() <= np.minimum(old, 1).mean() + options.gain:
            continue
        before, after = people.keypoints[look.person, part], closer.keypoints[row, part]
        middle = np.median(after, axis=0) - np.median(before, axis=0)
        if np.hypot(*middle) > options.reach * look.size_px:
            continue
        # A part is taken as a whole, or two views would be mixed in one hand; but not what was
        # seen before and is not now.
        better = (new >= options.threshold) | (new >= old)
        keypoints[look.person, part] = np.where(better[:, None], after, before)
        scores[look.person, part] = np.where(better, new, old)
    return replace(people, keypoints=keypoints, scores=scores)
