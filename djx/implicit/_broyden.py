"""Broyden's method for fixed points of many lanes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ._anderson import FixedPoints
from ._iterative import Lanes, norm


def broyden(
    function: Callable[[Lanes], Lanes],
    start: Lanes,
    *,
    tolerance: float,
    max_steps: int,
    memory: int = 20,
) -> FixedPoints:
    """Broyden's good method on x - T(x), its inverse kept as `memory` rank-one terms.

    Steps are full ones; a lane whose memory is full, or whose residual doubled, begins
    anew from the identity (Bai et al. 2019 keep the last instead).

    Args:
        function: T, of all lanes.
        start: where to start.
        tolerance: of |T(x) - x| relative to |x|.
        max_steps: evaluations of T.
        memory: terms kept.

    Returns:
        The points.
    """
    lanes, n = start.shape
    index = jnp.arange(lanes)

    def inverse(us, vs, filled, r):
        """H r with H = 1 + sum u v'."""
        there = jnp.arange(memory)[:, None] < filled[None]
        along = jnp.where(there, jnp.einsum("kln,ln->kl", vs, r), 0)
        return r + jnp.einsum("kl,kln->ln", along, us)

    def inverse_transposed(us, vs, filled, r):
        there = jnp.arange(memory)[:, None] < filled[None]
        along = jnp.where(there, jnp.einsum("kln,ln->kl", us, r), 0)
        return r + jnp.einsum("kl,kln->ln", along, vs)

    def more(carry):
        return jnp.any(carry[0])

    def step(carry):
        live, count, x, image, best, us, vs, filled = carry
        r = image - x  # minus the function whose root is sought
        dx = inverse(us, vs, filled, r)
        x_new = x + dx
        image_new = function(x_new)
        dr = (x_new - image_new) + r
        hdr = inverse(us, vs, filled, dr)
        left = inverse_transposed(us, vs, filled, dx)
        below = jnp.sum(dx * hdr, 1, keepdims=True)
        # Of the rank-one term, the denominator near zero says the update is useless.
        safe = jnp.abs(below) > 1e-12 * jnp.sum(dx * dx, 1, keepdims=True)
        u = jnp.where(safe, (dx - hdr) / jnp.where(safe, below, 1), 0)
        us, vs = us.at[filled, index].set(u), vs.at[filled, index].set(left)
        filled = filled + 1
        size = norm(image_new - x_new)
        filled = jnp.where((filled >= memory) | (size > 2 * best), 0, filled)
        keep = live[:, None]
        x, image = jnp.where(keep, x_new, x), jnp.where(keep, image_new, image)
        size = norm(image - x)
        count = count + live
        live = live & ~(size <= tolerance * norm(image)) & jnp.isfinite(size)
        live = live & (count < max_steps)
        return live, count, x, image, jnp.minimum(best, size), us, vs, filled

    image = function(start)
    began = norm(image - start)
    live = ~(began <= tolerance * norm(image)) & jnp.isfinite(began) & (max_steps > 1)
    store = jnp.zeros((memory, lanes, n), start.dtype)
    count = jnp.ones(lanes, int)
    filled = jnp.zeros(lanes, int)
    first = live, count, start, image, began, store, store, filled
    _, count, x, image, *_ = jax.lax.while_loop(more, step, first)
    size = norm(image - x)
    ratio = jnp.where(began > 0, size / jnp.where(began > 0, began, 1), 0)
    rate = ratio ** (1 / jnp.maximum(count - 1, 1))
    return FixedPoints(image, count, size, rate, size <= tolerance * norm(image))
