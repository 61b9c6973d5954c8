"""Harmonics against their definition in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp import Harmonic, harmonic_sum, nyquist_gain
from djx.dsp._frames import fade_weights


def rows(frames, hop, harmonics, seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    cycles = rng.uniform(-0.5, 0.5, (frames, hop))
    left, right = rng.normal(size=(2, frames, harmonics)) / max(harmonics, 1)
    fade = fade_weights("linear", hop)
    parts = (cycles, left, right)
    return *(jnp.asarray(p.astype(dtype)) for p in parts), fade


def by_definition(cycles, left, right, fade):
    cycles, left, right, fade = (
        np.asarray(a, np.float64) for a in (cycles, left, right, fade)
    )
    h = np.arange(1, left.shape[1] + 1)
    weight = fade[:, None]
    mixed = (1 - weight) * left[:, None] + weight * right[:, None]
    sines = np.sin(2 * np.pi * h * cycles[..., None])
    cosines = np.cos(2 * np.pi * h * cycles[..., None])
    slope = 2 * np.pi * np.sum(mixed * h * cosines, -1)
    return np.sum(mixed * sines, -1), slope, sines


@pytest.mark.parametrize("harmonics", [0, 1, 2, 31, 60, 100, 128, 129, 256])
def test_sum_and_gradients_are_those_of_the_definition(harmonics):
    given = rows(5, 16, harmonics)
    expected, slope, sines = by_definition(*given)
    np.testing.assert_allclose(harmonic_sum(*given), expected, atol=5e-6)
    g = np.random.default_rng(1).normal(size=expected.shape)
    _, pull = jax.vjp(lambda *parts: harmonic_sum(*parts, given[3]), *given[:3])
    d_cycles, d_left, d_right = pull(jnp.asarray(g.astype("float32")))
    weight = np.asarray(given[3], np.float64)
    scale = 1 + harmonics
    np.testing.assert_allclose(d_cycles, g * slope, atol=2e-5 * scale)
    right = np.einsum("fn,fnh->fh", g * weight, sines)
    left = np.einsum("fn,fnh->fh", g * (1 - weight), sines)
    np.testing.assert_allclose(d_left, left, atol=1e-4)
    np.testing.assert_allclose(d_right, right, atol=1e-4)


def test_derivatives_in_double_precision():
    with jax.enable_x64(True):
        given = rows(3, 8, 37, dtype="float64")
        fade = given[3]

        def function(*parts):
            return harmonic_sum(*parts, fade)

        expected, *_ = by_definition(*given)
        np.testing.assert_allclose(function(*given[:3]), expected, atol=1e-13)
        rng = np.random.default_rng(2)
        along = tuple(jnp.asarray(rng.normal(size=p.shape)) for p in given[:3])
        value, tangent = jax.jvp(function, given[:3], along)
        g = jnp.asarray(rng.normal(size=value.shape))
        back = jax.vjp(function, *given[:3])[1](g)
        inner = sum(jnp.vdot(a, b) for a, b in zip(along, back, strict=True))
        np.testing.assert_allclose(jnp.vdot(g, tangent), inner, rtol=1e-12)
        step = 1e-6
        moved = [
            function(*(p + s * t for p, t in zip(given[:3], along, strict=True)))
            for s in (step, -step)
        ]
        np.testing.assert_allclose(
            tangent, (moved[0] - moved[1]) / (2 * step), rtol=1e-5, atol=1e-7
        )

        def loss(*parts):
            return jnp.sum(function(*parts) ** 3)

        # Second order, forward over reverse and reverse over reverse.
        grad = jax.grad(loss, (0, 1, 2))
        _, forward = jax.jvp(grad, given[:3], along)
        reverse = jax.grad(
            lambda *p: sum(
                jnp.vdot(a, b) for a, b in zip(grad(*p), along, strict=True)
            ),
            (0, 1, 2),
        )(*given[:3])
        for a, b in zip(forward, reverse, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_rows_do_not_depend_on_their_companions():
    given = rows(40, 64, 60)

    def summed(*parts):
        return harmonic_sum(*parts, given[3])

    whole = jax.jit(summed)(*given[:3])

    def gradients(cycles, left, right, g):
        _, pull = jax.vjp(lambda *p: harmonic_sum(*p, given[3]), cycles, left, right)
        return pull(g)

    g = jnp.ones_like(whole)
    back = jax.jit(gradients)(*given[:3], g)
    for first, last in ((0, 1), (3, 10), (17, 33)):
        part = [p[first:last] for p in given[:3]]
        alone = jax.jit(summed)(*part)
        np.testing.assert_array_equal(alone, whole[first:last])
        for a, b in zip(jax.jit(gradients)(*part, g[first:last]), back, strict=True):
            np.testing.assert_array_equal(a, b[first:last])


def controls(frames, harmonics, seed=0):
    rng = np.random.default_rng(seed)
    f0 = 200 + 50 * np.sin(np.arange(frames) / 9) + rng.normal(size=frames)
    amplitudes = rng.uniform(size=(frames, harmonics)) / harmonics
    return jnp.asarray(f0, jnp.float32), jnp.asarray(amplitudes, jnp.float32)


def test_one_sine_is_a_sine():
    synth = Harmonic(48000, 96)
    f0 = jnp.full(500, 1000.0)
    amplitudes = jnp.zeros((500, 7)).at[:, 2].set(0.5)
    n = np.arange(500 * 96)
    expected = 0.5 * np.sin(2 * np.pi * 3000 * n / 48000)
    np.testing.assert_allclose(synth(f0, amplitudes), expected, atol=2e-6)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_a_batch_gives_the_bits_of_its_rows(batch):
    synth = Harmonic()
    pairs = [controls(12, 20, seed) for seed in range(batch)]
    f0, amplitudes = (jnp.stack(x) for x in zip(*pairs, strict=True))
    many = jax.jit(jax.vmap(synth))(f0, amplitudes)
    alone = jax.jit(synth)(*pairs[-1])
    np.testing.assert_array_equal(many[-1], alone)


@pytest.mark.parametrize("fade", ["linear", "hann"])
def test_streams_give_the_bits_of_the_whole(fade):
    synth = Harmonic(fade=fade)
    f0, amplitudes = controls(50, 30)
    whole = jax.jit(synth)(f0, amplitudes)
    step = jax.jit(synth.step)
    rng = np.random.default_rng(0)
    state, parts, here = synth.init(f0, amplitudes), [], 0
    while here < 50:
        size = int(rng.integers(1, 9))
        block = slice(here, here + size)
        state, out = step(state, f0[block], amplitudes[block])
        parts.append(out)
        here += size
    state, out = step(state, f0[-1:], amplitudes[-1:])
    late = np.concatenate([*parts, out])
    np.testing.assert_array_equal(late[: synth.delay], 0)
    np.testing.assert_array_equal(late[synth.delay :], whole)


def test_nothing_is_heard_above_half_the_sample_rate():
    synth = Harmonic(16000, 64)
    f0 = jnp.full(50, 3000.0)
    out = synth(f0, jnp.ones((50, 40)))
    expected = synth(f0, jnp.ones((50, 2)))
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_array_equal(nyquist_gain(jnp.asarray([0.0, 7000.0]), 16000), 1)
    np.testing.assert_allclose(nyquist_gain(jnp.asarray([8e3, 9e9]), 16000), 0)


@pytest.mark.parametrize("f0", [0.0, 8000.0, 1e9, -440.0])
def test_no_frequency_breaks_it(f0):
    synth = Harmonic()

    def loss(f0, amplitudes):
        return jnp.sum(synth(f0, amplitudes) ** 2)

    given = jnp.full(4, f0), jnp.ones((4, 5))
    value, grads = jax.value_and_grad(loss, (0, 1))(*given)
    assert all(np.all(np.isfinite(x)) for x in (value, *grads))


def test_what_is_no_number_shows():
    out = Harmonic()(jnp.asarray([100.0, jnp.nan, 100.0, 100.0]), jnp.ones((4, 3)))
    frames = np.isnan(out).reshape(4, 64).any(1)
    np.testing.assert_array_equal(frames, [True, True, False, False])


def test_no_frames_no_sound():
    assert Harmonic()(jnp.zeros(0), jnp.zeros((0, 5))).shape == (0,)


def test_refusals_name_the_argument():
    with pytest.raises(ValueError, match="fade='han': .*'hann'"):
        Harmonic(fade="han")
    with pytest.raises(ValueError, match="sample_rate=0"):
        Harmonic(0)
    with pytest.raises(ValueError, match="hop=0"):
        Harmonic(hop=0)
    with pytest.raises(ValueError, match=r"\(4,\) and \(3, 5\)"):
        Harmonic()(jnp.zeros(4), jnp.zeros((3, 5)))


def test_gradient_by_the_frequency_is_that_of_the_definition():
    """Of a chirp, against differences of a sum of increments in float64."""
    with jax.enable_x64(True):
        f0, amplitudes = controls(6, 4)
        f0, amplitudes = f0.astype("float64"), amplitudes.astype("float64")
        synth = Harmonic(16000, 8)
        weights = jnp.asarray(np.random.default_rng(5).normal(size=48))

        def by_increments(f0):
            ahead = np.append(f0[1:], f0[-1])
            n = np.arange(8) / 8
            each = (f0[:, None] * (1 - n) + ahead[:, None] * n).ravel() / 16000
            phase = np.cumsum(each) - each
            after = np.concatenate([amplitudes[1:], amplitudes[-1:]])
            mixed = (
                np.asarray(amplitudes)[:, None] * (1 - n[:, None])
                + after[:, None] * n[:, None]
            ).reshape(48, 4)
            h = np.arange(1, 5)
            return np.sum(mixed * np.sin(2 * np.pi * phase[:, None] * h), 1)

        plain = np.asarray(f0)
        np.testing.assert_allclose(
            synth(f0, amplitudes), by_increments(plain), atol=1e-12
        )
        found = jax.grad(lambda f: jnp.vdot(weights, synth(f, amplitudes)))(f0)
        expected = [
            np.vdot(weights, by_increments(plain + s) - by_increments(plain - s)) / 2e-4
            for s in 1e-4 * np.eye(6)
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
