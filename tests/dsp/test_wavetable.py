"""Wavetables against SciPy's interpolants, harmonics, and their own adjoint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate

from djx.dsp import Harmonic
from djx.dsp._wavetable import Wavetable


def controls(frames, size, seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    f0 = 300 + 50 * np.sin(np.arange(frames) / 9) + rng.normal(size=frames)
    tables = rng.normal(size=(frames, size))
    return [jnp.asarray(x, dtype) for x in (f0, rng.uniform(size=frames), tables)]


def interpolant(table, kind):
    """A function of cycles, periodic."""
    size = len(table)
    wide = table[np.arange(-4, size + 5) % size]
    at = np.arange(-4, size + 5)
    if kind == "linear":
        return lambda cycles: np.interp(cycles % 1 * size, at, wide)
    slopes = np.convolve(wide, np.array([-1, 8, 0, -8, 1]) / 12, "valid")
    spline = scipy.interpolate.CubicHermiteSpline(at[2:-2], wide[2:-2], slopes)
    return lambda cycles: spline(cycles % 1 * size)


def by_increments(f0, amplitudes, tables, hop, rate, kind, fade):
    parts = [np.asarray(a, np.float64) for a in (f0, amplitudes, tables)]
    f0, amplitudes, tables = (np.append(a, a[-1:], 0) for a in parts)
    waves = [interpolant(table, kind) for table in tables]
    phase, out = 0.0, []
    for t in range(len(f0) - 1):
        for n in range(hop):
            x = n / hop
            w = x if fade == "linear" else (1 - np.cos(np.pi * x)) / 2
            read = (1 - w) * waves[t](phase) + w * waves[t + 1](phase)
            out.append(((1 - w) * amplitudes[t] + w * amplitudes[t + 1]) * read)
            phase += ((1 - x) * f0[t] + x * f0[t + 1]) / rate
    return np.asarray(out)


@pytest.mark.parametrize("kind", ["cubic", "linear"])
@pytest.mark.parametrize("frames, size, fade", [(9, 32, "linear"), (4, 7, "hann")])
def test_against_scipy(frames, size, fade, kind):
    synth = jax.jit(Wavetable(16000, 24, fade, kind, band_limited=False))
    given = controls(frames, size)
    expected = by_increments(*given, 24, 16000, kind, fade)
    np.testing.assert_allclose(synth(*given), expected, atol=1e-4)
    with jax.enable_x64(True):
        given = controls(frames, size, dtype="float64")
        expected = by_increments(*given, 24, 16000, kind, fade)
        np.testing.assert_allclose(synth(*given), expected, atol=1e-10)


@pytest.mark.parametrize("kind, order, factor", [("cubic", 4, 384), ("linear", 2, 8)])
def test_order_of_convergence_to_a_sine(kind, order, factor):
    with jax.enable_x64(True):
        n = np.arange(99 * 64)
        expected = np.sin(2 * np.pi * 333.3 * n / 16000)
        sizes, errors = np.asarray([32, 64, 128]), []
        for size in sizes:
            table = jnp.sin(2 * np.pi * jnp.arange(size) / size)
            synth = jax.jit(Wavetable(interpolation=kind, band_limited=False))
            out = synth(jnp.full(99, 333.3), jnp.ones(99), table)
            errors.append(np.max(np.abs(out - expected)))
        found = np.log2(np.divide(errors[:-1], errors[1:]))
        np.testing.assert_allclose(found, order, atol=0.1)
        assert np.all(errors <= 1.1 * (2 * np.pi / sizes) ** order / factor)


def test_band_limited_it_is_the_harmonics_of_the_table():
    """Many of which are above half the sample rate."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        f0 = jnp.asarray(700 + 100 * np.sin(np.arange(20) / 3))
        weights = jnp.asarray(rng.normal(size=(20, 30)))
        h, n = np.arange(1, 31), np.arange(2048)
        tables = weights @ np.sin(2 * np.pi * np.outer(h, n) / 2048)
        expected = jax.jit(Harmonic())(f0, weights)
        found = jax.jit(Wavetable())(f0, jnp.ones(20), tables)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        open_ = jax.jit(Wavetable(band_limited=False))(f0, jnp.ones(20), tables)
        assert np.max(np.abs(open_ - expected)) > 1


def test_one_table_is_the_same_at_every_frame():
    f0, amplitudes, tables = controls(6, 32)
    whole = Wavetable()(f0, amplitudes, tables[0])
    same = jnp.broadcast_to(tables[0], tables.shape)
    np.testing.assert_array_equal(Wavetable()(f0, amplitudes, same), whole)


@pytest.mark.parametrize("limited", [False, True])
def test_derivatives(limited):
    with jax.enable_x64(True):
        primals = tuple(controls(5, 12, dtype="float64"))
        primals = (primals[0] + 1500, *primals[1:])  # some harmonics are half heard
        rng = np.random.default_rng(1)
        along = tuple(jnp.asarray(rng.normal(size=p.shape)) for p in primals)
        synth = jax.jit(Wavetable(16000, 8, "hann", band_limited=limited))
        value, tangent = jax.jvp(synth, primals, along)

        def reference(f0, amplitudes, tables):
            if limited:
                place = (8000 - f0[:, None] * np.arange(7)) / 800
                place = np.clip(place, 0, 1)
                gain = 3 * place**2 - 2 * place**3
                tables = np.fft.irfft(np.fft.rfft(tables) * gain, 12)
            return by_increments(f0, amplitudes, tables, 8, 16000, "cubic", "hann")

        step = 1e-5
        moved = [
            reference(*(p + s * t for p, t in zip(primals, along, strict=True)))
            for s in (step, -step)
        ]
        np.testing.assert_allclose(
            tangent, (moved[0] - moved[1]) / (2 * step), rtol=1e-6, atol=1e-8
        )
        g = jnp.asarray(rng.normal(size=value.shape))
        back = jax.vjp(synth, *primals)[1](g)
        inner = sum(jnp.vdot(a, b) for a, b in zip(along, back, strict=True))
        np.testing.assert_allclose(jnp.vdot(g, tangent), inner, rtol=1e-11)


def test_streams_and_batches_give_the_bits_of_the_whole():
    synth = Wavetable(fade="hann")
    given = controls(50, 100)
    whole = jax.jit(synth)(*given)
    step = jax.jit(synth.step)
    rng = np.random.default_rng(0)
    state, parts, here = synth.init(*given), [], 0
    while here < 50:
        count = int(rng.choice([1, 4, 9]))
        state, out = step(state, *(x[here : here + count] for x in given))
        parts.append(out)
        here += count
    parts.append(step(state, *(x[-1:] for x in given))[1])
    late = np.concatenate(parts)
    np.testing.assert_array_equal(late[: synth.delay], 0)
    np.testing.assert_array_equal(late[synth.delay :], whole)
    for batch in (1, 3, 16):
        tiled = (jnp.tile(x, (batch, *[1] * x.ndim)) for x in given)
        many = jax.jit(jax.vmap(synth))(*tiled)
        np.testing.assert_array_equal(many[-1], whole)


def test_edges():
    table = jnp.asarray([0.0, 1.0, 0.0, -1.0])
    assert Wavetable()(jnp.zeros(0), jnp.zeros(0), table).shape == (0,)
    constant = Wavetable()(jnp.full(2, 99.0), jnp.ones(2), jnp.ones(1))
    np.testing.assert_allclose(constant, 1, rtol=1e-6)
    synth = Wavetable()

    def loss(*given):
        return jnp.sum(synth(*given) ** 2)

    f0 = jnp.broadcast_to(jnp.asarray([0.0, 8000.0, 1e9, -440.0])[:, None], (4, 3))
    grads = jax.jit(jax.vmap(jax.grad(loss, (0, 1, 2)), (0, None, None)))
    assert all(np.all(np.isfinite(x)) for x in grads(f0, jnp.ones(3), table))
    for limited in (False, True):
        synth = Wavetable(band_limited=limited)
        f0 = jnp.asarray([100.0, jnp.nan, 100.0, 100.0])
        out = synth(f0, jnp.ones(4), table).reshape(4, 64)
        np.testing.assert_array_equal(np.isnan(out).any(1), [True, True, False, False])


def test_refusals_name_the_argument():
    with pytest.raises(ValueError, match="interpolation='cubik': .*'cubic'"):
        Wavetable(interpolation="cubik")
    with pytest.raises(ValueError, match="hop=0"):
        Wavetable(hop=0)
    with pytest.raises(ValueError, match=r"\(4,\), \(4,\) and \(3, 8\)"):
        Wavetable()(jnp.zeros(4), jnp.zeros(4), jnp.zeros((3, 8)))
    with pytest.raises(ValueError, match="wavetables: .* one sample"):
        Wavetable()(jnp.zeros(4), jnp.zeros(4), jnp.zeros(0))
