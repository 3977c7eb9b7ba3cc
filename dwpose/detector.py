"""Find people: letterbox, network, decoding and non-maximum suppression, as YOLOX wants it.

Shapes: N pictures, A anchors (rows of a raw output), C classes, P people, M rows of an output
whose graph already suppressed duplicates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from .geometry import letterbox_ratio, nms
from .runtimes.letterbox import FILL as FILL
from .runtimes.letterbox import letterbox, letterbox_bytes, shrunk_hw
from .runtimes.session import Outputs, Session, output_shapes, pick_batch_size, runs_on_gpu
from .runtimes.threads import in_parallel, overlap
from .types import Boxes

if TYPE_CHECKING:
    from .runtimes.on_device import DeviceRun

Array = npt.NDArray[Any]

# Strides of the three heads, thresholds: DWPose's cv_ox_det / onnxdet.
STRIDES: Final = (8, 16, 32)
SCORE_THRESHOLD: Final = 0.3
NMS_THRESHOLD: Final = 0.45
DEFAULT_SIZE_HW: Final = (640, 640)
# "person" among COCO's 80 classes, and the only class of person detectors.
PERSON: Final = 0


@lru_cache(maxsize=8)
def _anchors(size_hw: tuple[int, int]) -> tuple[Array, Array]:
    """Grid positions [A, 2] (x, y) in cells and strides [A, 1] in pixels, row-major by stride."""
    grids, strides = [], []
    for stride in STRIDES:
        rows, columns = size_hw[0] // stride, size_hw[1] // stride
        y, x = np.mgrid[:rows, :columns]
        grids.append(np.stack((x, y), axis=-1).reshape(-1, 2))
        strides.append(np.full((rows * columns, 1), stride))
    return (
        np.concatenate(grids).astype(np.float32),
        np.concatenate(strides).astype(np.float32),
    )


def decode_boxes(raw: Array, size_hw: tuple[int, int], rows: Array | None = None) -> Array:
    """Turn raw YOLOX box columns into boxes.

    Args:
        raw: float [A, 4] centre offset and log size in cells; or [R, 4] with `rows`.
        size_hw: height and width of the network's input in pixels.
        rows: int [R], which of the A rows `raw` holds; all when None.

    Returns:
        float [A or R, 4] xyxy in pixels of the network's input.
    """
    grid, stride = _anchors(size_hw)
    if rows is not None:
        grid, stride = grid[rows], stride[rows]
    center = (raw[:, :2] + grid) * stride
    half = np.exp(raw[:, 2:4]) * stride / 2
    return np.concatenate((center - half, center + half), axis=1)


def _from_raw(
    raw: Array,
    size_hw: tuple[int, int],
    ratio: float,
    score_threshold: float,
    nms_threshold: float,
) -> tuple[Array, Array]:
    """People in one raw output [A, 5 + C]: boxes [P, 4] in source pixels and scores [P].

    DWPose suppresses above 0.1 in every class, then keeps class 0 above 0.3. Suppression goes
    from the best score down and class by class, so neither other classes nor boxes below the
    final threshold can change the result: leaving them out early is the same and costs nothing.
    It happens in source pixels, because its rule of whole pixels depends on the scale.
    """
    scores = raw[:, 4] * raw[:, 5 + PERSON]
    rows = (scores > score_threshold).nonzero()[0]
    xyxy = decode_boxes(raw[rows, :4], size_hw, rows) / np.float32(ratio)
    scores = scores.take(rows)
    kept = nms(xyxy, scores, nms_threshold)
    return xyxy[kept], scores[kept]


def read_outputs(
    outputs: Outputs,
    ratios: Sequence[float],
    size_hw: tuple[int, int],
    score_threshold: float = SCORE_THRESHOLD,
    nms_threshold: float = NMS_THRESHOLD,
) -> list[tuple[Array, Array]]:
    """Read people out of whatever a detector graph answers.

    Args:
        outputs: one of
            raw YOLOX [N, A, 5 + C];
            [N, M, 5] xyxy and score, with or without labels [N, M] (mmdeploy's `dets, labels`,
            as HumanArt's YOLOX);
            [N, M, 6] xyxy, score, class;
            counts [N, 1], boxes [N, M, 4], scores [N, M], classes [N, M] (YOLO-NAS, batched);
            [M, 7] picture, xyxy, score, class (YOLO-NAS, flat).
        ratios: for each of the N pictures the factor from source to input pixels.
        size_hw: height and width of the network's input in pixels.
        score_threshold: only people with a larger score are returned.
        nms_threshold: for raw outputs; the others come suppressed.

    Returns:
        for each picture boxes [P, 4] xyxy in source pixels and scores [P].

    Raises:
        ValueError: the outputs have none of these shapes.
    """
    shapes = [tuple(output.shape) for output in outputs]
    first = outputs[0]
    ranks = [len(shape) for shape in shapes]
    anchors = len(_anchors(size_hw)[0])
    if ranks == [3] and first.shape[1] == anchors and first.shape[2] > 5:
        return [
            _from_raw(raw, size_hw, ratio, score_threshold, nms_threshold)
            for raw, ratio in zip(first, ratios, strict=True)
        ]
    if ranks in ([3], [3, 2]) and first.shape[2] == 5:
        labels = outputs[1] if len(outputs) > 1 else np.zeros(first.shape[:2])
        boxes, scores = first[..., :4], first[..., 4]
    elif ranks == [3] and first.shape[2] == 6:
        boxes, scores, labels = first[..., :4], first[..., 4], first[..., 5]
    elif ranks == [2, 3, 2, 2] and shapes[1][2] == 4:
        boxes, scores, labels = outputs[1], outputs[2].copy(), outputs[3]
        # Rows past the count are padding with whatever numbers.
        scores[np.arange(scores.shape[1]) >= first.reshape(-1, 1)] = -np.inf
    elif ranks == [2] and first.shape[1] == 7:
        parts = [first[first[:, 0] == i] for i in range(len(ratios))]
        return [
            _confident(part[:, 1:5] / ratio, part[:, 5], part[:, 6], score_threshold)
            for part, ratio in zip(parts, ratios, strict=True)
        ]
    else:
        raise ValueError(f"the detector's outputs {shapes} are of no known layout")
    return [
        _confident(boxes[i] / ratio, scores[i], labels[i], score_threshold)
        for i, ratio in enumerate(ratios)
    ]


def _confident(xyxy: Array, scores: Array, labels: Array, threshold: float) -> tuple[Array, Array]:
    kept = (scores > threshold) & (labels == PERSON)
    return xyxy[kept], scores[kept]


class _Input:
    """Room for a batch, which remembers where grey already is: frames of a film share a size.

    Args:
        room: float32 [N, 3, h, w], or for a device uint8 [N, h, w, 3].
    """

    def __init__(self, room: Array) -> None:
        self.room = room
        self.filled_hw: list[tuple[int, int] | None] = [None] * len(room)

    def fill(self, images: Sequence[Array], bgr: bool, gain: float, i: int) -> None:
        """Put a picture into its place."""
        room, image = self.room[i], images[i]
        if room.dtype == np.uint8:
            size_hw = (room.shape[0], room.shape[1])
            letterbox_bytes(image, room, self.filled_hw[i])
        else:
            size_hw = (room.shape[1], room.shape[2])
            letterbox(image, size_hw, bgr, room, self.filled_hw[i], gain)
        self.filled_hw[i] = shrunk_hw(image.shape[:2], size_hw)


class PersonDetector:
    """Boxes of the people in pictures.

    Args:
        session: a running detector.
        score_threshold: people with a lower score are left out; 0..1.
        nms_threshold: a box goes if its IoU with a better one is larger; 0..1.
        clip: cut boxes at the picture's border. The original does not; people who leave the
            picture then get a crop that is partly black.
        colour: "bgr" for YOLOX (its training reads BGR files and converts nothing), "rgb" for
            YOLO-NAS and Ultralytics' YOLO; "auto" takes graphs with a uint8 input for YOLO-NAS,
            and those that say they answer [N, M, 6] for Ultralytics' (Wan-Animate's YOLOv10).
        gain: factor on the input's 0..255; None: 1/255 for Ultralytics' YOLO, else 1.
        batch_size: pictures that go through the network at once; one on a CPU, where more only
            costs memory, and eight elsewhere when None.
        size_hw: input height and width where the session leaves it open.
        on_device: convert pictures where the network runs, so that bytes go there, and fetch what
            matters for people alone, see `runtimes.on_device`: for a YOLOX on torch. None does so
            on a GPU ("cuda") where it can be done.

    Raises:
        ValueError: an argument is out of its range, or on_device cannot be done with this session.
    """

    def __init__(
        self,
        session: Session,
        *,
        score_threshold: float = SCORE_THRESHOLD,
        nms_threshold: float = NMS_THRESHOLD,
        clip: bool = True,
        colour: str = "auto",
        gain: float | None = None,
        batch_size: int | None = None,
        size_hw: tuple[int, int] | None = None,
        on_device: bool | None = None,
    ) -> None:
        if colour not in ("auto", "bgr", "rgb"):
            raise ValueError(f"colour must be auto, bgr or rgb, got {colour!r}")
        self.session = session
        self.score_threshold = check_unit("score_threshold", score_threshold)
        self.nms_threshold = check_unit("nms_threshold", nms_threshold)
        self.clip = clip
        ultralytics = [shape[2:] for shape in output_shapes(session)] == [(6,)]
        plain = session.input_dtype == "uint8" or ultralytics
        self.bgr = colour == "bgr" or (colour == "auto" and not plain)
        self.gain = gain or (1 / 255 if ultralytics and session.input_dtype != "uint8" else 1.0)
        self.batch_size = pick_batch_size(session, batch_size, on_cpu=1, elsewhere=8)
        self.size_hw = session.input_size_hw or size_hw or DEFAULT_SIZE_HW
        # Inputs are several MB; taking them from here instead of the system saves page faults.
        # Taking and giving back one at a time keeps threads apart.
        self._spare: list[_Input] = []
        self._run: DeviceRun | None = None
        if on_device or (on_device is None and runs_on_gpu(session)):
            from .runtimes.on_device import pictures_to_rows

            self._run = pictures_to_rows(session, self.bgr) if self.gain == 1 else None
            if on_device and self._run is None:
                raise ValueError("on_device needs a session that runs a YOLOX on torch, and gain 1")

    def __call__(
        self,
        images: Sequence[npt.NDArray[np.uint8]],
        *,
        score_threshold: float | None = None,
        nms_threshold: float | None = None,
        on_batch: Callable[[], None] | None = None,
    ) -> list[Boxes]:
        """Find people in pictures of any sizes.

        Args:
            images: uint8 [H, W, 3] RGB each.
            score_threshold: instead of the detector's own.
            nms_threshold: instead of the detector's own.
            on_batch: called after each run of the network; what it raises ends the work.

        Returns:
            boxes of each picture in its own pixels, best first; empty where nobody is.
        """
        score = check_unit(
            "score_threshold", self.score_threshold if score_threshold is None else score_threshold
        )
        overlap_limit = check_unit(
            "nms_threshold", self.nms_threshold if nms_threshold is None else nms_threshold
        )
        found: list[Boxes] = []
        starts = range(0, len(images), self.batch_size)
        batches = [images[start : start + self.batch_size] for start in starts]
        look = self._look_on_device if self._run else self._look
        answers = overlap(map(look, batches), 1 if self._run else 0)
        for batch, outputs in zip(batches, answers, strict=True):
            ratios = [letterbox_ratio(image.shape[:2], self.size_hw) for image in batch]
            read = read_outputs(outputs, ratios, self.size_hw, score, overlap_limit)
            found += [
                self._finish(xyxy, scores, image.shape[:2])
                for (xyxy, scores), image in zip(read, batch, strict=True)
            ]
            if on_batch is not None:
                on_batch()
        return found

    def _look(self, batch: Sequence[Array]) -> Callable[[], Outputs]:
        """Run the network; returns what gives its answer."""
        shape = (self.batch_size, 3, *self.size_hw)
        spare = self._spare.pop() if self._spare else _Input(np.empty(shape, np.float32))
        try:
            in_parallel(partial(spare.fill, batch, self.bgr, self.gain), len(batch))
            outputs = self.session(spare.room[: len(batch)])
        finally:
            self._spare.append(spare)
        return lambda: outputs

    def _look_on_device(self, batch: Sequence[Array]) -> Callable[[], Outputs]:
        """Do as `_look` without waiting for the network."""
        run = self._run
        assert run is not None
        if self._spare:
            spare = self._spare.pop()
        else:
            spare = _Input(run.new_buffer(self.batch_size, self.size_hw))
        in_parallel(partial(spare.fill, batch, self.bgr, self.gain), len(batch))
        wait = run.start(spare.room[: len(batch)])

        def finish() -> Outputs:
            answer = wait()
            self._spare.append(spare)
            return (answer,)

        return finish

    def _finish(self, xyxy: Array, scores: Array, image_hw: tuple[int, ...]) -> Boxes:
        if self.clip:
            height, width = image_hw[:2]
            corner = np.array((width, height, width, height), np.float32)
            xyxy = np.minimum(np.maximum(xyxy, 0), corner)
        # Half precision can overflow; and a box without area, for instance one that lay in the
        # letterbox's grey, holds nobody.
        good = np.isfinite(xyxy).all(axis=1) & (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
        if not good.all():
            xyxy, scores = xyxy[good], scores[good]
        best = (-scores).argsort(kind="stable")
        return Boxes(xyxy.take(best, axis=0), scores.take(best))


def check_unit(name: str, value: float) -> float:
    """Return a number in 0..1, or raise a ValueError that names the argument."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in 0..1, got {value}")
    return float(value)
