"""DWPose Estimator, Detect People and Estimate Keypoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from . import options as shared
from .memory import PoseModel, UsesDefaultModel
from .models import default_fingerprint, model_or_default
from .regions import BOX_FORMATS, read_bbox, read_masks, read_segs, write_boxes
from .running import detect_people, limit_people, order_boxes, people_of_frames
from .sockets import (
    BBOX_TYPE,
    SEGS_TYPE,
    Frames,
    ImageWriter,
    advanced,
    check_choice,
    check_interrupt,
    model_input,
    pose_output,
    schema,
    show_text,
    write_poses,
)

if TYPE_CHECKING:
    import torch

    from ..dwpose.types import People

# The pipeline's words (dwpose.pipeline.ORDERS), the everyday one first; a test keeps them equal.
ORDERS = ("size", "left-to-right", "score", "given")


def _tell(cls: type[io.ComfyNode], model: PoseModel) -> None:
    hidden = getattr(cls, "hidden", None)
    show_text(model.notice, getattr(hidden, "unique_id", None))


# --- shared inputs -----------------------------------------------------------------------------


def _image_input() -> Any:
    return io.Image.Input(
        "image",
        tooltip="One picture or the frames of a video. Transparent pictures are laid on white.",
    )


def _max_people_input() -> Any:
    return io.Int.Input(
        "max_people",
        default=0,
        min=0,
        max=100,
        tooltip="At most so many people of each frame, the first of 'order'; 0 = everybody.",
    )


def _order_input(default: str) -> Any:
    return io.Combo.Input(
        "order",
        options=list(ORDERS),
        default=default,
        tooltip="Order of the people of a frame: size = largest box first; left-to-right; score = "
        "surest first; given = as boxes or masks came, or as the detector is sure.",
    )


def _boxes_input() -> Any:
    return io.Custom(BBOX_TYPE).Input(
        "boxes",
        optional=True,
        tooltip="Boxes of the people, instead of looking for them: a list for each frame, or one "
        "list for all. From Detect People or other packs' BBOX outputs.",
    )


def _mask_input() -> Any:
    return io.Mask.Input(
        "mask",
        optional=True,
        tooltip="Mask of a person, instead of looking for people: one for each frame or one for "
        "all; several masks for a single picture are several people. A frame with an empty mask "
        "has nobody. LoadImage's empty 64x64 mask counts as not connected.",
    )


def _count_output() -> Any:
    return io.Int.Output(
        "people_count",
        display_name="people",
        tooltip="Number of people found; of several frames, the most in any one.",
    )


def _score_threshold_input(name: str) -> Any:
    return io.Float.Input(
        name,
        default=0.3,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="People of whom the detector is less sure, 0..1, are left out.",
    )


# --- nodes -------------------------------------------------------------------------------------


class PoseEstimator(UsesDefaultModel):
    """Pictures in, pose maps and keypoints out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "Estimator",
            "DWPose Estimator",
            "Finds people and draws their pose, body, hands, face and feet, as a map for "
            "ControlNet and video models; also gives the keypoints. Works offline with the small "
            "built-in model, and with the official DWPose files where they are in models/dwpose. "
            "Every frame gives a frame, black where nobody is.",
            inputs=[
                _image_input(),
                *shared.part_inputs(),
                shared.style_input(),
                *shared.size_inputs(),
                _max_people_input(),
                _order_input("size"),
                *shared.threshold_inputs(),
                advanced(_score_threshold_input("detector_threshold")),
                advanced(
                    io.Boolean.Input(
                        "whole_image_fallback",
                        default=False,
                        tooltip="Where the detector finds nobody, look at the whole picture for "
                        "one person. Helps with drawings and half bodies; may find people in "
                        "clouds.",
                    )
                ),
                model_input(),
                _boxes_input(),
                _mask_input(),
            ],
            outputs=[
                io.Image.Output(
                    "pose_map",
                    display_name="IMAGE",
                    tooltip="The pose maps, one for each frame, drawn at the chosen size.",
                ),
                pose_output(),
                _count_output(),
            ],
            search=("preprocessor", "keypoints", "mocap", "wholebody", "hands", "face"),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> Any:
        """Run again when the default model would be another one."""
        return default_fingerprint()

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        body: bool = True,
        hands: bool = True,
        face: bool = True,
        feet: bool = True,
        style: str = "dwpose",
        size: str = "as input",
        resolution: int = 1024,
        width: int = 1024,
        height: int = 1024,
        max_people: int = 0,
        order: str = "size",
        body_threshold: float = shared.STYLES_OWN,
        hand_threshold: float = shared.STYLES_OWN,
        face_threshold: float = shared.STYLES_OWN,
        feet_threshold: float = shared.STYLES_OWN,
        detector_threshold: float = 0.3,
        whole_image_fallback: bool = False,
        model: PoseModel | None = None,
        boxes: Any = None,
        mask: torch.Tensor | None = None,
    ) -> Any:
        """Estimate and draw frame by frame."""
        from ..dwpose.render import draw_pose_map

        parts: dict[str, Any] = {
            "body": body,
            "hands": hands,
            "face": face,
            "feet": feet,
            "body_threshold": body_threshold,
            "hand_threshold": hand_threshold,
            "face_threshold": face_threshold,
            "feet_threshold": feet_threshold,
        }
        drawing = shared.draw_options(style, **parts)
        check_choice("order", order, ORDERS)
        frames = Frames(image)
        size_hw = shared.output_size(size, frames.size_hw, resolution, width, height)
        given = read_bbox(boxes, len(frames))
        masks = read_masks(mask, len(frames), frames.size_hw)
        chosen = model_or_default(model)
        _tell(cls, chosen)
        maps = ImageWriter(len(frames), size_hw)
        shown: list[People] = []
        for index, people in enumerate(
            people_of_frames(
                chosen,
                frames,
                boxes=given,
                masks=masks,
                max_people=limit_people(max_people),
                order=order,
                score_threshold=detector_threshold,
                detector_fallback=whole_image_fallback,
            )
        ):
            check_interrupt()
            maps.put(index, draw_pose_map(people, size_hw, **drawing))
            shown.append(shared.hide_parts(people, **parts))
        keypoints = write_poses(shown, shared.shown_threshold(**parts))
        return io.NodeOutput(maps.finish(), keypoints, max(map(len, shown), default=0))


class DetectPeople(UsesDefaultModel):
    """Pictures in, boxes out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "DetectPeople",
            "Detect People",
            "Finds the people of every frame and gives their boxes, for Estimate Keypoints and "
            "for nodes of other packs. Without a detector among the models it gives the box of "
            "the main person that the pose network finds.",
            inputs=[
                _image_input(),
                _score_threshold_input("score_threshold"),
                advanced(
                    io.Float.Input(
                        "overlap_threshold",
                        default=0.45,
                        min=0.0,
                        max=1.0,
                        step=0.01,
                        tooltip="Of two boxes that overlap by more than this (intersection over "
                        "union, 0..1) the surer stays.",
                    )
                ),
                _max_people_input(),
                _order_input("size"),
                model_input(),
            ],
            outputs=[
                io.Custom(BBOX_TYPE).Output(
                    "boxes",
                    display_name=BBOX_TYPE,
                    tooltip="For each frame a list of boxes [left, top, right, bottom] in pixels.",
                ),
                _count_output(),
            ],
            search=("bbox", "detector", "yolo", "person"),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> Any:
        """Run again when the default model would be another one."""
        return default_fingerprint()

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        score_threshold: float = 0.3,
        overlap_threshold: float = 0.45,
        max_people: int = 0,
        order: str = "size",
        model: PoseModel | None = None,
    ) -> Any:
        """Detect chunk by chunk."""
        check_choice("order", order, ORDERS)
        frames = Frames(image)
        chosen = model_or_default(model)
        _tell(cls, chosen)
        if chosen.pipeline.detector is None:
            found = [people.boxes for people in people_of_frames(chosen, frames)]
        else:
            found = detect_people(chosen, frames, score_threshold, overlap_threshold)
        limit = limit_people(max_people)
        found = [order_boxes(boxes, order)[:limit] for boxes in found]
        return io.NodeOutput(write_boxes(found), max(map(len, found), default=0))


class EstimateKeypoints(UsesDefaultModel):
    """Pictures and, if wanted, boxes or masks in; keypoints out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "EstimateKeypoints",
            "Estimate Keypoints",
            "Estimates the 133 keypoints of everybody, for boxes, segments or masks that you "
            "bring, or else for the people it finds; draws nothing. Each box, segment or mask "
            "gives one person, and all scores are kept.",
            inputs=[
                _image_input(),
                io.Combo.Input(
                    "box_format",
                    options=list(BOX_FORMATS),
                    default=BOX_FORMATS[0],
                    tooltip="What the four numbers of a connected box mean, in pixels; packs "
                    "differ. Detect People gives x1 y1 x2 y2.",
                ),
                _max_people_input(),
                _order_input("given"),
                advanced(
                    io.Boolean.Input(
                        "mirror_too",
                        default=False,
                        tooltip="Also look at the mirror image and average: twice the work, a "
                        "little more accurate.",
                    )
                ),
                advanced(_score_threshold_input("detector_threshold")),
                model_input(),
                _boxes_input(),
                io.Custom(SEGS_TYPE).Input(
                    "segs",
                    optional=True,
                    tooltip="Segments of the Impact Pack instead of boxes; their boxes are used, "
                    "the same for every frame.",
                ),
                _mask_input(),
            ],
            outputs=[pose_output(), _count_output()],
            search=("keypoints", "bbox", "segs", "wholebody"),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> Any:
        """Run again when the default model would be another one."""
        return default_fingerprint()

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        box_format: str = BOX_FORMATS[0],
        max_people: int = 0,
        order: str = "given",
        mirror_too: bool = False,
        detector_threshold: float = 0.3,
        model: PoseModel | None = None,
        boxes: Any = None,
        segs: Any = None,
        mask: torch.Tensor | None = None,
    ) -> Any:
        """Estimate frame by frame."""
        check_choice("order", order, ORDERS)
        check_choice("box_format", box_format, BOX_FORMATS)
        frames = Frames(image)
        given = read_bbox(boxes, len(frames), box_format)
        masks = read_masks(mask, len(frames), frames.size_hw)
        if sum(region is not None for region in (given, segs, masks)) > 1:
            raise ValueError("boxes, segs and mask exclude each other; connect one of them")
        if segs is not None:
            given = read_segs(segs, len(frames), frames.size_hw)
        chosen = model_or_default(model)
        _tell(cls, chosen)
        found = list(
            people_of_frames(
                chosen,
                frames,
                boxes=given,
                masks=masks,
                max_people=limit_people(max_people),
                order=order,
                flip_test=mirror_too,
                score_threshold=detector_threshold,
            )
        )
        return io.NodeOutput(write_poses(found), max(map(len, found), default=0))
