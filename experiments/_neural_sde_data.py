"""Moments of the spiral SDE, from many paths."""

import functools as ft
from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Mean and variance over paths, each `(times, 2)`."""

    times: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


START = (2.0, 0.0)
END = 1.0


def drift(u: np.ndarray, a: float, b: float) -> np.ndarray:
    """(-a u1^3 + b u2^3, -b u1^3 - a u2^3) at points along the last axis."""
    return u**3 @ np.array([[-a, b], [-b, -a]]).T


@ft.cache
def spiral_moments(
    a: float = 0.1,
    b: float = 2.0,
    noise: float = 0.2,
    *,
    samples: int = 30,
    paths: int = 10_000,
    substeps: int = 20,
) -> Moments:
    """Simulates du = drift(u) dt + noise u dW (Ito), one Brownian motion a component.

    The equation of Pal et al. 2021 from (2, 0), sampled on [0, 1]. Half a step of the
    noise alone, which has a closed form, a classical Runge-Kutta step of the drift
    alone, and another half: weak order two, exact where either is absent.

    Args:
        a: rate of decay, per cubed unit and unit of time.
        b: rate of turning, likewise.
        noise: relative diffusion, per square root of time.
        samples: times, the start included.
        paths: simulated paths; the draws are fixed.
        substeps: steps between two samples.

    Returns:
        The moments of the paths.
    """
    generator = np.random.default_rng(0)
    step = END / (samples - 1) / substeps
    shift = -(noise**2) * step / 4

    def diffuse(u):
        increment = generator.normal(scale=np.sqrt(step / 2), size=u.shape)
        return u * np.exp(noise * increment + shift)

    def drift_step(u):
        k1 = drift(u, a, b)
        k2 = drift(u + step / 2 * k1, a, b)
        k3 = drift(u + step / 2 * k2, a, b)
        k4 = drift(u + step * k3, a, b)
        return u + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    state = np.tile(START, (paths, 1))
    means, variances = [state.mean(0)], [state.var(0)]
    for _ in range(samples - 1):
        for _ in range(substeps):
            state = diffuse(drift_step(diffuse(state)))
        means.append(state.mean(0))
        variances.append(state.var(0))
    times = np.linspace(0, END, samples)
    return Moments(times, np.stack(means), np.stack(variances))
