"""What goes through the sockets: types, pictures and poses, in and out; also schemas, progress.

Shapes: B frames of an IMAGE, H and W their size in pixels.

Only ``io.ComfyNode`` of ComfyUI's interface is touched at import; torch, OpenCV and the library
come in when a node runs, so that loading the pack costs nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from ..dwpose.types import People

CATEGORY = "DWPose"
PREFIX = "DWPose_"

SEARCH = ("openpose", "dwpose", "skeleton", "controlnet", "pose")
"""Words that people type into the search box; given to cores that take them."""

MODEL_TYPE = "DWPOSE_MODEL"
POSE_TYPE = "POSE_KEYPOINT"
BBOX_TYPE = "BBOX"
SEGS_TYPE = "SEGS"


# --- schemas ---------------------------------------------------------------------------------


def schema(
    name: str,
    display_name: str,
    description: str,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    *,
    search: Iterable[str] = (),
    **options: Any,
) -> Any:
    """Make a node's schema, with what only newer cores know left out on older ones.

    Args:
        name: the node's id without the pack's prefix.
        display_name: what the node is called.
        description: what it does.
        inputs: its inputs, in the order that saved workflows rely on: add at the end only.
        outputs: its outputs, the same.
        search: words to be found by, besides `SEARCH`.
        **options: further fields of ``io.Schema``; unknown ones are dropped.

    Returns:
        an ``io.Schema``.
    """
    words = dict.fromkeys((*SEARCH, *search))
    options["search_aliases"] = list(words)
    known = inspect.signature(io.Schema).parameters
    return io.Schema(
        node_id=PREFIX + name,
        display_name=display_name,
        category=CATEGORY,
        description=description,
        inputs=list(inputs),
        outputs=list(outputs),
        **{key: value for key, value in options.items() if key in known},
    )


def advanced(widget: Any) -> Any:
    """Mark an input as one that newer renderers fold away; returns it."""
    if hasattr(widget, "advanced"):
        widget.advanced = True
    elif isinstance(getattr(widget, "extra_dict", None), dict):
        widget.extra_dict["advanced"] = True
    return widget


def model_input() -> Any:
    """The DWPOSE_MODEL input, optional."""
    return io.Custom(MODEL_TYPE).Input(
        "model",
        optional=True,
        tooltip="From Load DWPose Model. Left open: the official DWPose files if they are in "
        "models/dwpose, else the small built-in model.",
    )


def pose_input(name: str = "pose_keypoint", **options: Any) -> Any:
    """A POSE_KEYPOINT input."""
    options.setdefault(
        "tooltip",
        "Keypoints of every frame, from this pack, from controlnet_aux, ComfyUI's own pose nodes "
        "or OpenPose JSON; in pixels or 0..1.",
    )
    return io.Custom(POSE_TYPE).Input(name, **options)


def pose_output(name: str = "keypoints", **options: Any) -> Any:
    """A POSE_KEYPOINT output; give it an id that no input has."""
    options.setdefault("display_name", "POSE_KEYPOINT")
    options.setdefault(
        "tooltip",
        "Keypoints as a list with one OpenPose-like entry per frame, in pixels of the analysed "
        "frame; empty entries where nobody is.",
    )
    return io.Custom(POSE_TYPE).Output(name, **options)


def bbox_output(name: str, tooltip: str, display_name: str = BBOX_TYPE) -> Any:
    """A BBOX output: for each frame a list of boxes."""
    return io.Custom(BBOX_TYPE).Output(name, display_name=display_name, tooltip=tooltip)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return a combo's value; ComfyUI does not check those of V3 nodes.

    Raises:
        ValueError: it is none of the choices.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def check_number(name: str, value: float, least: float, most: float) -> None:
    """Refuse a number outside its limits, which the page keeps but a linked number does not.

    Raises:
        ValueError: it is less or more, or not a number.
    """
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least:.10g} to {most:.10g}, got {value:.10g}")


# --- progress --------------------------------------------------------------------------------


def check_interrupt() -> None:
    """Raise ComfyUI's exception if the user pressed Cancel; call it for every frame."""
    from comfy import model_management  # pyright: ignore[reportMissingImports]

    model_management.throw_exception_if_processing_interrupted()


class Progress:
    """The node's progress bar, which also stops the work when the user cancels.

    Args:
        total: steps in all, usually frames.
    """

    def __init__(self, total: int) -> None:
        from comfy.utils import ProgressBar  # pyright: ignore[reportMissingImports]

        self.total = max(total, 1)
        self._bar = ProgressBar(self.total)

    def __call__(self, done: int, total: int | None = None) -> None:
        """Show that `done` steps are done; has the shape of the pipeline's `on_batch`.

        Raises:
            InterruptProcessingException: the user cancelled.
        """
        check_interrupt()
        self._bar.update_absolute(done, total or self.total)


def show_text(text: str, node_id: Any) -> None:
    """Show a line of text under a node; does nothing where there is no server or node."""
    if not text or node_id is None:
        return
    try:
        from server import PromptServer  # pyright: ignore[reportMissingImports]
    except ImportError:
        return
    server = getattr(PromptServer, "instance", None)
    if server is not None and hasattr(server, "send_progress_text"):
        server.send_progress_text(text, str(node_id))


# --- pictures --------------------------------------------------------------------------------


class Frames:
    """The frames of an IMAGE as uint8 RGB, converted one at a time when they are asked for.

    It can be given to `DWPose.iterate` as it is. Numbers outside 0..1 are clipped, NaN becomes
    black, a single channel is grey, and transparent pictures are laid on white (see
    `dwpose.io.images`).

    Args:
        image: float [B, H, W, C] or [H, W, C] in 0..1 with 1, 3 or 4 channels, on any device.

    Raises:
        ValueError: another shape, or no frames.
    """

    def __init__(self, image: torch.Tensor) -> None:
        if image.ndim == 3:
            image = image[None]
        if image.ndim != 4 or image.shape[3] not in (1, 3, 4) or 0 in image.shape[1:3]:
            raise ValueError(
                f"image must be an IMAGE [frames, height, width, 1, 3 or 4 channels], got "
                f"{list(image.shape)}; connect an image output"
            )
        if not len(image):
            raise ValueError("image has no frames; connect an output that gives at least one")
        self._image = image

    def __len__(self) -> int:
        return int(self._image.shape[0])

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self._image.shape[1]), int(self._image.shape[2])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, W, 3), as of an array of these frames."""
        return (len(self), *self.size_hw, 3)

    def since(self, start: int) -> Frames:
        """The frames from `start` on; nothing is copied."""
        return Frames(self._image[start:])

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        """Return frame `index` as uint8 [H, W, 3] RGB, contiguous.

        Raises:
            InterruptProcessingException: the user cancelled.
        """
        import cv2
        import numpy as np

        from ..dwpose.io.images import load_image

        check_interrupt()
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no frame {index} of {len(self)}")
        frame = self._image[index].detach().float().cpu().numpy()
        flat = np.ascontiguousarray(frame).reshape(frame.shape[0], -1)
        # One pass that scales, rounds and clips from above; three times faster than multiply, but
        # it takes absolute values. Where NaN is among the numbers, the least of them is NaN.
        if not flat.min() >= 0:
            flat = np.fmax(flat, 0)
        pixels = cv2.convertScaleAbs(flat, alpha=255.0)
        return load_image(np.asarray(pixels, np.uint8).reshape(frame.shape))


class ImageWriter:
    """Collects uint8 pictures of one size into an IMAGE without keeping them twice.

    Args:
        count: pictures to come.
        size_hw: their height and width in pixels.
        channels: 3, or 4 with alpha.
    """

    def __init__(self, count: int, size_hw: tuple[int, int], channels: int = 3) -> None:
        import numpy as np
        import torch

        self._image = torch.zeros((count, *size_hw, channels), dtype=torch.float32)
        self._table = (np.arange(256, dtype=np.float32) / np.float32(255))[None]

    def put(self, index: int, picture: npt.NDArray[np.uint8]) -> None:
        """Write picture `index`, uint8 [H, W, C].

        Raises:
            ValueError: it has another size or number of channels.
        """
        import cv2

        if picture.shape != tuple(self._image.shape[1:]):
            raise ValueError(
                f"all pictures must be {list(self._image.shape[1:])}, got {list(picture.shape)}"
            )
        # Looked up, which gives the very numbers of a division at a third of its time.
        cv2.LUT(picture, self._table, dst=self._image[index].numpy())

    def finish(self) -> torch.Tensor:
        """Return float32 [B, H, W, C] in 0..1, on the device that nodes hand pictures on."""
        return hand_on(self._image)


def to_image(pictures: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
    """Make an IMAGE of uint8 pictures [H, W, C] of one size; at least one."""
    writer = ImageWriter(len(pictures), pictures[0].shape[:2], pictures[0].shape[2])
    for index, picture in enumerate(pictures):
        writer.put(index, picture)
    return writer.finish()


def hand_on(tensor: torch.Tensor) -> torch.Tensor:
    """Put a result on the device where ComfyUI wants what nodes hand on."""
    from comfy import model_management  # pyright: ignore[reportMissingImports]

    return tensor.to(model_management.intermediate_device())


# --- poses -----------------------------------------------------------------------------------


def write_poses(people: Iterable[People], threshold: float | None = None) -> list[dict[str, Any]]:
    """Make a POSE_KEYPOINT: one dict for each frame, readable by every pack, lossless for ours.

    Args:
        people: of each frame.
        threshold: raw score that a point needs to be shown in the plain lists; the library's
            0.3 when None.

    Raises:
        InterruptProcessingException: the user cancelled.
    """
    from ..dwpose.io.openpose_json import to_pose_keypoint
    from ..dwpose.types import DEFAULT_THRESHOLD

    return to_pose_keypoint(
        people,
        threshold=DEFAULT_THRESHOLD if threshold is None else threshold,
        on_frame=check_interrupt,
    )


def find_pupils(people: People, threshold: float) -> list[list[float]]:
    """The face's points 69 and 70 of everybody: the body's right and left eye, as x, y, c each."""
    found = []
    for points, scores in zip(people.keypoints, people.scores, strict=True):
        both: list[float] = []
        for eye in (2, 1):
            x, y = map(float, points[eye])
            both += (x, y, 1.0) if scores[eye] >= threshold else (0.0, 0.0, 0.0)
        found.append(both)
    return found


def keep_pupils(keypoints: list[dict[str, Any]], pupils: Sequence[list[list[float]]]) -> None:
    """Write pupils into the faces of a POSE_KEYPOINT without bodies, as controlnet_aux has them."""
    for frame, own in zip(keypoints, pupils, strict=True):
        for person, both in zip(frame["people"], own, strict=True):
            face = person["face_keypoints_2d"]
            if any(face[2::3]):
                face[-len(both) :] = both


def read_poses(pose_keypoint: Any, image_hw: tuple[int, int] | None = None) -> list[People]:
    """Read a POSE_KEYPOINT of any pack: one `People` for each frame, in pixels of its canvas.

    Nothing that was handed in is changed.

    Args:
        pose_keypoint: the keypoints.
        image_hw: height and width of the picture that they are of, where no frame says it.

    Raises:
        ValueError, TypeError: it cannot be understood; says what is wrong.
        InterruptProcessingException: the user cancelled.
    """
    from ..dwpose.io.openpose_read import UnknownCanvasError, from_pose_keypoint

    try:
        return from_pose_keypoint(pose_keypoint, on_frame=check_interrupt)
    except UnknownCanvasError:
        if image_hw is None:
            raise
        return from_pose_keypoint(pose_keypoint, canvas_hw=image_hw, on_frame=check_interrupt)


def written_threshold(pose_keypoint: Any) -> float | None:
    """The least score that points needed to be shown in a POSE_KEYPOINT of ours.

    Returns:
        a score; the lowest where its people were written with several; None for other packs'.
    """
    found = []
    for frame in pose_keypoint if isinstance(pose_keypoint, list) else [pose_keypoint]:
        people = frame.get("people") if isinstance(frame, dict) else None
        for person in people or []:
            ours = person.get("dwpose") if isinstance(person, dict) else None
            if isinstance(ours, dict) and isinstance(ours.get("threshold"), (int, float)):
                found.append(float(ours["threshold"]))
    return min(found, default=None)
