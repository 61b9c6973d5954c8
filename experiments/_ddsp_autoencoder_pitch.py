"""Sounds whose pitch is known, which a pitch encoder learns from."""

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from djx.dsp import Harmonic, nyquist_gain, PitchEncoder


HARMONICS = 60
STEEPEST = 2.0  # harmonic h has h^-slope of the first's amplitude, up to this slope
RAGGED = 1.0  # standard deviation of the logarithm around that
LOUDEST_NOISE_DB, FAINTEST_NOISE_DB = -10.0, -60.0  # beside the harmonics


def known_sound(
    encoder: PitchEncoder, *, key: PRNGKeyArray
) -> tuple[Float[Array, " samples"], Float[Array, ""]]:
    """As long as the encoder looks, with any envelope of harmonics, under noise.

    Args:
        encoder: says in what range.
        key: of everything.

    Returns:
        The sound, and its f0 in Hz.
    """
    at, slope, shape, noise, level = jr.split(key, 5)
    lowest, highest = encoder.least_hz, encoder.greatest_hz
    f0_hz = lowest * (highest / lowest) ** jr.uniform(at)
    numbers = jnp.arange(1.0, HARMONICS + 1)
    slope = jr.uniform(slope, maxval=STEEPEST)
    ragged = jnp.exp(RAGGED * jr.normal(shape, numbers.shape))
    heard = nyquist_gain(f0_hz * numbers, encoder.sample_rate)
    amplitudes = numbers**-slope * ragged * heard
    frames = -(-encoder.window // encoder.hop)
    tone = Harmonic(encoder.sample_rate, encoder.hop)(
        jnp.full(frames, f0_hz), jnp.tile(amplitudes, (frames, 1))
    )
    noise_db = jr.uniform(level, minval=FAINTEST_NOISE_DB, maxval=LOUDEST_NOISE_DB)
    hiss = jr.normal(noise, tone.shape) * 10 ** (noise_db / 20)
    return tone + jnp.std(tone) * hiss, f0_hz


def pitch_divergence(encoder: PitchEncoder, sounds: int, *, key: PRNGKeyArray):
    """The mean of `PitchEncoder.divergence` over such sounds.

    Args:
        encoder: that learns.
        sounds: how many.
        key: of the sounds.

    Returns:
        A number.
    """

    def one(key):
        return encoder.divergence(*known_sound(encoder, key=key))

    return jnp.mean(jax.vmap(one)(jr.split(key, sounds)))
