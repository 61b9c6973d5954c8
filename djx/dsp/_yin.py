"""Pitch by autocorrelation."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._stft import fast_size, framed, power


class Pitch(NamedTuple):
    """What was found at every frame."""

    f0_hz: Float[Array, " frames"]
    aperiodicity: Float[Array, " frames"]
    """The normalised difference at that period: 0 for periodic sounds, about 1 for
    noise and silence."""


def yin(
    audio: Float[Array, " samples"],
    sample_rate: float,
    *,
    hop: int = 64,
    least_hz: float = 50.0,
    greatest_hz: float = 2000.0,
    threshold: float = 0.1,
) -> Pitch:
    """The fundamental frequency around every frame (de Cheveigne and Kawahara 2002).

    The mean squared difference of samples t apart (their eq. 6, by transforms), over
    all pairs in a window, so that it tells of the window's centre whatever t; over its
    mean for shorter t (eq. 8); the bottom of the first dip below the threshold, or the
    deepest if there is none; a parabola through its neighbours.

    Args:
        audio: samples.
        sample_rate: in Hz.
        hop: samples from frame to frame; windows are centred on 0, hop, ..
        least_hz: lowest pitch that is looked for; the window is two of its periods.
        greatest_hz: highest pitch.
        threshold: below which a dip counts as a period.

    Returns:
        Frequencies, always within the bounds, and how periodic the sound was.

    Raises:
        ValueError: where the bounds leave no period.
    """
    shortest, longest = period_bounds(sample_rate, least_hz, greatest_hz)

    def of_frame(gap):
        period, depth = _period(gap, shortest, threshold)
        return Pitch(jnp.clip(sample_rate / period, least_hz, greatest_hz), depth)

    return jax.vmap(of_frame)(normalised_differences(audio, hop, longest))


def period_bounds(
    sample_rate: float, least_hz: float, greatest_hz: float
) -> tuple[int, int]:
    """The shortest lag that is looked at, and what all lags are below.

    Raises:
        ValueError: where the bounds leave no period.
    """
    if 0 < least_hz < greatest_hz:
        longest = math.ceil(sample_rate / least_hz) + 1
        shortest = max(2, math.floor(sample_rate / greatest_hz))
        if shortest + 2 <= longest:
            return shortest, longest
    raise ValueError(
        f"least_hz={least_hz}, greatest_hz={greatest_hz}: no period between them "
        f"at {sample_rate} Hz"
    )


def normalised_differences(
    audio: Float[Array, " samples"], hop: int, longest: int
) -> Float[Array, "frames lags"]:
    """Squared differences over their mean for shorter lags, at every frame.

    Args:
        audio: samples.
        hop: samples from frame to frame; windows are centred on 0, hop, ..
        longest: number of lags; a window is twice as many samples.

    Returns:
        For lags from 0 up; 1 where nothing changes.
    """
    size = 2 * longest
    whole = -(-size // hop) * hop
    count = -(-audio.shape[0] // hop)
    frames = framed(jnp.pad(audio, (longest, 0)), whole, hop)[:count, :size]
    return jax.vmap(lambda x: _normalised(_differences(_centred(x), longest)))(frames)


def _centred(frame):
    """An offset changes no difference, but their rounding."""
    mean = jnp.mean(frame)
    left = frame - mean
    # What is left of a constant is rounding, in which there might be periods.
    least = 8 * jnp.finfo(frame.dtype).eps * jnp.abs(mean)
    return jnp.where(jnp.max(jnp.abs(left)) > least, left, 0)


def _differences(frame, longest: int):
    """The mean of (x[j] - x[j + t])^2 over all pairs in a frame, t below the longest.

    Whatever t, the pairs are about the frame's centre.
    """
    size = frame.shape[0]
    length = fast_size(size + longest)
    spectrum = power(jnp.fft.rfft(frame, length))
    product = jnp.fft.irfft(spectrum, length)[:longest]
    energy = jnp.concatenate([jnp.zeros(1, frame.dtype), jnp.cumsum(frame**2)])
    lags = np.arange(longest)
    gap = energy[size - lags] + energy[size] - energy[lags] - 2 * product
    # Rounding must not find a period in what has none.
    return jnp.maximum(gap / (size - lags), 0).at[0].set(0)


def _normalised(gap):
    lags = jnp.arange(1, gap.shape[0], dtype=gap.dtype)
    mean = jnp.cumsum(gap[1:]) / lags
    there = mean > 0
    ratio = jnp.where(there, gap[1:] / jnp.where(there, mean, 1), 1)
    return jnp.concatenate([jnp.ones(1, gap.dtype), ratio])


def dips(gap: Float[Array, " lags"], shortest: int) -> Bool[Array, " lags"]:
    """Where a difference function has a bottom that a parabola fits through."""
    before, after = jnp.roll(gap, 1), jnp.roll(gap, -1)
    return _inside(gap, shortest) & (gap <= before) & (gap < after)


def vertices(
    gap: Float[Array, " lags"],
) -> tuple[Float[Array, " lags"], Float[Array, " lags"]]:
    """Where, around every lag, a parabola through three points has its bottom.

    Args:
        gap: the difference function.

    Returns:
        The bottoms' lags, at most half a lag away, and their depths, not below zero.
    """
    left, right = jnp.roll(gap, 1), jnp.roll(gap, -1)
    bend = left - 2 * gap + right
    curved = bend > 0
    shift = jnp.where(curved, (left - right) / (2 * jnp.where(curved, bend, 1)), 0)
    shift = jnp.clip(shift, -0.5, 0.5)
    depth = jnp.maximum(gap - (left - right) * shift / 4, 0)
    return jnp.arange(gap.shape[0]) + shift, jnp.where(curved, depth, gap)


def _inside(gap, shortest: int):
    lags = jnp.arange(gap.shape[0])
    return (lags >= shortest) & (lags < gap.shape[0] - 1)


def _period(gap, shortest: int, threshold: float):
    # The bottom between two lags counts (their step 5): of a tone with many harmonics
    # no lag that is a whole number of samples need lie below the threshold.
    places, depths = vertices(gap)
    below = dips(gap, shortest) & (depths < threshold)
    first = jnp.argmax(below)
    deepest = jnp.argmin(jnp.where(_inside(gap, shortest), depths, jnp.inf))
    lag = jnp.where(jnp.any(below), first, deepest)
    return places[lag], depths[lag]
