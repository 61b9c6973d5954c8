"""Loops of single numbers, which XLA makes one function of on CPUs.

It does so where a loop's step touches little memory: about as fast as C++, without a
compiler. On other devices each step would be a call.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int, UInt32


BLOCK = 32  # places whose bits make a word


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


def words_of(
    mask: Bool[Array, "... count"],
) -> UInt32[Array, "... words"]:
    """A bit for each place, the first the lowest; zeros past the end."""
    count = mask.shape[-1]
    blocks = -(-count // BLOCK)
    pad = [(0, 0)] * (mask.ndim - 1) + [(0, blocks * BLOCK - count)]
    bits = jnp.pad(mask, pad).reshape(*mask.shape[:-1], blocks, BLOCK)
    worth = np.uint32(1) << np.arange(BLOCK, dtype=np.uint32)
    return jnp.sum(jnp.where(bits, worth, np.uint32(0)), -1, dtype=jnp.uint32)


def each_set(
    words: UInt32[Array, "... words"], at: tuple[Int[Array, ""], ...], visit, carry
):
    """A loop over the places whose bit is set, in order.

    Args:
        words: of `words_of`.
        at: which of its rows.
        visit: `(place, carry)` to the next carry.
        carry: before the first.

    Returns:
        The carry after the last.
    """

    def block(number, carry):
        def bit(state):
            word, carry = state
            place = lax.population_count((word & -word) - 1).astype(jnp.int32)
            return word & (word - 1), visit(number * BLOCK + place, carry)

        state = taken(words, (*at, number)), carry
        return lax.while_loop(lambda s: s[0] != 0, bit, state)[1]

    return times(0, words.shape[-1], block, carry)


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
    return put(array, place, taken(array, place) + x)


def put(array: Array, place: tuple[Int[Array, ""] | int, ...], x: Array) -> Array:
    """An array one of whose numbers is another one.

    Args:
        array: any.
        place: along every axis, not negative.
        x: the number.

    Returns:
        The array; in a loop it is changed where it is.
    """
    new = x.reshape((1,) * array.ndim)
    return lax.dynamic_update_slice(
        array, new, _whole(place), allow_negative_indices=False
    )


def _whole(place):
    return [jnp.asarray(index, jnp.int32) for index in place]
