"""Many Lorenz solves in JAX, each with its own steps."""

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from ..diffeq_problems import lorenz_columns, LORENZ_END, lorenz_starts, TOLERANCE


def lorenz(diffeqsolve: Callable, count: int, read):
    """`make` of the `jax.vmap` of a solve of one sample."""

    def solve(start):
        solution = diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: jnp.stack(lorenz_columns(*y))),
            diffrax.Tsit5(),
            t0=0.0,
            t1=LORENZ_END,
            dt0=None,
            y0=start,
            stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
        )
        return solution.ys[0], solution.stats["num_steps"]

    def make():
        starts = jnp.asarray(lorenz_starts(count))
        solve_all = jax.jit(jax.vmap(solve))

        def call():
            ends, steps = jax.block_until_ready(solve_all(starts))
            return np.asarray(ends), np.asarray(steps)

        return call, read

    return make
