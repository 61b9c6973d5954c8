"""How well a fundamental explains sinusoids."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def two_way_mismatch(
    f0_hz: Float[Array, " candidates"],
    frequencies_hz: Float[Array, " sinusoids"],
    amplitudes: Float[Array, " sinusoids"],
    *,
    harmonics: int = 50,
    falling: float = 0.5,
    louder: float = 1.4,
    reward: float = 0.5,
    measured: float = 0.33,
) -> Float[Array, " candidates"]:
    """The two-way mismatch of candidates and sinusoids (Maher and Beauchamp 1994).

    Every harmonic of a candidate is held against the nearest sinusoid, and every
    sinusoid against the nearest harmonic: the former tells against candidates that are
    too low, whose harmonics are not there, the latter against those too high. A
    distance d at frequency f and amplitude a, of A at most, costs

        d f^-p + a / A (q d f^-p - r).

    Harmonics count up to the one that is nearest to the highest sinusoid.

    Args:
        f0_hz: candidates, above 0 Hz.
        frequencies_hz: of the sinusoids of one frame.
        amplitudes: of these; what has none is not there.
        harmonics: how many are looked at, at most.
        falling: p.
        louder: q.
        reward: r.
        measured: rho, the weight of the mean over sinusoids beside that over harmonics.

    Returns:
        The less, the better a candidate explains the sinusoids; 0 for silence.

    Raises:
        ValueError: where shapes do not agree, or there is no harmonic.
    """
    if frequencies_hz.shape != amplitudes.shape or amplitudes.ndim != 1:
        raise ValueError(
            f"frequencies and amplitudes are (sinusoids,), not "
            f"{frequencies_hz.shape} and {amplitudes.shape}"
        )
    if harmonics < 1:
        raise ValueError(f"harmonics={harmonics}: one or more")
    if amplitudes.shape[0] == 0:
        return jnp.zeros_like(f0_hz)
    there = (amplitudes > 0) & (frequencies_hz > 0)
    places = jnp.where(there, frequencies_hz, 1)
    greatest = jnp.max(jnp.where(there, amplitudes, 0))
    levels = jnp.where(there, amplitudes, 0) / jnp.where(greatest > 0, greatest, 1)
    highest = jnp.max(jnp.where(there, frequencies_hz, 0))

    def cost(distance, frequency, level):
        weighed = distance * frequency**-falling
        return weighed + level * (louder * weighed - reward)

    f0 = f0_hz[:, None]
    last = jnp.clip(jnp.round(highest / f0), 1, harmonics)
    numbers = jnp.arange(1, harmonics + 1, dtype=f0_hz.dtype)
    gaps = jnp.abs((f0 * numbers)[:, :, None] - places)
    nearest = jnp.argmin(jnp.where(there, gaps, jnp.inf), 2)
    gaps = jnp.take_along_axis(gaps, nearest[:, :, None], 2)[:, :, 0]
    predicted = jnp.where(numbers <= last, cost(gaps, f0 * numbers, levels[nearest]), 0)

    closest = jnp.clip(jnp.round(places / f0), 1, last)
    found = jnp.where(there, cost(jnp.abs(places - closest * f0), places, levels), 0)
    total = jnp.sum(predicted, 1) / last[:, 0]
    total = total + measured * jnp.sum(found, 1) / jnp.maximum(jnp.sum(there), 1)
    return jnp.where(greatest > 0, total, 0)
