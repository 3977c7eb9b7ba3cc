"""Estimate poses in boxes: crop, network, decoding, back to the picture's pixels.

Shapes: P people of one picture, N crops of a batch, K = 133 keypoints, h and w the crop's size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from .crop import crop_matrices
from .heatmap import decode_heatmaps, merge_flipped_heatmaps
from .runtimes.crops import write_crop, write_crop_bytes
from .runtimes.session import Outputs, Session, pick_batch_size, runs_on_gpu, usage_of
from .runtimes.threads import in_parallel, overlap
from .simcc import SPLIT, decode
from .skeleton import FLIP_INDICES, NUM_KEYPOINTS
from .types import Boxes, People

if TYPE_CHECKING:
    from .runtimes.on_device import DeviceRun

Array = npt.NDArray[Any]

# A fourth channel saves 2.5 ns for each pixel of a crop and costs 0.26 ns for each of the picture;
# a little less, because not every machine gains as much.
_WIDEN_GAIN: Final = 8


def merge_flipped(simcc: tuple[Array, Array], mirrored: tuple[Array, Array]) -> tuple[Array, Array]:
    """Average the curves of crops with those of their mirror images.

    Args:
        simcc: x [N, K, 2w] and y [N, K, 2h] of the crops.
        mirrored: the same of the mirror images.

    Returns:
        the mean curves, after left and right points and the x axis of the second were swapped
        back; without a shift, as in mmpose's flip test for SimCC.
    """
    x = (simcc[0] + mirrored[0][:, FLIP_INDICES, ::-1]) * np.float32(0.5)
    y = (simcc[1] + mirrored[1][:, FLIP_INDICES]) * np.float32(0.5)
    return x, y


def to_source(keypoints: Array, inverse: Array) -> npt.NDArray[np.float32]:
    """Move keypoints [N, K, 2] from crop pixels to source pixels by matrices [N, 2, 3]."""
    moved = keypoints @ np.swapaxes(inverse[:, :, :2], 1, 2) + inverse[:, None, :, 2]
    return moved.astype(np.float32)


class Estimator:
    """Poses of people whose boxes are known.

    Args:
        session: a running network: normalised RGB in; out `simcc_x`, `simcc_y` as RTMPose, or
            heatmaps as ViTPose.
        batch_size: crops that go through the network at once, which bounds memory; 4 on a CPU
            and 32 elsewhere when None.
        padding: factor by which boxes are enlarged; that of the network when None, which is 1.25
            for all but the built-in one's kind (1.1).
        split: SimCC bins per pixel.
        udp: how cells of heatmaps lie on the input, see `heatmap.decode_heatmaps`.
        on_device: normalise crops and read the curves where the network runs, so that bytes go
            there and points come back, see `runtimes.on_device`: for an RTMPose on torch. None
            does so on a GPU ("cuda") where it can be done.

    Attributes:
        flip_test: what a call does that leaves it open: on with networks of the built-in's kind,
            which costs little; on photos it gains little by now, see weights/builtin/README.md.

    Raises:
        ValueError: the session leaves the input size open, batch_size is below one, or on_device
            cannot be done with this session.
    """

    def __init__(
        self,
        session: Session,
        *,
        batch_size: int | None = None,
        padding: float | None = None,
        split: float = SPLIT,
        udp: bool = False,
        on_device: bool | None = None,
    ) -> None:
        if session.input_size_hw is None:
            raise ValueError("session must state its input size; a pose network has a fixed one")
        usage = usage_of(session)
        padding = usage.padding if padding is None else padding
        if not padding > 0:
            raise ValueError(f"padding must be above 0, got {padding}")
        self.session = session
        self.size_hw = session.input_size_hw
        self.padding = padding
        self.split = split
        self.udp = udp
        self.flip_test = usage.flip_test
        self.batch_size = pick_batch_size(session, batch_size, on_cpu=4, elsewhere=32)
        # Room for a batch, of floats or for the device of bytes.
        self._spare: list[npt.NDArray[Any]] = []
        # Without and with a flip test; none where the host does the work.
        self._runs: list[DeviceRun] = []
        if on_device or (on_device is None and runs_on_gpu(session)):
            from .runtimes.on_device import crops_to_points

            runs = [crops_to_points(session, flip, split) for flip in (False, True)]
            self._runs = [run for run in runs if run is not None]
            if on_device and not self._runs:
                raise ValueError("on_device needs a session that runs an RTMPose on torch")

    def __call__(
        self,
        images: Sequence[npt.NDArray[np.uint8]],
        boxes: Sequence[Boxes],
        *,
        flip_test: bool | None = None,
        on_batch: Callable[[], None] | None = None,
    ) -> list[People]:
        """Estimate everybody in all pictures, in batches that span pictures.

        Args:
            images: uint8 [H, W, 3] RGB each.
            boxes: the people of each picture.
            flip_test: also look at the mirror image and average; twice the work, a little
                more accurate. None does so with networks of the built-in's kind alone.
            on_batch: called after each run of the network; what it raises ends the work.

        Returns:
            one `People` a picture, in the order of its boxes.

        Raises:
            ValueError: there are not as many boxes as pictures, or the network's answer is not
                that of a 133-point model.
        """
        if len(images) != len(boxes):
            raise ValueError(f"boxes must be given for each of {len(images)} pictures")
        flip_test = self.flip_test if flip_test is None else flip_test
        owner = np.repeat(np.arange(len(images)), [len(b) for b in boxes])
        every = np.concatenate([b.xyxy for b in boxes]) if len(owner) else np.zeros((0, 4))
        forward, inverse = crop_matrices(every, self.size_hw, self.padding)
        keypoints = np.empty((len(owner), NUM_KEYPOINTS, 2), np.float32)
        scores = np.empty((len(owner), NUM_KEYPOINTS), np.float32)
        # Crops and their mirror images share a batch, so that the bound stays.
        step = max(self.batch_size // 2, 1) if flip_test else self.batch_size
        look = self._look_on_device if self._runs else self._look
        starts = range(0, len(owner), step)

        def looks() -> Iterator[Callable[[], tuple[Array, Array]]]:
            for start in starts:
                chosen = owner[start : start + step]
                sources = self._sources(images, chosen)
                pairs = [(sources[o], forward[start + i]) for i, o in enumerate(chosen.tolist())]
                yield look(pairs, flip_test)

        answers = overlap(looks(), 1 if self._runs else 0)
        for start, (in_crop, sure) in zip(starts, answers, strict=True):
            chosen = slice(start, start + len(sure))
            scores[chosen] = sure
            keypoints[chosen] = to_source(in_crop, inverse[chosen])
            if on_batch is not None:
                on_batch()
        ends = np.cumsum([0, *(len(b) for b in boxes)])
        return [
            People(keypoints[low:high], scores[low:high], person_boxes, image.shape[:2])
            for image, person_boxes, low, high in zip(
                images, boxes, ends[:-1], ends[1:], strict=True
            )
        ]

    def _look(
        self, pairs: list[tuple[Array, Array]], flip_test: bool
    ) -> Callable[[], tuple[Array, Array]]:
        """Look at some crops, given by picture and matrix; returns what gives points and scores."""
        count = len(pairs)
        # One crop and its mirror image must fit even where batch_size is one.
        shape = (max(self.batch_size, 2), 3, *self.size_hw)
        buffer = self._spare.pop() if self._spare else np.empty(shape, np.float32)
        try:

            def prepare(i: int) -> None:
                write_crop(*pairs[i], buffer[i], buffer[count + i] if flip_test else None)

            in_parallel(prepare, count)
            outputs = self._run(buffer[: count * 2 if flip_test else count])
        finally:
            self._spare.append(buffer)
        return partial(self._decode, outputs, flip_test)

    def _look_on_device(
        self, pairs: list[tuple[Array, Array]], flip_test: bool
    ) -> Callable[[], tuple[Array, Array]]:
        """Do as `_look` without waiting for the network."""
        run = self._runs[flip_test]
        buffer = self._spare.pop() if self._spare else run.new_buffer(self.batch_size, self.size_hw)
        in_parallel(lambda i: write_crop_bytes(*pairs[i], buffer[i]), len(pairs))
        wait = run.start(buffer[: len(pairs)])

        def finish() -> tuple[Array, Array]:
            answer = wait()
            self._spare.append(buffer)
            return answer[..., :2], answer[..., 2]

        return finish

    def _sources(self, images: Sequence[npt.NDArray[np.uint8]], owner: Array) -> dict[int, Array]:
        """Pictures to crop from, by their number; with a fourth channel where that pays.

        OpenCV warps four channels in half the time of three, to the same values: 0.28 ms against
        0.56 for 384x288. Adding the channel to 1080p takes 0.54 ms.
        """
        found: dict[int, Array] = {}
        for number, count in Counter(owner.tolist()).items():
            image = images[number]
            cropped = count * self.size_hw[0] * self.size_hw[1]
            if cropped * _WIDEN_GAIN > image.shape[0] * image.shape[1]:
                image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
            found[number] = image
        return found

    def _run(self, crops: npt.NDArray[np.float32]) -> Outputs:
        outputs = self.session(crops)
        height, width = self.size_hw
        expected = [
            (len(crops), NUM_KEYPOINTS, round(width * self.split)),
            (len(crops), NUM_KEYPOINTS, round(height * self.split)),
        ]
        shapes = [tuple(output.shape) for output in outputs]
        heatmaps = len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][:2] == expected[0][:2]
        if shapes != expected and not heatmaps:
            raise ValueError(
                f"the estimator answered {shapes} instead of SimCC curves {expected} or heatmaps; "
                "it is not a 133-point SimCC or heatmap model of this input size"
            )
        return outputs

    def _decode(self, outputs: Outputs, flip_test: bool) -> tuple[Array, Array]:
        """Points in crop pixels and scores; with a flip test the second half is mirrored."""
        half = len(outputs[0]) // 2
        if len(outputs) == 1:
            maps = outputs[0]
            if flip_test:
                maps = merge_flipped_heatmaps(maps[:half], maps[half:])
            return decode_heatmaps(maps, self.size_hw, self.udp)
        x, y = outputs
        if flip_test:
            x, y = merge_flipped((x[:half], y[:half]), (x[half:], y[half:]))
        return decode(x, y, self.split)
