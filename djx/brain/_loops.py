"""Loops of single numbers, which XLA makes one function of on CPUs.

It does so where a loop's step touches little memory: about as fast as C++, without a
compiler. On other devices each step would be a call.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int


def times(first: Int[Array, ""] | int, last: Int[Array, ""] | int, step, carry):
    """A loop over numbers.

    Args:
        first: the first.
        last: one more than the last.
        step: `(number, carry)` to the next carry.
        carry: before the first.

    Returns:
        The carry after the last.
    """
    start = jnp.asarray(first, jnp.int32), carry
    state = lax.while_loop(
        lambda s: s[0] < last, lambda s: (s[0] + 1, step(s[0], s[1])), start
    )
    return state[1]


def taken(array: Array, place: tuple[Int[Array, ""] | int, ...]) -> Array:
    """A number of an array.

    Args:
        array: any.
        place: along every axis, not negative.

    Returns:
        The number.
    """
    found = lax.dynamic_slice(
        array, _whole(place), (1,) * array.ndim, allow_negative_indices=False
    )
    return found.reshape(())


def added(array: Array, place: tuple[Int[Array, ""] | int, ...], x: Array) -> Array:
    """An array to one of whose numbers something is added.

    Args:
        array: any.
        place: along every axis, not negative.
        x: what is added.

    Returns:
        The array; in a loop it is changed where it is.
    """
    new = (taken(array, place) + x).reshape((1,) * array.ndim)
    return lax.dynamic_update_slice(
        array, new, _whole(place), allow_negative_indices=False
    )


def _whole(place):
    return [jnp.asarray(index, jnp.int32) for index in place]
