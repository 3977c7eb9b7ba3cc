"""What smoothing could reach at best: linear estimators that know noise and movement beforehand.

Of all linear ones the conditional mean of a Gaussian process (Wiener 1949) has the least mean
squared error: with past and future known in accelerations too, in a stream in places only. It is
told what no smoother can know: the deviation of each single observation, and the spectrum of this
kind of movement (the mean of other clips made the same way). Real smoothers can be better only
where they use more than one point, or are not linear.

Shapes: T frames, K points, R movements.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dwpose.skeleton import SIGMAS
from dwpose.training.synthetic.motion import Act, move, project

Array = np.ndarray[Any, Any]

# Clips that the spectra are means of; their seeds begin far from the measured ones.
CLIPS, FIRST_SEED = 200, 1000
# Shared movements that the third bound knows; what they leave out accelerates by 0.1 pixels.
MOVEMENTS = 30
# Frames that the causal bound looks back; more change nothing.
PAST = 50
# Variance of where a point is on average: anywhere.
ANYWHERE = 1e4


class Bounds:
    """The bounds for one kind of movement.

    Args:
        act: the movement.
        fps: frames a second.
        frames: T.
    """

    def __init__(self, act: Act, fps: float, frames: int) -> None:
        length = 2 * frames
        times = np.arange(length) / fps
        # A taper keeps slow movement from leaking into the fast part of the spectrum.
        taper = np.hanning(length) / np.sqrt(np.square(np.hanning(length)).sum())
        self.scale = np.repeat(SIGMAS.astype(np.float64), 2)
        clips = []
        for seed in range(FIRST_SEED, FIRST_SEED + CLIPS):
            points = project(move(seed, times, act=act))
            clips.append((points - points.mean(axis=0)).reshape(length, -1) / self.scale)
        covariance = np.mean([c.T @ c for c in clips], axis=0)
        self.basis = np.linalg.eigh(covariance)[1][:, -MOVEMENTS:]
        power, cross = 0.0, 0.0
        for clip in clips:
            power = power + np.abs(np.fft.rfft(clip * taper[:, None], axis=0)) ** 2 / CLIPS
            course = np.fft.rfft(clip @ self.basis * taper[:, None], axis=0)
            cross = cross + course[:, :, None] * course[:, None].conj() / CLIPS
        lags = np.arange(frames)[:, None] - np.arange(frames)
        over_time = np.fft.irfft(power * self.scale**2, axis=0)
        over_time = over_time.reshape(length, -1, 2).mean(axis=-1)
        self.alone = over_time[np.abs(lags)].transpose(2, 0, 1) + ANYWHERE
        joint = np.fft.irfft(cross, axis=0)[lags % length].transpose(0, 2, 1, 3)
        for r in range(MOVEMENTS):
            joint[:, r, :, r] += ANYWHERE
        self.joint = joint.reshape(frames * MOVEMENTS, -1)

    def each_point(self, seen: Array, spread: Array) -> Array:
        """Each point alone, past and future known; [T, K, 2] from seen points, spread [T, K]."""
        middle = seen.mean(axis=0)
        noise = np.square(spread).T[:, :, None] * np.eye(len(seen))
        about = (seen - middle).transpose(1, 0, 2)
        found = self.alone @ np.linalg.solve(self.alone + noise, about)
        return found.transpose(1, 0, 2) + middle

    def each_point_causal(self, seen: Array, spread: Array) -> Array:
        """Each point alone, only the past known."""
        found, middle = np.empty_like(seen), seen[:1].mean(axis=0)
        for t in range(len(seen)):
            past = slice(max(t + 1 - PAST, 0), t + 1)
            prior = self.alone[:, past, past]
            noise = np.square(spread[past]).T[:, :, None] * np.eye(prior.shape[1])
            weights = np.linalg.solve(prior + noise, prior[:, :, -1:])[..., 0]
            found[t] = np.einsum("kt,tkd->kd", weights, seen[past] - middle) + middle
        return found

    def all_points(self, seen: Array, spread: Array) -> Array:
        """All points of the body together, past and future known."""
        count, middle = len(seen), seen.mean(axis=0)
        about = (seen - middle).reshape(count, -1) / self.scale
        sure = np.square(self.scale / np.repeat(spread, 2, axis=1))
        # Each frame's points tell of its movements by least squares.
        told = np.einsum("kr,tk,ks->trs", self.basis, sure, self.basis)
        noise = np.linalg.inv(told)
        course = np.einsum("trs,ks,tk->tr", noise, self.basis, sure * about)
        both = self.joint.copy().reshape(count, MOVEMENTS, count, MOVEMENTS)
        for t in range(count):
            both[t, :, t] += noise[t]
        solved = np.linalg.solve(both.reshape(self.joint.shape), course.ravel())
        found = (self.joint @ solved).reshape(count, -1) @ self.basis.T * self.scale
        return found.reshape(seen.shape) + middle
