"""Numbers that are a function of where they are: the same on every device."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32


def mixed(words: UInt32[Array, "*n"]) -> UInt32[Array, "*n"]:
    """Spreads every bit over all bits, one to one (Appleby's murmur3 finaliser).

    Args:
        words: any.

    Returns:
        As many.
    """
    words = (words ^ (words >> 16)) * jnp.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * jnp.uint32(0xC2B2AE35)
    return words ^ (words >> 16)


def hashed(seed: int, *counters: Array) -> UInt32[Array, "*n"]:
    """Uniform words, a function of a seed and of counters.

    Args:
        seed: from 0 to 2^32 - 1.
        *counters: whole numbers, broadcast.

    Returns:
        A word for each.
    """
    # The golden ratio's bits keep counters that are small from cancelling.
    word = mixed(jnp.uint32(seed) ^ jnp.uint32(0x9E3779B9))
    for place, counter in enumerate(counters, 1):
        step = jnp.uint32(0x9E3779B9 * place % 2**32)
        word = mixed(word ^ mixed(counter.astype(jnp.uint32) + step))
    return word


def geometric_thresholds(probability: float, most: int) -> np.ndarray:
    """Integers by which uniform words become gaps between successes.

    A word below the g-th threshold has a gap of g or less: with whole numbers alone no
    device rounds otherwise.

    Args:
        probability: of a success, in (0, 1).
        most: gaps so long or longer need not be told apart.

    Returns:
        Ascending thresholds; gaps beyond them have a probability below 2^-32, or are
        as long as `most`.
    """
    longest = min(most, math.ceil(32 * math.log(2) / -math.log1p(-probability)))
    shares = -np.expm1(np.arange(1, longest + 1) * np.log1p(-probability))
    return np.minimum(np.floor(shares * 2.0**32), 2.0**32 - 1).astype(np.uint32)
