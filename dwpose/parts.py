"""Where parts of people are: boxes, masks and square crops of faces, heads, hands, feet, bodies.

Shapes: P people, H and W the picture's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from .skeleton import BODY, FACE, LEFT_HAND, RIGHT_HAND
from .types import DEFAULT_THRESHOLD, People

Array: TypeAlias = npt.NDArray[Any]
Square: TypeAlias = "tuple[int, int, int]"

PART_NAMES: Final = ("face", "head", "left hand", "right hand", "both hands", "feet", "body")
SHAPES: Final = ("outline", "box", "ellipse")

# Indices into the 133 points.
_NOSE, _EYES, _EARS = 0, (1, 2), (3, 4)
_HEAD: Final = (_NOSE, *_EYES, *_EARS)
_FACE_ALL: Final = tuple(range(FACE.start, FACE.stop))
_CHIN: Final = FACE.start + 8
_BROWS: Final = tuple(range(FACE.start + 17, FACE.start + 27))
_SHOULDERS: Final = (5, 6)
_LEFT_FOOT: Final = (15, 17, 18, 19)
_RIGHT_FOOT: Final = (16, 20, 21, 22)
_TORSO: Final = (5, 6, 11, 12)
_LIMBS: Final = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16))

# From a hand or face fewer points say nothing about its extent.
_FEWEST: Final = {"face": 5, "left hand": 4, "right hand": 4}
# A drawing manual's proportions: eyes half way between crown and chin, brows a little above
# them, so that the crown lies as far above the brows as the chin below; 0.9 for the brows' height.
_CROWN: Final = 0.9
# Half a head's height against the widest distance among nose, eyes and ears: 0.8 seen from the
# front (ears 15 cm apart, head 23 cm high), 1.0 from the side (nose to ear 12 cm).
_HEAD_RADIUS: Final = 0.9
# Half the width of a limb against the height of the torso (shoulders to hips, about 50 cm).
_LIMB_RADIUS: Final = 0.12
# Half-width of an outline of few points against its length, so that a line is not empty.
_LEAST_RADIUS: Final = 0.06


@dataclass(frozen=True, eq=False)
class Region:
    """One connected part of one person.

    Args:
        xyxy: float32 [4], box around it in picture pixels, before any padding.
        outlines: arrays float32 [N, 2] of points, pixels; the part is the convex hull of each,
            or for two points the line between them, thickened by `radius`.
        radius: pixels by which all outlines are thickened.
    """

    xyxy: npt.NDArray[np.float32]
    outlines: tuple[npt.NDArray[np.float32], ...]
    radius: float

    def padded(self, padding: float) -> npt.NDArray[np.float32]:
        """Box grown on every side by this fraction of its longer side, float32 [4]."""
        grow = np.float32(padding * self.size)
        return self.xyxy + np.array([-grow, -grow, grow, grow], np.float32)

    @property
    def size(self) -> float:
        """The longer side of the box in pixels."""
        return float((self.xyxy[2:] - self.xyxy[:2]).max())


def find_regions(
    people: People,
    part: str,
    size_hw: tuple[int, int] | None = None,
    threshold: float = DEFAULT_THRESHOLD,
) -> list[list[Region]]:
    """Find a part of everybody.

    "face" is around the 68 face points, "head" up to the crown too (from the face, else from
    nose, eyes and ears), hands around their 21 points, "feet" each foot with its ankle, "body"
    everything of a person. Hands and feet that are asked for together are two regions.

    Args:
        people: of one frame.
        part: one of `PART_NAMES`.
        size_hw: height and width of the picture that the regions are for, to which keypoints are
            scaled; None: `people.image_hw`.
        threshold: least raw score of a point that counts.

    Returns:
        for each person the regions found: none, one or two.

    Raises:
        ValueError: an unknown part.
    """
    if part not in PART_NAMES:
        raise ValueError(f"part must be one of {', '.join(PART_NAMES)}, got {part!r}")
    size = people.image_hw if size_hw is None else size_hw
    scale = np.array(size[::-1], np.float32) / np.array(people.image_hw[::-1], np.float32)
    points = people.keypoints * scale
    # Points far outside the picture are faults of the network or the file, and would overflow.
    far = 4 * np.float32(max(size))
    with np.errstate(invalid="ignore"):
        seen = people.visible(threshold) & (np.abs(points) <= far).all(axis=-1)
    return [_of_person(points[i], seen[i], part) for i in range(len(people))]


def _of_person(points: Array, seen: Array, part: str) -> list[Region]:
    if part == "both hands":
        found = [_hand(points, seen, name) for name in ("left hand", "right hand")]
    elif part in ("left hand", "right hand"):
        found = [_hand(points, seen, part)]
    elif part == "feet":
        found = [_foot(points, seen, foot) for foot in (_LEFT_FOOT, _RIGHT_FOOT)]
    elif part == "face":
        found = [_face(points, seen)]
    elif part == "head":
        found = [_head(points, seen)]
    else:
        found = [_body(points, seen)]
    return [region for region in found if region is not None]


def _region(outlines: list[Array], radius: float = 0.0) -> Region:
    every = np.concatenate(outlines)
    low, high = every.min(axis=0), every.max(axis=0)
    radius = max(radius, _LEAST_RADIUS * float((high - low).max()), 1.0)
    xyxy = np.concatenate((low - radius, high + radius)).astype(np.float32)
    return Region(xyxy, tuple(np.asarray(o, np.float32) for o in outlines), radius)


def _chosen(points: Array, seen: Array, indices: Any) -> Array:
    index = np.arange(len(points))[indices] if isinstance(indices, slice) else np.array(indices)
    return points[index[seen[index]]]


def _hand(points: Array, seen: Array, name: str) -> Region | None:
    found = _chosen(points, seen, LEFT_HAND if name == "left hand" else RIGHT_HAND)
    return _region([found]) if len(found) >= _FEWEST[name] else None


def _foot(points: Array, seen: Array, foot: tuple[int, ...]) -> Region | None:
    found = _chosen(points, seen, foot)
    # An ankle alone is no foot.
    return _region([found]) if seen[list(foot[1:])].any() and len(found) >= 2 else None


def _face(points: Array, seen: Array) -> Region | None:
    found = _chosen(points, seen, FACE)
    return _region([found]) if len(found) >= _FEWEST["face"] else None


def _head(points: Array, seen: Array) -> Region | None:
    face, brows = _chosen(points, seen, _FACE_ALL), _chosen(points, seen, _BROWS)
    if len(face) >= _FEWEST["face"] and len(brows) and seen[_CHIN]:
        middle = brows.mean(axis=0)
        up = (middle - points[_CHIN]) * _CROWN
        # The skull is about as wide at half that height as the face, and closes at the crown.
        skull = np.concatenate((face + 0.6 * up, (middle + up)[None]))
        height = (skull - middle) @ up / max(float(up @ up), 1e-6)
        skull = skull[height <= 1.0]
        return _region([np.concatenate((face, skull, _chosen(points, seen, _HEAD)))])
    found = _chosen(points, seen, _HEAD)
    if len(found) < 2:
        return None
    apart = np.sqrt(np.square(found[:, None] - found[None]).sum(axis=-1)).max()
    # Thickened about a single point this is a disc.
    middle = (found.min(axis=0) + found.max(axis=0)) / 2
    return _region([middle[None]], float(apart) * _HEAD_RADIUS)


def _body(points: Array, seen: Array) -> Region | None:
    trunk = _chosen(points, seen, BODY)
    if len(trunk) < 2:
        return None
    outlines: list[Array] = []
    torso = _chosen(points, seen, _TORSO)
    if len(torso) >= 2:
        outlines.append(torso)
    outlines += [points[list(limb)] for limb in _LIMBS if seen[list(limb)].all()]
    for part in ("head", "left hand", "right hand", "feet"):
        for region in _of_person(points, seen, part):
            outlines += [_disc_points(o, region.radius) for o in region.outlines]
    shoulders = _chosen(points, seen, _SHOULDERS)
    head = _chosen(points, seen, _HEAD)
    if len(shoulders) and len(head):
        outlines.append(np.concatenate((shoulders, head.mean(axis=0)[None])))
    if not outlines:
        outlines = [trunk]
    return _region(outlines, _limb_radius(points, seen, trunk))


def _limb_radius(points: Array, seen: Array, trunk: Array) -> float:
    lengths = [
        float(np.hypot(*(points[a] - points[b])))
        for a, b in ((5, 11), (6, 12))
        if seen[a] and seen[b]
    ]
    if lengths:
        return _LIMB_RADIUS * max(lengths)
    # Without hips: shoulders are about two thirds of the torso's height apart.
    if seen[list(_SHOULDERS)].all():
        return _LIMB_RADIUS * 1.5 * float(np.hypot(*(points[5] - points[6])))
    return _LEAST_RADIUS * float((trunk.max(axis=0) - trunk.min(axis=0)).max())


def _disc_points(outline: Array, radius: float) -> Array:
    """Replace a single point by a ring around it, so that it keeps its radius in a body."""
    if len(outline) > 1:
        return outline
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring: Array = outline + radius * np.stack((np.cos(turn), np.sin(turn)), axis=1)
    return ring


def draw_regions(
    regions: list[Region],
    size_hw: tuple[int, int],
    shape: str = SHAPES[0],
    padding: float = 0.0,
    blur: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Draw regions as one mask.

    Args:
        regions: of `find_regions`, for a picture of this size.
        size_hw: height and width in pixels.
        shape: "outline" follows the points, "box" is the padded box, "ellipse" the largest
            one in that box.
        padding: grows each region on all sides by this fraction of its longer side.
        blur: standard deviation of the soft edge in pixels; 0 is a hard edge.

    Returns:
        uint8 [H, W], 255 inside.

    Raises:
        ValueError: an unknown shape, or a negative padding or blur.
    """
    if shape not in SHAPES:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}, got {shape!r}")
    if padding < 0 or blur < 0:
        raise ValueError("padding and blur must be 0 or more")
    mask = np.zeros(size_hw, np.uint8)
    for region in regions:
        if shape == "outline":
            radius = region.radius + padding * region.size
            for outline in region.outlines:
                _fill(mask, outline, radius)
            continue
        left, top, right, bottom = (float(n) for n in region.padded(padding))
        if shape == "box":
            cv2.rectangle(
                mask, (round(left), round(top)), (round(right) - 1, round(bottom) - 1), 255, -1
            )
            continue
        middle = (round((left + right) / 2), round((top + bottom) / 2))
        axes = (round((right - left) / 2), round((bottom - top) / 2))
        cv2.ellipse(mask, middle, axes, 0, 0, 360, 255, -1)
    if blur > 0 and regions:
        _blur(mask, blur)
    return mask


def _blur(mask: npt.NDArray[np.uint8], sigma: float) -> None:
    """Blur in place, where there is something: most of a picture is not a face."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    # OpenCV's kernel for 8 bits ends at 3 sigma.
    reach = int(np.ceil(3 * sigma)) + 2
    where = (
        slice(max(int(rows[0]) - reach, 0), int(rows[-1]) + reach + 1),
        slice(max(int(columns[0]) - reach, 0), int(columns[-1]) + reach + 1),
    )
    mask[where] = cv2.GaussianBlur(np.ascontiguousarray(mask[where]), (0, 0), sigma)


def _fill(mask: npt.NDArray[np.uint8], outline: Array, radius: float) -> None:
    """Fill a hull and everything nearer to it than the radius."""
    hull = np.rint(cv2.convexHull(outline.astype(np.float32))).astype(np.int32)
    cv2.fillConvexPoly(mask, hull, 255)
    # A thick closed line around a convex shape has round corners: the same as dilating it, and
    # the work does not grow with the radius squared. OpenCV allows no thickness above 32767.
    thickness = min(max(round(2 * radius), 1), 32767)
    if len(hull) == 1:
        x, y = hull[0, 0]
        cv2.circle(mask, (int(x), int(y)), max(round(radius), 1), 255, -1)
        return
    cv2.polylines(mask, [hull], True, 255, thickness)


def join_boxes(boxes: list[Array]) -> npt.NDArray[np.float32]:
    """Return the box around boxes xyxy; at least one."""
    every = np.stack(boxes)
    return np.concatenate((every[:, :2].min(axis=0), every[:, 2:].max(axis=0))).astype(np.float32)


def square_around(xyxy: Array, size_hw: tuple[int, int]) -> Square | None:
    """Find the square of whole pixels around a box.

    It is moved, not cut, to lie inside the picture; one larger than the picture hangs over
    equally on both sides.

    Args:
        xyxy: float [4], pixels.
        size_hw: height and width of the picture.

    Returns:
        left, top and side in pixels; None if the box lies outside the picture altogether.
    """
    left, top, right, bottom = (float(n) for n in xyxy)
    if right <= 0 or bottom <= 0 or left >= size_hw[1] or top >= size_hw[0]:
        return None
    side = max(int(np.ceil(max(right - left, bottom - top))), 2)
    corner = []
    for low, high, limit in ((left, right, size_hw[1]), (top, bottom, size_hw[0])):
        if side > limit:
            corner.append((limit - side) // 2)
        else:
            corner.append(min(max(round((low + high - side) / 2), 0), limit - side))
    return corner[0], corner[1], side


def cut_square(picture: Array, square: Square, size: int) -> Array:
    """Cut a square out of a picture and resize it; what lies outside the picture is black.

    Args:
        picture: uint8 or float32, [H, W] or [H, W, C].
        square: left, top and side in pixels, see `square_around`.
        size: pixels of the result's side.

    Returns:
        of the same dtype and channels, [size, size] or [size, size, C].

    Raises:
        ValueError: size is less than 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    left, top, side = square
    inside = picture[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    if inside.shape[:2] != (side, side):
        out = np.zeros((side, side, *picture.shape[2:]), picture.dtype)
        if inside.size:
            y, x = max(-top, 0), max(-left, 0)
            out[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        inside = out
    if side == size:
        return inside.copy()
    how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    made: Array = cv2.resize(np.ascontiguousarray(inside), (size, size), interpolation=how)
    if how == cv2.INTER_CUBIC:
        # Cubic interpolation overshoots at edges.
        made = np.clip(made, inside.min(), inside.max())
    return made.reshape(size, size, *picture.shape[2:])
