"""Controls of harmonics as those of sinusoids, and back."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._controls import harmonic_amplitudes


LEAST_HZ = 440 * 2 ** (-69 / 12)  # MIDI 0; whatever is lower counts as it


def harmonic_to_sinusoidal(
    f0_hz: Float[Array, " frames"],
    amplitude: Float[Array, " frames"],
    distribution: Float[Array, "frames harmonics"],
    sample_rate: float,
) -> tuple[Float[Array, "frames harmonics"], Float[Array, "frames harmonics"]]:
    """Harmonics as sinusoids.

    Args:
        f0_hz: the fundamental frequency.
        amplitude: of all harmonics together.
        distribution: positive shares, of any sum.
        sample_rate: in Hz.

    Returns:
        Frequencies in Hz, and amplitudes; those above half the sample rate are zero.
    """
    numbers = jnp.arange(1, distribution.shape[1] + 1, dtype=f0_hz.dtype)
    amplitudes = harmonic_amplitudes(amplitude, distribution, f0_hz, sample_rate)
    return f0_hz[:, None] * numbers, amplitudes


def sinusoidal_to_harmonic(
    frequencies_hz: Float[Array, "frames sinusoids"],
    amplitudes: Float[Array, "frames sinusoids"],
    f0_hz: Float[Array, " frames"],
    harmonics: int,
    sample_rate: float,
    *,
    width: float = 0.1,
    normalise: bool = False,
) -> tuple[Float[Array, " frames"], Float[Array, "frames harmonics"]]:
    """Sinusoids as harmonics of a fundamental: each gives to those that are near.

    Args:
        frequencies_hz: of the sinusoids.
        amplitudes: of the sinusoids.
        f0_hz: the fundamental frequency.
        harmonics: how many.
        sample_rate: in Hz.
        width: a sinusoid d from a harmonic counts exp(-(d / (width f0))^2).
        normalise: whether several sinusoids near a harmonic count as one at most.

    Returns:
        The amplitude of all harmonics together, and their shares; both are zero where
        no sinusoid is near any below half the sample rate.

    Raises:
        ValueError: where shapes do not agree, or the width is not positive.
    """
    check_sinusoids(frequencies_hz, amplitudes)
    if not width > 0:
        raise ValueError(f"width={width}: has to be positive, in parts of f0")
    there = f0_hz > 0
    ratios = frequencies_hz / jnp.where(there, f0_hz, 1)[:, None]
    numbers = jnp.arange(1, harmonics + 1, dtype=f0_hz.dtype)
    gap = (ratios[:, None, :] - numbers[:, None]) / width
    weights = jnp.exp(-(gap**2))
    if normalise:
        weights = weights / jnp.maximum(jnp.sum(weights, 2, keepdims=True), 1)
    heard = there[:, None] & (f0_hz[:, None] * numbers < sample_rate / 2)
    gathered = jnp.where(heard, jnp.sum(weights * amplitudes[:, None, :], 2), 0)
    return jnp.sum(gathered, 1), shares(gathered)


def semitones(frequency_hz: Float[Array, "..."]) -> Float[Array, "..."]:
    """Pitch as MIDI numbers it, 69 at 440 Hz; 0 at 0 Hz.

    Args:
        frequency_hz: in Hz.

    Returns:
        69 + 12 log2(f / 440).
    """
    return 12 * jnp.log2(jnp.maximum(frequency_hz, LEAST_HZ) / LEAST_HZ)


def shares(amplitudes: Float[Array, "frames parts"]) -> Float[Array, "frames parts"]:
    """Parts of their sum; zero where that is."""
    total = jnp.sum(amplitudes, 1, keepdims=True)
    return amplitudes / jnp.where(total > 0, total, 1)


def check_sinusoids(frequencies_hz: Array, amplitudes: Array) -> None:
    """Whether there are sinusoids, and each has an amplitude.

    Raises:
        ValueError: if not.
    """
    if frequencies_hz.shape != amplitudes.shape or amplitudes.ndim != 2:
        raise ValueError(
            f"frequencies and amplitudes are (frames, sinusoids), not "
            f"{frequencies_hz.shape} and {amplitudes.shape}"
        )
    if amplitudes.shape[1] == 0:
        raise ValueError("one sinusoid or more: give it amplitude 0 for silence")
