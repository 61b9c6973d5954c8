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
    octaves, r, even, odd, _ = _parts(z)
    power = _power_of_two(octaves)
    alone = octaves == 0
    # Divided last: XLA keeps quotients, and computes what follows anew for each use.
    over = jnp.where(alone, 2 * odd, (power - 1) * even + (power + 1) * (r * odd))
    return over / ((even - r * odd) * jnp.where(alone, 1, z))


@exprel.defjvp
def _exprel_jvp(primals, tangents):
    # Of the quotient itself, JAX' own derivative takes ten times as long.
    z = jnp.asarray(primals[0], jnp.result_type(primals[0], float))
    value = exprel(z)
    octaves, r, even, odd, rest = _parts(z)
    alone = octaves == 0
    over = jnp.where(alone, odd + r * rest, value - 1)
    below = jnp.where(alone, even - r * odd, z)
    return value, (value - over / below) * tangents[0]


def _parts(z):
    """Such that z = octaves ln 2 + r; and three even polynomials, the last for slopes.

    e^r is Pade's approximant, (even + r odd) / (even - r odd), right to rounding for
    |r| < 0.35; (e^r - 1) / r is 2 odd / (even - r odd), without any difference that
    could cancel, and its own quotient of that kind, ((e^r - 1) / r - 1) / r, is
    (odd + r rest) / (even - r odd).
    """
    double = jnp.finfo(z.dtype).bits == 64
    # What has no powers of two left: e^z is 0 to rounding, or infinite.
    least, most, m = (-708, 710, 6) if double else (-87, 89, 3)
    inside = jnp.clip(z, least, most)
    octaves = jax.lax.stop_gradient(jnp.round(inside * (1 / math.log(2))))
    # ln 2 in two parts, of which multiples of the first are exact.
    high = math.ldexp(744261118, -30) if double else 0.693359375
    low = math.log(2) - high + 2.3190468138462996e-17  # what `log` leaves out
    r = (inside - octaves * high) - octaves * low
    c = [
        math.comb(m, k) * math.factorial(2 * m - k) / math.factorial(2 * m)
        for k in range(m + 1)
    ]
    even, odd = c[0::2], c[1::2]
    rest = [
        2 * (odd[k] if k < len(odd) else 0) - (even[k] if k < len(even) else 0)
        for k in range(1, max(len(even), len(odd)))
    ]
    return octaves, r, *(_polynomial(some, r * r) for some in (even, odd, rest))


def _polynomial(coefficients, x):
    total = jnp.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = total * x + c
    return total


def _power_of_two(octaves):
    """2 to that, whose bits are known."""
    info = jnp.finfo(octaves.dtype)
    exponent = octaves.astype(jnp.int32) + (info.maxexp - 1)
    whole = exponent.astype(f"int{info.bits}") << info.nmant
    return jax.lax.bitcast_convert_type(whole, octaves.dtype)


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
