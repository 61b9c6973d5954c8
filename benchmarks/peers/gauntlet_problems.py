"""The gauntlet's problems as functions for JAX."""

# pyright: reportArgumentType=false

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..implicit_gauntlet import Answer
from ..implicit_gauntlet_cases import Case


class Problem(NamedTuple):
    """What is solved, of x, theta and the data of a lane."""

    function: Callable[..., Any]
    """The objective, equation, residuals or map; of a lasso the smooth part."""
    loss: Callable[..., Any]
    """Of the solution and the data."""


def objective(x, theta, data):
    """Of kind "minimum"."""
    y = x / data["units"]
    smooth = y @ data["H"] @ y / 2 + data["quartic"] * jnp.sum(y**4)
    return data["size"] * (smooth - (data["M"] @ theta) @ y)


PROBLEMS = {
    "minimum": Problem(objective, lambda x, data: data["w"] @ (x / data["units"])),
    "root": Problem(
        lambda x, theta, data: data["H"] @ x - data["M"] @ theta,
        lambda x, data: data["w"] @ x,
    ),
    "squares": Problem(
        lambda x, theta, data: data["R"] @ x - theta,
        lambda x, data: jnp.sum((data["R"] @ x) ** 2),
    ),
    "fixed_point": Problem(
        lambda z, theta, data: jnp.tanh(data["W"] @ z + theta),
        lambda z, data: data["w"] @ z,
    ),
    "lasso": Problem(
        lambda x, theta, data: jnp.sum((x - theta) ** 2) / 2,
        lambda x, data: jnp.sum(x),
    ),
}


def arrays(case: Case) -> tuple[dict[str, Any], Any, dict[str, int | None]]:
    """Data and theta in the case's type, and which data have lanes."""
    data = {
        key: jnp.asarray(value, case.dtype)
        for key, value in case.data.items()
        if isinstance(value, np.ndarray | float)
    }
    shared = ("w", "start", "units", "size", "quartic")
    axes = {key: None if key in shared else 0 for key in data}
    return data, jnp.asarray(case.theta, case.dtype), axes


def answered(case: Case, solve: Callable, how: str) -> Answer:
    """Differentiates by theta, compiled, under `vmap` where there are lanes.

    Args:
        case: the problem.
        solve: of (function, theta, data), to the solution and whether something is
            reported.
        how: by what.

    Returns:
        The answer.
    """
    problem = PROBLEMS[case.kind]
    data, theta, axes = arrays(case)

    def loss(theta, data):
        def function(x, theta):
            return problem.function(x, theta, data)

        x, told = solve(function, theta, data)
        return problem.loss(x, data), (x, told)

    both = jax.grad(loss, has_aux=True)
    if case.lanes:
        both = jax.vmap(both, in_axes=(0, axes))
    gradient, (x, told) = jax.block_until_ready(jax.jit(both)(theta, data))
    return Answer(np.asarray(gradient), np.asarray(x), np.asarray(told), how)
