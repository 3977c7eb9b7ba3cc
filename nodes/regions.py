"""Masks and boxes from other nodes, told apart and turned into those of each frame.

Shapes: B frames of an IMAGE, H and W their size in pixels, N masks of one frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .sockets import check_choice, check_interrupt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from ..dwpose.types import Boxes

BOX_FORMATS = ("x1 y1 x2 y2", "x y width height")

# LoadImage's mask for a picture without transparency.
_NO_MASK_HW = (64, 64)


def read_masks(
    mask: torch.Tensor | None, frames: int, size_hw: tuple[int, int]
) -> list[npt.NDArray[np.bool_]] | None:
    """Turn a MASK into the masks of each frame, at the frames' size.

    Args:
        mask: float [N, H, W], [N, 1, H, W] or [H, W], 1 = masked; or None. Another size than the
            frames' is resized. One mask serves every frame; as many masks as frames are one
            each; several masks for a single frame are several people.
        frames: B.
        size_hw: height and width of the frames.

    Returns:
        for each frame bool [N, H, W] (N is 1, or the number of people of a single frame); or
        None where no mask was given, which LoadImage says by 64x64 zeros.

    Raises:
        ValueError: neither one mask nor one for each frame, or not a mask at all.
    """
    if mask is None:
        return None
    import cv2
    import numpy as np

    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]
    elif mask.ndim == 4 and mask.shape[3] == 1:
        mask = mask[..., 0]
    if mask.ndim != 3 or 0 in mask.shape:
        raise ValueError(f"mask must be a MASK [masks, height, width], got {list(mask.shape)}")
    if tuple(mask.shape[1:]) == _NO_MASK_HW and not bool(mask.any()):
        return None
    count = int(mask.shape[0])
    if frames != 1 and count not in (1, frames):
        raise ValueError(
            f"mask has {count} masks for {frames} frames; give one for all or one for each"
        )
    found = []
    for one in mask:
        check_interrupt()
        # Resized before the cut at one half, so that edges stay where they are.
        array = one.detach().float().cpu().numpy()
        if array.shape != size_hw:
            array = cv2.resize(array, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
        found.append(array > 0.5)
    if frames == 1:
        return [np.stack(found)]
    return [found[0 if count == 1 else i][None] for i in range(frames)]


# --- boxes -----------------------------------------------------------------------------------


def write_boxes(boxes: Iterable[Boxes]) -> list[list[list[float]]]:
    """Make a BBOX: for each frame a list of [left, top, right, bottom] in pixels."""
    found = []
    for frame in boxes:
        check_interrupt()
        found.append([[float(n) for n in box] for box in frame.xyxy])
    return found


def read_bbox(
    value: Any,
    frames: int,
    box_format: str = BOX_FORMATS[0],
    size_hw: tuple[int, int] | None = None,
) -> list[Boxes] | None:
    """Turn a BBOX of any pack into the boxes of each frame.

    Packs agree on the type's name alone. Understood are a list of boxes for each frame; a flat
    list of boxes, which are one for each frame if there are as many of them, else the boxes of
    every frame; and dicts with x, y, width, height. Boxes without area mean nobody.

    Args:
        value: the BBOX, or None.
        frames: B.
        box_format: one of `BOX_FORMATS`, what four numbers mean.
        size_hw: height and width of the frames, for boxes of people: those wholly outside mean
            nobody, too.

    Returns:
        the boxes of each frame; None where `value` is None.

    Raises:
        ValueError: not boxes, or boxes for another number of frames.
    """
    if value is None:
        return None
    import numpy as np

    from ..dwpose.types import Boxes

    check_choice("box_format", box_format, BOX_FORMATS)
    value = _plain(value)
    if _is_box(value):
        value = [value]
    if not isinstance(value, list):
        raise ValueError("boxes must be a BBOX, a list of boxes or of lists of boxes")
    if value and all(_is_box(item) for item in value):
        per_frame = [[box] for box in value] if len(value) == frames > 1 else [value] * frames
    elif all(isinstance(item, list) and all(map(_is_box, item)) for item in value):
        if len(value) not in (1, frames) and value:
            raise ValueError(f"boxes are given for {len(value)} frames, the image has {frames}")
        per_frame = value * frames if len(value) != frames else value
        per_frame = per_frame or [[] for _ in range(frames)]
    else:
        raise ValueError("boxes must be four numbers each: a BBOX of another kind is connected")
    return [_boxes(frame, box_format, size_hw, np, Boxes) for frame in per_frame]


def read_segs(value: Any, frames: int, size_hw: tuple[int, int]) -> list[Boxes]:
    """Turn the Impact Pack's SEGS into the boxes of each frame, the same for all.

    Args:
        value: ((height, width), segments), each segment with `bbox` (left, top, right, bottom in
            pixels of a picture of that size) and `confidence`.
        frames: B.
        size_hw: height and width of the frames; boxes of another size are scaled.

    Raises:
        ValueError: it is no SEGS.
    """
    try:
        (height, width), segments = value
        factor = (size_hw[1] / width, size_hw[0] / height) * 2
        boxes = [
            [float(n) * f for n, f in zip(segment.bbox, factor, strict=True)]
            + [_number(getattr(segment, "confidence", None))]
            for segment in segments
        ]
    except (TypeError, ValueError, AttributeError, ZeroDivisionError):
        raise ValueError("segs must be SEGS of the Impact Pack; connect such an output") from None
    found = read_bbox([boxes], 1, size_hw=size_hw)
    assert found is not None
    return found * frames


def _number(value: Any) -> float:
    """A confidence, which some packs wrap in an array or leave out."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return 1.0


def _boxes(
    frame: list[Any],
    box_format: str,
    size_hw: tuple[int, int] | None,
    np: Any,
    boxes: type[Boxes],
) -> Boxes:
    corners, scores = [], []
    for box in frame:
        if isinstance(box, dict):
            x, y, width, height = (float(box[k]) for k in ("x", "y", "width", "height"))
            corners.append((x, y, x + width, y + height))
            scores.append(_number(box.get("score")))
            continue
        a, b, c, d = (float(n) for n in box[:4])
        if box_format == BOX_FORMATS[1]:
            c, d = a + c, b + d
        corners.append((a, b, c, d))
        scores.append(float(box[4]) if len(box) > 4 else 1.0)
    array = np.array(corners, np.float32).reshape(-1, 4)
    good = np.isfinite(array).all(axis=1) & (array[:, 2:] > array[:, :2]).all(axis=1)
    if size_hw is not None:
        good &= (array[:, 2:] > 0).all(axis=1) & (array[:, :2] < size_hw[::-1]).all(axis=1)
    return boxes(array[good], np.array(scores, np.float32)[good])


def _plain(value: Any) -> Any:
    """Lists instead of tensors, arrays and tuples, all the way down."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _is_box(value: Any) -> bool:
    if isinstance(value, dict):
        value = [value.get(key) for key in ("x", "y", "width", "height")]
    return (
        isinstance(value, list)
        and 4 <= len(value) <= 6
        and all(isinstance(n, (int, float)) for n in value)
    )
