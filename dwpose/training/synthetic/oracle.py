"""Stand-ins for the networks that know the truth of a clip: for tests and benchmarks of films.

They answer what trained networks would, from the truth and noise, and find out which frame they
are asked about from its own pixels. So tracking, filling and smoothing can be measured without
weights, and a benchmark can pay for real networks and use these answers.

Shapes: T frames, P people of a frame, K = 133 keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from ...geometry import BOX_PADDING, iou_matrix
from ...skeleton import BODY
from ...types import Boxes, People
from .numeric_clips import NumericClip

Picture = npt.NDArray[np.uint8]

# A frame's number is written as so many black or white squares along the top.
_BITS, _SQUARE = 16, 4
# A detector misses who shows fewer body points, and a pose network what is not in its box.
_DETECTED_POINTS: Final = 5
_SAME_BOX: Final = 0.1


def write_number(image: Picture, number: int) -> None:
    """Write a frame's number into its upper left corner, so that encoding does not harm it."""
    for bit in range(_BITS):
        image[:_SQUARE, bit * _SQUARE : (bit + 1) * _SQUARE] = 255 * (number >> bit & 1)


def read_number(image: Picture) -> int:
    """Return the number that `write_number` wrote."""
    corner = image[:_SQUARE, : _BITS * _SQUARE].reshape(_SQUARE, _BITS, _SQUARE, -1)
    return int(((corner[1:-1, :, 1:-1].mean(axis=(0, 2, 3)) > 127) << np.arange(_BITS)).sum())


def draw_clip(clip: NumericClip, seed: int = 0) -> Iterator[Picture]:
    """Yield simple pictures of a clip: blobs of people before a background, another for each scene.

    Returns:
        uint8 [H, W, 3], each with its number.
    """
    height, width = clip.image_hw
    scene = -1
    background = np.zeros((height, width, 3), np.uint8)
    for index, people in enumerate(clip.truth):
        if index == 0 or index in clip.cuts:
            scene += 1
            rng = np.random.default_rng(seed + scene)
            coarse = rng.integers(0, 256, (5, 8, 3), dtype=np.uint8) // 2
            coarse += rng.integers(0, 128, 3).astype(np.uint8)
            background = np.asarray(
                cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8
            )
        image = background.copy()
        ids = [] if people.track_ids is None else people.track_ids.tolist()
        # The nearest last: whose points are all seen.
        for i in np.argsort((people.scores > 0.5).sum(axis=1), kind="stable"):
            shade = np.random.default_rng(100 + ids[i]).integers(0, 256, 3).tolist()
            hull = cv2.convexHull(people.keypoints[i, BODY].round().astype(np.int32))
            cv2.fillConvexPoly(image, hull, shade)
        write_number(image, index)
        yield image


class Oracle:
    """Answers like a detector and a pose network.

    Args:
        truth: for each frame everybody, scores 1 where seen.
        sigma: noise of seen points as a share of the person's size; hidden ones have four times.
        pay: called with the number of pictures or crops before each answer, with "detect" or
            "estimate": to spend the time of real networks.
        seed: of the noise, the same for the same frame and person.

    Attributes:
        detections: pictures that were searched; crops: poses that were estimated.
    """

    def __init__(
        self,
        truth: Sequence[People],
        sigma: float = 0.002,
        pay: Callable[[str, Sequence[Any], Sequence[Boxes] | None], None] | None = None,
        seed: int = 0,
    ) -> None:
        self.truth = truth
        self.sigma = sigma
        self.pay = pay
        self.seed = seed
        self.detections = 0
        self.crops = 0

    def detect(self, images: Sequence[Picture], **options: Any) -> list[Boxes]:
        """Return boxes of everybody of whom enough shows, best seen first."""
        self.detections += len(images)
        if self.pay is not None:
            self.pay("detect", images, None)
        found = []
        for image in images:
            people = self.truth[read_number(image)]
            shown = (people.scores[:, BODY] > 0.5).sum(axis=1)
            boxes = people[shown >= _DETECTED_POINTS].boxes.xyxy
            size = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)[:, None]
            grown = boxes + size * np.array((-0.03, -0.06, 0.03, 0.03), np.float32)
            limit = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
            found.append(Boxes(np.clip(grown, 0, limit), np.full(len(boxes), 0.9)))
        return found

    def estimate(
        self, images: Sequence[Picture], boxes: Sequence[Boxes], **options: Any
    ) -> list[People]:
        """Return the pose of whoever fills each box best; unsure points where nobody does."""
        self.crops += sum(len(b) for b in boxes)
        if self.pay is not None:
            self.pay("estimate", images, boxes)
        return [self._frame(i, b) for i, b in zip(images, boxes, strict=True)]

    def _frame(self, image: Picture, boxes: Boxes) -> People:
        number = read_number(image)
        people = self.truth[number]
        points = np.zeros((len(boxes), 133, 2), np.float32)
        scores = np.full((len(boxes), 133), 0.05, np.float32)
        # Of two people in a box a network sees the one in front.
        shown = (people.scores[:, BODY] > 0.5).mean(axis=1)
        overlap = iou_matrix(boxes.xyxy, people.boxes.xyxy) * shown
        for i, box in enumerate(boxes.xyxy):
            if not len(people) or overlap[i].max() < _SAME_BOX:
                points[i] = (box[:2] + box[2:]) / 2
                continue
            who = int(overlap[i].argmax())
            ids = people.track_ids
            rng = np.random.default_rng((self.seed, number, who if ids is None else int(ids[who])))
            truth, seen = people.keypoints[who], people.scores[who] > 0.5
            size = float(np.hypot(*np.ptp(truth, axis=0)))
            noise = rng.normal(0, self.sigma * size, (133, 2))
            points[i] = truth + noise * np.where(seen, 1, 4)[:, None]
            reach = (box[2:] - box[:2]) * (BOX_PADDING - 1) / 2 + 1
            inside = ((truth > box[:2] - reach) & (truth < box[2:] + reach)).all(axis=1)
            sure, unsure = rng.uniform(0.8, 1.0, 133), rng.uniform(0.0, 0.2, 133)
            scores[i] = np.where(seen & inside, sure, unsure)
        return People(points, scores, boxes, (image.shape[0], image.shape[1]))
