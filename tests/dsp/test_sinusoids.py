"""Free sinusoids against sums of increments in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp import Harmonic
from djx.dsp._sinusoids import Sinusoids


def controls(frames, sinusoids, seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    frequencies = rng.uniform(50, 3000, sinusoids) + rng.normal(
        scale=30, size=(frames, sinusoids)
    )
    amplitudes = rng.normal(size=(frames, sinusoids)) / max(sinusoids, 1)
    return [jnp.asarray(x, dtype) for x in (frequencies, amplitudes)]


def by_increments(frequencies, amplitudes, hop, rate, fade="linear"):
    """One sample after another; nothing is near the Nyquist frequency."""
    frequencies, amplitudes = (
        np.asarray(a, np.float64) for a in (frequencies, amplitudes)
    )
    ahead = [np.append(a[1:], a[-1:], 0) for a in (frequencies, amplitudes)]
    phase, out = np.zeros(frequencies.shape[1]), []
    for t in range(len(frequencies)):
        for n in range(hop):
            x = n / hop
            w = x if fade == "linear" else (1 - np.cos(np.pi * x)) / 2
            a = (1 - w) * amplitudes[t] + w * ahead[1][t]
            out.append(np.sum(a * np.sin(2 * np.pi * phase)))
            phase = phase + ((1 - x) * frequencies[t] + x * ahead[0][t]) / rate
    return np.asarray(out)


@pytest.mark.parametrize("fade", ["linear", "hann"])
@pytest.mark.parametrize("frames, hop, rate", [(30, 64, 16000), (1, 9, 44100.5)])
def test_against_increments(frames, hop, rate, fade):
    given = controls(frames, 7)
    found = jax.jit(Sinusoids(rate, hop, fade))(*given)
    expected = by_increments(*given, hop, rate, fade)
    np.testing.assert_allclose(found, expected, atol=5e-6)
    with jax.enable_x64(True):
        given = controls(frames, 7, dtype="float64")
        found = jax.jit(Sinusoids(rate, hop, fade))(*given)
        expected = by_increments(*given, hop, rate, fade)
        np.testing.assert_allclose(found, expected, atol=1e-11)


def test_multiples_of_one_frequency_are_harmonics():
    with jax.enable_x64(True):
        f0 = 400 + 30 * np.sin(np.arange(40) / 5)
        amplitudes = np.random.default_rng(0).normal(size=(40, 25))
        many = f0[:, None] * np.arange(1, 26)
        assert many.max() > 8000
        found = jax.jit(Sinusoids())(jnp.asarray(many), jnp.asarray(amplitudes))
        expected = jax.jit(Harmonic())(jnp.asarray(f0), jnp.asarray(amplitudes))
        np.testing.assert_allclose(found, expected, atol=1e-11)


def test_an_hour_keeps_its_phase():
    rate, hop = 48000, 9600
    frames = 3600 * rate // hop
    given = jnp.full((frames, 1), 1234.567), jnp.ones((frames, 1))
    out = jax.jit(Sinusoids(rate, hop))(*given)[-hop:]
    n = np.arange((frames - 1) * hop, frames * hop, dtype=np.float64)
    cycles = float(np.float32(1234.567)) * n / rate % 1
    np.testing.assert_allclose(out, np.sin(2 * np.pi * cycles), atol=1e-4)


def test_derivatives():
    hop, rate = 8, 16000
    with jax.enable_x64(True):
        primals = tuple(controls(6, 3, dtype="float64"))
        rng = np.random.default_rng(1)
        along = tuple(jnp.asarray(rng.normal(size=p.shape)) for p in primals)
        synth = Sinusoids(rate, hop, "hann")
        value, tangent = jax.jvp(jax.jit(synth), primals, along)
        step = 1e-5
        ends = [
            by_increments(
                *(p + s * t for p, t in zip(primals, along, strict=True)),
                hop,
                rate,
                "hann",
            )
            for s in (step, -step)
        ]
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(tangent, slope, rtol=1e-6, atol=1e-8)
        g = jnp.asarray(rng.normal(size=value.shape))
        back = jax.vjp(jax.jit(synth), *primals)[1](g)
        inner = sum(jnp.vdot(a, b) for a, b in zip(along, back, strict=True))
        np.testing.assert_allclose(jnp.vdot(g, tangent), inner, rtol=1e-11)

        small = Sinusoids(rate, 4)
        primals = tuple(p[:3, :2] for p in primals)

        def loss(f, a):
            return jnp.sum(small(f, a) ** 3)

        hessian = jax.jit(jax.jacfwd(jax.grad(loss)))(*primals).reshape(6, 6)
        assert np.max(np.abs(hessian)) > 0
        np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9, atol=1e-15)


def test_in_single_precision_both_modes_agree_at_whole_cycles():
    given = jnp.full((4, 1), 1000.0), jnp.ones((4, 1))
    _, tangent = jax.jvp(jax.jit(Sinusoids(16000, 16)), given, given)
    n = np.arange(64)
    phase = 2 * np.pi * n / 16
    np.testing.assert_allclose(
        tangent, np.sin(phase) + phase * np.cos(phase), atol=1e-4
    )


def test_gradients_keep_nothing_of_samples_times_sinusoids():
    given = controls(400, 100)

    def loss(*given):
        return jnp.sum(Sinusoids(hop=256)(*given) ** 2)

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(*given).compile()
    whole = 4 * 400 * 256 * 100
    assert compiled.memory_analysis().temp_size_in_bytes < whole / 5


def test_streams_give_the_bits_of_the_whole():
    synth = Sinusoids(fade="hann")
    given = controls(50, 30)
    whole = jax.jit(synth)(*given)
    step = jax.jit(synth.step)
    rng = np.random.default_rng(0)
    state, parts, here = synth.init(*given), [], 0
    while here < 50:
        size = int(rng.choice([1, 4, 9]))
        state, out = step(state, *(x[here : here + size] for x in given))
        parts.append(out)
        here += size
    parts.append(step(state, *(x[-1:] for x in given))[1])
    late = np.concatenate(parts)
    np.testing.assert_array_equal(late[: synth.delay], 0)
    np.testing.assert_array_equal(late[synth.delay :], whole)


def test_a_batch_gives_the_bits_of_its_rows():
    pairs = [controls(12, 20, seed) for seed in range(16)]
    alone = jax.jit(Sinusoids())(*pairs[0])
    for batch in (1, 3, 16):
        given = [jnp.stack(x) for x in zip(*pairs[:batch][::-1], strict=True)]
        many = jax.jit(jax.vmap(Sinusoids()))(*given)
        np.testing.assert_array_equal(many[-1], alone)


def test_no_frequency_breaks_it():
    def loss(f, a):
        return jnp.sum(Sinusoids()(f, a) ** 2)

    frequencies = jnp.asarray([0.0, 8000.0, 1e9, -440.0])
    given = jnp.broadcast_to(frequencies[:, None, None], (4, 4, 2)), jnp.ones((4, 4, 2))
    value, grads = jax.jit(jax.vmap(jax.value_and_grad(loss, (0, 1))))(*given)
    assert all(np.all(np.isfinite(x)) for x in (value, *grads))
    np.testing.assert_array_equal(value[:3], 0)
    assert value[3] > 0


def test_what_is_no_number_shows():
    bad = jnp.full((4, 2), 100.0).at[1, 1].set(jnp.nan)
    out = Sinusoids()(bad, jnp.ones((4, 2)))
    frames = np.isnan(out).reshape(4, 64).any(1)
    np.testing.assert_array_equal(frames, [True, True, False, False])


def test_nothing_gives_nothing():
    assert Sinusoids()(jnp.zeros((0, 5)), jnp.zeros((0, 5))).shape == (0,)
    np.testing.assert_array_equal(Sinusoids()(jnp.zeros((2, 0)), jnp.zeros((2, 0))), 0)


def test_refusals_name_the_argument():
    with pytest.raises(ValueError, match="fade='han': .*'hann'"):
        Sinusoids(fade="han")
    with pytest.raises(ValueError, match="sample_rate=-1"):
        Sinusoids(-1)
    with pytest.raises(ValueError, match=r"\(4, 2\) and \(4, 3\)"):
        Sinusoids()(jnp.zeros((4, 2)), jnp.zeros((4, 3)))
