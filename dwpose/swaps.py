"""Left and right mistaken for each other: found by time (dynamic programming) and by anatomy.

Shapes: T frames of one person, K = 133 points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .anatomy import LENGTHS
from .skeleton import LEFT_HAND, RIGHT_HAND

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Group:
    """Points that change sides together.

    Attributes:
        pairs: left and right points whose movement and limbs tell.
        parents: the points that each pair hangs on; () where it hangs on nothing.
        limbs: what the limbs between are called in `anatomy.LENGTHS`.
        others: pairs that go along.
    """

    pairs: tuple[tuple[int, int], ...]
    parents: tuple[tuple[int, int], ...] = ()
    limbs: tuple[str, ...] = ()
    others: tuple[tuple[int, int], ...] = ()


_HANDS: Final = tuple(
    zip(
        range(LEFT_HAND.start, LEFT_HAND.stop),
        range(RIGHT_HAND.start, RIGHT_HAND.stop),
        strict=True,
    )
)
_FEET: Final = ((17, 20), (18, 21), (19, 22))

# Large before small: a whole body that is turned round is not four limbs.
GROUPS: Final = (
    Group(((5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)), others=(*_FEET, *_HANDS)),
    Group(((7, 8), (9, 10)), ((5, 6),), ("arm",), _HANDS),
    Group(((13, 14), (15, 16)), ((11, 12),), ("leg",), _FEET),
    Group(((9, 10),), ((7, 8),), ("forearm",), _HANDS),
    Group(((15, 16),), ((13, 14),), ("shin",), _FEET),
)


@dataclass(frozen=True)
class SwapCosts:
    """What the search weighs; distances are in heights of the torso.

    Attributes:
        swapped: for each frame in which sides are exchanged: little, so that movement decides
            and a clip keeps the names that it has most of the time. Seen exactly from the side,
            legs are at one place at every step, and nobody can tell which is which after it;
            what is certain then is that neither jumps.
        switch: for each beginning and end of an exchange: nothing is done for noise.
        jump_cap: largest cost of one point's jump in one frame.
        stretch: how much longer than usual a limb may look before that counts.
        stretch_cost: for each multiple of a limb's length beyond it.
    """

    swapped: float = 0.005
    switch: float = 0.12
    jump_cap: float = 1.0
    stretch: float = 1.25
    stretch_cost: float = 1.0


def find_swaps(
    points: Array,
    seen: npt.NDArray[np.bool_],
    torso: Array,
    group: Group,
    costs: SwapCosts,
    in_time: bool,
) -> npt.NDArray[np.bool_]:
    """Find the frames in which a group's sides are exchanged.

    Args:
        points: float [T, 133, 2], pixels.
        seen: bool [T, 133].
        torso: float [T], pixels, see `anatomy.torso_px`.
        group: which points.
        costs: what is weighed.
        in_time: frames follow each other; else each is judged alone, by lengths.

    Returns:
        bool [T].
    """
    known = torso > 0
    left, right = (np.array(side) for side in zip(*group.pairs, strict=True))
    both = (seen[:, left] & seen[:, right]).any(axis=1)
    rows = np.flatnonzero(known & both)
    out = np.zeros(len(points), bool)
    if not len(rows):
        return out
    points, seen, torso = points[rows], seen[rows], torso[rows]
    wrong = _stretch(points, seen, torso, group, costs)
    if not in_time or len(rows) < 3:
        # Alone, only what cannot be is changed.
        out[rows] = wrong[:, 0] > wrong[:, 1] + 2 * costs.switch
        return out
    wrong[:, 1] += costs.swapped
    pairs = np.stack((points[:, [left, right]], points[:, [right, left]]))  # [state, T, 2, M, 2]
    pairs = pairs / torso[None, :, None, None, None]
    shown = (seen[:, left] & seen[:, right]).astype(float)  # [T, M]
    out[rows] = _search(pairs, shown, wrong, costs)
    return out


def _stretch(
    points: Array, seen: npt.NDArray[np.bool_], torso: Array, group: Group, costs: SwapCosts
) -> Array:
    """Cost [T, 2] of limbs longer than they can be, with the sides as they are and exchanged."""
    out = np.zeros((len(points), 2))
    for (a, b), (up_a, up_b), name in zip(group.pairs, group.parents, group.limbs, strict=False):
        shown = seen[:, [a, b, up_a, up_b]].all(axis=1)
        for state, ends in enumerate((((up_a, a), (up_b, b)), ((up_a, b), (up_b, a)))):
            for top, end in ends:
                long = np.linalg.norm(points[:, top] - points[:, end], axis=-1)
                excess = long / (LENGTHS[name] * torso) - costs.stretch
                out[:, state] += np.where(shown, np.maximum(excess, 0.0), 0.0)
    return out * costs.stretch_cost


def _search(pairs: Array, shown: Array, wrong: Array, costs: SwapCosts) -> npt.NDArray[np.bool_]:
    """Cheapest sequence of states: the smoothest movement (Viterbi over pairs of frames).

    What is weighed is acceleration, not distance: two legs that pass each other keep their
    velocity, and are not taken for two that exchange names.
    """
    count = len(wrong)
    # Arriving cost of (state at t - 1, state at t).
    best = np.zeros((2, 2))
    for s in range(2):
        for n in range(2):
            best[s, n] = wrong[0, s] + wrong[1, n] + costs.switch * (s != n)
            step = np.linalg.norm(pairs[n, 1] - pairs[s, 0], axis=-1)
            best[s, n] += (np.minimum(step, costs.jump_cap) * shown[1] * shown[0]).sum()
    back = np.zeros((count, 2, 2), np.int64)
    for t in range(2, count):
        weight = shown[t] * shown[t - 1] * shown[t - 2]
        # [state t-2, state t-1, state t, side, point]
        bend = (
            pairs[None, None, :, t] - 2 * pairs[None, :, None, t - 1] + pairs[:, None, None, t - 2]
        )
        jump = np.minimum(np.linalg.norm(bend, axis=-1), costs.jump_cap)
        arrive = best[:, :, None] + (jump * weight).sum(axis=(-1, -2))
        back[t] = arrive.argmin(axis=0)
        best = arrive.min(axis=0) + wrong[t][None] + costs.switch * (1 - np.eye(2))
    states = np.zeros(count, bool)
    s, n = np.unravel_index(int(best.argmin()), (2, 2))
    for t in range(count - 1, 0, -1):
        states[t] = bool(n)
        s, n = (int(back[t, s, n]), s) if t > 1 else (s, s)
    states[0] = bool(s)
    return states


def exchange(points: Array, scores: Array, rows: npt.NDArray[np.bool_], group: Group) -> list[int]:
    """Exchange a group's sides in place, in the frames given; returns the points touched."""
    left, right = (list(side) for side in zip(*group.pairs, *group.others, strict=True))
    for array in (points, scores):
        old = array[rows]
        new = old.copy()
        new[:, left], new[:, right] = old[:, right], old[:, left]
        array[rows] = new
    return [*left, *right]
