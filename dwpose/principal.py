"""The few movements that a body consists of, found in a clip.

The 133 points of a person do not move each by itself: a step lifts them all, a turn of the head
carries 68 at once. Principal component analysis (Pearson 1901) of the clip, each point measured in
units of its own noise, finds the movements that points share. What many points say together is
known much better than what one says, so such a movement can be followed fast and yet be steady;
what is left of each point is small and slow. Points are complex numbers here, so that one movement
may turn and scale its points in the picture.

Shapes: T frames, K points, R movements.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .spline import NOTHING, Spline, noise_of

Array = npt.NDArray[Any]

# Points seen for less of the clip than this belong to no movement.
_OFTEN: Final = 0.5
# What was not seen, or is doubtful, is completed from the movements themselves so many times.
_ROUNDS: Final = 3


def shared_movement(
    points: Array,
    weights: Array,
    guess: Array,
    usable: npt.NDArray[np.bool_],
    noise: Array,
    times: Array,
    factors: Array,
) -> Array:
    """What points do together, steadied.

    Args:
        points: float [T, K, 2], as seen.
        weights: float [T, K], how much each is to be believed, 1 as usual.
        guess: float [T, K, 2], where they probably are.
        usable: bool [T, K], seen or to be filled.
        noise: float [K], deviation of each point, in pixels; above 0.
        times: float [T], seconds.
        factors: float [K], on the frequencies found: 1 steadies as seems best.

    Returns:
        float [T, K, 2]; a point that shares no movement rests at its median.
    """
    often = usable.mean(axis=0) > _OFTEN
    share = np.where(weights > NOTHING, np.minimum(weights, 1.0), 0.0)[..., None]
    guess = _across_gaps(guess, usable, times)
    middle = np.median(guess, axis=0)
    basis, courses = np.zeros((0, 0)), np.zeros((0, 0))
    for _ in range(_ROUNDS):
        believed = guess + share * (points - guess)
        measured = (believed - middle) / noise[:, None] * often[:, None]
        basis, courses = _movements(measured[..., 0] + 1j * measured[..., 1], int(often.sum()))
        guess = middle + _pairs(courses @ basis.conj().T) * noise[:, None]
    if not basis.size:
        return guess
    found = _pairs(courses)
    ones = np.ones(courses.shape)
    spline = Spline(times, ones > 0)
    hz = spline.best_hz(found, noise_of(found, ones > 0))
    for factor in np.unique(factors):
        own = factors == factor
        steady = spline.solve(found, ones, hz * factor * ones)
        moved = (steady[..., 0] + 1j * steady[..., 1]) @ basis[own].conj().T
        guess[:, own] = middle[own] + _pairs(moved) * noise[own, None]
    return guess


def _movements(measured: Array, count: int) -> tuple[Array, Array]:
    """Shared movements complex [K, R] and their courses complex [T, R], in units of noise.

    Of T frames of `count` points of noise alone the largest singular value is about
    sqrt(T) + sqrt(count) (Marchenko and Pastur 1967), for the two coordinates sqrt(2) times that.
    """
    values, basis = np.linalg.eigh(measured.conj().T @ measured)
    edge = 2 * (np.sqrt(len(measured)) + np.sqrt(count)) ** 2
    basis = basis[:, values > edge]
    return basis, measured @ basis


def _pairs(values: Array) -> Array:
    """Real [..., 2] of complex [...]."""
    return np.stack((np.real(values), np.imag(values)), axis=-1)


def _across_gaps(points: Array, usable: npt.NDArray[np.bool_], times: Array) -> Array:
    """Points [T, K, 2] on straight lines where they are not usable."""
    out = points.copy()
    for k in np.flatnonzero(~usable.all(axis=0) & usable.any(axis=0)):
        rows = usable[:, k]
        for axis in range(2):
            out[:, k, axis] = np.interp(times, times[rows], points[rows, k, axis])
    return out
