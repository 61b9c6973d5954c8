"""True paths of planar oscillators."""

import functools as ft
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp


class Paths(NamedTuple):
    """Samples `(times, paths, 2)` at `times`, the start included."""

    times: np.ndarray
    train: np.ndarray
    held_out: np.ndarray


MATRIX = np.array([[-0.1, 2.0], [-2.0, -0.1]])


def cubic_spiral(y: np.ndarray) -> np.ndarray:
    """The field y' = A y^3 at points along the last axis."""
    return y**3 @ MATRIX.T


def oscillator(y: np.ndarray) -> np.ndarray:
    """The field (g(y2), -g(y1)), g(y) = y / (1 + y), of diffrax's example."""
    g = y / (1 + y)
    return g[..., ::-1] * np.array([1.0, -1.0])


FIELDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cubic_spiral": cubic_spiral,
    "oscillator": oscillator,
}


@ft.cache
def paths(system: str, end: float, samples: int, count: int, precision: str) -> Paths:
    """Solves the true equation to far below any tolerance here; the starts are fixed.

    Args:
        system: a key of `FIELDS`.
        end: time of the last training sample.
        samples: of a path up to there, the start included.
        count: training paths; a quarter as many further ones are held out.
        precision: "float64", or anything else for single.

    Returns:
        Paths up to `2 * end`.
    """
    generator = np.random.default_rng(0)
    total = count + -(-count // 4)
    if system == "cubic_spiral":
        radius, angle = generator.uniform([1, 0], [2, 2 * np.pi], (total, 2)).T
        starts = (radius * np.array([np.cos(angle), np.sin(angle)])).T
    else:
        starts = generator.uniform(-0.6, 1.0, (total, 2))
    times = np.linspace(0, 2 * end, 2 * samples - 1)
    field = FIELDS[system]
    solution = solve_ivp(
        lambda t, y: field(y.reshape(-1, 2)).ravel(),
        (0, times[-1]),
        starts.ravel(),
        "DOP853",
        times,
        rtol=1e-9,
        atol=1e-9,
    )
    states = solution.y.T.reshape(len(times), total, 2)
    dtype = np.float64 if precision == "float64" else np.float32
    train, held_out = np.split(states.astype(dtype), [count], axis=1)
    return Paths(times.astype(dtype), train, held_out)
