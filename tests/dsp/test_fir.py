"""Filters by magnitudes against their definition, sample by sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp import FilteredNoise, FrequencyFilter, white_noise


def by_definition(audio, magnitudes, hop):
    """Every frame convolved with its impulse response, in float64."""
    frames, bands = magnitudes.shape
    half = bands - 1
    out = np.zeros(frames * hop + 2 * half)
    window = np.hanning(2 * half + 1)[:-1]
    for t in range(frames):
        impulse = np.roll(np.fft.irfft(magnitudes[t], 2 * half), half) * window
        part = np.convolve(audio[t * hop : (t + 1) * hop], impulse)
        out[t * hop : t * hop + len(part)] += part
    return out[half : half + frames * hop]


def given(frames, hop, bands, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    audio = rng.normal(size=frames * hop)
    magnitudes = rng.uniform(size=(frames, bands))
    return jnp.asarray(audio, dtype), jnp.asarray(magnitudes, dtype)


@pytest.mark.parametrize(
    "frames, hop, bands",
    [(1, 64, 65), (7, 64, 65), (5, 32, 33), (4, 50, 10), (3, 8, 65)],
)
def test_against_convolution(frames, hop, bands):
    audio, magnitudes = given(frames, hop, bands)
    found = FrequencyFilter(hop, bands)(audio, magnitudes)
    expected = by_definition(np.asarray(audio), np.asarray(magnitudes), hop)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_flat_filter_leaves_an_impulse_in_place():
    audio = jnp.zeros(640).at[300].set(1.0)
    out = FrequencyFilter()(audio, jnp.ones((10, 65)))
    np.testing.assert_allclose(out, audio, atol=1e-6)


def test_a_filter_is_symmetric_in_time():
    audio = jnp.zeros(640).at[352].set(1.0)  # in the middle of its frame
    magnitudes = jnp.tile(jnp.linspace(1, 0, 65) ** 2, (10, 1))
    out = np.asarray(FrequencyFilter()(audio, magnitudes))
    np.testing.assert_allclose(out[352 - 60 : 352], out[353:413][::-1], atol=1e-6)


def test_adjoints_in_double_precision():
    with jax.enable_x64(True):
        audio, magnitudes = given(5, 16, 9, "float64")
        filtering = FrequencyFilter(16, 9)
        expected = by_definition(np.asarray(audio), np.asarray(magnitudes), 16)
        np.testing.assert_allclose(filtering(audio, magnitudes), expected, atol=1e-13)
        rng = np.random.default_rng(1)
        along = tuple(
            jnp.asarray(rng.normal(size=a.shape)) for a in (audio, magnitudes)
        )
        value, tangent = jax.jvp(filtering, (audio, magnitudes), along)
        # The filter is linear in either argument.
        both = filtering(along[0], magnitudes) + filtering(audio, along[1])
        np.testing.assert_allclose(tangent, both, atol=1e-12)
        g = jnp.asarray(rng.normal(size=value.shape))
        back = jax.vjp(filtering, audio, magnitudes)[1](g)
        inner = sum(jnp.vdot(a, b) for a, b in zip(along, back, strict=True))
        np.testing.assert_allclose(jnp.vdot(g, tangent), inner, rtol=1e-12)

        def energy(audio, magnitudes):
            return jnp.sum(filtering(audio, magnitudes) ** 4)

        hessian = jax.hessian(energy, 1)(audio, magnitudes).reshape(45, 45)
        np.testing.assert_allclose(hessian, hessian.T, atol=1e-9)


def in_chunks(step, state, count, *controls):
    rng = np.random.default_rng(0)
    parts, here = [], 0
    while here < count:
        size = min(int(rng.integers(1, 9)), count - here)
        state, out = step(state, *(c(here, here + size) for c in controls))
        parts.append(out)
        here += size
    return np.concatenate(parts)


@pytest.mark.parametrize("hop, bands", [(64, 65), (32, 65), (64, 20)])
def test_streams_give_the_bits_of_the_whole_later(hop, bands):
    audio, magnitudes = given(40, hop, bands)
    filtering = FrequencyFilter(hop, bands)
    whole = np.asarray(jax.jit(filtering)(audio, magnitudes))
    late = in_chunks(
        jax.jit(filtering.step),
        filtering.init(audio, magnitudes),
        40,
        lambda a, b: audio[a * hop : b * hop],
        lambda a, b: magnitudes[a:b],
    )
    delay = filtering.delay
    np.testing.assert_array_equal(late[delay:], whole[: len(whole) - delay])


def test_noise_is_a_function_of_key_and_place():
    key = jax.random.key(3)
    whole = white_noise(key, 0, 20, 64)
    np.testing.assert_array_equal(white_noise(key, 7, 5, 64), whole[7 * 64 : 12 * 64])
    keys = jax.random.split(key, 3)
    many = jax.vmap(lambda k: white_noise(k, 0, 20, 64))(keys)
    np.testing.assert_array_equal(many[2], white_noise(keys[2], 0, 20, 64))
    assert abs(float(whole.mean())) < 0.05 and abs(float(whole.std()) - 3**-0.5) < 0.02


def test_filtered_noise_streams_and_batches_bit_for_bit():
    synth = FilteredNoise()
    _, magnitudes = given(30, 64, 65)
    key = jax.random.key(0)
    whole = np.asarray(jax.jit(synth)(magnitudes, key=key))
    late = in_chunks(
        jax.jit(synth.step),
        synth.init(magnitudes, key=key),
        30,
        lambda a, b: magnitudes[a:b],
    )
    delay = synth.filter.delay
    np.testing.assert_array_equal(late[delay:], whole[: len(whole) - delay])
    for batch in (1, 3, 16):
        keys = jax.random.split(key, batch).at[0].set(key)
        many = jnp.tile(magnitudes, (batch, 1, 1))
        found = jax.jit(jax.vmap(lambda m, k: synth(m, key=k)))(many, keys)
        np.testing.assert_array_equal(found[0], whole)


def test_the_noise_has_the_spectrum_that_was_asked_for():
    synth = FilteredNoise()
    shape = np.zeros(65)
    shape[10:20] = 1
    sound = np.asarray(synth(jnp.tile(shape, (2000, 1)), key=jax.random.key(1)))
    power = np.abs(np.fft.rfft(sound)) ** 2
    bands = np.add.reduceat(power, np.linspace(0, len(power) - 1, 65).astype(int)[:-1])
    inside = bands[10:19].sum() / bands.sum()
    assert inside > 0.9


def test_silence_and_nothing():
    filtering = FrequencyFilter()
    assert filtering(jnp.zeros(0), jnp.zeros((0, 65))).shape == (0,)
    out = filtering(jnp.ones(64), jnp.zeros((1, 65)))
    np.testing.assert_array_equal(out, 0)
    with pytest.raises(ValueError, match=r"\(63,\) and \(1, 65\)"):
        filtering(jnp.zeros(63), jnp.zeros((1, 65)))
    with pytest.raises(ValueError, match="bands=1"):
        FrequencyFilter(64, 1)
