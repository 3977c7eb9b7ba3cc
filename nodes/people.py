"""Select People."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from . import options as shared
from .regions import BOX_FORMATS, read_bbox, read_masks, write_boxes
from .render import poses_with_frames
from .sockets import (
    Progress,
    advanced,
    bbox_output,
    check_choice,
    check_interrupt,
    pose_input,
    pose_output,
    schema,
    write_poses,
    written_threshold,
)

if TYPE_CHECKING:
    import torch

    from ..dwpose.types import People

# dwpose.people.ORDERS; a test keeps them equal.
ORDERS = ("given", "size", "left-to-right", "score", "centre", "inside")
ACROSS = ("each frame by itself", "follow from one frame")


class SelectPeople(io.ComfyNode):
    """Keypoints in, those of some people out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "SelectPeople",
            "Select People",
            "Keeps some people: leaves out those who are unsure or outside an area, sorts the "
            "others, then picks by number. Either in each frame by itself, or once, in one frame, "
            "and then the same people in all frames. Frames without them stay, empty.",
            inputs=[
                pose_input(),
                shared.order_input(ORDERS, ORDERS[0]),
                io.String.Input(
                    "indices",
                    default="",
                    tooltip="Whom to keep, by number in that order: 0 is the first, -1 the last, "
                    "0,2 two of them, 1-3 a range. Empty = everybody. Numbers that nobody has "
                    "are passed over.",
                ),
                shared.max_people_input(),
                shared.unit_input(
                    "min_confidence",
                    0.0,
                    "Leave out people whose visible points have a lower mean score, 0..1. Points "
                    "of packs that write no scores count 1.",
                ),
                io.Combo.Input(
                    "across_frames",
                    options=list(ACROSS),
                    default=ACROSS[0],
                    tooltip="each frame by itself: the rules choose anew in every frame. follow "
                    "from one frame: they choose in 'frame', and the same people are found in all "
                    "others by their place and pose, or by their id where they have one.",
                ),
                io.Int.Input(
                    "frame",
                    default=0,
                    min=-100000,
                    max=100000,
                    tooltip="Frame to choose in when following, from 0; -1 is the last. Where the "
                    "rules find nobody in it, the nearest frame where they do.",
                ),
                advanced(
                    shared.unit_input(
                        "min_similarity",
                        0.2,
                        "When following: how alike, 0..1, place and pose must be to where the "
                        "person was last seen. Lower for fast movement; 0 always takes the "
                        "likeliest.",
                    )
                ),
                advanced(
                    shared.unit_input(
                        "min_inside",
                        0.5,
                        "Share, 0..1, of a person's visible points that must lie inside a box or "
                        "the mask; at 0 a single point is enough.",
                    )
                ),
                advanced(shared.counted_input()),
                advanced(shared.box_format_input()),
                shared.boxes_input(
                    "Keep those inside any of these boxes, in pixels of the analysed picture: a "
                    "list for each frame, or one list for all."
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Keep those inside the mask: one for all frames or one for each, of "
                    "any size. LoadImage's empty 64x64 mask counts as not connected. With boxes "
                    "too, either is enough.",
                ),
                io.String.Input(
                    "track_ids",
                    default="",
                    tooltip="Keep only people with these ids, such as 0 or 0,2, in every frame; "
                    "the other rules come after. Track & Smooth and Video to Keypoints give ids, "
                    "Preview Keypoints shows them. Empty = whatever the id.",
                ),
            ],
            outputs=[
                pose_output(
                    tooltip="The people kept, in their order, one entry for each frame; people "
                    "who were followed have ids.",
                ),
                bbox_output(
                    "people_boxes",
                    "For each frame a list of boxes [left, top, right, bottom] in pixels around "
                    "the visible points of the people kept.",
                ),
                shared.count_output(),
            ],
            search=("filter", "person", "track", "pick", "bbox", "keypoints"),
        )

    @classmethod
    def execute(
        cls,
        pose_keypoint: Any,
        order: str = ORDERS[0],
        indices: str = "",
        max_people: int = 0,
        min_confidence: float = 0.0,
        across_frames: str = ACROSS[0],
        frame: int = 0,
        min_similarity: float = 0.2,
        min_inside: float = 0.5,
        threshold: float = shared.AS_KEPT,
        box_format: str = BOX_FORMATS[0],
        boxes: Any = None,
        mask: torch.Tensor | None = None,
        track_ids: str = "",
    ) -> Any:
        """Select frame by frame, or in one frame and follow."""
        from ..dwpose.people import follow_people, parse_indices, pose_boxes, select_people
        from ..dwpose.types import Boxes

        check_choice("order", order, ORDERS)
        check_choice("across_frames", across_frames, ACROSS)
        frames = keep_ids(poses_with_frames(pose_keypoint), track_ids)
        threshold = shared.least_score(threshold, pose_keypoint)
        wanted = parse_indices(indices)
        areas = read_bbox(boxes, len(frames), box_format)
        masks = read_masks(mask, len(frames), frames[0].image_hw)

        def choose(index: int) -> Any:
            return select_people(
                frames[index],
                order=order,
                indices=wanted,
                most=max_people,
                min_confidence=min_confidence,
                boxes=None if areas is None else areas[index],
                mask=None if masks is None else masks[index].max(axis=0),
                min_inside=min_inside,
                threshold=threshold,
            )

        kept: list[People] = []
        progress = Progress(len(frames))
        if across_frames == ACROSS[1]:
            if not -len(frames) <= frame < len(frames):
                raise ValueError(
                    f"frame {frame} does not exist; choose one of 0 to {len(frames) - 1}"
                )
            start, chosen = nearest_choice(choose, frame % len(frames), len(frames))
            steps = itertools.count(1)
            kept = follow_people(
                frames, chosen, start, min_similarity, threshold, lambda: progress(next(steps))
            )
        else:
            for index, people in enumerate(frames):
                kept.append(people[choose(index)])
                progress(index + 1)
        around = write_boxes(Boxes(pose_boxes(people, threshold)) for people in kept)
        keypoints = write_poses(kept, written_threshold(pose_keypoint))
        return io.NodeOutput(keypoints, around, max(map(len, kept), default=0))


def nearest_choice(choose: Callable[[int], Any], frame: int, frames: int) -> tuple[int, Any]:
    """Choose people in a frame, or in the nearest one where there is anybody to choose.

    Args:
        choose: gives the indices of the people chosen in a frame.
        frame: the frame wanted, from 0.
        frames: how many there are.

    Returns:
        the frame, and the indices of its people; of two as near the earlier frame.
    """
    for index in sorted(range(frames), key=lambda i: (abs(i - frame), i)):
        check_interrupt()
        chosen = choose(index)
        if len(chosen):
            return index, chosen
    return frame, []


def keep_ids(frames: list[People], track_ids: str) -> list[People]:
    """Leave out people whose id is not in a list such as "0, 2"; an empty list leaves out nobody.

    Raises:
        ValueError: it is no list of numbers, or nobody has an id.
    """
    from ..dwpose.people import parse_indices

    try:
        wanted = parse_indices(track_ids)
    except ValueError as error:
        raise ValueError(str(error).replace("indices", "track_ids")) from None
    if wanted is None:
        return frames
    if any(map(len, frames)) and not any(people.track_ids is not None for people in frames):
        raise ValueError("track_ids: nobody has an id; put Track & Smooth before this node")
    return [people[[i for i, own in enumerate(_ids(people)) if own in wanted]] for people in frames]


def _ids(people: People) -> list[int]:
    return [] if people.track_ids is None else people.track_ids.tolist()
