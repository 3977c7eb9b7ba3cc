"""DWPose Estimator, Detect People and Estimate Keypoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from . import options as shared
from .memory import PoseModel
from .models import UsesDefaultModel
from .regions import BOX_FORMATS, read_bbox, read_masks, read_segs, write_boxes
from .running import detect_people, limit_people, order_boxes, people_of_frames
from .sockets import (
    SEGS_TYPE,
    Frames,
    ImageWriter,
    advanced,
    bbox_output,
    check_choice,
    check_interrupt,
    find_pupils,
    keep_pupils,
    model_input,
    pose_output,
    schema,
    write_poses,
)

if TYPE_CHECKING:
    import torch

    from ..dwpose.types import People

# The pipeline's words (dwpose.pipeline.ORDERS), the everyday one first; a test keeps them equal.
ORDERS = ("size", "left-to-right", "score", "given")


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
                shared.image_input(),
                *shared.part_inputs(),
                shared.style_input(),
                *shared.size_inputs(),
                shared.max_people_input(),
                shared.order_input(ORDERS, "size"),
                *shared.threshold_inputs(),
                advanced(shared.detector_threshold_input()),
                advanced(
                    io.Boolean.Input(
                        "whole_image_fallback",
                        default=False,
                        tooltip="Where the detector finds nobody, look at the whole picture for "
                        "one person. Helps with drawings and half bodies; may find people in "
                        "clouds. With the built-in detector it is always looked at.",
                    )
                ),
                model_input(),
                *shared.region_inputs(),
                shared.second_look_input(),
            ],
            outputs=[
                io.Image.Output(
                    "pose_map",
                    display_name="IMAGE",
                    tooltip="The pose maps, one for each frame, drawn at the chosen size.",
                ),
                pose_output(),
                shared.count_output(),
            ],
            search=("preprocessor", "keypoints", "mocap", "wholebody", "hands", "face"),
            hidden=[io.Hidden.unique_id],
        )

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
        second_look: bool = False,
    ) -> Any:
        """Estimate and draw frame by frame."""
        from ..dwpose.render import draw_pose_map

        parts = shared.Parts(
            body, hands, face, feet, body_threshold, hand_threshold, face_threshold, feet_threshold
        )
        drawing = parts.draw_options(style)
        check_choice("order", order, ORDERS)
        frames = Frames(image)
        size_hw = shared.output_size(size, frames.size_hw, resolution, width, height)
        given = read_bbox(boxes, len(frames), size_hw=frames.size_hw)
        masks = read_masks(mask, len(frames), frames.size_hw)
        chosen = cls.choose_model(model)
        maps = ImageWriter(len(frames), size_hw)
        shown: list[People] = []
        pupils: list[Any] = []
        least = shared.Parts(body_threshold=body_threshold).shown_threshold()
        for index, people in enumerate(
            people_of_frames(
                chosen,
                frames,
                boxes=given,
                masks=masks,
                max_people=limit_people(max_people),
                order=order,
                score_threshold=detector_threshold,
                detector_fallback=whole_image_fallback or None,
                second_look=second_look,
            )
        ):
            check_interrupt()
            maps.put(index, draw_pose_map(people, size_hw, **drawing))
            shown.append(parts.hide(people))
            pupils.append(find_pupils(people, least))
        keypoints = write_poses(shown, parts.shown_threshold())
        if face and not body:
            keep_pupils(keypoints, pupils)
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
            "for nodes of other packs. With the built-in detector, or none, it gives boxes of the "
            "poses that the pose network finds.",
            inputs=[
                shared.image_input(),
                shared.detector_threshold_input("score_threshold"),
                advanced(
                    shared.unit_input(
                        "overlap_threshold",
                        0.45,
                        "Of two boxes that overlap by more than this (intersection over union, "
                        "0..1) the surer stays.",
                        step=0.01,
                    )
                ),
                shared.max_people_input(),
                shared.order_input(ORDERS, "size"),
                model_input(),
            ],
            outputs=[
                bbox_output(
                    "boxes", "For each frame a list of boxes [left, top, right, bottom] in pixels."
                ),
                shared.count_output(),
            ],
            search=("bbox", "detector", "yolo", "person"),
            hidden=[io.Hidden.unique_id],
        )

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
        chosen = cls.choose_model(model)
        if chosen.pipeline.searches:
            poses = people_of_frames(chosen, frames, score_threshold=score_threshold)
            found = [people.boxes for people in poses]
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
        boxes, mask = shared.region_inputs()
        return schema(
            "EstimateKeypoints",
            "Estimate Keypoints",
            "Estimates the 133 keypoints of everybody, for boxes, segments or masks that you "
            "bring, or else for the people it finds; draws nothing. Each box, segment or mask "
            "gives one person, and all scores are kept.",
            inputs=[
                shared.image_input(),
                shared.box_format_input(),
                shared.max_people_input(),
                shared.order_input(ORDERS, "given"),
                advanced(
                    io.Boolean.Input(
                        "mirror_too",
                        default=False,
                        tooltip="Also look at the mirror image and average: twice the work, a "
                        "little more accurate. With the built-in network this is always on.",
                    )
                ),
                advanced(shared.detector_threshold_input()),
                model_input(),
                boxes,
                io.Custom(SEGS_TYPE).Input(
                    "segs",
                    optional=True,
                    tooltip="Segments of the Impact Pack instead of boxes; their boxes are used, "
                    "the same for every frame.",
                ),
                mask,
                shared.second_look_input(),
            ],
            outputs=[pose_output(), shared.count_output()],
            search=("keypoints", "bbox", "segs", "wholebody"),
            hidden=[io.Hidden.unique_id],
        )

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
        second_look: bool = False,
    ) -> Any:
        """Estimate frame by frame."""
        check_choice("order", order, ORDERS)
        check_choice("box_format", box_format, BOX_FORMATS)
        frames = Frames(image)
        given = read_bbox(boxes, len(frames), box_format, frames.size_hw)
        masks = read_masks(mask, len(frames), frames.size_hw)
        if sum(region is not None for region in (given, segs, masks)) > 1:
            raise ValueError("boxes, segs and mask exclude each other; connect one of them")
        if segs is not None:
            given = read_segs(segs, len(frames), frames.size_hw)
        chosen = cls.choose_model(model)
        found = list(
            people_of_frames(
                chosen,
                frames,
                boxes=given,
                masks=masks,
                max_people=limit_people(max_people),
                order=order,
                flip_test=mirror_too or None,
                score_threshold=detector_threshold,
                second_look=second_look,
            )
        )
        return io.NodeOutput(write_poses(found), max(map(len, found), default=0))
