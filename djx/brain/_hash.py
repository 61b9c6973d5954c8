"""Numbers that are a function of where they are: the same on every device."""

import math
import zlib
from typing import Any, overload, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, UInt32


Words = TypeVar("Words", Array, np.ndarray)


def mixed(words: UInt32[Words, "*n"]) -> UInt32[Words, "*n"]:
    """Spreads every bit over all bits, one to one (Appleby's murmur3 finaliser).

    Args:
        words: any.

    Returns:
        As many.
    """
    words = (words ^ (words >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return words ^ (words >> np.uint32(16))


@overload
def hashed(seed: int, *counters: np.ndarray | np.integer) -> np.ndarray: ...
@overload
def hashed(seed: int | Array, *counters: Array | np.ndarray | np.integer) -> Array: ...
def hashed(seed, *counters):
    """Uniform words, a function of a seed and of counters.

    Args:
        seed: from 0 to 2^32 - 1.
        *counters: whole numbers, broadcast.

    Returns:
        A word for each; NumPy's own if all counters are, without anything compiled.
    """
    start: Any = seed.astype(jnp.uint32) if isinstance(seed, Array) else np.uint32(seed)
    with np.errstate(over="ignore"):
        # The golden ratio's bits keep counters that are small from cancelling.
        word = mixed(start ^ np.uint32(0x9E3779B9))
        for place, counter in enumerate(counters, 1):
            step = np.uint32(0x9E3779B9 * place % 2**32)
            word = mixed(word ^ mixed(counter.astype(np.uint32) + step))
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


def stream(name: str) -> np.uint32:
    """A counter that keeps words for one end from those of one seed for another.

    Args:
        name: of the end.

    Returns:
        Its number.
    """
    return np.uint32(zlib.crc32(name.encode()))


def below(words: UInt32[np.ndarray, "*n"], probability) -> Bool[np.ndarray, "*n"]:
    """Chances.

    Args:
        words: uniform.
        probability: one, or one a word.

    Returns:
        Where it came out so; never at 0, always at 1.
    """
    return words.astype(np.uint64) < np.floor(np.multiply(probability, 2.0**32))


def check_seed(seed: int) -> None:
    """Whether a seed is one.

    Args:
        seed: to be looked at.

    Raises:
        ValueError: where it is not from 0 to 2^32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed}: has to be from 0 to 2^32 - 1")
