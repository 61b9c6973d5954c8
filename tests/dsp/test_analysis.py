"""Loudness, pitch and controls against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp import (
    a_weighting,
    exp_sigmoid,
    Harmonic,
    harmonic_amplitudes,
    loudness_db,
    yin,
)


def tone(frequency, rate=16000, seconds=0.5, amplitude=1.0):
    t = np.arange(int(rate * seconds)) / rate
    return jnp.asarray(amplitude * np.sin(2 * np.pi * frequency * t), jnp.float32)


def test_weights_of_the_standard():
    """Those of IEC 61672-1 at a tenth of a decade's steps, in decibels, rounded."""
    table = {15: -39.4, 18: -26.2, 21: -16.1, 24: -8.6, 30: 0, 36: 1.0, 39: -1.1}
    frequencies = 10.0 ** (np.asarray(list(table)) / 10)
    found = 20 * np.log10(a_weighting(frequencies))
    np.testing.assert_allclose(found, list(table.values()), atol=0.06)
    assert a_weighting(np.zeros(1)) == 0


@pytest.mark.parametrize("fft_size", [512, 1024, 2048])
@pytest.mark.parametrize("frequency", [250.0, 1000.0, 4000.0])
def test_a_sine_is_as_loud_at_any_size_of_transform(fft_size, frequency):
    sound = tone(frequency, amplitude=0.1)
    found = loudness_db(sound, 16000, fft_size=fft_size)
    expected = -20 + 20 * np.log10(a_weighting(np.asarray(frequency)))
    middle = np.asarray(found)[30:-30]
    np.testing.assert_allclose(middle, expected, atol=0.1)
    assert len(found) == len(sound) // 64


def test_loudness_of_silence_is_the_floor_and_has_a_gradient():
    found = loudness_db(jnp.zeros(1000), 16000)
    np.testing.assert_allclose(found, -120, atol=1e-3)
    grad = jax.grad(lambda x: jnp.sum(loudness_db(x, 16000)))(jnp.zeros(1000))
    assert np.all(np.isfinite(grad))
    assert loudness_db(jnp.zeros(0), 16000).shape == (0,)
    with pytest.raises(ValueError, match="fft_size=1000"):
        loudness_db(jnp.zeros(10), 16000, fft_size=1000)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("frequency", [61.7, 110.0, 440.0, 987.8, 1800.0])
def test_pitch_of_tones(rate, frequency):
    pitch = yin(tone(frequency, rate), rate)
    middle = np.asarray(pitch.f0_hz)[30:-60]
    # A parabola through samples of a cosine is off the more, the fewer they are.
    limit = 1e-3 if frequency < 500 else 6e-3
    np.testing.assert_allclose(middle, frequency, rtol=limit)
    assert np.max(np.asarray(pitch.aperiodicity)[30:-60]) < 0.05


def test_pitch_of_a_stack_is_its_fundamental_even_if_that_is_missing():
    amplitudes = jnp.tile(jnp.asarray([0.0, 1, 0.8, 0.6, 0.4]), (200, 1))
    sound = Harmonic()(jnp.full(200, 150.0), amplitudes)
    found = yin(sound, 16000).f0_hz
    np.testing.assert_allclose(np.asarray(found)[20:-40], 150, rtol=2e-3)


@pytest.mark.parametrize("key", [57, 69, 81, 86])
def test_no_octave_is_lost_between_samples(key):
    """Several harmonics, and a period that is no whole number of samples."""
    f0 = 440 * 2 ** ((key - 69) / 12)
    amplitudes = jnp.full((200, int(3500 / f0)), 0.05)
    found = yin(Harmonic()(jnp.full(200, f0), amplitudes), 16000).f0_hz
    np.testing.assert_allclose(np.asarray(found)[20:-40], f0, rtol=5e-3)


def test_pitch_follows_a_glide_and_batches():
    f0 = jnp.linspace(200, 300, 400)
    sound = Harmonic()(f0, jnp.ones((400, 3)) / 3)
    found = yin(sound, 16000).f0_hz
    np.testing.assert_allclose(found[20:-40], f0[20:-40], rtol=5e-3)
    many = jax.vmap(lambda x: yin(x, 16000).f0_hz)(jnp.stack([sound, sound[::-1]]))
    np.testing.assert_allclose(many[0], found, rtol=1e-5)


def test_noise_and_silence_are_not_periodic():
    noise = jax.random.normal(jax.random.key(0), (8000,))
    assert np.median(yin(noise, 16000).aperiodicity) > 0.5
    silence = yin(jnp.zeros(1000), 16000)
    np.testing.assert_array_equal(silence.aperiodicity, 1)
    assert np.all(np.isfinite(silence.f0_hz))
    assert yin(jnp.zeros(0), 16000).f0_hz.shape == (0,)
    with pytest.raises(ValueError, match="least_hz=900"):
        yin(noise, 16000, least_hz=900, greatest_hz=800)


def test_controls():
    x = jnp.asarray([-200.0, -10.0, 0.0, 100.0])
    found = exp_sigmoid(x)
    sigmoid = 1 / (1 + np.exp(-np.asarray(x, np.float64)))
    np.testing.assert_allclose(found, 2 * sigmoid ** np.log(10) + 1e-7, rtol=1e-5)
    assert np.all(np.isfinite(jax.vmap(jax.grad(exp_sigmoid))(x)))
    amplitudes = harmonic_amplitudes(
        jnp.asarray([0.5, 0.3, 0.2]),
        jnp.ones((3, 4)),
        jnp.asarray([100.0, 3000.0, 9000.0]),
        16000,
    )
    expected = [[0.125] * 4, [0.15, 0.15, 0, 0], [0] * 4]
    np.testing.assert_allclose(amplitudes, expected, atol=1e-7)
    grads = jax.grad(
        lambda d: jnp.sum(harmonic_amplitudes(jnp.ones(1), d, jnp.ones(1), 16e3) ** 2)
    )(jnp.zeros((1, 4)))
    assert np.all(np.isfinite(grads))
