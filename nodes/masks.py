"""Keypoints to Masks and Crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from . import options as shared
from .render import match_frames, poses_with_frames, shared_size
from .sockets import (
    Frames,
    Progress,
    advanced,
    bbox_output,
    check_choice,
    check_interrupt,
    check_number,
    hand_on,
    pose_input,
    schema,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from ..dwpose.parts import Region, Square
    from ..dwpose.steady_crops import Square as SteadySquare

# dwpose.parts.PART_NAMES and SHAPES, which would import OpenCV; a test keeps them equal.
PART_NAMES = ("face", "head", "left hand", "right hand", "both hands", "feet", "body")
SHAPES = ("outline", "box", "ellipse")
MISSING = ("empty", "nearest frame")
# Pixels.
CROP_LIMITS = (16, 4096)


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
                _padding_input(
                    "padding",
                    0.1,
                    "Grows the mask and the boxes on all sides by this part of the "
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
                    min=CROP_LIMITS[0],
                    max=CROP_LIMITS[1],
                    step=8,
                    tooltip="Width and height of the crops in pixels.",
                ),
                _padding_input(
                    "crop_padding",
                    0.25,
                    "Further room on all sides in the crops, as a part of the region's "
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
                advanced(shared.counted_input()),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="What to crop: the frames that the keypoints are of, or one picture "
                    "for all. Masks and boxes have its size; keypoints are scaled to it. Left "
                    "open: the size of the analysed picture, and black crops.",
                ),
                io.Int.Input(
                    "steady",
                    default=0,
                    min=0,
                    max=240,
                    tooltip="For videos: place and size of each crop are a mean over so many "
                    "frames before and after it, so that crops do not shake; not across cuts, "
                    "and never so that the part is cut off. 0 = each frame by itself.",
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
                bbox_output(
                    "boxes",
                    "For each frame a list of boxes [left, top, right, bottom] in pixels, "
                    "one for each person's part (each hand, each foot); an empty list where there "
                    "is none.",
                ),
                bbox_output(
                    "crop_boxes",
                    "For each frame the square that was cut out, in whole pixels (with fractions "
                    "where steady), to put the crop back; 0 0 0 0 where there is none. It may "
                    "reach over the edge.",
                    "crop boxes",
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
        threshold: float = shared.AS_KEPT,
        image: torch.Tensor | None = None,
        steady: int = 0,
    ) -> Any:
        """Find the regions of all frames, then draw and cut frame by frame."""
        import torch

        from ..dwpose.parts import draw_regions, find_regions

        check_choice("part", part, PART_NAMES)
        check_choice("shape", shape, SHAPES)
        check_choice("missing", missing, MISSING)
        check_number("crop_size", crop_size, *CROP_LIMITS)
        frames = None if image is None else Frames(image)
        poses = poses_with_frames(pose_keypoint, frames)
        threshold = shared.least_score(threshold, pose_keypoint)
        count = match_frames(len(poses), None if frames is None else len(frames))
        size_hw = shared_size(poses) if frames is None else frames.size_hw

        regions: list[list[Region]] = []
        for people in poses:
            check_interrupt()
            found = find_regions(people, part, size_hw, threshold)
            wanted = found if person < 0 else found[person : person + 1]
            regions.append([region for one in wanted for region in one])
        if missing == MISSING[1]:
            regions = fill_from_nearest(regions)

        places = place_squares(regions, padding, padding + crop_padding, size_hw, steady)
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
            square = places[index % len(regions)]
            if square is not None:
                _cut(crop_masks[index], mask, square)
                if image is not None:
                    _cut(crops[index], _colours(image, index), square)
            left, top, side = square or (0, 0, 0)
            squares.append([[float(n) for n in (left, top, left + side, top + side)]])
            progress(index + 1)
        return io.NodeOutput(hand_on(masks), hand_on(crops), hand_on(crop_masks), boxes, squares)


def _padding_input(name: str, default: float, tooltip: str) -> Any:
    return io.Float.Input(name, default=default, min=0.0, max=4.0, step=0.05, tooltip=tooltip)


def place_squares(
    regions: Sequence[list[Region]],
    padding: float,
    room: float,
    size_hw: tuple[int, int],
    steady: int,
) -> list[Square | None] | list[SteadySquare | None]:
    """Find the square to cut out of each frame.

    Args:
        regions: of each frame.
        padding: of the boxes, which a steady square never cuts off.
        room: padding of the squares; see `Region.padded` for both.
        size_hw: height and width of the frames in pixels.
        steady: frames before and after that count; 0 gives whole pixels, from each frame alone.

    Returns:
        left, top and side in pixels; None where there is no region in the picture.
    """
    from ..dwpose.parts import join_boxes, square_around
    from ..dwpose.steady_crops import steady_squares

    around = [join_boxes([r.padded(room) for r in here]) if here else None for here in regions]
    alone = [None if box is None else square_around(box, size_hw) for box in around]
    if not steady:
        return alone
    outer = [None if one is None else box for one, box in zip(alone, around, strict=True)]
    inner = [
        None if box is None else join_boxes([r.padded(padding) for r in here])
        for box, here in zip(outer, regions, strict=True)
    ]
    return steady_squares(inner, outer, size_hw, steady)


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
    return np.fmin(np.fmax(frame, 0), 1)  # NaN becomes black


def _cut(target: torch.Tensor, picture: npt.NDArray[Any], square: Square | SteadySquare) -> None:
    """Write a crop of a float32 or uint8 picture into a float32 tensor."""
    import numpy as np
    import torch

    from ..dwpose.parts import cut_square
    from ..dwpose.steady_crops import cut_between_pixels

    left, top, side = square
    size = int(target.shape[0])
    if isinstance(left, int) and isinstance(top, int) and isinstance(side, int):
        made = cut_square(picture, (left, top, side), size)
    else:
        made = cut_between_pixels(picture, square, size)
    if made.dtype == np.uint8:
        torch.div(torch.from_numpy(made), 255.0, out=target)
    else:
        target.copy_(torch.from_numpy(np.ascontiguousarray(made)))
