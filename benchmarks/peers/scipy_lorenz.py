"""SciPy's solver on Lorenz systems, one after the other, and everyone's errors."""

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from ..diffeq_problems import (
    lorenz_columns,
    LORENZ_END,
    lorenz_ends,
    lorenz_starts,
    TOLERANCE,
)
from ..harness import Numbers


def reader(count: int) -> Callable[..., Numbers]:
    """Reads error and steps off ends of the first samples and their steps, or None."""
    reference = lorenz_ends(lorenz_starts(count))

    def read(result):
        ends, steps = result
        told = {"error": float(np.abs(ends - reference[: len(ends)]).max())}
        if steps is not None:
            told |= {"mean steps": float(steps.mean()), "most steps": int(steps.max())}
        return told

    return read


def loop(count: int, read):
    """`make` of `count` solves with RK45."""

    def make():
        starts = lorenz_starts(count)
        span = 0.0, LORENZ_END

        def field(t, y):
            return lorenz_columns(*y)

        def call():
            ends = [
                solve_ivp(field, span, y, rtol=TOLERANCE, atol=TOLERANCE).y[:, -1]
                for y in starts
            ]
            return np.stack(ends), None

        return call, read

    return make
