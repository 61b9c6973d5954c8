"""Delays against a loop, polynomials, and their own adjoint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp._delay import fractional_delay, ModulatedDelay


def by_loop(audio, delay, past):
    """The polynomial through four samples, one output after another."""
    line, memory = np.concatenate([past, audio]), len(past)
    delay = np.broadcast_to(delay, audio.shape)
    out = []
    for n, d in enumerate(np.maximum(delay, 0)):
        first = max(int(np.floor(d)) - 1, 0)
        total = 0.0
        for k in range(first, first + 4):
            others = [j for j in range(first, first + 4) if j != k]
            weight = np.prod([(d - j) / (k - j) for j in others])
            at = n + memory - k
            total += weight * line[at] if at >= 0 else 0.0
        out.append(total)
    return np.asarray(out)


def given(samples=40, memory=12, scalar=False, seed=0):
    rng = np.random.default_rng(seed)
    delay = 3.3 if scalar else rng.uniform(0, 14, samples)
    parts = rng.normal(size=samples), delay, rng.normal(size=memory)
    return [jnp.asarray(part) for part in parts]


@pytest.mark.parametrize("samples, memory", [(40, 12), (1, 3), (200, 0)])
@pytest.mark.parametrize("scalar", [False, True])
def test_against_a_loop(samples, memory, scalar):
    with jax.enable_x64(True):
        parts = given(samples, memory, scalar)
        expected = by_loop(*map(np.asarray, parts))
        found = fractional_delay(*parts)
        np.testing.assert_allclose(found, expected, atol=1e-13)
        with jax.enable_x64(False):
            single = fractional_delay(*(p.astype("float32") for p in parts))
            np.testing.assert_allclose(single, expected, atol=3e-5)


@pytest.mark.parametrize("delay", [0, 1, 2, 7, 30, 99])
def test_whole_delays_shift_exactly(delay):
    audio, _, past = (jnp.asarray(x, "float32") for x in given())
    line = np.concatenate([np.zeros(99), past, audio])
    expected = line[len(line) - 40 - delay :][:40]
    np.testing.assert_array_equal(fractional_delay(audio, delay, past), expected)
    every = jnp.full(40, float(delay))
    np.testing.assert_array_equal(fractional_delay(audio, every, past), expected)


def test_polynomials_of_degree_three_are_exact():
    with jax.enable_x64(True):

        def x(t):
            return 2 - t / 3 + (t / 20) ** 2 - (t / 10) ** 3

        delay = np.random.default_rng(0).uniform(0, 27, 50)
        past, audio = x(np.arange(-30.0, 0)), x(np.arange(50.0))
        found = fractional_delay(*map(jnp.asarray, (audio, delay, past)))
        np.testing.assert_allclose(found, x(np.arange(50) - delay), atol=1e-11)
        steeper = jnp.asarray(audio + np.arange(50.0) ** 4)
        past = jnp.asarray(past + np.arange(-30.0, 0) ** 4)
        wrong = fractional_delay(steeper, jnp.asarray(delay), past)
        ideal = x(np.arange(50) - delay) + (np.arange(50) - delay) ** 4
        assert np.max(np.abs(wrong - ideal)) > 0.1


@pytest.mark.parametrize("scalar", [False, True])
def test_derivatives(scalar):
    with jax.enable_x64(True):
        primals = tuple(given(scalar=scalar))
        rng = np.random.default_rng(1)
        along = tuple(jnp.asarray(rng.normal(size=p.shape)) for p in primals)
        value, tangent = jax.jvp(fractional_delay, primals, along)
        step = 1e-6
        ends = [
            by_loop(
                *(np.asarray(p + s * t) for p, t in zip(primals, along, strict=True))
            )
            for s in (step, -step)
        ]
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(tangent, slope, rtol=1e-6, atol=1e-7)
        g = jnp.asarray(rng.normal(size=value.shape))
        back = jax.vjp(fractional_delay, *primals)[1](g)
        inner = sum(jnp.vdot(a, b) for a, b in zip(along, back, strict=True))
        np.testing.assert_allclose(jnp.vdot(g, tangent), inner, rtol=1e-12)

        def bend(delay):
            return fractional_delay(primals[0], delay, primals[2])[20]

        # The second derivative of a cubic is exact by differences.
        by_differences = (bend(3.6) - 2 * bend(3.5) + bend(3.4)) / 0.01
        found = jax.grad(jax.grad(bend))(3.5)
        np.testing.assert_allclose(found, by_differences, rtol=1e-9)


def swinging(samples, seed=0):
    rng = np.random.default_rng(seed)
    swing = np.sin(np.arange(samples) / 50 + seed)
    parts = rng.normal(size=samples), 0.002 * (1 + swing), rng.uniform(size=samples)
    return [jnp.asarray(x, jnp.float32) for x in parts]


def test_streams_and_batches_give_the_bits_of_the_whole():
    chorus = ModulatedDelay(16000, 0.005)
    parts = swinging(700)
    whole = jax.jit(chorus)(*parts, 0.7)
    step = jax.jit(chorus.step)
    rng = np.random.default_rng(0)
    state, outs, here = chorus.init(parts[0]), [], 0
    while here < 700:
        size = int(rng.choice([1, 3, 64, 100]))
        state, out = step(state, *(x[here : here + size] for x in parts), 0.7)
        outs.append(out)
        here += size
    np.testing.assert_array_equal(np.concatenate(outs), whole)
    for batch in (1, 3, 16):
        pairs = [swinging(700, seed) for seed in range(batch)][::-1]
        many = jax.vmap(lambda *x: chorus(*x, 0.7))
        rows = jax.jit(many)(*(jnp.stack(x) for x in zip(*pairs, strict=True)))
        np.testing.assert_array_equal(rows[-1], whole)


def test_a_modulated_delay_is_a_sum_of_two():
    audio, seconds, gain = swinging(300)
    with jax.enable_x64(True):
        wide = [np.asarray(x, np.float64) for x in (audio, seconds, gain)]
        late = by_loop(wide[0], wide[1] * 16000, np.zeros(0))
        expected = 0.3 * wide[0] + wide[2] * late
        found = ModulatedDelay(16000, 0.004)(*map(jnp.asarray, wide), 0.3)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    short = ModulatedDelay(16000, 0.001)
    np.testing.assert_array_equal(
        short(audio, seconds), short(audio, jnp.minimum(seconds, 0.001))
    )
    dry = short(audio, seconds, 0.0)
    np.testing.assert_array_equal(dry, audio)


def test_edges():
    assert fractional_delay(jnp.zeros(0), 2.5).shape == (0,)
    assert ModulatedDelay()(jnp.zeros(0), 0.001).shape == (0,)
    audio = jnp.ones(6)
    np.testing.assert_array_equal(fractional_delay(audio, -3.0), audio)
    np.testing.assert_array_equal(fractional_delay(audio, 1e30), 0)
    np.testing.assert_array_equal(fractional_delay(audio, jnp.inf), 0)
    odd = jnp.zeros(6).at[2].set(jnp.nan)
    out = fractional_delay(audio, odd)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(odd))
    for delay in (0.0, 1.0, -1.0, 1e30):
        grads = jax.grad(lambda *x: jnp.sum(fractional_delay(*x) ** 2), (0, 1))
        assert all(np.all(np.isfinite(x)) for x in grads(audio, delay))
    # At no delay the slope is the polynomial's, not half of it.
    ramp = jnp.arange(6.0)
    slope = jax.grad(lambda d: fractional_delay(ramp, d)[5])(0.0)
    np.testing.assert_allclose(slope, -1, rtol=1e-6)


def test_refusals_name_the_argument():
    with pytest.raises(ValueError, match=r"delay_samples .*\(4,\) and \(3,\)"):
        fractional_delay(jnp.zeros(4), jnp.zeros(3))
    with pytest.raises(ValueError, match=r"past is \(memory,\), not \(2, 2\)"):
        fractional_delay(jnp.zeros(4), 1.0, jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match="longest_seconds=-1"):
        ModulatedDelay(16000, -1)
    with pytest.raises(ValueError, match="sample_rate=0"):
        ModulatedDelay(0)
    with pytest.raises(ValueError, match=r"gain and dry .*\(3,\)"):
        ModulatedDelay()(jnp.zeros(4), 0.0, jnp.zeros(3))
