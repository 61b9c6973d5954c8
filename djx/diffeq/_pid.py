"""The decision of `diffrax.PIDController`, in fewer operations."""

from typing import Any

import diffrax
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ._norm import quick


def pid_decision(
    controller: diffrax.PIDController,
    t0: Any,
    t1: Any,
    y0: PyTree,
    y1: PyTree,
    error: PyTree,
    order: Any,
    state: tuple,
) -> tuple[Any, Any, Any, tuple, Any]:
    """Accepts or rejects a step and proposes the next.

    The factor of the length is `safety r_n^b1 r_{n-1}^b2 r_{n-2}^b3`, where r is one
    over the scaled error, b1 = (i + p + d) / k, b2 = -(p + 2 d) / k, b3 = d / k and k
    is the order of the error (Soederlind 2003). It agrees with diffrax's to rounding.

    Args:
        controller: its coefficients.
        t0: start of the attempt.
        t1: its end.
        y0: state at t0.
        y1: candidate at t1.
        error: its error estimate, infinite where it is not a number.
        order: of the error estimate.
        state: the last two r, and whether the step is the least one.

    Returns:
        Whether the step is kept, the next attempt's ends, the state, and whether the
        least step was not small enough.
    """
    c = controller
    if c.error_order is not None:
        order = c.error_order
    last, before_last, at_least = state

    def scale(e, a, b):
        b = jnp.where(jnp.any(jnp.isnan(b)), a, b)
        return e / (c.atol + jnp.maximum(jnp.abs(a), jnp.abs(b)) * c.rtol)

    scaled = quick(c.norm)(jax.tree.map(scale, error, y0, y1))
    keep = scaled < 1
    if c.dtmin is not None:
        keep = keep | at_least
    inverse = 1 / scaled
    factor = c.safety * _inverse_power(scaled, c.icoeff + c.pcoeff + c.dcoeff, order)
    for value, weight in (
        (last, -(c.pcoeff + 2 * c.dcoeff)),
        (before_last, c.dcoeff),
    ):
        if not (isinstance(weight, (int, float)) and weight == 0):
            factor = factor * _power(value, weight / order)
    low = jnp.where(keep, 1, c.factormin)
    high = jnp.where(keep, c.factormax, c.safety)
    factor = jnp.clip(factor, low, high).astype(t1.dtype)
    h = (t1 - t0) * factor
    # After an infinite or a vanishing error the next factors start afresh.
    inverse = jnp.where((inverse == 0) | jnp.isinf(inverse), 1, inverse)
    gave_up = jnp.asarray(False)
    if c.dtmax is not None:
        h = jnp.minimum(h, c.dtmax)
    if c.dtmin is not None:
        if not c.force_dtmin:
            gave_up = h < c.dtmin
        h = jnp.where(at_least & (factor == 1), c.dtmin, h)
        at_least = h <= c.dtmin
        h = jnp.maximum(h, c.dtmin)
    start = jnp.where(keep, t1, t0)
    state = (
        jnp.where(keep, inverse, last),
        jnp.where(keep, last, before_last),
        at_least,
    )
    return keep, start, start + h.astype(t1.dtype), state, gave_up


def _inverse_power(value, weight, order):
    if all(isinstance(x, (int, float)) for x in (weight, order)) and weight:
        root = order / weight
        if root in range(1, 10):
            return inverse_root(value, int(root))
    return _power(1 / value, weight / order)


def inverse_root(value: Any, k: int) -> Any:
    """`value**(-1/k)` to rounding; a logarithm and an exponential take longer.

    Newton's method, from the bits of a number, which are nearly its logarithm. The
    derivative converges with it.

    Args:
        value: not negative; zero and infinity count as the last normal numbers.
        k: 1, 2, ..., 9.

    Returns:
        The root.
    """
    kind = jnp.finfo(value.dtype)
    value = jnp.clip(value, 4 * kind.tiny, kind.max / 4)
    whole = jnp.dtype(f"int{kind.bits}")
    one = int(np.ones((), value.dtype).view(whole))
    bits = lax.bitcast_convert_type(value, whole).astype(value.dtype)
    start = one * (1 + 1 / k) - 0.045 * 2.0**kind.nmant / k - bits / k
    root = lax.bitcast_convert_type(start.astype(whole), value.dtype)
    for _ in range(5):
        root = root * ((1 + 1 / k) - value * lax.integer_pow(root, k) / k)
    return root


def _power(value, exponent):
    # XLA's power of doubles is a library call a number; this is vectorised.
    out = jnp.exp(exponent * jnp.log(value))
    if isinstance(exponent, (int, float)):
        return out
    return jnp.where(exponent == 0, 1, out)
