"""Preview Keypoints: the pose over the picture, in the node; web/preview_keypoints.js shows it.

What is shown is written to files in ComfyUI's temp folder, and only their names go through the
server's messages: a video's keypoints would be megabytes in every message and in the history.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from . import options as shared
from .render import match_frames, poses_with_frames
from .sockets import Frames, Progress, pose_input, schema

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from ..dwpose.types import People

UI_KEY = "dwpose_preview"
"""Key of this node's part of the `executed` message; web/preview_keypoints.js has it too."""

# The node is some hundred pixels wide; zooming in shows about twice that.
_LONGEST_SIDE = 1024
_JPEG_QUALITY = 85


class PreviewKeypoints(io.ComfyNode):
    """Keypoints in, a view of them in the node."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "PreviewKeypoints",
            "Preview Keypoints",
            "Shows keypoints over the picture in the node: numbers of the people, and name, "
            "number, score and place of a point under the mouse. A slider goes through frames.",
            inputs=[
                pose_input(),
                shared.counted_input(
                    "Least score, 0..1, of a point to be shown. 0 shows all that were estimated."
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="What to show them on: the frames, or one picture for all. Left open: "
                    "a plain background.",
                ),
            ],
            outputs=[],
            search=("view", "show", "inspect", "confidence", "overlay", "debug"),
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        pose_keypoint: Any,
        threshold: float = shared.AS_KEPT,
        image: torch.Tensor | None = None,
    ) -> Any:
        """Write pictures and keypoints for the page."""
        import folder_paths  # pyright: ignore[reportMissingImports]

        frames = None if image is None else Frames(image)
        poses = poses_with_frames(pose_keypoint, frames)
        threshold = shared.least_score(threshold, pose_keypoint)
        count = match_frames(len(poses), None if frames is None else len(frames))
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            f"DWPose_preview_{os.urandom(4).hex()}", folder_paths.get_temp_directory()
        )
        stem = f"{name}_{counter:05}_"
        pictures: list[str] = []
        shown: list[str] = []
        progress = Progress(count)
        for index in range(count):
            if frames is not None and index < len(frames):
                pictures.append(f"{stem}{index:06}.jpg")
                _write_picture(frames[index], os.path.join(folder, pictures[-1]))
            shown.append(_encode(describe_frame(poses[index % len(poses)], threshold)))
            progress(index + 1)
        # Frame by frame, for a long video's text takes a second, in which nothing could be
        # cancelled.
        rest = _encode({"version": 1, "pictures": pictures, **skeleton_to_draw()})
        with open(os.path.join(folder, f"{stem}.json"), "w", encoding="utf-8") as file:
            file.write(f'{rest[:-1]},"frames":[{",".join(shown)}]}}')
        entry = {
            "filename": f"{stem}.json",
            "subfolder": subfolder,
            "type": "temp",
            "frames": count,
        }
        return io.NodeOutput(ui={UI_KEY: [entry]})


def _encode(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _write_picture(picture: npt.NDArray[np.uint8], path: str) -> None:
    import cv2

    factor = _LONGEST_SIDE / max(picture.shape[:2])
    if factor < 1:
        size = tuple(max(round(side * factor), 1) for side in picture.shape[1::-1])
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # pyright: ignore
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    made, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
    if not made:
        raise RuntimeError("the preview's picture cannot be encoded; report this to the pack")
    with open(path, "wb") as file:
        file.write(data.tobytes())


def describe_frame(people: People, threshold: float) -> dict[str, Any]:
    """Describe one frame for the page.

    Args:
        people: of the frame.
        threshold: points scoring less are left out.

    Returns:
        ``{"size": [width, height], "people": [{"id": int or null, "score": 0..100, "points":
        {number: [x, y, score]}}]}``: points by their OpenPose number (134 of them, see
        `skeleton.to_openpose`), places in tenths of a pixel, scores in hundredths.
    """
    import numpy as np

    from ..dwpose.people import person_confidence
    from ..dwpose.skeleton import to_openpose

    with np.errstate(all="ignore"):
        points, scores = to_openpose(people.keypoints, people.scores, max(threshold, 1e-6))
    far = 10 * max(people.image_hw)
    seen = (scores >= threshold) & (scores > 0) & (np.abs(points) <= far).all(axis=-1)
    height, width = people.image_hw
    means = person_confidence(people, threshold)
    listed = []
    for i in range(len(people)):
        numbers = np.flatnonzero(seen[i])
        triples = np.concatenate(
            (points[i, numbers] * 10, np.clip(scores[i, numbers, None], 0, 1) * 100), axis=1
        )
        chosen = dict(zip(numbers.tolist(), np.rint(triples).astype(int).tolist(), strict=True))
        track_id = None if people.track_ids is None else int(people.track_ids[i])
        listed.append({"id": track_id, "score": round(float(means[i]) * 100), "points": chosen})
    return {"size": [width, height], "people": listed}


def skeleton_to_draw() -> dict[str, Any]:
    """Names, colours and limbs by OpenPose number.

    Returns:
        ``{"names": [134], "limbs": [[point, point, "#rrggbb"]], "dots": ["#rrggbb"] * 134}``.
    """
    from ..dwpose import skeleton
    from ..dwpose.render import styles

    order = [0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, *range(17, 133)]
    names = ["neck" if i < 0 else skeleton.KEYPOINT_NAMES[i] for i in order]
    limbs = [[a, b, _hex(colour)] for a, b, colour in styles.BODY_LIMB_COLOURS]
    feet = styles.STYLES["dwpose-feet"]
    limbs += [[a, b, _hex(colour)] for a, b, colour in feet.feet_limbs]
    for hand in (skeleton.OPENPOSE_LEFT_HAND, skeleton.OPENPOSE_RIGHT_HAND):
        for (a, b), colour in zip(skeleton.HAND_EDGES, styles.HAND_COLOURS, strict=True):
            limbs.append([hand.start + a, hand.start + b, _hex(colour)])
    dots = [_hex(styles.HAND_DOT)] * len(names)
    dots[skeleton.OPENPOSE_BODY] = [_hex(colour) for colour in styles.BODY_COLOURS]
    for number, colour in feet.feet_dots:
        dots[number] = _hex(colour)
    dots[skeleton.OPENPOSE_FACE] = [_hex(styles.FACE_DOT)] * 68
    return {"names": names, "limbs": limbs, "dots": dots}


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
