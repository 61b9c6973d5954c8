"""Spectral transport against SciPy's Wasserstein distance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from djx.dsp import SpectralTransport


def distribution(audio):
    size = len(audio)
    window = (1 - np.cos(2 * np.pi * np.arange(size) / size)) / 2
    return np.abs(np.fft.rfft(np.asarray(audio, np.float64) * window)) ** 2


def tone(frequency, samples=512):
    return jnp.sin(2 * jnp.pi * frequency * jnp.arange(samples))


def test_against_scipy():
    with jax.enable_x64(True):
        pair = jnp.asarray(np.random.default_rng(0).normal(size=(2, 128)))
        places = np.arange(65)
        weights = [distribution(sound) for sound in pair]
        expected = wasserstein_distance(places, places, *weights) / 65
        found = SpectralTransport(128, 128)(*pair)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_tones_are_as_far_apart_as_their_frequencies():
    with jax.enable_x64(True):
        loss = SpectralTransport(512, 512)
        for other in (0.12, 0.2, 0.4):
            found = loss(tone(0.1), tone(other))
            np.testing.assert_allclose(found, 2 * (other - 0.1), rtol=0.02)


def test_gradient_points_to_the_other_tone_from_anywhere():
    with jax.enable_x64(True):
        loss = SpectralTransport(512, 512)
        slope = jax.vmap(jax.grad(lambda f: loss(tone(f), tone(0.25))))
        np.testing.assert_allclose(slope(jnp.linspace(0.03, 0.2, 9)), -2, rtol=0.1)
        np.testing.assert_allclose(slope(jnp.linspace(0.3, 0.45, 9)), 2, rtol=0.1)


def test_gradient_is_that_of_differences():
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        audio, target, along = (jnp.asarray(x) for x in rng.normal(size=(3, 100)))
        loss = SpectralTransport(32, 8)
        ends = [loss(audio + s * along, target) for s in (1e-6, -1e-6)]
        slope = jnp.vdot(jax.grad(loss)(audio, target), along)
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


def test_loudness_does_not_matter_and_silence_breaks_nothing():
    audio, target = tone(0.1), tone(0.2)
    loss = SpectralTransport(512, 128)
    np.testing.assert_allclose(
        loss(100 * audio, target), loss(audio, target), rtol=1e-4
    )
    for pair in ((0 * audio, target), (audio, 0 * target), (0 * audio, 0 * target)):
        value, grad = jax.value_and_grad(loss)(*pair)
        assert np.isfinite(value) and np.all(np.isfinite(grad))
    assert loss(jnp.zeros(0), jnp.zeros(0)) == 0
    with pytest.raises(ValueError, match=r"\(5,\) and \(6,\)"):
        loss(jnp.zeros(5), jnp.zeros(6))
