"""What a network is given of a sound, and what it puts out as controls."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._harmonic import harmonic_gains


def exp_sigmoid(
    x: Float[Array, "..."],
    exponent: float = 10.0,
    greatest: float = 2.0,
    least: float = 1e-7,
) -> Float[Array, "..."]:
    """A positive control: greatest * sigmoid(x)^ln(exponent) + least.

    Over its range it is nearly linear in decibels (Engel et al. 2020, eq. 5).

    Args:
        x: any numbers.
        exponent: how much a step of x changes it.
        greatest: its limit above.
        least: its limit below.

    Returns:
        The controls.
    """
    # By the logarithm, whose gradient does not vanish before the value does.
    return greatest * jnp.exp(np.log(exponent) * jax.nn.log_sigmoid(x)) + least


def harmonic_amplitudes(
    amplitude: Float[Array, " frames"],
    distribution: Float[Array, "frames harmonics"],
    f0_hz: Float[Array, " frames"],
    sample_rate: float,
) -> Float[Array, "frames harmonics"]:
    """A loudness and a timbre as amplitudes: what cannot be heard gets no share.

    Args:
        amplitude: of all harmonics together.
        distribution: positive shares, of any sum.
        f0_hz: the fundamental frequency.
        sample_rate: in Hz.

    Returns:
        Amplitudes whose sum is `amplitude`; zero where no harmonic is below half the
        sample rate.
    """
    heard = distribution * harmonic_gains(f0_hz, distribution.shape[1], sample_rate)
    total = jnp.sum(heard, 1, keepdims=True)
    shares = jnp.where(total > 0, heard / jnp.where(total > 0, total, 1), 0)
    return amplitude[:, None] * shares


class FeatureScale(eqx.Module):
    """Pitch and loudness as a network likes them: near 0 to 1 (as magenta's).

    Attributes:
        range_db: loudness that is scaled to 1, from its negative to 0 dB.
    """

    range_db: float = eqx.field(static=True, default=80.0)

    def __call__(
        self, f0_hz: Float[Array, " frames"], loudness_db: Float[Array, " frames"]
    ) -> dict[str, Float[Array, "frames 1"]]:
        """The features.

        Args:
            f0_hz: fundamental frequency.
            loudness_db: loudness, as `loudness_db` measures it.

        Returns:
            "pitch", the MIDI number over 127, 0 where there is no frequency, and
            "loudness".
        """
        there = f0_hz > 0
        midi = 69 + 12 * jnp.log2(jnp.where(there, f0_hz, 440.0) / 440)
        pitch = jnp.where(there, midi / 127, 0)
        loudness = loudness_db / self.range_db + 1
        return {"pitch": pitch[:, None], "loudness": loudness[:, None]}


class HarmonicControls(eqx.Module):
    """Amplitudes of harmonics from an unbounded amplitude and distribution.

    Attributes:
        sample_rate: in Hz.
    """

    sample_rate: float = eqx.field(static=True, default=16000)

    def __call__(
        self,
        amplitude: Float[Array, "frames 1"],
        distribution: Float[Array, "frames harmonics"],
        f0_hz: Float[Array, " frames"],
    ) -> Float[Array, "frames harmonics"]:
        """The amplitudes (Engel et al. 2020, section 3 and eq. 5).

        Args:
            amplitude: of all harmonics, any number.
            distribution: over harmonics, any numbers.
            f0_hz: the fundamental frequency.

        Returns:
            Amplitudes, in all at most 2.
        """
        shares = exp_sigmoid(distribution)
        return harmonic_amplitudes(
            exp_sigmoid(amplitude[:, 0]), shares, f0_hz, self.sample_rate
        )


class NoiseControls(eqx.Module):
    """Magnitudes of noise from unbounded numbers.

    Attributes:
        bias: added to them, so that a network that knows nothing is nearly silent.
    """

    bias: float = eqx.field(static=True, default=-5.0)

    def __call__(
        self, magnitudes: Float[Array, "frames bands"]
    ) -> Float[Array, "frames bands"]:
        """The magnitudes.

        Args:
            magnitudes: any numbers.

        Returns:
            Positive ones.
        """
        return exp_sigmoid(magnitudes + self.bias)
