"""What a network puts out, as controls of synthesisers."""

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
