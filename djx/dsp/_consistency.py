"""Distances of controls: of sinusoids, of harmonics, of noise.

They compare what goes into synthesisers and not what comes out (Engel et al. 2020,
Self-supervised Pitch Detection by Inverse Audio Synthesis).
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._conversion import check_sinusoids, semitones, shares
from ._wasserstein import check_power, wasserstein


LEAST = 1e-7  # amplitude of every kernel: also a silent sinusoid has a gradient
LEAST_LOG = 1e-5  # below which logarithms of amplitudes are flat


class KernelConsistency(eqx.Module):
    """How unlikely two sets of sinusoids are as draws from one another.

    Each set is taken as a density over pitch: a Gaussian around every sinusoid, as high
    as its amplitude. The negative log-likelihood of the other's sinusoids, weighted by
    their amplitudes, is added in both directions. Densities know no loudness: the
    difference of summed amplitudes is added, too.

    Attributes:
        width: standard deviation of the Gaussians, in semitones.
        ours: weight of -log p(ours | theirs).
        theirs: weight of -log p(theirs | ours).
        amplitude: weight of the difference of summed amplitudes.
    """

    width: float = eqx.field(static=True, default=0.1)
    ours: float = eqx.field(static=True, default=1.0)
    theirs: float = eqx.field(static=True, default=1.0)
    amplitude: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        if not self.width > 0:
            raise ValueError(f"width={self.width}: has to be positive, in semitones")

    def __call__(
        self,
        frequencies_hz: Float[Array, "frames sinusoids"],
        amplitudes: Float[Array, "frames sinusoids"],
        target_frequencies_hz: Float[Array, "frames others"],
        target_amplitudes: Float[Array, "frames others"],
    ) -> Float[Array, ""]:
        """The distance of two sets of sinusoids.

        Args:
            frequencies_hz: of the ones.
            amplitudes: of the ones.
            target_frequencies_hz: of the others, however many.
            target_amplitudes: of the others.

        Returns:
            The mean over frames. It may be negative: densities may be above 1.

        Raises:
            ValueError: where shapes do not agree.
        """
        pairs = (frequencies_hz, amplitudes), (target_frequencies_hz, target_amplitudes)
        frames = _check_both(*pairs)
        (ours, heard), (theirs, wanted) = ((semitones(f), a) for f, a in pairs)
        total = jnp.zeros(frames, heard.dtype)
        if self.ours:
            total = total + self.ours * self._unlikely(ours, heard, theirs, wanted)
        if self.theirs:
            total = total + self.theirs * self._unlikely(theirs, wanted, ours, heard)
        if self.amplitude:
            gap = jnp.sum(heard, 1) - jnp.sum(wanted, 1)
            total = total + self.amplitude * jnp.abs(gap)
        return jnp.mean(total) if frames else jnp.zeros((), total.dtype)

    def _unlikely(self, places, amplitudes, centres, heights):
        gap = (places[:, :, None] - centres[:, None, :]) / self.width
        heights = heights + LEAST
        logs = jnp.log(heights / jnp.sum(heights, 1, keepdims=True))
        logs = jax.nn.logsumexp(logs[:, None, :] - gap**2 / 2, axis=2)
        logs = logs - math.log(self.width * math.sqrt(2 * math.pi))
        return -jnp.sum(shares(amplitudes) * logs, 1)


class TransportConsistency(eqx.Module):
    """How far amplitude has to be moved along pitch, from one set to another.

    Amplitudes are taken as shares of their sum, so loudness does not matter; a frame in
    which either set is silent counts as 0.

    Attributes:
        power: p of the p-th power of the p-Wasserstein distance, 1 or more.
    """

    power: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        check_power(self.power)

    def __call__(
        self,
        frequencies_hz: Float[Array, "frames sinusoids"],
        amplitudes: Float[Array, "frames sinusoids"],
        target_frequencies_hz: Float[Array, "frames others"],
        target_amplitudes: Float[Array, "frames others"],
    ) -> Float[Array, ""]:
        """The distance of two sets of sinusoids.

        Args:
            frequencies_hz: of the ones.
            amplitudes: of the ones.
            target_frequencies_hz: of the others, however many.
            target_amplitudes: of the others.

        Returns:
            The mean over frames, in semitones to the power.

        Raises:
            ValueError: where shapes do not agree.
        """
        pairs = (frequencies_hz, amplitudes), (target_frequencies_hz, target_amplitudes)
        if not _check_both(*pairs):
            return jnp.zeros((), amplitudes.dtype)
        (ours, heard), (theirs, wanted) = ((semitones(f), a) for f, a in pairs)
        moved = jax.vmap(lambda a, b, c, d: wasserstein(a, b, c, d, self.power))
        return jnp.mean(moved(ours, heard, theirs, wanted))


class HarmonicConsistency(eqx.Module):
    """How far apart the controls of two harmonic sounds are.

    Where the target is quieter than a threshold, pitch and shares do not count.

    Attributes:
        f0: weight of differences in pitch, in semitones.
        amplitude: weight of differences of amplitude.
        distribution: weight of differences of shares.
        threshold: of the target's amplitude.
    """

    f0: float = eqx.field(static=True, default=1.0)
    amplitude: float = eqx.field(static=True, default=1.0)
    distribution: float = eqx.field(static=True, default=1.0)
    threshold: float = eqx.field(static=True, default=1e-4)

    def __call__(
        self,
        f0_hz: Float[Array, " frames"],
        amplitude: Float[Array, " frames"],
        distribution: Float[Array, "frames harmonics"],
        target_f0_hz: Float[Array, " frames"],
        target_amplitude: Float[Array, " frames"],
        target_distribution: Float[Array, "frames harmonics"],
    ) -> Float[Array, ""]:
        """The distance of two harmonic sounds.

        Args:
            f0_hz: the fundamental frequency.
            amplitude: of all harmonics together.
            distribution: their shares.
            target_f0_hz: as of the first, of the target.
            target_amplitude: of the target.
            target_distribution: of the target.

        Returns:
            The weighted sum of mean differences.

        Raises:
            ValueError: where shapes do not agree.
        """
        ours = f0_hz, amplitude, distribution
        theirs = target_f0_hz, target_amplitude, target_distribution
        if any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
            raise ValueError(
                f"two sounds of as many frames and harmonics, not "
                f"{distribution.shape} and {target_distribution.shape}"
            )
        counts = target_amplitude >= self.threshold
        pitch = jnp.abs(semitones(f0_hz) - semitones(target_f0_hz))
        colour = jnp.abs(distribution - target_distribution)
        return (
            self.f0 * _mean(jnp.where(counts, pitch, 0))
            + self.amplitude * amplitude_consistency(amplitude, target_amplitude)
            + self.distribution * _mean(jnp.where(counts[:, None], colour, 0))
        )


def amplitude_consistency(
    amplitudes: Float[Array, "..."],
    target: Float[Array, "..."],
    *,
    logarithmic: bool = False,
) -> Float[Array, ""]:
    """The mean difference of amplitudes, or of the magnitudes of a filter of noise.

    Args:
        amplitudes: of any shape, not negative.
        target: of the same.
        logarithmic: whether powers of ten are compared, flat below 1e-5.

    Returns:
        The mean of absolute differences.

    Raises:
        ValueError: where shapes do not agree.
    """
    if amplitudes.shape != target.shape:
        raise ValueError(
            f"amplitudes of one shape, not {amplitudes.shape} and {target.shape}"
        )
    if logarithmic:
        amplitudes, target = (jnp.log10(a + LEAST_LOG) for a in (amplitudes, target))
    return _mean(jnp.abs(amplitudes - target))


def _mean(x):
    return jnp.sum(x) / max(x.size, 1)


def _check_both(ours, theirs) -> int:
    for frequencies, amplitudes in (ours, theirs):
        check_sinusoids(frequencies, amplitudes)
    counts = len(ours[0]), len(theirs[0])
    if counts[0] != counts[1]:
        raise ValueError(
            f"sinusoids of as many frames, not {counts[0]} and {counts[1]}"
        )
    return counts[0]
