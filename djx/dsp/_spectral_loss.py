"""Distances of spectra at several resolutions."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ..core.errors import did_you_mean
from ._frames import check_rate
from ._loudness import power_weights
from ._loudness_loss import levels_db
from ._stft import check_pair, check_sizes, hann, power, stft, unframed


EPSILON = 1e-5  # below which logarithms of magnitudes are flat
DISTANCES = ("l1", "l2", "cosine")
LOUDNESS_SIZE = 1024  # of the one transform whose loudness is compared


class SpectralLoss(eqx.Module):
    """The multi-scale spectral loss (Engel et al. 2020, eq. 4, and its later terms).

    For every size of transform, magnitudes S of overlapping Hann windows, a quarter of
    the size apart, are compared, as they are and as logarithms, and by their
    differences in time and in frequency and their sums over frequency. A-weighted
    loudness, in dB, is compared at one size, 1024.

    The gradient is taken where the value is, one sound at a time, and only it is kept.
    Where the sound is silent at some frequency its magnitude has no derivative; the one
    along the target's phase is taken, so that silence learns, too.

    Attributes:
        fft_sizes: of the transforms; multiples of 4.
        magnitude: weight of |S - S'|.
        log_magnitude: weight of |log S - log S'|.
        delta_time: weight of differences from frame to frame.
        delta_frequency: weight of differences from bin to bin.
        cumulative_frequency: weight of sums over bins.
        distance: "l1", "l2" or "cosine".
        loudness: weight of differences in dB.
        sample_rate: in Hz; only loudness depends on it.
    """

    fft_sizes: tuple[int, ...] = eqx.field(
        static=True, default=(2048, 1024, 512, 256, 128, 64)
    )
    magnitude: float = eqx.field(static=True, default=1.0)
    log_magnitude: float = eqx.field(static=True, default=1.0)
    delta_time: float = eqx.field(static=True, default=0.0)
    delta_frequency: float = eqx.field(static=True, default=0.0)
    cumulative_frequency: float = eqx.field(static=True, default=0.0)
    distance: Literal["l1", "l2", "cosine"] = eqx.field(static=True, default="l1")
    loudness: float = eqx.field(static=True, default=0.0)
    sample_rate: float = eqx.field(static=True, default=16000)

    def __check_init__(self):
        if self.loudness:
            check_rate(self.sample_rate, LOUDNESS_SIZE // 4)
        for size in self.fft_sizes:
            check_sizes(size, size // 4)
        if self.distance not in DISTANCES:
            raise ValueError(
                f"distance={self.distance!r}: choose from "
                f"{', '.join(map(repr, DISTANCES))}"
                f"{did_you_mean(self.distance, DISTANCES)}"
            )

    def __call__(
        self, audio: Float[Array, " samples"], target: Float[Array, " samples"]
    ) -> Float[Array, ""]:
        """The distance of two sounds.

        Args:
            audio: samples.
            target: as many.

        Returns:
            The loss; under `vmap` sounds are taken one after the other.

        Raises:
            ValueError: where the sounds are not equally long.
        """
        check_pair(audio, target)
        return _distance(self, audio, target)

    def of_magnitudes(
        self, ours: Float[Array, "frames bins"], theirs: Float[Array, "frames bins"]
    ) -> Float[Array, ""]:
        """The loss at one size of transform.

        Args:
            ours: magnitudes.
            theirs: the target's.

        Returns:
            The weighted sum of the terms.
        """
        total = jnp.zeros((), ours.dtype)
        if self.log_magnitude and self.distance != "cosine":
            # One logarithm for both.
            gap = jnp.log((ours + EPSILON) / (theirs + EPSILON))
            total = total + self.log_magnitude * self._gap(gap, 0)
        elif self.log_magnitude:
            logs = (jnp.log(s + EPSILON) for s in (ours, theirs))
            total = total + self.log_magnitude * self._gap(*logs)
        for weight, change in (
            (self.magnitude, lambda s: s),
            (self.delta_time, lambda s: jnp.diff(s, axis=0)),
            (self.delta_frequency, lambda s: jnp.diff(s, axis=1)),
            (self.cumulative_frequency, lambda s: jnp.cumsum(s, axis=1)),
        ):
            if weight:
                total = total + weight * self._gap(change(ours), change(theirs))
        return total

    def of_loudness(
        self, ours: Complex[Array, "frames bins"], theirs: Complex[Array, "frames bins"]
    ) -> Float[Array, ""]:
        """The term of loudness.

        Args:
            ours: a spectrum of size 1024.
            theirs: the target's.

        Returns:
            The weighted term.
        """
        weights = power_weights(LOUDNESS_SIZE, self.sample_rate, ours.real.dtype)
        levels = levels_db(ours, theirs, weights)
        return self.loudness * self._gap(*(level[None] for level in levels))

    def _transforms(self):
        """Sizes, and whether magnitudes and loudness are compared there."""
        sizes = self.fft_sizes
        loud = sizes.index(LOUDNESS_SIZE) if LOUDNESS_SIZE in sizes else len(sizes)
        if self.loudness and loud == len(sizes):
            sizes = (*sizes, LOUDNESS_SIZE)
        return [
            (size, place < len(self.fft_sizes), bool(self.loudness) and place == loud)
            for place, size in enumerate(sizes)
        ]

    def _gap(self, ours, theirs):
        if ours.size == 0:
            return jnp.zeros((), ours.dtype)
        match self.distance:
            case "l1":
                return _mean(jnp.abs(ours - theirs))
            case "l2":
                return _mean((ours - theirs) ** 2)
        dot = jnp.sum(ours * theirs, -1)
        square = jnp.sum(ours**2, -1) * jnp.sum(theirs**2, -1)
        there = square > 0
        cosine = dot / jnp.sqrt(jnp.where(there, square, 1))
        return jnp.mean(jnp.where(there, 1 - cosine, 0))


def _mean(x):
    # Over frames first: sums of whole rows are vectorised, sums along rows are not.
    return jnp.sum(jnp.sum(x, 0)) / x.size


def _value(loss: SpectralLoss, audio, target):
    @jax.custom_batching.sequential_vmap
    def value(audio, target):
        total = jnp.zeros((), audio.dtype)
        for size, magnitudes, loudness in loss._transforms():
            spectra = [_spectrum(x, size) for x in (audio, target)]
            if magnitudes:
                total = total + loss.of_magnitudes(*map(_size, spectra))
            if loudness:
                total = total + loss.of_loudness(*spectra)
        return total

    return value(audio, target)


def _spectrum(audio, size: int):
    return stft(audio, size, size // 4)


def _size(spectrum):
    return jnp.sqrt(power(spectrum))


@jax.custom_vjp
def _distance(loss: SpectralLoss, audio, target):
    return _value(loss, audio, target)


def _forward(loss, audio, target):
    places = tuple(i for i, x in enumerate((audio, target)) if x.perturbed)
    loss = jax.tree.map(lambda leaf: leaf.value, loss)

    @jax.custom_batching.sequential_vmap
    def value_and_gradients(audio, target):
        total, slopes = jnp.zeros((), audio.dtype), [jnp.zeros_like(audio)] * 2
        for size, magnitudes, loudness in loss._transforms():
            spectra = [_spectrum(x, size) for x in (audio, target)]
            along = [0.0] * len(places)
            if magnitudes:
                sizes = [_size(s) for s in spectra]
                part, by_size = jax.value_and_grad(loss.of_magnitudes, places)(*sizes)
                total = total + part
                along = [
                    _along(slope, place, spectra, sizes)
                    for place, slope in zip(places, by_size, strict=True)
                ]
            if loudness:
                part, by_part = _of_parts(loss, spectra, places)
                total = total + part
                along = [a + b for a, b in zip(along, by_part, strict=True)]
            for place, slope in zip(places, along, strict=True):
                slopes[place] = slopes[place] + _pull(slope, size, audio.shape[0])
        return total, *slopes

    total, *slopes = value_and_gradients(audio.value, target.value)
    return total, tuple(slopes)


def _of_parts(loss, spectra, places):
    """The term of loudness, and its slopes by real and imaginary parts."""

    def value(*parts):
        return loss.of_loudness(*(jax.lax.complex(*p) for p in parts))

    parts = [(s.real, s.imag) for s in spectra]
    part, slopes = jax.value_and_grad(value, places)(*parts)
    return part, [jax.lax.complex(*slope) for slope in slopes]


def _along(slope, place: int, spectra, sizes):
    """The slope by a magnitude as one by the spectrum: along its phase.

    Where there is none, along the other's.
    """
    own, other = sizes[place], sizes[1 - place]
    there = own > 0
    length = jnp.where(there, own, other)
    factor = slope / jnp.where(length > 0, length, 1)
    parts = (
        jnp.where(there, part(spectra[place]), part(spectra[1 - place])) * factor
        for part in (jnp.real, jnp.imag)
    )
    return jax.lax.complex(*parts)


def _pull(slope, size: int, samples: int):
    """From spectra back to samples."""
    dtype = slope.real.dtype
    # The inverse transform counts every bin but the first and the last twice.
    weights = np.full(size // 2 + 1, size / 2, dtype)
    weights[[0, -1]] = size
    slope = jax.lax.complex(slope.real * weights, slope.imag * weights)
    frames = jnp.fft.irfft(slope, size) * hann(size, dtype)
    return unframed(frames, size // 4, samples)


def _backward(slopes, cotangent):
    return None, *(cotangent * slope for slope in slopes)


_distance.defvjp(_forward, _backward, symbolic_zeros=True)
