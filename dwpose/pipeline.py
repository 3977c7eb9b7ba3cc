"""The facade: pictures in, people out.

Shapes: B pictures, P people of one picture, H and W a picture's size in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from .detector import PersonDetector
from .estimator import Estimator
from .geometry import OKS_NMS_THRESHOLD, box_center_scale, fix_aspect, oks_nms
from .io.boxes import boxes_of_masks, read_boxes
from .io.images import CHUNK_PIXELS, ImageArray, is_batch, load_image, split_batch
from .pose_options import ORDERS, PoseOptions
from .runtimes.pretrained import open_models
from .runtimes.session import RuntimeInfo, Session, usage_of
from .search import find_one_person, find_people
from .second_look import look_again
from .types import DEFAULT_THRESHOLD, Boxes, People

Progress = Callable[[int, int], None]

# Keypoints at or below it do not count for the pose's score (keypoint_score_thr of DWPose's
# evaluation settings).
_COUNTED: Final = 0.2


class DWPose:
    """Whole-body poses of everybody in pictures.

    Args:
        estimator: the pose network.
        detector: finds the people; None looks at the whole picture, then crops again around
            what was found, which suits one person.
        notice: one line that the user should see, or "".

    Attributes:
        estimator, detector, notice: as given.
        searches: whether boxes are no more than where a search starts: without a detector, or with
            one whose file says so, as the built-in's does; see `search`.
    """

    def __init__(
        self, estimator: Estimator, detector: PersonDetector | None = None, notice: str = ""
    ) -> None:
        self.estimator = estimator
        self.detector = detector
        self.notice = notice
        self.searches = detector is None or usage_of(detector.session).rough_boxes

    @classmethod
    def from_pretrained(
        cls,
        estimator: str | os.PathLike[str] = "auto",
        detector: str | os.PathLike[str] | None = "auto",
        *,
        runtime: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        mode: str = "eager",
        folder: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        detector_batch_size: int | None = None,
        score_threshold: float = DEFAULT_THRESHOLD,
    ) -> DWPose:
        """Make a pipeline from model files.

        Args:
            estimator: a catalogue id (downloaded if it is not here), a file, or "auto": the
                official DWPose if its file is here, else the built-in network, with a notice.
            detector: the same; "auto" takes a detector that is here, the official one first and
                the built-in one last. "none" or None: no detector.
            runtime: "auto", "torch" or "onnxruntime".
            device: "auto", "cpu", "cuda", "cuda:1", "mps", "dml", ...
            precision: "auto", "fp32", "fp16" or "bf16".
            mode: on an NVIDIA GPU with torch "graph" runs the networks as CUDA graphs, for a few
                batch sizes, which above all helps for one person; "compile" compiles them first,
                which takes minutes. Elsewhere, and where "auto" chooses another runtime, they run
                as "eager", the default, and `info` says so.
            folder: where model files lie; the default folder when None.
            batch_size: crops that go through the estimator at once.
            detector_batch_size: pictures that go through the detector at once.
            score_threshold: people whom the detector scores lower are left out.

        Raises:
            FileNotFoundError: a path leads nowhere.
            ValueError: an id is unknown, or a file holds the other kind of model.
            WeightsError: a file cannot be had, is damaged, or holds an unknown network.
            RuntimeUnavailable: what was asked does not run here.
        """
        pose, find, notice = open_models(
            estimator, detector, runtime, device, precision, folder, mode
        )
        return cls(
            Estimator(pose, batch_size=batch_size),
            None
            if find is None
            else PersonDetector(
                find, score_threshold=score_threshold, batch_size=detector_batch_size
            ),
            notice,
        )

    @property
    def sessions(self) -> dict[str, Session]:
        """The running networks by role: "estimator", and "detector" where there is one."""
        found: dict[str, Session] = {"estimator": self.estimator.session}
        if self.detector is not None:
            found["detector"] = self.detector.session
        return found

    @property
    def info(self) -> dict[str, RuntimeInfo]:
        """What runs each network and why, by role."""
        return {role: session.info for role, session in self.sessions.items()}

    @overload
    def __call__(
        self,
        images: list[Any] | tuple[Any, ...],
        *,
        boxes: Any = None,
        masks: Any = None,
        on_batch: Progress | None = None,
        **options: Any,
    ) -> list[People]: ...
    @overload
    def __call__(
        self,
        images: str | os.PathLike[str],
        *,
        boxes: Any = None,
        masks: Any = None,
        on_batch: Progress | None = None,
        **options: Any,
    ) -> People: ...
    @overload
    def __call__(
        self,
        images: Any,
        *,
        boxes: Any = None,
        masks: Any = None,
        on_batch: Progress | None = None,
        **options: Any,
    ) -> Any: ...

    def __call__(
        self,
        images: Any,
        *,
        boxes: Any = None,
        masks: Any = None,
        on_batch: Progress | None = None,
        **options: Any,
    ) -> Any:
        """Find everybody and estimate their poses.

        Args:
            images: one picture (a path, or an array or tensor [H, W, 3]; see
                `io.images.load_image`), or several: a list of them, or an array or tensor
                [B, H, W, 3].
            boxes: the people, instead of asking the detector: `Boxes` or float [P, 4] xyxy in
                pixels; for several pictures a sequence of those. People come back in this
                order, none left out, unless the options say otherwise.
            masks: the same by masks [H, W] or [N, H, W] of each person, true, above 0.5 or
                above 127; an empty mask is nobody.
            on_batch: called with the pictures done and all pictures, after each run of a
                network and each finished group of pictures. What it raises ends the work and
                reaches the caller.
            **options: see `PoseOptions`.

        Returns:
            `People` for one picture, a list of `People` for several, in their order. Nobody is
            an empty `People`.

        Raises:
            ValueError, TypeError, FileNotFoundError: an argument is wrong; names it.
        """
        several = is_batch(images)
        found = list(
            self.iterate(
                images if several else [images],
                boxes=boxes if several or boxes is None else [boxes],
                masks=masks if several or masks is None else [masks],
                on_batch=on_batch,
                names=None if several else "image",
                **options,
            )
        )
        return found if several else found[0]

    pose = __call__

    def stream(self, source: Any, **settings: Any) -> Iterator[tuple[ImageArray, People]]:
        """Follow the people of a film: each frame and who is in it; see `stream.stream`."""
        from .stream import stream

        return stream(self, source, **settings)

    def iterate(
        self,
        images: Any,
        *,
        boxes: Sequence[Any] | None = None,
        masks: Sequence[Any] | None = None,
        on_batch: Progress | None = None,
        names: str | None = None,
        **options: Any,
    ) -> Iterator[People]:
        """Like calling, for several pictures, but yield each result as soon as it is there.

        Files of a list are read only when their turn comes, so memory stays bounded.

        Args:
            images: a list of pictures or a batch [B, H, W, 3].
            boxes: for each picture.
            masks: for each picture.
            on_batch: as in `__call__`.
            names: what errors call the only picture; None numbers pictures, boxes and masks,
                as in "images[index]".
            **options: see `PoseOptions`.

        Yields:
            one `People` a picture, in their order.
        """
        chosen = PoseOptions(**options)
        images = split_batch(images)
        if boxes is not None and masks is not None:
            raise ValueError("boxes and masks exclude each other; give one of them")
        for name, values in (("boxes", boxes), ("masks", masks)):
            if values is not None and len(values) != len(images):
                raise ValueError(
                    f"{name} must be given for each picture, got {len(values)} "
                    f"for {len(images)} pictures"
                )

        def called(name: str, k: int) -> str:
            return name if names else f"{name}[{k}]"

        total = len(images)
        done = 0
        chunk: list[ImageArray] = []
        for i in range(total):
            chunk.append(load_image(images[i], names or f"images[{i}]"))
            pixels = sum(image.shape[0] * image.shape[1] for image in chunk)
            if i + 1 < total and len(chunk) < self._chunk_size and pixels < CHUNK_PIXELS:
                continue
            span = range(done, i + 1)
            given = None
            if boxes is not None:
                given = [read_boxes(boxes[k], called("boxes", k)) for k in span]
            elif masks is not None:
                given = [
                    boxes_of_masks(masks[k], image.shape[:2], called("masks", k))
                    for k, image in zip(span, chunk, strict=True)
                ]
            tick = None if on_batch is None else partial(on_batch, done, total)
            found = self._estimate(chunk, given, chosen, tick)
            done = i + 1
            if on_batch is not None:
                on_batch(done, total)
            yield from found
            chunk = []

    @property
    def _chunk_size(self) -> int:
        """Pictures worked on together: enough to fill the batches of both networks."""
        if self.detector is None:
            return self.estimator.batch_size
        return max(self.estimator.batch_size, self.detector.batch_size)

    def _estimate(
        self,
        images: list[ImageArray],
        given: list[Boxes] | None,
        options: PoseOptions,
        tick: Callable[[], None] | None,
    ) -> list[People]:
        """Poses in some pictures, whose boxes may be given."""
        if given is None:
            people = self._look_for(images, options, tick)
        else:
            people = self.estimator(images, given, flip_test=options.flip_test, on_batch=tick)
        order, limit = options.order, options.nms_threshold
        if order == "auto":
            order = "left-to-right" if given is None else "given"
        if limit == "auto":
            limit = OKS_NMS_THRESHOLD if given is None else None
        if limit is not None:
            people = [remove_duplicates(p, float(limit), self.estimator) for p in people]
        people = [arrange(p, order) for p in people]
        if options.max_people is not None:
            people = [p[: options.max_people] for p in people]
        if options.second_look:  # last, so that nobody is looked at who is then left out
            people = look_again(
                images, people, self.estimator, flip_test=options.flip_test, on_batch=tick
            )
        return people

    def _look_for(
        self, images: list[ImageArray], options: PoseOptions, tick: Callable[[], None] | None
    ) -> list[People]:
        """Poses of people whom nobody has boxed."""
        how: dict[str, Any] = {"flip_test": options.flip_test, "on_batch": tick}
        if self.detector is None:
            return find_one_person(self.estimator, images, rounds=options.rounds, **how)
        boxes = self.detector(images, score_threshold=options.score_threshold, on_batch=tick)
        if self.searches and options.detector_fallback is not False:
            return find_people(self.estimator, images, boxes, rounds=options.rounds, **how)
        people = self.estimator(images, boxes, **how)
        if options.detector_fallback:
            blind = [i for i, found in enumerate(people) if not len(found)]
            alone = [images[i] for i in blind]
            seen = find_one_person(self.estimator, alone, rounds=options.rounds, **how)
            for i, person in zip(blind, seen, strict=True):
                people[i] = person
        return people


def remove_duplicates(people: People, threshold: float, estimator: Estimator) -> People:
    """Keep one of several poses that say the same, the best; the order stays.

    As in DWPose's evaluation: OKS over all 133 points, areas those of the padded boxes.
    """
    if len(people) < 2:
        return people
    height, width = estimator.size_hw
    _, scale = box_center_scale(people.boxes.xyxy, estimator.padding)
    area = fix_aspect(scale, width / height).prod(axis=-1)
    kept = oks_nms(people.keypoints, pose_scores(people), area, threshold)
    return people if len(kept) == len(people) else people[np.sort(kept)]


def pose_scores(people: People) -> npt.NDArray[np.float32]:
    """Score of each pose as DWPose's evaluation has it.

    Args:
        people: P people.

    Returns:
        float32 [P]: box score times the mean of the keypoint scores above 0.2; 0 where no
        keypoint is.
    """
    counted = people.scores > _COUNTED
    total = np.where(counted, people.scores, 0).sum(axis=1)
    mean = total / np.maximum(counted.sum(axis=1), 1)
    return (mean * people.boxes.scores).astype(np.float32)


def arrange(people: People, order: str) -> People:
    """Sort people; equals keep their order.

    Args:
        people: P people.
        order: "left-to-right" by the boxes' centres, "size" by their area, largest first,
            "score" by `pose_scores`, best first, or "given".

    Raises:
        ValueError: an unknown order.
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
    if order == "given" or len(people) < 2:
        return people
    if order == "left-to-right":
        key = people.boxes.xyxy[:, 0] + people.boxes.xyxy[:, 2]
    else:
        key = -(people.boxes.area if order == "size" else pose_scores(people))
    ranks = key.argsort(kind="stable")
    sorted_already = (ranks[1:] > ranks[:-1]).all()
    return people if sorted_already else people[ranks]
