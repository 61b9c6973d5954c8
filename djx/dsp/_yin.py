"""Pitch by autocorrelation."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._stft import fast_size, framed


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

    The difference of a window and itself t samples later (their eq. 6, by transforms),
    over its mean for shorter t (eq. 8); the bottom of the first dip below the
    threshold, or the deepest if there is none; a parabola through its neighbours.

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
    longest = math.ceil(sample_rate / least_hz) + 1
    shortest = max(2, math.floor(sample_rate / greatest_hz))
    if not 0 < least_hz < greatest_hz or shortest + 2 > longest:
        raise ValueError(
            f"least_hz={least_hz}, greatest_hz={greatest_hz}: no period between them "
            f"at {sample_rate} Hz"
        )
    size = 2 * longest  # what is compared; as much follows for the lags
    whole = -(-(size + longest) // hop) * hop
    count = -(-audio.shape[0] // hop)
    before = (size + longest) // 2
    frames = framed(jnp.pad(audio, (before, 0)), whole, hop)[:count]
    frames = frames[:, : size + longest]

    def of_frame(frame):
        gap = _differences(frame, size, longest)
        period, depth = _period(_normalised(gap), shortest, longest, threshold)
        bounded = jnp.clip(sample_rate / period, least_hz, greatest_hz)
        return Pitch(bounded, depth)

    return jax.vmap(of_frame)(frames)


def _differences(frame, size: int, longest: int):
    """sum_j (x[j] - x[j + t])^2 over a window of `size`, t up to the longest lag."""
    length = fast_size(size + longest)
    head = jnp.fft.rfft(frame[:size], length)
    product = jnp.fft.irfft(jnp.conj(head) * jnp.fft.rfft(frame, length), length)
    energy = jnp.concatenate([jnp.zeros(1, frame.dtype), jnp.cumsum(frame**2)])
    ahead = energy[size : size + longest] - energy[:longest]
    gap = energy[size] + ahead - 2 * product[:longest]
    # Rounding must not find a period in what has none.
    return jnp.maximum(gap, 0).at[0].set(0)


def _normalised(gap):
    lags = jnp.arange(1, gap.shape[0], dtype=gap.dtype)
    mean = jnp.cumsum(gap[1:]) / lags
    there = mean > 0
    ratio = jnp.where(there, gap[1:] / jnp.where(there, mean, 1), 1)
    return jnp.concatenate([jnp.ones(1, gap.dtype), ratio])


def _period(gap, shortest: int, longest: int, threshold: float):
    lags = jnp.arange(gap.shape[0])
    inside = (lags >= shortest) & (lags < longest - 1)
    before, after = jnp.roll(gap, 1), jnp.roll(gap, -1)
    bottom = inside & (gap <= before) & (gap < after)
    below = bottom & (gap < threshold)
    first = jnp.argmax(below)
    deepest = jnp.argmin(jnp.where(inside, gap, jnp.inf))
    lag = jnp.where(jnp.any(below), first, deepest)
    # The bottom of a parabola through three points; it stays between them.
    left, here, right = gap[lag - 1], gap[lag], gap[lag + 1]
    bend = left - 2 * here + right
    curved = bend > 0
    shift = jnp.where(curved, (left - right) / (2 * jnp.where(curved, bend, 1)), 0)
    return lag + jnp.clip(shift, -0.5, 0.5), here
