"""Movement that points share, found in clips of known truth."""

from __future__ import annotations

import numpy as np

from dwpose.principal import shared_movement
from dwpose.spline import Spline, noise_of

FPS = 25.0
TIMES = np.arange(100) / FPS
COUNT = 40


def crowd(seed=0, noise=1.0):
    """Points that swing together at 4 Hz, each with its own noise; truth and what is seen."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 200, (COUNT, 2))
    swing = 8 * np.sin(2 * np.pi * 4 * TIMES)[:, None, None] * np.array((0.3, 1.0))
    truth = place + swing
    return truth, truth + noise * rng.standard_normal(truth.shape)


def shared(points, guess, seen=None, factor=1.0):
    seen = np.ones(points.shape[:2], bool) if seen is None else seen
    weights = np.where(seen, 1.0, 0.0)
    usable, factors = np.ones_like(seen), np.full(COUNT, factor)
    return shared_movement(points, weights, guess, usable, np.ones(COUNT), TIMES, factors)


def test_fast_movement_that_points_share_is_known_better_than_each_says():
    truth, noisy = crowd()
    found = shared(noisy, noisy)
    # A curve of each by itself has to choose between noise and movement.
    ones = np.ones(noisy.shape[:2])
    spline = Spline(TIMES, ones > 0)
    alone = min(
        np.square(spline.solve(noisy, ones, hz * ones) - truth).mean() for hz in (2, 4, 6, 8, 12)
    )
    assert np.square(found - truth).mean() < 0.2 * alone
    assert np.abs(np.diff(found - truth, 2, axis=0)).mean() < 0.3


def test_noise_alone_is_no_movement():
    rng = np.random.default_rng(1)
    noisy = 100 + rng.standard_normal((len(TIMES), COUNT, 2))
    found = shared(noisy, noisy)
    np.testing.assert_allclose(found, np.broadcast_to(np.median(noisy, axis=0), found.shape))


def test_a_hidden_point_goes_with_the_others():
    truth, noisy = crowd(2)
    seen = np.ones(noisy.shape[:2], bool)
    seen[40:50, 7] = False
    noisy[40:50, 7] = 0.0
    guess = np.where(seen[..., None], noisy, np.median(noisy, axis=0))
    found = shared(noisy, guess, seen)
    assert np.abs(found - truth)[40:50, 7].mean() < 1.5
    assert np.abs(guess - truth)[40:50, 7].mean() > 2


def test_factors_change_how_fast_movement_may_be():
    _, noisy = crowd()
    usual, slow = shared(noisy, noisy), shared(noisy, noisy, factor=0.1)
    assert np.ptp(slow[10:-10], axis=0).max() < 0.2 * np.ptp(usual[10:-10], axis=0).max()


def test_noise_is_told_from_movement():
    _, noisy = crowd(3, noise=2.0)
    found = noise_of(noisy, np.ones(noisy.shape[:2], bool))
    np.testing.assert_allclose(found, 2.0, rtol=0.4)
    assert abs(found.mean() - 2.0) < 0.3
    assert (noise_of(noisy[:5], np.ones((5, COUNT), bool)) == 0).all()


def test_the_best_frequency_is_low_for_slow_movement_and_high_for_fast():
    rng = np.random.default_rng(4)
    waves = [30 * np.sin(2 * np.pi * hz * TIMES) for hz in (0.3, 1.0, 3.0)]
    truth = np.stack(waves, axis=1)[..., None] * np.ones(2)
    noisy = truth + rng.standard_normal(truth.shape)
    spline = Spline(TIMES, np.ones(noisy.shape[:2], bool))
    hz = spline.best_hz(noisy, np.ones(3))
    assert hz[0] < hz[1] < hz[2]
    smooth = spline.solve(noisy, np.ones(noisy.shape[:2]), hz * np.ones(noisy.shape[:2]))
    assert (np.square(smooth - truth).mean(axis=(0, 2)) < (0.3, 0.5, 0.9)).all()
