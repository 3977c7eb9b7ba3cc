"""Draw Pose Map."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from . import options as shared
from .sockets import (
    Frames,
    ImageWriter,
    Progress,
    advanced,
    hand_on,
    pose_input,
    read_poses,
    schema,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from ..dwpose.types import People


class DrawPoseMap(io.ComfyNode):
    """Keypoints in, pictures out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "DrawPoseMap",
            "Draw Pose Map",
            "Draws keypoints of any pack in any style, at any size, on black, a colour or a "
            "picture, and gives the drawing as a mask too. Every frame gives a frame.",
            inputs=[
                pose_input(),
                shared.style_input(),
                *shared.size_inputs(),
                *shared.part_inputs(),
                io.String.Input(
                    "background",
                    default="#000000",
                    tooltip="Colour behind the drawing where no image is connected, as #rrggbb or "
                    "three numbers 0..255 such as 0, 177, 64. ControlNets want black.",
                ),
                shared.unit_input(
                    "opacity",
                    1.0,
                    "How much the drawing covers what is behind it: 0 not at all, 1 fully. The "
                    "mask does not change.",
                ),
                *shared.threshold_inputs(of_keypoints=True),
                advanced(_scale_input("line_scale", "the width of limbs and hand lines")),
                advanced(_scale_input("dot_scale", "the radius of dots")),
                advanced(
                    io.Boolean.Input(
                        "fade_uncertain",
                        default=False,
                        tooltip="Draw points and limbs the fainter the less sure they are, in the "
                        "picture and the mask.",
                    )
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="Picture to draw on: one for all frames, or one for each. It is "
                    "resized to the pose map. With size 'as input' the map has its size.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "pose_map",
                    display_name="IMAGE",
                    tooltip="The drawings, one for each frame.",
                ),
                io.Mask.Output(
                    "mask",
                    display_name="MASK",
                    tooltip="Where something is drawn, 1 inside, one mask for each frame.",
                ),
            ],
            search=("render", "stick figure", "json", "xinsir", "wan animate", "overlay"),
        )

    @classmethod
    def execute(
        cls,
        pose_keypoint: Any,
        style: str = "dwpose",
        size: str = "as input",
        resolution: int = 1024,
        width: int = 1024,
        height: int = 1024,
        body: bool = True,
        hands: bool = True,
        face: bool = True,
        feet: bool = True,
        background: str = "#000000",
        opacity: float = 1.0,
        body_threshold: float = shared.STYLES_OWN,
        hand_threshold: float = shared.STYLES_OWN,
        face_threshold: float = shared.STYLES_OWN,
        feet_threshold: float = shared.STYLES_OWN,
        line_scale: float = 1.0,
        dot_scale: float = 1.0,
        fade_uncertain: bool = False,
        image: torch.Tensor | None = None,
    ) -> Any:
        """Draw frame by frame."""
        import torch

        parts = shared.Parts(
            body, hands, face, feet, body_threshold, hand_threshold, face_threshold, feet_threshold
        )
        drawing = parts.as_kept(pose_keypoint).draw_options(style)
        drawing |= {
            "line_scale": line_scale,
            "dot_scale": dot_scale,
            "confidence_alpha": fade_uncertain,
        }
        colour = read_colour(background)
        frames = None if image is None else Frames(image)
        poses = poses_with_frames(pose_keypoint, frames)
        count = match_frames(len(poses), None if frames is None else len(frames))
        source_hw = shared_size(poses, size) if frames is None else frames.size_hw
        size_hw = shared.output_size(size, source_hw, resolution, width, height)
        maps = ImageWriter(count, size_hw)
        masks = torch.empty((count, *size_hw), dtype=torch.float32)
        progress = Progress(count)
        behind = None
        for index in range(count):
            people = poses[index % len(poses)]
            if frames is not None and (behind is None or len(frames) > 1):
                behind = resized(frames[index % len(frames)], size_hw)
            how = {**drawing, "body": False} if has_pupils_alone(people) else drawing
            picture, mask = _draw(people, size_hw, behind, colour, opacity, how)
            maps.put(index, picture)
            torch.div(torch.from_numpy(mask), 255.0, out=masks[index])
            progress(index + 1)
        return io.NodeOutput(maps.finish(), hand_on(masks))


def has_pupils_alone(people: People) -> bool:
    """Whether people come from a file with the body switched off.

    Of the body it has the eyes alone, as the face's pupils, which must not be drawn as a body's.
    A network gives every point some score.
    """
    from ..dwpose.skeleton import BODY

    others = [i for i in range(BODY.start, BODY.stop) if i not in (1, 2)]
    return bool(people.scores[:, 1:3].any()) and not people.scores[:, others].any()


def _scale_input(name: str, what: str) -> Any:
    return io.Float.Input(
        name,
        default=1.0,
        min=0.1,
        max=10.0,
        step=0.1,
        tooltip=f"Factor on {what}; 1 = as the style draws.",
    )


def _draw(
    people: People,
    size_hw: tuple[int, int],
    behind: npt.NDArray[np.uint8] | None,
    colour: tuple[int, int, int],
    opacity: float,
    drawing: dict[str, Any],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the picture [H, W, 3] and the mask [H, W]."""
    import numpy as np

    from ..dwpose.render import draw_pose_map, draw_pose_rgba, find_style, overlay

    rgba = draw_pose_rgba(people, size_hw, **drawing)
    mask = np.ascontiguousarray(rgba[..., 3])
    if behind is None and opacity < 1:
        behind = np.full((*size_hw, 3), colour, np.uint8)
    if behind is not None:
        return overlay(behind, people, opacity, **drawing), mask
    # Hard-edged on black: what was drawn for the mask is the picture already.
    hard = find_style(drawing["style"]).canvas_short_side is None
    if hard and not drawing["confidence_alpha"] and not any(colour):
        return np.ascontiguousarray(rgba[..., :3]), mask
    picture = draw_pose_map(people, size_hw, background=colour if any(colour) else None, **drawing)
    return picture, mask


def resized(picture: npt.NDArray[np.uint8], size_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a picture at this size; itself where it has it."""
    if picture.shape[:2] == size_hw:
        return picture
    import cv2
    import numpy as np

    shrinks = size_hw[0] <= picture.shape[0] and size_hw[1] <= picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size_hw[::-1], interpolation=how), np.uint8)


def read_colour(text: str) -> tuple[int, int, int]:
    """Read #rrggbb, #rgb or three numbers 0..255.

    Raises:
        ValueError: another text.
    """
    text = text.strip()
    if re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        digits = text.lstrip("#")
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    if re.fullmatch(r"#[0-9a-fA-F]{3}", text):
        red, green, blue = (int(digit * 2, 16) for digit in text[1:])
        return red, green, blue
    numbers = re.split(r"[\s,;]+", text)
    if len(numbers) == 3 and all(re.fullmatch(r"[0-9]{1,3}", n) for n in numbers):
        red, green, blue = (int(n) for n in numbers)
        if max(red, green, blue) <= 255:
            return red, green, blue
    raise ValueError(
        f"background must be a colour such as #00b140 or 0, 177, 64, got {text!r}; leave #000000 "
        "for black"
    )


def poses_with_frames(pose_keypoint: Any, frames: Frames | None = None) -> list[People]:
    """Read a POSE_KEYPOINT that must have at least one frame.

    Args:
        pose_keypoint: the keypoints.
        frames: the pictures, whose size is taken where the keypoints do not say theirs.

    Raises:
        ValueError, TypeError: it has none, or cannot be understood.
    """
    poses = read_poses(pose_keypoint, None if frames is None else frames.size_hw)
    if not poses:
        raise ValueError(
            "pose_keypoint has no frames; connect the POSE_KEYPOINT output of a node that ran"
        )
    return poses


def shared_size(poses: list[People], size: str = shared.SIZE_MODES[0]) -> tuple[int, int]:
    """The size of the pictures that poses are of, for what has one size for all frames.

    Args:
        poses: of each frame, at least one.
        size: one of `options.SIZE_MODES`; for the last, which stretches, any sizes will do.

    Returns:
        height and width in pixels of the first frame with people, else of the first.

    Raises:
        ValueError: pictures have other proportions, so that poses would be squeezed.
    """
    shown = [(index, people.image_hw) for index, people in enumerate(poses) if len(people)]
    first, (height, width) = shown[0] if shown else (0, poses[0].image_hw)
    for index, (own_height, own_width) in shown if size != shared.SIZE_MODES[2] else ():
        # One part in a hundred, for sizes that were rounded.
        if abs(own_height * width - height * own_width) > 0.01 * height * own_width:
            raise ValueError(
                f"pose_keypoint has frames of different proportions ({width}x{height} in frame "
                f"{first}, {own_width}x{own_height} in frame {index}); give those of one size at "
                "a time"
            )
    return height, width


def check_one_size(poses: list[People]) -> None:
    """Refuse frames of different sizes, between which nobody's movement can be followed.

    Args:
        poses: of each frame.

    Raises:
        ValueError: two frames with people have pictures of different sizes.
    """
    shown = [(index, people.image_hw) for index, people in enumerate(poses) if len(people)]
    for index, size_hw in shown:
        if size_hw != shown[0][1]:
            (first, (height, width)), (own_height, own_width) = shown[0], size_hw
            raise ValueError(
                f"pose_keypoint has frames of different sizes ({width}x{height} in frame {first}, "
                f"{own_width}x{own_height} in frame {index}); give the frames of one film"
            )


def match_frames(poses: int, images: int | None) -> int:
    """Return how many frames a node works on: those of both, or of one where the other has one.

    Raises:
        ValueError: different numbers.
    """
    if images is None or images == poses or images == 1:
        return poses
    if poses == 1:
        return images
    raise ValueError(
        f"pose_keypoint has {poses} frames and image {images}; give one of each frame, or a single "
        "one for all"
    )
