"""Smoothing splines through noisy points, many at once.

Each coordinate becomes the curve that balances two costs (Whittaker 1923, Reinsch 1967): its
distance from the points, by weight, and its bending.

Shapes: T times, K points.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# A residual that is this many deviations large is more likely a fault than noise (Huber's 95 %
# efficiency at 1.345; a little more, because movement is in the residual too).
_HUBER: Final = 2.0
# Further than this many deviations from its neighbours in time a point has jumped.
_JUMP: Final = 4.0
# Median absolute deviation to standard deviation of a Rayleigh-distributed distance in 2-D.
_MEDIAN_TO_SIGMA: Final = 1 / 1.1774
# Differences of this order leave 6 % of a movement at a tenth of the frame rate, and make noise
# thirty times larger.
_ORDER: Final = 6
# Of the differences of a clip the one that so many are below: what comes and goes fast, such as a
# foot that meets the ground, is in the others.
_QUIET: Final = 0.2
# Frequencies tried in `Spline.best_hz`: how many, the lowest, and the highest as a share of the
# frame rate, where hardly anything fades.
_TRIED: Final = 10
_LOWEST_HZ: Final = 1.0
_HIGHEST: Final = 0.6
# Frames over which what is left must average out, and by how many deviations it may fail to.
_WINDOW: Final = np.array((1.0, 2.0, 3.0, 2.0, 1.0))
_SURE: Final = 1.5
# How often stiff curves are loosened, and by what factor on their miss at once.
_FOLLOW_ROUNDS: Final = 2
_MOST_AT_ONCE: Final = 100.0
# No film has more frames a second. Those of damaged times may lie a tick apart, and the fourth
# power of such a step leaves the equations no digits.
_LEAST_STEP_S: Final = 0.001
# Weight of what was not seen: only keeps the equations solvable.
NOTHING: Final = 1e-9


def medians(values: Array, known: npt.NDArray[np.bool_]) -> Array:
    """Median [K] of what is known of each column [T, K]; 0 where nothing is."""
    return np.array(
        [np.median(v[k]) if k.any() else 0.0 for v, k in zip(values.T, known.T, strict=True)]
    )


def noise_of(points: Array, known: npt.NDArray[np.bool_]) -> Array:
    """Deviation [K] of each coordinate's noise in points [T, K, 2]; 0 where too few are known.

    From differences of high order, in which movement far below the frame rate vanishes.
    """
    found = np.zeros(points.shape[1])
    if len(points) <= _ORDER:
        return found
    change = np.linalg.norm(np.diff(points, _ORDER, axis=0), axis=-1)
    windows = np.lib.stride_tricks.sliding_window_view(known, _ORDER + 1, axis=0)
    for k, whole in enumerate(windows.all(axis=-1).T):
        if whole.any():
            found[k] = np.quantile(change[whole, k], _QUIET)
    # Distances of noise are Rayleigh-distributed.
    return found / math.sqrt(-2 * math.log(1 - _QUIET) * math.comb(2 * _ORDER, _ORDER))


def not_jumping(points: Array, known: npt.NDArray[np.bool_], noise: Array) -> Array:
    """Factor [T, K] of 1 or less on the weights of points far from where they usually are.

    Far from the median and the curve of five frames, against how far it usually is.
    """
    around = np.pad(points, ((2, 2), (0, 0), (0, 0)), mode="edge")
    middle = np.median([around[i : i + len(points)] for i in range(5)], axis=0)
    curve = (4 * (around[1:-3] + around[3:-1]) - around[:-4] - around[4:]) / 6
    # Fast movement leaves the median, and a neighbour that jumps bends the curve: both are asked.
    away = np.minimum(
        np.linalg.norm(points - middle, axis=-1), np.linalg.norm(points - curve, axis=-1)
    )
    usual = np.maximum(medians(away, known) * _MEDIAN_TO_SIGMA, noise)
    return np.minimum(1.0, _JUMP * np.maximum(usual, 1e-6) / np.maximum(away, 1e-9)) ** 2


def _too_stiff(rest: Array, weights: Array, noise: Array) -> Array:
    """Factor [T, K] of 1 or more on frequencies of curves that miss what noise cannot explain.

    What is left averages out over some frames if it is noise. A spline's miss falls with the
    fourth power of its frequency.
    """
    kernel = _WINDOW / _WINDOW.sum()
    # One point that jumps is no movement.
    size = np.linalg.norm(rest, axis=-1, keepdims=True)
    usual = medians(size[..., 0], np.greater(weights, 0)) * _MEDIAN_TO_SIGMA
    limit = _HUBER * np.maximum(usual, noise)[:, None]
    rest = np.where(size > limit, rest * limit / np.maximum(size, 1e-9), rest)

    def blur(values: Array) -> Array:
        reach = len(kernel) // 2
        around = np.concatenate([values[:1]] * reach + [values] + [values[-1:]] * reach)
        parts = [share * around[i : i + len(values)] for i, share in enumerate(kernel)]
        return np.sum(parts, axis=0)

    total = np.maximum(blur(weights), 1e-6)
    miss = np.linalg.norm(blur(rest * weights[..., None]), axis=-1) / total
    expected = noise * math.sqrt(2 * np.square(kernel).sum())
    ratio = blur(miss / np.maximum(expected * _SURE, 1e-6))
    return np.clip(ratio, 1.0, _MOST_AT_ONCE) ** 0.25


class Spline:
    """Smoothing splines through the points of one track, all at once.

    Args:
        times: float [T], seconds; at least three.
        usable: bool [T, K], seen or to be filled; nothing bends across the rest.
    """

    def __init__(self, times: Array, usable: npt.NDArray[np.bool_]) -> None:
        steps = np.maximum(np.diff(times), _LEAST_STEP_S)
        self.times = np.concatenate(([0.0], np.cumsum(steps)))
        first, second = steps[:-1], steps[1:]
        both = first + second
        # Second derivative at the middle of three frames that need not be evenly spaced.
        self.bend = (2 / (first * both), -2 / (first * second), 2 / (second * both))
        self.joined = usable[:-2] & usable[1:-1] & usable[2:]

    def fit(
        self,
        points: Array,
        weights: Array,
        hz: Array,
        noise: Array,
        *,
        gain: float,
        follow: bool,
        robust: bool,
    ) -> Array:
        """Curves [T, K, 2] for points [T, K, 2], weights [T, K] and frequencies [K].

        Args:
            points: in pixels.
            weights: how much each is believed.
            hz: above these movement fades.
            noise: float [K], the points' deviation.
            gain: factor (1 + this) on the frequency of a point that moves a pixel a second.
            follow: see `smoothing.SmoothingOptions`.
            robust: the same.
        """
        known: npt.NDArray[np.bool_] = np.greater(weights, NOTHING)
        if robust:
            weights = np.where(known, weights * not_jumping(points, known, noise), weights)
        cutoff = np.broadcast_to(hz, weights.shape)
        smooth = self.solve(points, weights, cutoff)
        if gain > 0:
            moved = np.gradient(smooth, self.times, axis=0)
            cutoff = cutoff * (1 + gain * np.linalg.norm(moved, axis=-1))
            smooth = self.solve(points, weights, cutoff)
        for _ in range(_FOLLOW_ROUNDS if follow else 0):
            cutoff = cutoff * _too_stiff(points - smooth, weights * known, noise)
            smooth = self.solve(points, weights, cutoff)
        if robust:
            distance = np.linalg.norm(points - smooth, axis=-1)
            usual = np.maximum(medians(distance, known) * _MEDIAN_TO_SIGMA, noise)
            weak = np.clip(_HUBER * usual / np.maximum(distance, 1e-9), 1e-6, 1.0)
            smooth = self.solve(points, np.where(known, weights * weak, weights), cutoff)
        return smooth

    def best_hz(self, points: Array, noise: Array) -> Array:
        """Frequencies [K] of the curves that should be nearest to the truth (Mallows 1973).

        A curve's squared error is what it misses by, plus twice the noise that it lets through.

        Args:
            points: float [T, K, 2], all seen.
            noise: float [K], their deviation.
        """
        count, step = len(points), float(np.median(np.diff(self.times)))
        tried = np.geomspace(_LOWEST_HZ, max(_HIGHEST / step, _LOWEST_HZ), _TRIED)
        bending = (2 * np.sin(np.pi * np.arange(count) / (2 * count)) / step) ** 4
        cost = []
        for hz in tried:
            ones = np.ones(points.shape[:2])
            smooth = self.solve(points, ones, hz * ones)
            free = (1 / (1 + bending / (2 * np.pi * hz) ** 4)).sum()
            cost.append(np.square(points - smooth).sum(axis=(0, 2)) + 4 * noise**2 * free)
        return tried[np.argmin(cost, axis=0)]

    def solve(self, points: Array, weights: Array, cutoff: Array) -> Array:
        """Minimise sum w (x - y)^2 + sum (2 pi f)^-4 (x'')^2: five diagonals, K systems at once."""
        count = len(points)
        stiff = np.where(self.joined, (2 * np.pi * cutoff[1:-1]) ** -4.0, 0.0)
        a, b, c = (coefficient[:, None] for coefficient in self.bend)
        main = weights.copy()
        main[:-2] += stiff * a * a
        main[1:-1] += stiff * b * b
        main[2:] += stiff * c * c
        near = np.zeros_like(main)
        near[:-2] += stiff * a * b
        near[1:-1] += stiff * b * c
        far = np.zeros_like(main)
        far[:-2] = stiff * a * c
        x = points * weights[..., None]
        # L D L^T without pivoting: the matrix is positive definite.
        for t in range(count - 1):
            step = near[t] / main[t]
            main[t + 1] -= step * near[t]
            x[t + 1] -= step[:, None] * x[t]
            if t + 2 < count:
                leap = far[t] / main[t]
                near[t + 1] -= step * far[t]
                main[t + 2] -= leap * far[t]
                x[t + 2] -= leap[:, None] * x[t]
        x[-1] /= main[-1][:, None]
        for t in range(count - 2, -1, -1):
            x[t] -= near[t][:, None] * x[t + 1]
            if t + 2 < count:
                x[t] -= far[t][:, None] * x[t + 2]
            x[t] /= main[t][:, None]
        return x
