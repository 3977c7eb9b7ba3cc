"""Running the networks over frames: progress, cancelling, and memory that runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .memory import PoseModel, is_out_of_memory
from .sockets import Frames, Progress

if TYPE_CHECKING:
    from ..dwpose.types import Boxes, People

# Frames that are looked for people at once; the detector makes batches of its own of them.
_DETECT_FRAMES = 16


def people_of_frames(
    model: PoseModel,
    frames: Frames,
    *,
    boxes: Sequence[Any] | None = None,
    masks: Sequence[Any] | None = None,
    **options: Any,
) -> Iterator[People]:
    """Estimate everybody in every frame, yielding each frame's people as soon as they are there.

    Shows progress, stops when the user cancels, and once halves the batches where memory is out.

    Args:
        model: the networks.
        frames: B frames.
        boxes: the people of each frame, instead of the detector's.
        masks: for each frame bool [N, H, W], one person each, instead of the detector's.
        **options: see `dwpose.pipeline.PoseOptions`.

    Yields:
        B times `People`.
    """
    total = len(frames)
    progress = Progress(total)
    model.prepare()
    done = 0

    def work() -> Iterator[People]:
        nonlocal done
        start = done

        def on_batch(finished: int, _: int) -> None:
            progress(start + finished, total)

        for people in model.pipeline.iterate(
            frames.since(start),
            boxes=None if boxes is None else boxes[start:],
            masks=None if masks is None else masks[start:],
            on_batch=on_batch,
            **options,
        ):
            done += 1
            yield people

    try:
        yield from work()
    except Exception as error:
        if not again_with_less(model, error):
            raise
        yield from work()


def again_with_less(model: PoseModel, error: Exception) -> bool:
    """Whether to try again after an error: memory was out, and the batches could be halved.

    Raises:
        OOM_EXCEPTION: memory was out, in ONNX Runtime's words, and it cannot be tried again;
            ComfyUI knows torch's words only.
    """
    if not is_out_of_memory(error):
        return False
    from comfy import model_management  # pyright: ignore[reportMissingImports]

    if model.halve_batches():
        model_management.soft_empty_cache()
        return True
    if isinstance(error, model_management.OOM_EXCEPTION):
        return False
    raise model_management.OOM_EXCEPTION(str(error)) from error


def limit_people(max_people: int) -> int | None:
    """The pipeline's limit for an input where 0 stands for everybody."""
    return max_people if max_people > 0 else None


def detect_people(model: PoseModel, frames: Frames, score: float, overlap: float) -> list[Boxes]:
    """Boxes of every frame, with progress, and once with half the batch where memory is out."""
    progress = Progress(len(frames))
    model.prepare()
    detector = model.pipeline.detector
    assert detector is not None
    found: list[Boxes] = []
    while len(found) < len(frames):
        start = len(found)
        some = [frames[i] for i in range(start, min(start + _DETECT_FRAMES, len(frames)))]

        def run(
            some: list[Any] = some, tick: Callable[[], None] = lambda n=start: progress(n)
        ) -> list[Boxes]:
            return detector(some, score_threshold=score, nms_threshold=overlap, on_batch=tick)

        try:
            found += run()
        except Exception as error:
            if not again_with_less(model, error):
                raise
            found += run()
        progress(len(found))
    return found


def order_boxes(boxes: Boxes, order: str) -> Boxes:
    """Sort boxes as the pipeline sorts people; equals keep their order."""
    import numpy as np

    keys = {
        "size": -boxes.area,
        "left-to-right": boxes.xyxy[:, 0] + boxes.xyxy[:, 2],
        "score": -boxes.scores,
    }
    return boxes[np.argsort(keys[order], kind="stable")] if order in keys else boxes
