"""Inputs and outputs that several nodes share, and what parts, style and size of them mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..dwpose.style_names import STYLE_NAMES
from .regions import BOX_FORMATS
from .sockets import BBOX_TYPE, advanced, check_choice, check_number, written_threshold

if TYPE_CHECKING:
    from ..dwpose.types import People

SIZE_MODES = ("as input", "short side", "width x height")

# People draw for video and print; beyond this a picture would need gigabytes for a slip of the
# finger.
MAX_SIDE = 16384

PARTS = ("body", "hands", "face", "feet")
_THRESHOLDS = ("body", "hand", "face", "feet")
STYLES_OWN = -1.0
"""Threshold that stands for the style's own rule."""
AS_KEPT = -1.0
"""Threshold that stands for the one which keypoints were made with."""
# dwpose.types.DEFAULT_THRESHOLD, which is not imported here because numpy comes with it.
_USUAL = 0.3

# What each order of people means; those that need no word have none.
_ORDER_TEXTS = {
    "given": " = as they came",
    "size": " = largest first",
    "left-to-right": "",
    "score": " = surest first",
    "centre": " = nearest to the picture's centre first",
    "inside": " = most inside the boxes or mask first",
}


# --- declarations ------------------------------------------------------------------------------


def unit_input(name: str, default: float, tooltip: str, step: float = 0.05) -> Any:
    """A number 0..1."""
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=step, tooltip=tooltip)


def switch_input(name: str, tooltip: str) -> Any:
    """A switch that is on."""
    return io.Boolean.Input(name, default=True, tooltip=tooltip)


def side_input(name: str, default: int, tooltip: str, least: int = 8) -> Any:
    """A side of a picture in pixels."""
    return io.Int.Input(name, default=default, min=least, max=MAX_SIDE, step=8, tooltip=tooltip)


def counted_input(
    tooltip: str = "Least score, 0..1, of a point that counts as visible.",
) -> Any:
    """From which score on a point counts; `least_score` says what it means."""
    return io.Float.Input(
        "threshold",
        default=AS_KEPT,
        min=AS_KEPT,
        max=1.0,
        step=0.05,
        tooltip=f"{tooltip} -1 = those shown in the keypoints: 0.3, or as DWPose Estimator was "
        "set.",
    )


def image_input() -> Any:
    """The pictures to look at."""
    return io.Image.Input(
        "image",
        tooltip="One picture or the frames of a video. Transparent pictures are laid on white.",
    )


def max_people_input() -> Any:
    """How many people."""
    return io.Int.Input(
        "max_people",
        default=0,
        min=0,
        max=100,
        tooltip="At most so many people of each frame, the first of 'order'; 0 = everybody.",
    )


def order_input(orders: Sequence[str], default: str) -> Any:
    """In which order."""
    told = "; ".join(order + _ORDER_TEXTS[order] for order in orders)
    return io.Combo.Input(
        "order",
        options=list(orders),
        default=default,
        tooltip=f"Order of the people of a frame: {told}.",
    )


def detector_threshold_input(name: str = "detector_threshold") -> Any:
    """From which score on the detector is believed."""
    return unit_input(
        name, 0.3, "People of whom the detector is less sure, 0..1, are left out.", step=0.01
    )


def box_format_input() -> Any:
    """What the numbers of a box mean."""
    return io.Combo.Input(
        "box_format",
        options=list(BOX_FORMATS),
        default=BOX_FORMATS[0],
        tooltip="What the four numbers of a connected box mean, in pixels; packs differ. Detect "
        "People gives x1 y1 x2 y2.",
    )


def boxes_input(tooltip: str) -> Any:
    """Boxes of any pack, optional."""
    return io.Custom(BBOX_TYPE).Input("boxes", optional=True, tooltip=tooltip)


def region_inputs() -> tuple[Any, Any]:
    """Boxes and mask of the people, instead of looking for them."""
    return boxes_input(
        "Boxes of the people, instead of looking for them: a list for each frame, or one list "
        "for all. From Detect People or other packs' BBOX outputs."
    ), io.Mask.Input(
        "mask",
        optional=True,
        tooltip="Mask of a person, instead of looking for people: one for each frame or one for "
        "all; several masks for a single picture are several people. A frame with an empty mask "
        "has nobody. LoadImage's empty 64x64 mask counts as not connected.",
    )


def second_look_input() -> Any:
    """Whether small hands and faces are looked at again."""
    return advanced(
        io.Boolean.Input(
            "second_look",
            default=False,
            tooltip="Look again, closer, at hands and faces that are small in the picture, and "
            "keep what is surer. Up to three more crops a person: up to four times the work.",
        )
    )


def count_output() -> Any:
    """How many people there are."""
    return io.Int.Output(
        "people_count",
        display_name="people",
        tooltip="Number of people; of several frames, the most in any one.",
    )


def part_inputs() -> list[Any]:
    """Four switches: body, hands, face, feet; each on."""
    told = {
        "body": "Body: 18 points from nose to ankles with a neck, and their limbs.",
        "hands": "Both hands: 21 points each.",
        "face": "Face: 68 points of contour, brows, nose, eyes and mouth. wan-animate has none.",
        "feet": "Toes and heels: 3 points each foot. Drawn by the styles that have feet "
        "(dwpose-feet, comfy-core-feet and wan-animate).",
    }
    return [
        switch_input(
            part, f"{told[part]} Off leaves the part out of the picture and the keypoints."
        )
        for part in PARTS
    ]


def style_input() -> Any:
    """The drawing style."""
    return io.Combo.Input(
        "style",
        options=list(STYLE_NAMES),
        default=STYLE_NAMES[0],
        tooltip="Whose drawing to reproduce, pixel for pixel: dwpose for most ControlNets, "
        "controlnet-aux as that pack draws, xinsir for its SDXL ControlNets (thick lines), "
        "comfy-core as ComfyUI's SDPose, wan-animate, mimic-motion and musepose for those video "
        "models; dwpose-feet and comfy-core-feet with toes and heels.",
    )


def threshold_inputs(of_keypoints: bool = False) -> list[Any]:
    """Four thresholds: body, hands, face, feet; each the style's own.

    Args:
        of_keypoints: for nodes that draw keypoints which others made; see `Parts.as_kept`.
    """
    kept = "; lower where points below 0.3 were kept." if of_keypoints else "."
    return [
        advanced(
            io.Float.Input(
                f"{part}_threshold",
                default=STYLES_OWN,
                min=STYLES_OWN,
                max=1.0,
                step=0.05,
                tooltip=f"Least score, 0..1, that a point of the {part} needs to be shown. "
                + (
                    "-1 = the body's threshold."
                    if part == "feet"
                    else f"-1 = the style's own rule: 0.3 for most, 0.5 for wan-animate{kept}"
                ),
            )
        )
        for part in _THRESHOLDS
    ]


def size_inputs() -> list[Any]:
    """How large the picture is: the mode, the resolution, width and height."""
    return [
        io.Combo.Input(
            "size",
            options=list(SIZE_MODES),
            default=SIZE_MODES[0],
            tooltip="Size of the pose map: that of the input; a short side of 'resolution' "
            "pixels with the input's proportions; or 'width' x 'height'. Always drawn at that "
            "size, never enlarged afterwards.",
        ),
        side_input(
            "resolution", 1024, "Short side in pixels, where size is 'short side'.", least=64
        ),
        *(
            side_input(
                name.lower(),
                1024,
                f"{name} in pixels, where size is 'width x height'; the pose is stretched to it.",
            )
            for name in ("Width", "Height")
        ),
    ]


# --- meanings ----------------------------------------------------------------------------------


def output_size(
    size: str, source_hw: tuple[int, int], resolution: int, width: int, height: int
) -> tuple[int, int]:
    """Height and width to draw at.

    Raises:
        ValueError: an unknown mode, or a size outside 1..`MAX_SIDE`.
    """
    check_choice("size", size, SIZE_MODES)
    if size == SIZE_MODES[0]:
        found = source_hw
    elif size == SIZE_MODES[1]:
        check_number("resolution", resolution, 1, MAX_SIDE)
        factor = resolution / min(source_hw)
        found = (max(round(source_hw[0] * factor), 1), max(round(source_hw[1] * factor), 1))
    else:
        found = (height, width)
    if not all(1 <= side <= MAX_SIDE for side in found):
        raise ValueError(
            f"the pose map would have {found[1]}x{found[0]} pixels; choose a size with sides of "
            f"1 to {MAX_SIDE}"
        )
    return found


def least_score(threshold: float, pose_keypoint: Any) -> float:
    """The score from which a point of these keypoints counts, for a value of `counted_input`."""
    if threshold >= 0:
        return threshold
    written = written_threshold(pose_keypoint)
    return _USUAL if written is None else written


@dataclass(frozen=True)
class Parts:
    """Which parts are shown, and from which score on: values of both groups of inputs above."""

    body: bool = True
    hands: bool = True
    face: bool = True
    feet: bool = True
    body_threshold: float = STYLES_OWN
    hand_threshold: float = STYLES_OWN
    face_threshold: float = STYLES_OWN
    feet_threshold: float = STYLES_OWN

    def draw_options(self, style: str) -> dict[str, Any]:
        """Keyword arguments of `dwpose.render.draw_pose_map` for these inputs.

        Raises:
            ValueError: an unknown style.
        """
        thresholds = {
            f"{part}_threshold": getattr(self, f"{part}_threshold") for part in _THRESHOLDS
        }
        return {
            "style": check_choice("style", style, STYLE_NAMES),
            "body": self.body,
            "hands": self.hands,
            # On means as the style has it; the style says whether it has feet or a face at all.
            "face": None if self.face else False,
            "feet": None if self.feet else False,
            **{name: None if value < 0 else value for name, value in thresholds.items()},
        }

    def as_kept(self, pose_keypoint: Any) -> Parts:
        """These parts for keypoints that show points below 0.3: thresholds of -1 show those too."""
        written = written_threshold(pose_keypoint)
        if written is None or written >= _USUAL:
            return self
        names = [f"{part}_threshold" for part in _THRESHOLDS if part != "feet"]
        return replace(self, **{n: written for n in names if getattr(self, n) < 0})

    def hide(self, people: People) -> People:
        """Give the points of parts that are off, and those below a threshold, a score of 0.

        So the keypoints handed on are those of the picture. Where all thresholds are -1, scores
        of parts that are on stay as they are; otherwise -1 counts as 0.3, and for the feet as the
        body's.

        Returns:
            people with the same keypoints.
        """
        least = self._limits()
        if least is None and self.body and self.hands and self.face and self.feet:
            return people
        from ..dwpose.skeleton import PARTS as SLICES

        shown = (self.body, self.hands, self.hands, self.face, self.feet)
        parts = ("body", "left_hand", "right_hand", "face", "feet")
        limits = least and (least[0], least[1], least[1], least[2], least[3])
        scores = people.scores.copy()
        for index, part in enumerate(parts):
            values = scores[:, SLICES[part]]
            if not shown[index]:
                values[:] = 0.0
            elif limits is not None:
                values[values < limits[index]] = 0.0
        return replace(people, scores=scores)

    def shown_threshold(self) -> float:
        """Score from which a point of `hide` is one that was not hidden."""
        least = self._limits()
        # Above zero, which is the score of what was hidden.
        return _USUAL if least is None else max(min(least), 1e-4)

    def _limits(self) -> tuple[float, float, float, float] | None:
        """Thresholds of body, hands, face and feet; None where none was chosen."""
        chosen = (self.body_threshold, self.hand_threshold, self.face_threshold)
        if max(*chosen, self.feet_threshold) < 0:
            return None
        body, hand, face = (_USUAL if value < 0 else value for value in chosen)
        return body, hand, face, body if self.feet_threshold < 0 else self.feet_threshold
