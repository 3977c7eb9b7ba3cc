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
# Keypoints come in half pixels of a crop 256 pixels high, which alone is noise of this share of a
# body's height; below it nothing is taken for a fault.
_QUANTUM: Final = 0.001
# Differences of this order leave 6 % of a movement at a tenth of the frame rate, and make noise
# thirty times larger.
_ORDER: Final = 6
# Frames over which what is left must average out, and by how many deviations it may fail to.
_WINDOW: Final = np.array((1.0, 2.0, 3.0, 2.0, 1.0))
_SURE: Final = 1.5
# How often stiff curves are loosened, and by what factor on their miss at once.
_FOLLOW_ROUNDS: Final = 2
_MOST_AT_ONCE: Final = 100.0
# Weight of what was not seen: only keeps the equations solvable.
NOTHING: Final = 1e-9


def medians(values: Array, known: npt.NDArray[np.bool_]) -> Array:
    """Median [K] of what is known of each column [T, K]; 0 where nothing is."""
    return np.array(
        [np.median(v[k]) if k.any() else 0.0 for v, k in zip(values.T, known.T, strict=True)]
    )


def _noise(points: Array, known: npt.NDArray[np.bool_]) -> Array:
    """Deviation [K] of the noise of points [T, K, 2], in pixels.

    From differences of high order, in which movement far below the frame rate vanishes.
    """
    if len(points) <= _ORDER:
        return np.zeros(points.shape[1])
    change = np.linalg.norm(np.diff(points, _ORDER, axis=0), axis=-1)
    windows = np.lib.stride_tricks.sliding_window_view(known, _ORDER + 1, axis=0)
    whole = np.asarray(windows.all(axis=-1))
    return medians(change, whole) * _MEDIAN_TO_SIGMA / math.sqrt(math.comb(2 * _ORDER, _ORDER))


def _not_jumping(points: Array, known: npt.NDArray[np.bool_], noise: Array) -> Array:
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
        times: float [T], seconds.
        usable: bool [T, K], seen or to be filled; nothing bends across the rest.
        size: the person's size in pixels, the unit of speed.
        speed_gain, follow, robust: see `smoothing.SmoothingOptions`.
    """

    def __init__(
        self,
        times: Array,
        usable: Array,
        size: float,
        *,
        speed_gain: float,
        follow: bool,
        robust: bool,
    ) -> None:
        self.times, self.size = times, size
        self.speed_gain, self.follow, self.robust = speed_gain, follow, robust
        first, second = np.diff(times)[:-1], np.diff(times)[1:]
        both = first + second
        # Second derivative at the middle of three frames that need not be evenly spaced.
        self.bend = (2 / (first * both), -2 / (first * second), 2 / (second * both))
        self.joined = usable[:-2] & usable[1:-1] & usable[2:]

    def fit(self, points: Array, weights: Array, hz: Array, speed: Array | None = None) -> Array:
        """Curves [T, K, 2] for points [T, K, 2], weights [T, K] and frequencies [K].

        `speed` [T, K] in body heights a second is that of the curves themselves when None.
        """
        known: npt.NDArray[np.bool_] = np.greater(weights, NOTHING)
        noise = _noise(points, known)
        least = np.maximum(noise, _QUANTUM * self.size)
        if self.robust:
            weights = np.where(known, weights * _not_jumping(points, known, least), weights)
        cutoff = np.broadcast_to(hz, weights.shape)
        smooth = self._solve(points, weights, cutoff)
        if self.speed_gain > 0:
            speed = self.speed(smooth) if speed is None else speed
            cutoff = cutoff * (1 + self.speed_gain * speed)
            smooth = self._solve(points, weights, cutoff)
        for _ in range(_FOLLOW_ROUNDS if self.follow else 0):
            cutoff = cutoff * _too_stiff(points - smooth, weights * known, noise)
            smooth = self._solve(points, weights, cutoff)
        if self.robust:
            distance = np.linalg.norm(points - smooth, axis=-1)
            usual = np.maximum(medians(distance, known) * _MEDIAN_TO_SIGMA, least)
            weak = _HUBER * np.maximum(usual, 1e-6) / np.maximum(distance, 1e-9)
            weak = np.clip(weak, 1e-6, 1.0)
            smooth = self._solve(points, np.where(known, weights * weak, weights), cutoff)
        return smooth

    def speed(self, smooth: Array) -> Array:
        """Speed [T, K] of curves [T, K, 2], body heights a second."""
        moved = np.gradient(smooth, self.times, axis=0)
        return np.linalg.norm(moved, axis=-1) / self.size

    def _solve(self, points: Array, weights: Array, cutoff: Array) -> Array:
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
