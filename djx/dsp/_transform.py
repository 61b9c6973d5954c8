"""Real Fourier transforms whose transposes are real transforms as well."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import batching
from jaxtyping import Array, Complex, Float

from ..core import Bilinear, bind, Operation


def rfft(
    samples: Float[Array, "*batch n"], size: int | None = None
) -> Complex[Array, "*batch bins"]:
    """Spectra of real samples, as `jax.numpy.fft.rfft` gives them.

    JAX transposes that by a complex transform of the whole length; here it is one from
    half a spectrum back to samples. What transforms of a batch have in common is
    transformed, forward and back, once.

    Args:
        samples: real.
        size: to which they are cut or filled up with zeros; as many if None.

    Returns:
        The bins from 0 to half the sample rate.
    """
    size = size or samples.shape[-1]
    kept = samples[..., :size]
    room = size - kept.shape[-1]
    padded = jnp.pad(kept, [(0, 0)] * (kept.ndim - 1) + [(0, room)])
    return bind(_Forward(size), padded)[0]


def irfft(
    spectra: Complex[Array, "*batch bins"], size: int
) -> Float[Array, "*batch size"]:
    """Samples of a spectrum, the inverse of `rfft`.

    Args:
        spectra: the bins from 0 to half the sample rate.
        size: how many samples; their bins are size // 2 + 1.

    Returns:
        Real samples.
    """
    return bind(_Inverse(size), spectra)[0]


def filtered(
    samples: Float[Array, "*batch n"], spectrum: Complex[Array, "*batch bins"]
) -> Float[Array, "*batch n"]:
    """Samples times a response, bin by bin: a circular convolution.

    Its derivatives are as cheap: weights of bins that two transposes bring cancel, and
    what belongs to an axis that only one argument has is added up as a spectrum.

    Args:
        samples: real.
        spectrum: the response's bins from 0 to half the sample rate.

    Returns:
        As many samples.
    """
    return bind(_FILTER, samples, spectrum)[0]


def _times(size: int, dtype) -> np.ndarray:
    """How often a bin of half a spectrum stands in the whole one."""
    bins = np.arange(size // 2 + 1)
    return np.where((bins == 0) | (2 * bins == size), 1, 2).astype(dtype)


def _shares(size: int, dtype) -> np.ndarray:
    """What a bin of half a spectrum adds to a sample."""
    return _times(size, dtype) / np.asarray(size, dtype)


def _conjugated(spectrum, weights):
    # Real weights would be made complex, and a product take three times as long.
    return jax.lax.complex(spectrum.real * weights, -spectrum.imag * weights)


class _Linear(Operation):
    """A linear function of the last axis, of whatever stands before it."""

    reusable = True

    def __init__(self, size: int):
        self.size = size

    def __eq__(self, other):
        return type(self) is type(other) and self.size == other.size

    def __hash__(self):
        return hash((type(self), self.size))

    def expanded(self, size, dims, arrays):
        """One more leading axis."""
        return self, [batching.bdim_at_front(arrays[0], dims[0], size)], [0], 0

    def linearised(self, active, primals):
        """It is its own derivative."""
        return bind(self, *primals), lambda tangents: bind(self, *tangents)


class _Forward(_Linear):
    def run(self, *arrays):
        return [jnp.fft.rfft(arrays[0])]

    def transposed(self, linear, cotangents, arguments):
        """As transposes are without conjugation, what comes is conjugated."""
        (g,) = cotangents
        weights = self.size / _times(self.size, g.real.dtype)
        return [irfft(_conjugated(g, weights), self.size)]


class _Inverse(_Linear):
    def run(self, *arrays):
        return [jnp.fft.irfft(arrays[0], self.size)]

    def transposed(self, linear, cotangents, arguments):
        """What the inverse does not read, the imaginary parts at the ends, gets 0."""
        (g,) = cotangents
        return [_conjugated(rfft(g), _shares(self.size, g.dtype))]


class _Filter(Bilinear):
    """Bilinear in samples and a spectrum; axes before the last are broadcast."""

    reusable = True

    def run(self, *arrays):
        samples, spectrum = arrays
        product = jnp.fft.rfft(samples) * spectrum
        return [jnp.fft.irfft(product, samples.shape[-1])]

    def expanded(self, size, dims, arrays):
        """One more leading axis, of size 1 for what does not have it."""
        moved = [
            a[None] if d is None else jnp.moveaxis(a, d, 0)
            for a, d in zip(arrays, dims, strict=True)
        ]
        return self, moved, [0, 0], 0

    def transposed(self, linear, cotangents, arguments):
        """Of the samples, or of the spectrum."""
        (g,), (samples, spectrum) = cotangents, arguments
        if linear[0]:
            product = _added(rfft(g) * jnp.conj(spectrum), samples)
            return [irfft(product, g.shape[-1]), None]
        product = _added(rfft(g) * jnp.conj(rfft(samples)), spectrum)
        return [None, _conjugated(product, _shares(g.shape[-1], g.dtype))]


_FILTER = _Filter()


def _added(spectra, like):
    """The sum over the axes that one of the arguments did not have."""
    axes = [i for i, size in enumerate(like.shape[:-1]) if size == 1]
    return jnp.sum(spectra, axes, keepdims=True)
