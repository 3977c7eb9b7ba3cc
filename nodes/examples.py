"""Example Pictures: people to try the other nodes on, so that every example workflow runs at once.

The pictures in pictures/ are synthetic people rendered by `dwpose.training.synthetic`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from .sockets import bbox_output, check_choice, schema, to_image

PICTURES: dict[str, tuple[str, int]] = {
    "one person": ("one_person.jpg", 1),
    "several people": ("several_people.jpg", 1),
    "short clip": ("clip.jpg", 16),
}
"""Choice to file and number of frames, which stand below one another in the file."""

# The renderer's own boxes, [left, top, right, bottom] in pixels of the frame.
_BOXES: dict[str, tuple[tuple[tuple[float, float, float, float], ...], ...]] = {
    "one person": (((179, 82, 394, 686),),),
    "several people": (((206, 11, 371, 476), (360, 118, 601, 525), (621, 150, 758, 532)),),
}
_CLIP_BOXES = (
    (124, 91, 262, 423),
    (120, 91, 262, 423),
    (107, 91, 265, 424),
    (86, 93, 281, 424),
    (63, 95, 304, 425),
    (47, 97, 315, 425),
    (41, 99, 313, 425),
    (39, 101, 309, 426),
    (39, 101, 308, 426),
)
# The clip goes back the way it came, so that it loops.
_BOXES["short clip"] = tuple((box,) for box in (*_CLIP_BOXES, *_CLIP_BOXES[-2:0:-1]))


class ExamplePictures(io.ComfyNode):
    """Nothing in, a picture or a clip of synthetic people out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "Example",
            "DWPose Example Pictures",
            "Pictures of synthetic people that come with the pack, to try the other nodes on "
            "before you load your own.",
            inputs=[
                io.Combo.Input(
                    "picture",
                    options=list(PICTURES),
                    default="one person",
                    tooltip="one person: 576 x 768 pixels. several people: three of them, "
                    "960 x 640. short clip: 16 frames of one person, 384 x 512, that loop.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image",
                    display_name="IMAGE",
                    tooltip="The picture, or the frames of the clip.",
                ),
                bbox_output(
                    "boxes",
                    "Where the people are: for each frame a list of boxes [left, top, "
                    "right, bottom] in pixels, from left to right. The built-in "
                    "detector may miss some of several people; with these boxes nobody is missed.",
                ),
            ],
            search=("sample", "demo", "test image", "synthetic"),
        )

    @classmethod
    def execute(cls, picture: str = "one person") -> Any:
        """Read the file."""
        import cv2
        import numpy as np

        check_choice("picture", picture, list(PICTURES))
        name, frames = PICTURES[picture]
        # Not cv2.imread: it cannot open every path on Windows.
        data = np.fromfile(Path(__file__).parent / "pictures" / name, np.uint8)
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
        image = to_image(np.split(np.ascontiguousarray(pixels), frames))
        boxes = [[list(map(float, box)) for box in frame] for frame in _BOXES[picture]]
        return io.NodeOutput(image, boxes)
