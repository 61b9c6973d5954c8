"""Second-order sections for equalisers, differentiable in all that describes them.

R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter coefficients".
They are analogue filters under the bilinear transform, warped so that the frequency
that is given is exact. Here cosines are of half the angle, w = pi frequency / rate: in
single precision, 1 - cos(2 w) = 2 sin(w)^2 has no digits left at low frequencies.

Every function returns b_0, b_1, b_2, a_0, a_1, a_2 along the last axis, with a_0 = 1.
Controls are numbers or arrays of shapes that go together: one value for each section,
or for each sample and section, gives what `sosfilt` takes. Frequencies are clipped to
between 0 and half the sample rate; Q, q, is above 0. A sample rate that is not above 0
is a ValueError.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._frames import floating


Controls = Float[Array, "..."] | float
Sections = Float[Array, "... 6"]


def biquad_low_pass(cutoff_hz: Controls, q: Controls, sample_rate: float) -> Sections:
    """Passes what is below the cutoff, where its gain is Q; 1/sqrt(2) is flattest.

    Args:
        cutoff_hz: in Hz.
        q: the resonance.
        sample_rate: in Hz.

    Returns:
        The sections.
    """
    sin, cos, alpha = _angles(cutoff_hz, q, sample_rate)
    b = sin * sin
    return _section(b, 2 * b, b, 1 + alpha, 2 * _minus_cos(sin, cos), 1 - alpha)


def biquad_high_pass(cutoff_hz: Controls, q: Controls, sample_rate: float) -> Sections:
    """Passes what is above the cutoff, where its gain is Q; 1/sqrt(2) is flattest.

    Args:
        cutoff_hz: in Hz.
        q: the resonance.
        sample_rate: in Hz.

    Returns:
        The sections.
    """
    sin, cos, alpha = _angles(cutoff_hz, q, sample_rate)
    b = cos * cos
    return _section(b, -2 * b, b, 1 + alpha, 2 * _minus_cos(sin, cos), 1 - alpha)


def biquad_band_pass(centre_hz: Controls, q: Controls, sample_rate: float) -> Sections:
    """Passes what is around the centre, where its gain is 1.

    Args:
        centre_hz: in Hz.
        q: the centre over the width between gains of -3 dB, for a narrow band.
        sample_rate: in Hz.

    Returns:
        The sections.
    """
    sin, cos, alpha = _angles(centre_hz, q, sample_rate)
    none = jnp.zeros_like(alpha)
    a1 = 2 * _minus_cos(sin, cos)
    return _section(alpha, none, -alpha, 1 + alpha, a1, 1 - alpha)


def biquad_notch(centre_hz: Controls, q: Controls, sample_rate: float) -> Sections:
    """Passes all but the centre.

    Args:
        centre_hz: in Hz.
        q: the centre over the width between gains of -3 dB, for a narrow notch.
        sample_rate: in Hz.

    Returns:
        The sections.
    """
    sin, cos, alpha = _angles(centre_hz, q, sample_rate)
    one, a1 = jnp.ones_like(alpha), 2 * _minus_cos(sin, cos)
    return _section(one, a1, one, 1 + alpha, a1, 1 - alpha)


def biquad_all_pass(centre_hz: Controls, q: Controls, sample_rate: float) -> Sections:
    """Passes everything, and turns its phase: by half a cycle at the centre.

    Args:
        centre_hz: in Hz.
        q: how fast the phase turns there.
        sample_rate: in Hz.

    Returns:
        The sections.
    """
    sin, cos, alpha = _angles(centre_hz, q, sample_rate)
    a1 = 2 * _minus_cos(sin, cos)
    return _section(1 - alpha, a1, 1 + alpha, 1 + alpha, a1, 1 - alpha)


def biquad_peaking(
    centre_hz: Controls, q: Controls, gain_db: Controls, sample_rate: float
) -> Sections:
    """Raises or lowers what is around the centre; the opposite gain undoes it.

    Args:
        centre_hz: in Hz.
        q: the centre over the width between half the gain in dB, for a narrow peak.
        gain_db: at the centre, in dB.
        sample_rate: in Hz.

    Returns:
        The sections.
    """
    sin, cos, alpha = _angles(centre_hz, q, sample_rate)
    root = _amplitude_root(gain_db)
    up, down, a1 = alpha * root, alpha / root, 2 * _minus_cos(sin, cos)
    return _section(1 + up, a1, 1 - up, 1 + down, a1, 1 - down)


def biquad_low_shelf(
    cutoff_hz: Controls, q: Controls, gain_db: Controls, sample_rate: float
) -> Sections:
    """Raises or lowers what is below the cutoff, by half as many dB at the cutoff.

    Args:
        cutoff_hz: in Hz.
        q: 1/sqrt(2) is the steepest shelf that does not overshoot.
        gain_db: at 0 Hz, in dB.
        sample_rate: in Hz.

    Returns:
        The sections.
    """
    sin, cos, alpha = _angles(cutoff_hz, q, sample_rate)
    return _shelf(sin, cos, alpha, _amplitude_root(gain_db), 1)


def biquad_high_shelf(
    cutoff_hz: Controls, q: Controls, gain_db: Controls, sample_rate: float
) -> Sections:
    """Raises or lowers what is above the cutoff, by half as many dB at the cutoff.

    Args:
        cutoff_hz: in Hz.
        q: 1/sqrt(2) is the steepest shelf that does not overshoot.
        gain_db: at half the sample rate, in dB.
        sample_rate: in Hz.

    Returns:
        The sections.
    """
    sin, cos, alpha = _angles(cutoff_hz, q, sample_rate)
    # The low shelf of the mirrored spectrum, mirrored: every other coefficient turns.
    return _shelf(cos, sin, alpha, _amplitude_root(gain_db), -1)


def _angles(frequency_hz, q, sample_rate: float):
    """sin(w), cos(w), and alpha = sin(2 w) / 2 Q."""
    if not sample_rate > 0:
        raise ValueError(f"sample_rate={sample_rate}: has to be above 0 Hz")
    frequency_hz, q = jnp.broadcast_arrays(floating(frequency_hz), floating(q))
    w = jnp.pi * jnp.clip(frequency_hz / sample_rate, 0, 0.5)
    sin, cos = jnp.sin(w), jnp.cos(w)
    return sin, cos, sin * cos / q


def _minus_cos(sin, cos):
    """-cos(2 w)."""
    return sin * sin - cos * cos


def _amplitude_root(gain_db):
    """The square root of the amplitude at the peak, A."""
    return jnp.exp(floating(gain_db) * (np.log(10) / 40))


def _shelf(sin, cos, alpha, A, sign: int):
    # (A + 1) -+ (A - 1) cos(2 w) in half angles.
    above, below = A * sin * sin + cos * cos, A * cos * cos + sin * sin
    apart = jnp.sqrt(A) * alpha
    numerator = A * (above + apart), A * (above - apart)
    denominator = below + apart, below - apart
    b1 = 2 * sign * A * (A * sin * sin - cos * cos)
    a1 = -2 * sign * (A * cos * cos - sin * sin)
    return _section(numerator[0], b1, numerator[1], denominator[0], a1, denominator[1])


def _section(b0, b1, b2, a0, a1, a2):
    parts = [part / a0 for part in (b0, b1, b2, a0, a1, a2)]
    return jnp.stack(jnp.broadcast_arrays(*parts), -1)
