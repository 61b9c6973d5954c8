"""Divided differences of the exponential: what exponentials in series give, exactly."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


def divided_exp(*points: Float[Array, "..."] | float) -> Float[Array, "..."]:
    """The divided difference of e^x on some points, any of which may be the same.

    On a and b it is (e^a - e^b) / (a - b), which is e^a where they meet. Low-pass
    filters of rates r_1 to r_n in series answer an impulse after a time t by
    t^(n - 1) times it, on the points -r_i t.

    It is smooth and symmetric in the points, and so are what is computed and its
    derivatives: neighbours closer than 1 are taken by a series, others by differences
    in which nothing cancels.

    Args:
        *points: two or three; not above 80 in float32.

    Returns:
        The difference; relative errors are a few units in the last place.
    """
    shape = jnp.broadcast_shapes(*map(jnp.shape, points))
    dtype = jnp.result_type(*points, float)
    every = jnp.stack([jnp.broadcast_to(jnp.asarray(p, dtype), shape) for p in points])
    return _of_sorted(list(jnp.sort(every, axis=0)))


def _of_sorted(points):
    low, high = points[0], points[-1]
    if len(points) == 1:
        return jnp.exp(low)
    near = high - low < 1
    # The one of two ways that is not taken has to have a finite slope as well.
    apart = jnp.where(near, 1, high - low)
    wide = (_of_sorted(points[1:]) - _of_sorted(points[:-1])) / apart
    middle = sum(points) / len(points)
    return jnp.where(
        near, _series([jnp.where(near, p - middle, 0) for p in points], middle), wide
    )


def _series(offsets, middle):
    """e^middle sum_k h_k(offsets) / (k + n - 1)!, h_k the sum of monomials of degree k.

    What the series leaves out is below rounding, in its derivatives too.
    """
    order = len(offsets) - 1
    terms = 20 if middle.dtype == jnp.float64 else 11
    one = jnp.ones_like(middle)
    of_degree = [one] * len(offsets)  # of the first offset, the first two, ...
    total = one / math.factorial(order)
    for k in range(1, terms):
        lower = of_degree
        of_degree = [offsets[0] * lower[0]]
        for offset, same in zip(offsets[1:], lower[1:], strict=True):
            of_degree.append(of_degree[-1] + offset * same)
        total = total + of_degree[-1] * (1 / math.factorial(k + order))
    return jnp.exp(middle) * total
