"""Random numbers that are a function of a seed and of counters.

Whoever holds a cell draws what any other holder of it would: counters are the cell's
number, the step's and a stream's. Words have 32 bits, so that of n steps about
n^2 / 2^33 pairs have all their numbers in common: one of 10^5 steps.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, UInt32

from ._hash import hashed


TAIL = 2.0**-33  # less than half a word's share
MOST_MEAN = 500.0  # of a step: in float64 e^-mean is a number up to there
MOST_TRACED = 80.0  # and in float32


def words(seed: UInt32[Array, ""] | int, *counters: Array | int) -> UInt32[Array, "*n"]:
    """Uniform whole numbers below 2^32.

    Args:
        seed: from 0 to 2^32 - 1; it may be traced.
        *counters: whole numbers, broadcast.

    Returns:
        A word for each.
    """
    return hashed(seed, *map(jnp.asarray, counters))  # pyright: ignore


def uniforms(
    seed: UInt32[Array, ""] | int, *counters: Array | int
) -> Float[Array, "*n"]:
    """Uniform numbers in (0, 1), neither of which is ever drawn.

    They are the middles of 2^23 equal parts in float32, of 2^32 in float64; those of
    one word differ by 2^-24 at most.

    Args:
        seed: from 0 to 2^32 - 1; it may be traced.
        *counters: whole numbers, broadcast.

    Returns:
        A number for each, in the default precision.
    """
    dtype = jnp.result_type(float)
    bits = 32 if dtype == jnp.float64 else 23  # with its half it is exact in float32
    drawn = words(seed, *counters) >> np.uint32(32 - bits)
    return (drawn.astype(dtype) + 0.5) * 2.0**-bits


def normals(
    seed: UInt32[Array, ""] | int, *counters: Array | int
) -> Float[Array, "*n"]:
    """Numbers of the standard normal distribution, by its inverse.

    The tails are right up to the last of the uniform numbers' parts: none is beyond
    5.3 in float32, 6.3 in float64, where there is one of 10^7 and of 3 * 10^9.

    Args:
        seed: from 0 to 2^32 - 1; it may be traced.
        *counters: whole numbers, broadcast.

    Returns:
        A number for each, in the default precision.
    """
    drawn = uniforms(seed, *counters)
    return np.sqrt(2).astype(drawn.dtype) * jax.lax.erf_inv(2 * drawn - 1)


def bernoulli_spikes(
    seed: UInt32[Array, ""] | int,
    probability: Float[Array, "..."] | float,
    *counters: Array | int,
) -> Bool[Array, "..."]:
    """Who fires, each by its own chance.

    Args:
        seed: from 0 to 2^32 - 1; it may be traced.
        probability: of a spike, to 2^-32; below 0 and above 1 are taken for those.
        *counters: whole numbers, broadcast.

    Returns:
        True for those that do. A larger probability has them fire too.
    """
    share = jnp.asarray(probability, jnp.result_type(probability, float)) * 2.0**32
    # The float below 2^32: conversion of 2^32 itself is not defined.
    most = np.nextafter(np.asarray(2.0**32, share.dtype), 0)
    below = jnp.clip(share, 0, most).astype(jnp.uint32)
    return (words(seed, *counters) < below) | (share >= 2.0**32)


def poisson_thresholds(mean: np.ndarray | float) -> UInt32[np.ndarray, "most ..."]:
    """Whole numbers by which uniform words become counts of the Poisson distribution.

    A word's count is the number of thresholds that are below it. With whole numbers
    alone no device rounds otherwise; probabilities are right to 2^-32.

    Args:
        mean: one or several, from 0 to 500.

    Returns:
        For each mean ascending thresholds, as many as the largest needs for the chance
        of a higher count to be below 2^-33.

    Raises:
        ValueError: where a mean is none.
    """
    mean = np.asarray(mean, np.float64)
    if not np.all((mean >= 0) & (mean <= MOST_MEAN)):
        raise ValueError(
            f"mean: from 0 to {MOST_MEAN:g} a step, not {mean.min()} to {mean.max()}; "
            "of more, the normal distribution is as good"
        )
    longest = most_counts(float(np.max(mean, initial=0)))
    k = np.arange(1, longest).reshape(-1, *[1] * mean.ndim)
    ratios = np.concatenate([np.ones((1, *mean.shape)), mean / k])
    shares = np.cumsum(np.exp(-mean) * np.cumprod(ratios, 0), 0)
    # The last of the words that do not go beyond a count: all, where none is left.
    return np.clip(np.round(shares * 2.0**32) - 1, 0, 2.0**32 - 1).astype(np.uint32)


def most_counts(mean: float) -> int:
    """The count that is exceeded with a probability below 2^-33.

    Args:
        mean: of a Poisson distribution, up to 500.

    Returns:
        At least 1.
    """
    term = share = np.exp(-mean)
    count = 0
    while 1 - share >= TAIL or count < mean:
        count += 1
        term *= mean / count
        share += term
    return max(count, 1)


def poisson_counts(
    seed: UInt32[Array, ""] | int,
    mean: Float[Array, "..."] | float,
    *counters: Array | int,
    most: int | None = None,
) -> Int32[Array, "..."]:
    """Counts of the Poisson distribution, by its inverse: more for a larger mean.

    A mean that is a number or a NumPy array becomes `poisson_thresholds`. One that is a
    JAX array may be traced; then probabilities, those of the tail too, are right to
    `most` units of rounding, relatively, and means above 80 are taken for 80.

    Args:
        seed: from 0 to 2^32 - 1; it may be traced.
        mean: of each.
        *counters: whole numbers, broadcast with the means.
        most: highest count, with a JAX array; higher ones are lowered to it. The work
            is proportional to it.

    Returns:
        A count for each.

    Raises:
        ValueError: where a mean is none, or `most` is missing.
    """
    drawn = words(seed, *counters)
    if not isinstance(mean, jax.Array):
        return counted(drawn, list(poisson_thresholds(mean)))
    if most is None or most < 1:
        raise ValueError(
            f"most={most}: say the highest count of a JAX array of means; "
            "for a mean of 1.6 it is 15"
        )
    return inverted(drawn, mean, most)


def counted(drawn: UInt32[Array, "*n"], thresholds) -> Int32[Array, "*n"]:
    """The number of thresholds that are below a word.

    Args:
        drawn: words.
        thresholds: of every count an array, broadcast with the words. A list rather
            than an array of them all is what lets XLA hold each while steps go on.

    Returns:
        A count for each.
    """
    count = jnp.zeros(jnp.shape(drawn), jnp.int32)
    for row in thresholds:
        count = count + (drawn > row)
    return count


def inverted(
    drawn: UInt32[Array, "*n"], mean: Float[Array, "..."], most: int
) -> Int32[Array, "*n"]:
    """The number of counts k for which a word's share is below the chance of more.

    That chance is p_(k+1) (1 + m / (k + 2) (1 + m / (k + 3) (...))): all terms are
    positive, so that none of the tail is lost to rounding.

    Args:
        drawn: words.
        mean: of each, m; up to 80.
        most: highest count.

    Returns:
        A count for each.
    """
    mean = jnp.clip(mean, 0, MOST_TRACED)
    # From above: words are counted from the last, to which the highest count belongs.
    share = ((~drawn).astype(mean.dtype) + 0.5) * 2.0**-32
    tails = [jnp.ones_like(mean)]
    for k in range(most, 1, -1):
        tails.append(1 + mean * (1 / k) * tails[-1])
    term, count = jnp.exp(-mean), jnp.zeros(jnp.shape(drawn), jnp.int32)
    for k in range(1, most + 1):
        term = term * (mean * (1 / k))
        count = count + (share < term * tails[most - k])
    return count
