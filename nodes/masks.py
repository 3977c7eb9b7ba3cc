"""Keypoints to Masks and Crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from .render import match_frames, poses_with_frames
from .sockets import (
    BBOX_TYPE,
    Frames,
    Progress,
    advanced,
    check_choice,
    hand_on,
    pose_input,
    schema,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from ..dwpose.parts import Region, Square

# dwpose.parts.PART_NAMES and SHAPES, which would import OpenCV; a test keeps them equal.
PART_NAMES = ("face", "head", "left hand", "right hand", "both hands", "feet", "body")
SHAPES = ("outline", "box", "ellipse")
MISSING = ("empty", "nearest frame")


class KeypointsToMasks(io.ComfyNode):
    """Keypoints in; masks, crops and boxes of one part out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "KeypointsToMasks",
            "Keypoints to Masks and Crops",
            "Masks of a part of people, square crops of it at a given size, and its boxes. Every "
            "frame gives one mask and one crop: where the part is not seen, an empty mask and a "
            "black crop, or those of the nearest frame where it is.",
            inputs=[
                pose_input(),
                io.Combo.Input(
                    "part",
                    options=list(PART_NAMES),
                    default=PART_NAMES[0],
                    tooltip="face = chin to brows; head = up to the crown; left and right are the "
                    "person's own; both hands = either; feet = toes, heels and ankles; body = "
                    "the whole person.",
                ),
                io.Int.Input(
                    "person",
                    default=0,
                    min=-1,
                    max=99,
                    tooltip="Whose, by number from 0 in the order given; -1 = everybody's "
                    "together. Select People sorts and follows people.",
                ),
                io.Combo.Input(
                    "shape",
                    options=list(SHAPES),
                    default=SHAPES[0],
                    tooltip="Shape of the mask: outline = along the points; box = the box around "
                    "them; ellipse = the one in that box.",
                ),
                io.Float.Input(
                    "padding",
                    default=0.1,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="Grows the mask and the boxes on all sides by this part of the "
                    "region's longer side: 0.1 = a tenth.",
                ),
                io.Float.Input(
                    "blur",
                    default=0.0,
                    min=0.0,
                    max=256.0,
                    step=1.0,
                    tooltip="Softens the mask's edge: standard deviation in pixels of the image; "
                    "0 = hard.",
                ),
                io.Int.Input(
                    "crop_size",
                    default=512,
                    min=16,
                    max=4096,
                    step=8,
                    tooltip="Width and height of the crops in pixels.",
                ),
                io.Float.Input(
                    "crop_padding",
                    default=0.25,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="Further room on all sides in the crops, as a part of the region's "
                    "longer side. The square is moved to stay inside the image; what does not "
                    "fit is black.",
                ),
                io.Combo.Input(
                    "missing",
                    options=list(MISSING),
                    default=MISSING[0],
                    tooltip="Frames where the part is not seen: empty = empty mask, black crop, "
                    "crop box 0 0 0 0; nearest frame = the region of the nearest frame where it "
                    "is, the earlier of two (empty if there is none).",
                ),
                advanced(
                    io.Float.Input(
                        "threshold",
                        default=0.3,
                        min=0.0,
                        max=1.0,
                        step=0.05,
                        tooltip="Least score, 0..1, of a point that counts.",
                    )
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="What to crop: the frames that the keypoints are of, or one picture "
                    "for all. Masks and boxes have its size; keypoints are scaled to it. Left "
                    "open: the size of the analysed picture, and black crops.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    "mask",
                    display_name="MASK",
                    tooltip="1 inside the part, one mask for each frame.",
                ),
                io.Image.Output(
                    "crops",
                    display_name="crops",
                    tooltip="The part cut out as a square, one for each frame.",
                ),
                io.Mask.Output(
                    "crop_masks",
                    display_name="crop masks",
                    tooltip="The mask cut out in the same way, one for each frame.",
                ),
                io.Custom(BBOX_TYPE).Output(
                    "boxes",
                    display_name=BBOX_TYPE,
                    tooltip="For each frame a list of boxes [left, top, right, bottom] in pixels, "
                    "one for each person's part (each hand, each foot); an empty list where there "
                    "is none.",
                ),
                io.Custom(BBOX_TYPE).Output(
                    "crop_boxes",
                    display_name="crop boxes",
                    tooltip="For each frame the square that was cut out, in whole pixels, to put "
                    "the crop back; 0 0 0 0 where there is none. It may reach over the edge.",
                ),
            ],
            search=("inpaint", "detailer", "face", "hand", "head", "feet", "crop", "bbox", "mask"),
        )

    @classmethod
    def execute(
        cls,
        pose_keypoint: Any,
        part: str = PART_NAMES[0],
        person: int = 0,
        shape: str = SHAPES[0],
        padding: float = 0.1,
        blur: float = 0.0,
        crop_size: int = 512,
        crop_padding: float = 0.25,
        missing: str = MISSING[0],
        threshold: float = 0.3,
        image: torch.Tensor | None = None,
    ) -> Any:
        """Find the regions of all frames, then draw and cut frame by frame."""
        import torch

        from ..dwpose.parts import draw_regions, find_regions, join_boxes, square_around

        check_choice("part", part, PART_NAMES)
        check_choice("shape", shape, SHAPES)
        check_choice("missing", missing, MISSING)
        poses = poses_with_frames(pose_keypoint)
        frames = None if image is None else Frames(image)
        count = match_frames(len(poses), None if frames is None else len(frames))
        size_hw = poses[0].image_hw if frames is None else frames.size_hw

        regions: list[list[Region]] = []
        for people in poses:
            found = find_regions(people, part, size_hw, threshold)
            wanted = found if person < 0 else found[person : person + 1]
            regions.append([region for one in wanted for region in one])
        if missing == MISSING[1]:
            regions = fill_from_nearest(regions)

        masks = torch.empty((count, *size_hw), dtype=torch.float32)
        crops = torch.zeros((count, crop_size, crop_size, 3), dtype=torch.float32)
        crop_masks = torch.zeros((count, crop_size, crop_size), dtype=torch.float32)
        boxes: list[list[list[float]]] = []
        squares: list[list[list[float]]] = []
        progress = Progress(count)
        for index in range(count):
            here = regions[index % len(regions)]
            mask = draw_regions(here, size_hw, shape, padding, blur)
            torch.div(torch.from_numpy(mask), 255.0, out=masks[index])
            boxes.append([[float(n) for n in r.padded(padding)] for r in here])
            square = None
            if here:
                room = padding + crop_padding
                square = square_around(join_boxes([r.padded(room) for r in here]), size_hw)
            if square is not None:
                _cut(crop_masks[index], mask, square)
                if image is not None:
                    _cut(crops[index], _colours(image, index), square)
            left, top, side = square or (0, 0, 0)
            squares.append([[float(n) for n in (left, top, left + side, top + side)]])
            progress(index + 1)
        return io.NodeOutput(hand_on(masks), hand_on(crops), hand_on(crop_masks), boxes, squares)


def fill_from_nearest(regions: Sequence[list[Region]]) -> list[list[Region]]:
    """Give frames without regions those of the nearest frame that has some, the earlier of two."""
    known = [index for index, found in enumerate(regions) if found]
    if not known:
        return list(regions)
    return [
        found or regions[min(known, key=lambda k: (abs(k - index), k))]
        for index, found in enumerate(regions)
    ]


def _colours(image: torch.Tensor, index: int) -> npt.NDArray[np.float32]:
    """One frame as float32 [H, W, 3], not rounded to 8 bits, so that a crop can be put back."""
    import numpy as np

    image = image[None] if image.ndim == 3 else image
    frame = image[index % len(image)].detach().float().cpu().numpy()
    if frame.shape[2] == 4:
        # On white, as everywhere in this pack.
        alpha = frame[..., 3:]
        frame = frame[..., :3] * alpha + (1 - alpha)
    elif frame.shape[2] == 1:
        frame = np.repeat(frame, 3, axis=2)
    return frame


def _cut(target: torch.Tensor, picture: npt.NDArray[Any], square: Square) -> None:
    """Write a crop of a float32 or uint8 picture into a float32 tensor."""
    import numpy as np
    import torch

    from ..dwpose.parts import cut_square

    made = cut_square(picture, square, int(target.shape[0]))
    if made.dtype == np.uint8:
        torch.div(torch.from_numpy(made), 255.0, out=target)
    else:
        target.copy_(torch.from_numpy(np.ascontiguousarray(made)))
