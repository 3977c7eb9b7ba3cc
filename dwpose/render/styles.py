"""Every drawing style as data.

Image models learnt to read the pictures of one particular program, dots, line widths, overlaps
and all; each style below reproduces the pictures of one such program from published facts about
them (colours, widths, order and rounding), pixel for pixel on OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, TypeAlias

from ..skeleton import BODY_LIMBS

Colour: TypeAlias = tuple[int, int, int]

# Point i and limb i of the body share colour i: a rainbow in steps of 85.
BODY_COLOURS: Final[tuple[Colour, ...]] = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
# Hue i / 20 at full saturation and value, times 255 and rounded as OpenCV rounds a colour.
HAND_COLOURS: Final[tuple[Colour, ...]] = (
    *((255, 0, 0), (255, 77, 0), (255, 153, 0), (255, 229, 0), (204, 255, 0)),
    *((128, 255, 0), (51, 255, 0), (0, 255, 25), (0, 255, 102), (0, 255, 179)),
    *((0, 255, 255), (0, 178, 255), (0, 102, 255), (0, 25, 255), (51, 0, 255)),
    *((128, 0, 255), (204, 0, 255), (255, 0, 230), (255, 0, 153), (255, 0, 77)),
)
# The same, truncated: ComfyUI core converts to whole numbers before it draws.
_HAND_COLOURS_TRUNCATED: Final[tuple[Colour, ...]] = (
    *((255, 0, 0), (255, 76, 0), (255, 153, 0), (255, 229, 0), (203, 255, 0)),
    *((127, 255, 0), (51, 255, 0), (0, 255, 25), (0, 255, 102), (0, 255, 178)),
    *((0, 255, 255), (0, 178, 255), (0, 102, 255), (0, 25, 255), (50, 0, 255)),
    *((127, 0, 255), (204, 0, 255), (255, 0, 229), (255, 0, 152), (255, 0, 76)),
)
HAND_DOT: Final[Colour] = (0, 0, 255)
FACE_DOT: Final[Colour] = (255, 255, 255)

# Two points that no network gives: the mean of big and small toe of either foot.  They follow
# the 134 OpenPose points.
LEFT_TOE: Final = 134
RIGHT_TOE: Final = 135

# (point, point, colour) and (point, colour), by OpenPose number.
Limb: TypeAlias = tuple[int, int, Colour]
Dot: TypeAlias = tuple[int, Colour]

# 17 limbs; the last of the 18 colours belongs to a dot alone.
BODY_LIMB_COLOURS: Final[tuple[Limb, ...]] = tuple(
    (*ends, colour) for ends, colour in zip(BODY_LIMBS, BODY_COLOURS[:-1], strict=True)
)

# Our own colours for feet: pinks on the left, cyans on the right.  Pale on purpose (no channel
# is 0), so that no body colour, all of them fully saturated, can be taken for one.
_FOOT_COLOURS: Final[tuple[Colour, ...]] = (
    *((255, 128, 255), (192, 128, 255), (255, 128, 170)),  # left big toe, small toe, heel
    *((128, 255, 255), (128, 192, 255), (128, 255, 170)),  # right big toe, small toe, heel
)
_LEFT_ANKLE, _RIGHT_ANKLE = 13, 10
_FOOT_LIMBS: Final[tuple[Limb, ...]] = tuple(
    (_LEFT_ANKLE if i < 3 else _RIGHT_ANKLE, 18 + i, colour)
    for i, colour in enumerate(_FOOT_COLOURS)
)
_FOOT_DOTS: Final[tuple[Dot, ...]] = tuple((18 + i, c) for i, c in enumerate(_FOOT_COLOURS))


@dataclass(frozen=True)
class PoseStyle:
    """How one program turns keypoints into a pose map.

    Thresholds compare with raw scores. Widths, radii and thicknesses are pixels of the canvas.

    Args:
        name: what users call it.
        about: one line for lists and tool tips.
        order: "by_part" draws a limb of all people, then the next limb ..., then dots, hands and
            faces; "by_person" finishes one person before the next.
        face_before_hands: faces lie under hands.
        coordinates: "pixels"; "fractions" divides by the picture's size and multiplies again
            before truncating (whole numbers may fall by one); "fractions_before_means" does so
            before the neck and toes are averaged.
        single_precision: points and scores are rounded to float32 first.
        body_threshold: for body and feet.
        body_inclusive: a dot scoring exactly the threshold is drawn.
        limb_inclusive: a limb may end at a point scoring exactly the threshold.
        neck_is_mean: the neck's score is the mean of the shoulders', not "both are above".
        hand_threshold: a hand point is drawn at this score and above; None: always.
        face_threshold: the same for the face.
        widths: "fixed"; "xinsir" scales limbs with the canvas; "short_side" sets everything from
            the shorter side; "by_length" sets limbs and hand lines from their length.
        limb_half_width: half the short axis of a limb's ellipse.
        dot_radius: of body and feet.
        dots_follow_limbs: with widths "xinsir", body dots grow like limbs.
        hand_thickness: of hand lines.
        hand_dot_radius: of hand points.
        face_dot_radius: of face points.
        hand_width: with widths "short_side", thickness and radius of hands; None: half the
            body's.
        dim: limb colours are multiplied by this and truncated.
        brightness_is_score: colours are multiplied by scores.
        feet_limbs: drawn after the body's limbs where feet are on.
        feet_dots: drawn after the body's dots where feet are on.
        feet_default: whether feet are on where the caller does not say.
        face_default: whether the face is on where the caller does not say.
        hand_colours: of the 20 lines.
        eyes_with_face: a face with any point shows the body's eyes as face points too.
        inside_only: dots and hand lines that leave the canvas are dropped, not cut.
        shortest_limb: shorter limbs (pixels) are not drawn.
        shapes: "opencv", or "comfy_core" for the shapes of ComfyUI core's own rasteriser.
        canvas_short_side: drawn on a canvas with this shorter side (a smaller one for strips longer
            than 6.8 times their width), then resized bilinearly; None: at the output's size.
        swap_red_blue: the finished picture has red and blue exchanged.
        first_person_only: other people are left out.
        first_two_hands: draws the first two of [all left hands, all right hands].
    """

    name: str
    about: str
    order: Literal["by_part", "by_person"] = "by_part"
    face_before_hands: bool = False
    coordinates: Literal["pixels", "fractions", "fractions_before_means"] = "fractions"
    single_precision: bool = False
    body_threshold: float = 0.3
    body_inclusive: bool = False
    limb_inclusive: bool = False
    neck_is_mean: bool = False
    hand_threshold: float | None = 0.3
    face_threshold: float | None = 0.3
    widths: Literal["fixed", "xinsir", "short_side", "by_length"] = "fixed"
    limb_half_width: int = 4
    dot_radius: int = 4
    dots_follow_limbs: bool = False
    hand_thickness: int = 2
    hand_dot_radius: int = 4
    face_dot_radius: int = 3
    hand_width: int | None = None
    dim: float = 0.6
    brightness_is_score: bool = False
    feet_limbs: tuple[Limb, ...] = _FOOT_LIMBS
    feet_dots: tuple[Dot, ...] = _FOOT_DOTS
    feet_default: bool = False
    face_default: bool = True
    hand_colours: tuple[Colour, ...] = HAND_COLOURS
    eyes_with_face: bool = False
    inside_only: bool = False
    shortest_limb: float = 0.0
    shapes: Literal["opencv", "comfy_core"] = "opencv"
    canvas_short_side: int | None = None
    swap_red_blue: bool = False
    first_person_only: bool = False
    first_two_hands: bool = False

    def __hash__(self) -> int:
        """By name alone: styles are keys of caches, and hashing every colour takes long."""
        return hash(self.name)

    @cached_property
    def has_toes(self) -> bool:
        """Whether a limb or a dot of the feet is at `LEFT_TOE` or `RIGHT_TOE`."""
        ends = [end for *limb, _ in self.feet_limbs for end in limb]
        return max((*ends, *(dot[0] for dot in self.feet_dots)), default=0) >= LEFT_TOE


DWPOSE: Final = PoseStyle("dwpose", "The original program; what most ControlNets learnt from.")
CONTROLNET_AUX: Final = PoseStyle(
    "controlnet-aux",
    "The preprocessor pack's drawing: person by person, a score of exactly 0.3 is drawn. "
    "Its guess that tiny pictures' points are normalised is left out.",
    order="by_person",
    coordinates="pixels",
    body_inclusive=True,
    limb_inclusive=True,
    eyes_with_face=True,
)
XINSIR: Final = replace(
    CONTROLNET_AUX,
    name="xinsir",
    about="Thicker limbs on larger pictures, as the preprocessor pack draws for xinsir's models.",
    widths="xinsir",
)
COMFY_CORE: Final = PoseStyle(
    "comfy-core",
    "ComfyUI's own SDPose drawing: bright limbs; feet, if on, as dots alone.",
    order="by_person",
    coordinates="pixels",
    single_precision=True,
    body_inclusive=True,
    limb_inclusive=True,
    dim=1.0,
    feet_limbs=(),
    feet_dots=tuple((18 + i, BODY_COLOURS[i]) for i in range(6)),
    hand_colours=_HAND_COLOURS_TRUNCATED,
    inside_only=True,
    shortest_limb=1.0,
    shapes="comfy_core",
)
WAN_ANIMATE: Final = PoseStyle(
    "wan-animate",
    "Wan-Animate: toes, thin lines, threshold 0.5, no face unless asked for.",
    order="by_person",
    coordinates="fractions_before_means",
    body_threshold=0.5,
    body_inclusive=True,
    limb_inclusive=True,
    neck_is_mean=True,
    hand_threshold=0.5,
    face_threshold=0.5,
    widths="short_side",
    feet_limbs=(
        (_LEFT_ANKLE, LEFT_TOE, (255, 0, 85)),
        (_RIGHT_ANKLE, RIGHT_TOE, (200, 200, 0)),
    ),
    feet_dots=((LEFT_TOE, (200, 200, 0)), (RIGHT_TOE, (100, 100, 0))),
    feet_default=True,
    face_default=False,
)
MIMIC_MOTION: Final = PoseStyle(
    "mimic-motion",
    "MimicMotion: brightness is confidence, red and blue exchanged, reduced from a 2160 px canvas.",
    limb_inclusive=True,
    hand_threshold=None,
    face_threshold=None,
    brightness_is_score=True,
    canvas_short_side=2160,
    swap_red_blue=True,
)
MUSEPOSE: Final = PoseStyle(
    "musepose",
    "MusePose: the first person alone, widths by length. With two or more people the second "
    "hand is the second person's left one, a fault of the original kept because its models were "
    "trained on it; musepose-own-hands is free of it.",
    hand_threshold=None,
    face_threshold=None,
    widths="by_length",
    hand_dot_radius=3,
    first_person_only=True,
    first_two_hands=True,
)

_ALL: Final = (
    DWPOSE,
    CONTROLNET_AUX,
    XINSIR,
    replace(
        XINSIR,
        name="xinsir-joints",
        about="As xinsir, with body dots growing like limbs, as in xinsir's own training code.",
        dots_follow_limbs=True,
    ),
    COMFY_CORE,
    WAN_ANIMATE,
    MIMIC_MOTION,
    MUSEPOSE,
    replace(
        MUSEPOSE,
        name="musepose-own-hands",
        about="As musepose, with both hands taken from the first person.",
        first_two_hands=False,
    ),
    replace(
        DWPOSE,
        name="dwpose-feet",
        about="As dwpose, with toes and heels: pinks on the left foot, cyans on the right.",
        feet_default=True,
    ),
    replace(
        COMFY_CORE,
        name="comfy-core-feet",
        about="As comfy-core with its draw_feet on: toes and heels as dots alone.",
        feet_default=True,
    ),
)
STYLES: Final[dict[str, PoseStyle]] = {style.name: style for style in _ALL}


def find_style(style: str | PoseStyle) -> PoseStyle:
    """Return the style of this name, or the argument itself where it already is a style.

    Raises:
        ValueError: there is no style of this name.
        TypeError: neither a name nor a style.
    """
    if isinstance(style, PoseStyle):
        return style
    if not isinstance(style, str):
        raise TypeError(f"style must be a name or a PoseStyle, got {type(style).__name__}")
    if style not in STYLES:
        raise ValueError(f"style {style!r} is unknown; choose one of {', '.join(STYLES)}")
    return STYLES[style]
