"""Fixed steps of fields that act on every cell by itself."""

import functools as ft
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


MOST_GROWTH = 30.0  # in powers of e a step: past it float32 would soon end


def exponential_euler(
    field: Callable[[PyTree], PyTree],
    state: PyTree,
    dt_ms: Float[Array, ""] | float,
    held: PyTree | None = None,
) -> PyTree:
    """One step, in which each variable solves its own linear equation exactly.

    Of x' = f(x, others) the others stay and f goes along its tangent at x: with its
    slope a, x grows by dt f (e^(a dt) - 1) / (a dt). Exact, at any dt, where f is
    linear in x and nothing else moves; of first order otherwise, of second for one
    variable alone. Growth is cut at e^30 a step. It is the exponential Rosenbrock-Euler
    method (Hochbruck & Ostermann 2010, section 2.4) with the Jacobian's diagonal only.

    Args:
        field: from a state to its slopes a ms. A cell's slope has to be a function of
            that cell alone. None, instead of a slope, is for what stays as it is.
        state: a pytree of arrays.
        dt_ms: length of the step, ms.
        held: which numbers do not move in this step: as the state, with None for
            variables all of whose numbers may. None is for all variables.

    Returns:
        The state after it.

    Raises:
        ValueError: where a slope is not of its variable's shape.
    """
    given, tree = jax.tree.flatten(state)

    def speed(place, x):
        def alone(x):
            others = [*given[:place], x, *given[place + 1 :]]
            return jnp.asarray(_slopes(field, tree.unflatten(others), tree)[place])

        slope, steepness = jax.jvp(alone, (x,), (jnp.ones_like(x),))
        return slope * exprel(jnp.minimum(steepness * dt_ms, MOST_GROWTH))

    speeds = [
        None if slope is None else speed(place, x)
        for place, (x, slope) in enumerate(
            zip(given, _slopes(field, state, tree), strict=True)
        )
    ]
    return _along(given, speeds, dt_ms, held, tree)


def forward_euler(
    field: Callable[[PyTree], PyTree],
    state: PyTree,
    dt_ms: Float[Array, ""] | float,
    held: PyTree | None = None,
) -> PyTree:
    """One step along the slopes at its start; of first order.

    Args:
        field: from a state to its slopes a ms; None is for what stays as it is.
        state: a pytree of arrays.
        dt_ms: length of the step, ms.
        held: which numbers do not move in this step: as the state, with None for
            variables all of whose numbers may. None is for all variables.

    Returns:
        The state after it.

    Raises:
        ValueError: where a slope is not of its variable's shape.
    """
    given, tree = jax.tree.flatten(state)
    return _along(given, _slopes(field, state, tree), dt_ms, held, tree)


def heun(
    field: Callable[[PyTree], PyTree],
    state: PyTree,
    dt_ms: Float[Array, ""] | float,
    held: PyTree | None = None,
) -> PyTree:
    """One step along the mean of the slopes at its start and Euler's end; second order.

    Args:
        field: from a state to its slopes a ms; None is for what stays as it is.
        state: a pytree of arrays.
        dt_ms: length of the step, ms.
        held: which numbers do not move in this step: as the state, with None for
            variables all of whose numbers may. None is for all variables.

    Returns:
        The state after it.

    Raises:
        ValueError: where a slope is not of its variable's shape.
    """
    given, tree = jax.tree.flatten(state)
    first = _slopes(field, state, tree)
    second = _slopes(field, _along(given, first, dt_ms, held, tree), tree)
    mean = [
        None if a is None else 0.5 * (a + b) for a, b in zip(first, second, strict=True)
    ]
    return _along(given, mean, dt_ms, held, tree)


@jax.custom_jvp
def exprel(z: Float[Array, "..."] | float) -> Float[Array, "..."]:
    """(e^z - 1) / z, and 1 at z = 0.

    Derivatives of any order are finite; each loses a digit.

    Args:
        z: below 88 in float32, below 709 in float64.

    Returns:
        The quotient, to 3e-7 in float32 and 7e-16 in float64, relatively.
    """
    z = jnp.asarray(z, jnp.result_type(z, float))
    near, series = _near(z, 1)
    # Divided last: XLA keeps quotients, and computes what follows anew for each use.
    return jnp.where(near, series, jnp.exp(z) - 1) / jnp.where(near, 1.0, z)


@exprel.defjvp
def _exprel_jvp(primals, tangents):
    # Of the series' quotient alone, JAX' own derivative takes ten times as long.
    z = jnp.asarray(primals[0], jnp.result_type(primals[0], float))
    value = exprel(z)
    near, series = _near(z, 2)
    rest = jnp.where(near, series, value - 1) / jnp.where(near, 1.0, z)
    return value, (value - rest) * tangents[0]


def _near(z, first: int):
    """Where |z| < 0.3, and there the sum of z^k / (k + first)!."""
    near = jnp.abs(z) < 0.3
    # What the series leaves out is below rounding, in its derivative too.
    terms = 14 if jnp.finfo(z.dtype).bits == 64 else 8
    inner = jnp.where(near, z, 0)  # far away its powers would not be finite
    series = jnp.zeros_like(z)
    for k in range(terms, 0, -1):
        series = series * inner + 1 / math.factorial(k + first - 1)
    return near, series


def _slopes(field, state, tree):
    return tree.flatten_up_to(field(state))


def _along(given, slopes, dt_ms, held, tree):
    held = [None] * len(given) if held is None else tree.flatten_up_to(held)
    return tree.unflatten(map(ft.partial(_moved, dt_ms), given, slopes, held))


def _moved(dt_ms, x, slope, held):
    if slope is None:
        return x
    change = jnp.asarray(slope * dt_ms, x.dtype)
    if jnp.broadcast_shapes(x.shape, change.shape) != x.shape:
        raise ValueError(
            f"field: slopes of shape {change.shape} for a variable of shape {x.shape}; "
            "give cells a drive of their own shape"
        )
    return x + change if held is None else jnp.where(held, x, x + change)
