"""Paths of the stochastic Lorenz system, observed with noise."""

import functools as ft
from typing import NamedTuple

import numpy as np


END = 2.0
SUBSTEPS = 50  # Euler-Maruyama steps of the simulation from one observation to the next


class Series(NamedTuple):
    """Observations in units of their spread over the training set."""

    times: np.ndarray
    train: np.ndarray
    """Noisy, (series, times, 3)."""
    test: np.ndarray


@ft.cache
def lorenz(
    observations: int, train: int, test: int, noise: float, *, seed: int = 0
) -> Series:
    """Simulates and observes; the same numbers for the same arguments.

    dX = 10 (Y - X) dt + 0.1 X dW1, dY = (X (28 - Z) - Y) dt + 0.28 Y dW2,
    dZ = (X Y - 8/3 Z) dt + 0.3 Z dW3 in Ito's sense, from standard normal starts.

    Args:
        observations: times after the start, evenly spaced up to `END`.
        train: series to learn from.
        test: series held out.
        noise: standard deviation of the observation noise, relative to the spread.
        seed: of the simulation.

    Returns:
        The series.
    """
    random = np.random.default_rng(seed)
    h = END / observations / SUBSTEPS
    state = random.standard_normal((train + test, 3))
    rows = [state]
    spread = np.array([0.1, 0.28, 0.3])
    for _ in range(observations):
        for _ in range(SUBSTEPS):
            x, y, z = state.T
            drift = [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]
            dw = np.sqrt(h) * random.standard_normal(state.shape)
            state = state + h * np.stack(drift, 1) + spread * state * dw
        rows.append(state)
    paths = np.stack(rows, 1)
    known = paths[:train].reshape(-1, 3)
    paths = (paths - known.mean(0)) / known.std(0)
    paths = paths + noise * random.standard_normal(paths.shape)
    times = np.linspace(0.0, END, observations + 1)
    paths = paths.astype(np.float32)
    return Series(times, paths[:train], paths[train:])
