"""Are a file's coordinates pixels, or fractions of the canvas?  Files do not say.

The rule, in order:

1. A part that our own extra key confirms (see `openpose_read`) is in pixels.
2. A part is *small* where every visible |x| and |y| is at most 2 (1 on a canvas whose shorter
   side is under 16 pixels); fractions may lie up to one canvas outside the picture. A part that
   is not small is in pixels.
3. Bodies of one file share their unit: a small body is in fractions, unless a body elsewhere in
   the file is in pixels or confirmed. So a tiny person in the top-left corner of a pixel file
   stays tiny. (A file with nobody but a person under 2 pixels is read as fractions: nobody is
   that small.)
4. Any other small part of a person whose body is in pixels is read the way that puts it nearer to
   that body, because some editors mix units within a person; pixels where both are equally near.
5. A small part of any other person is in fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .openpose_layout import BODY, FEET, NUM_POINTS, PARTS, Part
from .ticking import Tick, ticking

# A fraction may exceed 1 where a limb leaves the picture; a part of a person within 2 pixels of
# the corner cannot be seen at all.
_SMALL = 2.0
_TINY_CANVAS_PX = 16


@dataclass
class RawPerson:
    """A person as the file has them.

    Args:
        points: float64 [134, 2] in the file's unit, 0 where absent.
        c: float64 [134], 0 where absent.
        confirmed: keys of the parts that are known to be in pixels.
        feet_in_body: the feet came as points 19.. of the body's list, hence in its unit.
    """

    points: npt.NDArray[np.float64]
    c: npt.NDArray[np.float64]
    confirmed: frozenset[str] = frozenset()
    feet_in_body: bool = False

    def visible(self, part: Part) -> npt.NDArray[np.float64]:
        """float64 [N, 2], the points of a part that are there."""
        return self.points[part.points][self.c[part.points] > 0]


def to_pixels(
    frames: Sequence[Sequence[RawPerson]],
    canvases_hw: Sequence[tuple[int, int]],
    normalized: bool | None = None,
    on_frame: Tick = None,
) -> None:
    """Scale in place whatever is in fractions of the canvas to pixels.

    Args:
        frames: the people of every frame of a file.
        canvases_hw: height and width of every frame in pixels.
        normalized: True or False where the caller knows the unit; None to tell by the rule above.
        on_frame: called at each frame; what it raises ends the work.
    """
    bodies_in_pixels = any(
        person.confirmed or (len(person.visible(BODY)) and not _is_small(person, BODY, canvas_hw))
        for people, canvas_hw in ticking(zip(frames, canvases_hw, strict=True), on_frame)
        for person in people
    )
    for people, canvas_hw in ticking(zip(frames, canvases_hw, strict=True), on_frame):
        for person in people:
            if normalized is None:
                scaled = _parts_in_fractions(person, canvas_hw, bodies_in_pixels)
            else:
                scaled = PARTS if normalized else ()
            factors = np.ones((NUM_POINTS, 2))
            for part in scaled:
                factors[part.points] = canvas_hw[::-1]
            person.points *= factors


def _is_small(person: RawPerson, part: Part, canvas_hw: tuple[int, int]) -> bool:
    limit = _SMALL if min(canvas_hw) >= _TINY_CANVAS_PX else 1.0
    return bool((np.abs(person.visible(part)) <= limit).all())


def _parts_in_fractions(
    person: RawPerson, canvas_hw: tuple[int, int], bodies_in_pixels: bool
) -> list[Part]:
    size_wh = np.array(canvas_hw[::-1], np.float64)
    fractions: list[Part] = []
    body = person.visible(BODY)
    for part in PARTS:
        points = person.visible(part)
        if not len(points) or part.key in person.confirmed:
            continue
        if part is FEET and person.feet_in_body and len(body):
            if BODY in fractions:
                fractions.append(FEET)
            continue
        if not _is_small(person, part, canvas_hw):
            continue
        if part is BODY:
            if not bodies_in_pixels:
                fractions.append(BODY)
        elif not len(body) or BODY in fractions:
            fractions.append(part)
        else:
            centre = points.mean(axis=0)
            as_pixels = np.linalg.norm(body - centre, axis=1).min()
            as_fractions = np.linalg.norm(body - centre * size_wh, axis=1).min()
            if as_fractions < as_pixels:
                fractions.append(part)
    return fractions
