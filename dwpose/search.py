"""Look for people without a good detector: crop, and crop again around what was found.

The pose network itself tells where somebody is. A search for one person starts at the whole picture
and at windows of it, or at a rough box, and goes on around the confident keypoints.

Shapes: P people of one picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .estimator import Estimator
from .geometry import iou_matrix
from .skeleton import BODY
from .types import DEFAULT_THRESHOLD, Boxes, People

Array = npt.NDArray[Any]

# Crops after the first look, in which a person may fill a small part of the input.
ROUNDS: Final = 2
# Fewer confident body points than this are noise, not a person.
MIN_BODY_POINTS: Final = 4
# Keypoints end at the eyes, wrists and ankles, boxes at the hair and toes.
_MARGIN: Final = 0.1
# A box that moved less than this would show the network the same crop again.
_SETTLED_IOU: Final = 0.95
# Upright windows that a wide picture is first seen through, besides the whole of it.
_MAX_WINDOWS: Final = 5
# Boxes of a picture that searches start at, the surest: every one costs some looks.
_MAX_STARTS: Final = 64
# Poses most of whose common points are nearer than this share of the larger one are of the same
# person; one look may have put a hand elsewhere than the other.
# People who stand shoulder to shoulder are a quarter of their height apart, in a crowd a sixth.
_SAME_SHARE: Final = 0.14


def box_of_points(
    people: People, threshold: float = DEFAULT_THRESHOLD, margin: float = _MARGIN
) -> npt.NDArray[np.float32] | None:
    """Box around the confident keypoints of the first person.

    Args:
        people: at least one person.
        threshold: raw scores below it do not count.
        margin: what is added on each side, as a share of the longer side.

    Returns:
        float32 [4] xyxy in pixels, cut at the picture's border; None if fewer than four body
        points count or nothing is left inside the picture.
    """
    sure = people.visible(threshold)[0]
    if sure[BODY].sum() < MIN_BODY_POINTS:
        return None
    points = people.keypoints[0, sure]
    low, high = points.min(axis=0), points.max(axis=0)
    extra = margin * float((high - low).max())
    height, width = people.image_hw
    low = np.clip(low - extra, 0, (width, height))
    high = np.clip(high + extra, 0, (width, height))
    if (high - low < 1).any():
        return None
    return np.concatenate((low, high)).astype(np.float32)


def first_windows(image_hw: tuple[int, ...], aspect: float) -> npt.NDArray[np.float32]:
    """Boxes to look into when nothing is known: the whole picture, then upright windows.

    In a wide picture a standing person is a small part of the crop; windows of the picture's
    height and the network's aspect, half overlapping, show them large.

    Args:
        image_hw: height and width in pixels.
        aspect: width over height of the network's input.

    Returns:
        float32 [1 + n, 4] xyxy in pixels; n is 0 for upright pictures and at most 5.
    """
    height, width = image_hw[:2]
    boxes = [(0.0, 0.0, float(width), float(height))]
    window = height * aspect
    if width > window * 1.25:
        count = min(int(np.ceil((width - window) / (window / 2))) + 1, _MAX_WINDOWS)
        boxes += [
            (float(left), 0.0, float(left + window), float(height))
            for left in np.linspace(0, width - window, count)
        ]
    return np.array(boxes, np.float32)


def find_one_person(
    estimator: Estimator,
    images: Sequence[npt.NDArray[np.uint8]],
    *,
    rounds: int = ROUNDS,
    threshold: float = DEFAULT_THRESHOLD,
    flip_test: bool | None = None,
    on_batch: Callable[[], None] | None = None,
) -> list[People]:
    """Estimate the main person of each picture without a detector.

    The first look is at the whole picture, as in DWPose's own scripts, and into `first_windows`.
    Each round then puts a box around the confident keypoints of the best look and looks again,
    until a look is no better than the one before or the box has settled. The best look counts;
    where fewer than four of its body points are confident, nobody is there.

    Args:
        estimator: the pose network.
        images: uint8 [H, W, 3] RGB each.
        rounds: how often to crop again; 0 looks at the whole picture once and no more.
        threshold: raw score above which a keypoint is confident.
        flip_test: as in `Estimator`, in one more look at the end.
        on_batch: called after each run of the network.

    Returns:
        for each picture one person, or nobody.
    """
    starts = [(i, _whole(estimator, image, rounds)) for i, image in enumerate(images)]
    found = _search(estimator, images, starts, rounds, threshold, on_batch)
    there = [i for i, person in enumerate(found) if box_of_points(person, threshold) is not None]
    out = [People.empty((image.shape[0], image.shape[1])) for image in images]
    last = _with_mirror(estimator, images, there, [found[i] for i in there], flip_test, on_batch)
    for i, person in zip(there, last, strict=True):
        out[i] = person
    return out


def find_people(
    estimator: Estimator,
    images: Sequence[npt.NDArray[np.uint8]],
    boxes: Sequence[Boxes],
    *,
    rounds: int = ROUNDS,
    threshold: float = DEFAULT_THRESHOLD,
    flip_test: bool | None = None,
    on_batch: Callable[[], None] | None = None,
) -> list[People]:
    """Estimate everybody of each picture from rough boxes, some of which hold nobody.

    Each box, of many the surest 64, is where a search for one person starts, and so is the whole
    picture, see `find_one_person`. Of searches that ended at the same person the surest counts.

    Args:
        estimator: the pose network.
        images: uint8 [H, W, 3] RGB each.
        boxes: of each picture.
        rounds: as in `find_one_person`.
        threshold: the same.
        flip_test: the same.
        on_batch: the same.

    Returns:
        one `People` a picture; their boxes are around their points, with scores of 1.
    """
    starts = []
    for i, (image, own) in enumerate(zip(images, boxes, strict=True)):
        surest = np.sort(np.argsort(-own.scores, kind="stable")[:_MAX_STARTS])
        starts.append((i, _whole(estimator, image, rounds)))
        starts += [(i, box[None]) for box in own.xyxy[surest]]
    found = _search(estimator, images, starts, rounds, threshold, on_batch)
    kept = [
        k
        for i in range(len(images))
        for k in _different([k for k, (own, _) in enumerate(starts) if own == i], found, threshold)
    ]
    owner = [starts[k][0] for k in kept]
    last = _with_mirror(estimator, images, owner, [found[k] for k in kept], flip_test, on_batch)
    return [
        _together([p for own, p in zip(owner, last, strict=True) if own == i], image, threshold)
        for i, image in enumerate(images)
    ]


def _whole(estimator: Estimator, image: npt.NDArray[np.uint8], rounds: int) -> Array:
    aspect = estimator.size_hw[1] / estimator.size_hw[0]
    return first_windows(image.shape, aspect)[: None if rounds else 1]


def _search(
    estimator: Estimator,
    images: Sequence[npt.NDArray[np.uint8]],
    starts: Sequence[tuple[int, Array]],
    rounds: int,
    threshold: float,
    on_batch: Callable[[], None] | None,
) -> list[People]:
    """The best look of each search, one person each; starts are a picture's number and boxes."""
    boxes = [first for _, first in starts]
    best: list[People | None] = [None] * len(starts)
    waiting = list(range(len(starts)))
    for _ in range(rounds + 1):
        if not waiting:
            break
        seen = estimator(
            [images[starts[i][0]] for i in waiting],
            [Boxes(boxes[i]) for i in waiting],
            flip_test=False,
            on_batch=on_batch,
        )
        unsettled = []
        for i, looks in zip(waiting, seen, strict=True):
            # Half of all points are the face's: by all of them a look at a face alone would win.
            quality = looks.confidence[:, BODY].mean(axis=1)
            chosen = looks[int(quality.argmax())]
            old = best[i]
            if old is not None and quality.max() <= old.confidence[:, BODY].mean():
                continue
            best[i] = chosen
            # A first look may be unsure of a person whom a closer one knows well.
            box = box_of_points(chosen, threshold)
            box = box_of_points(chosen, threshold / 2) if box is None else box
            if box is not None and iou_matrix(box[None], chosen.boxes.xyxy)[0, 0] < _SETTLED_IOU:
                boxes[i] = box[None]
                unsettled.append(i)
        waiting = unsettled
    return [person for person in best if person is not None]


def _with_mirror(
    estimator: Estimator,
    images: Sequence[npt.NDArray[np.uint8]],
    owner: Sequence[int],
    people: list[People],
    flip_test: bool | None,
    on_batch: Callable[[], None] | None,
) -> list[People]:
    """Look once more at people, if a flip test is wanted; `owner` says in which picture each is."""
    if not people or not (estimator.flip_test if flip_test is None else flip_test):
        return people
    boxes = [person.boxes for person in people]
    return estimator([images[i] for i in owner], boxes, flip_test=True, on_batch=on_batch)


def _different(among: Sequence[int], found: Sequence[People], threshold: float) -> list[int]:
    """Searches that found somebody, each person once."""
    boxes = {k: box_of_points(found[k], threshold) for k in among}
    sides = {k: float((b[2:] - b[:2]).max()) for k, b in boxes.items() if b is not None}
    alive: list[int] = []
    # One search may have seen a face and another the body with it, so OKS, which asks for all
    # points, would tell them apart.
    for i in sorted(sides, key=lambda k: -float(found[k].confidence[:, BODY].mean())):
        for k in alive:
            common = (found[i].visible(threshold) & found[k].visible(threshold))[0]
            apart = found[i].keypoints[0, common] - found[k].keypoints[0, common]
            distance = np.linalg.norm(apart, axis=-1)
            if common.any() and np.median(distance) < _SAME_SHARE * max(sides[i], sides[k]):
                break
        else:
            alive.append(i)
    return sorted(alive)


def _together(found: list[People], image: npt.NDArray[np.uint8], threshold: float) -> People:
    """People of one picture with boxes around their points; who has no body is left out."""
    pairs = [(person, box_of_points(person, threshold)) for person in found]
    there = [(person, box) for person, box in pairs if box is not None]
    image_hw = (image.shape[0], image.shape[1])
    if not there:
        return People.empty(image_hw)
    return People(
        np.concatenate([person.keypoints for person, _ in there]),
        np.concatenate([person.scores for person, _ in there]),
        Boxes(np.array([box for _, box in there])),
        image_hw,
    )
