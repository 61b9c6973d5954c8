"""Transforms against JAX's, and what a batch shares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from djx.dsp import convolve
from djx.dsp._transform import filtered, irfft, rfft


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def same(function, expected, *primals):
    """Values, and derivatives in both modes, of any real function of the results."""

    def real(f):
        def out(*a):
            x = f(*a)
            # Both parts count, and the ends' imaginary ones too.
            wave = jnp.stack([x.real, jnp.imag(x)])
            return wave * jnp.cos(jnp.arange(wave.size)).reshape(wave.shape)

        return out

    ours, theirs = real(function), real(expected)
    np.testing.assert_allclose(ours(*primals), theirs(*primals), atol=1e-12)
    along = tuple(
        jax.lax.complex(normal(7, *p.shape), normal(8, *p.shape))
        if jnp.iscomplexobj(p)
        else normal(7, *p.shape)
        for p in primals
    )
    pushed = [jax.jvp(f, primals, along)[1] for f in (ours, theirs)]
    np.testing.assert_allclose(*pushed, atol=1e-12)
    g = normal(9, *pushed[0].shape)
    pulled = [jax.vjp(f, *primals)[1](g) for f in (ours, theirs)]
    for a, b in zip(*pulled, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 12])
def test_transforms_are_those_of_jax(size):
    with jax.enable_x64(True):
        samples = normal(0, 3, size)
        same(rfft, jnp.fft.rfft, samples)
        same(lambda a: rfft(a, 2 * size), lambda a: jnp.fft.rfft(a, 2 * size), samples)
        same(lambda a: rfft(a, 1), lambda a: jnp.fft.rfft(a, 1), samples)
        bins = size // 2 + 1
        spectra = jax.lax.complex(normal(1, 3, bins), normal(2, 3, bins))
        same(lambda s: irfft(s, size), lambda s: jnp.fft.irfft(s, size), spectra)


@pytest.mark.parametrize("size", [1, 12])
@pytest.mark.parametrize("dims", [(0, 0), (0, None), (None, 0), (1, 0)])
def test_filters_are_products(size, dims):
    with jax.enable_x64(True):
        bins = size // 2 + 1
        spectra = jax.lax.complex(normal(1, 3, bins), normal(2, 3, bins))
        samples = normal(0, 3, size)
        samples = {0: samples, 1: samples.T, None: samples[0]}[dims[0]]
        spectra = spectra if dims[1] == 0 else spectra[0]

        def plain(a, s):
            return jnp.fft.irfft(jnp.fft.rfft(a) * s, size)

        same(jax.vmap(filtered, dims), jax.vmap(plain, dims), samples, spectra)


def test_second_derivatives():
    with jax.enable_x64(True):
        audio, impulse = normal(0, 2, 9), normal(1, 4)

        def loss(audio, impulse):
            wet = jax.vmap(convolve, (0, None, None))(audio, impulse, "head")
            return jnp.sum(jnp.sin(wet))

        check_grads(loss, (audio, impulse), 2)


def test_maps_of_maps_share_what_they_can():
    audio, impulses = normal(0, 3, 50), normal(1, 2, 8)
    over_audio = jax.vmap(convolve, (0, None))
    table = jax.vmap(over_audio, (None, 0))(audio, impulses)
    for i, impulse in enumerate(impulses):
        for j, sound in enumerate(audio):
            np.testing.assert_array_equal(table[i, j], convolve(sound, impulse))


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_batches_have_the_bits_of_their_rows(batch):
    audio, impulse = normal(0, batch, 1000), normal(1, 100)
    together = jax.jit(jax.vmap(convolve, (0, None)))(audio, impulse)
    alone = jax.jit(convolve)
    for row, sound in zip(together, audio, strict=True):
        np.testing.assert_array_equal(row, alone(sound, impulse))


def test_what_a_batch_shares_is_transformed_once():
    audio, impulse = normal(0, 16, 1000), normal(1, 100)

    def loss(impulse):
        wet = jax.vmap(convolve, (0, None))(audio, impulse)
        return jnp.sum(wet * wet)

    text = jax.jit(jax.grad(loss)).lower(impulse).compile().as_text()
    transforms = [line for line in text.splitlines() if "fft_type" in line]
    # Forward: the sounds, the impulse, back. Gradient: the output, the impulse's.
    assert len(transforms) == 5
    assert sum("[16," in line for line in transforms) == 3
