"""Phases against rational arithmetic."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp import frame_phases
from djx.dsp._phase import _cycles


ZERO = jnp.uint32(0)


def exact(f0_hz, hop, sample_rate):
    """In rational numbers, as far as double precision holds their sum."""
    total, out = Fraction(0), []
    for f, g in zip(
        [Fraction(float(f)) for f in f0_hz[:-1]],
        [Fraction(float(f)) for f in f0_hz[1:]],
        strict=True,
    ):
        for n in range(hop):
            here = n * f + (g - f) * Fraction(n * (n - 1), 2 * hop)
            out.append(float((total + here / Fraction(sample_rate)) % 1))
        total += (hop * f + (g - f) * Fraction(hop - 1, 2)) / Fraction(sample_rate)
        total %= 1
    return np.asarray(out).reshape(-1, hop)


def distance(a, b):
    """Of phases, the shorter way round."""
    gap = np.abs(np.asarray(a, np.float64) - b) % 1
    return np.max(np.minimum(gap, 1 - gap))


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.5, 440.0, 12345.678, 7e4, 1e9, -3.3])
def test_cycles_of_a_float_are_exact(value):
    factor = Fraction(65, 2 * 16000)
    value = np.float32(value)
    expected = Fraction(float(value)) * factor % 1
    found = int(_cycles(jnp.asarray(value), factor)) / Fraction(2**32)
    gap = abs(found - expected)
    assert min(gap, 1 - gap) < Fraction(2, 2**32)


@pytest.mark.parametrize("hop, sample_rate", [(1, 8000), (64, 16000), (192, 44100.5)])
def test_against_rational_numbers(hop, sample_rate):
    f0 = np.random.default_rng(0).uniform(20, 3000, 30).astype(np.float32)
    found, _ = jax.jit(frame_phases, static_argnums=(2, 3))(f0, ZERO, hop, sample_rate)
    assert distance(found, exact(f0, hop, sample_rate)) < 1e-6


def test_in_double_precision():
    with jax.enable_x64(True):
        f0 = np.random.default_rng(0).uniform(20, 3000, 20)
        found, end = frame_phases(jnp.asarray(f0), jnp.uint64(0), 64, 16000)
        assert distance(found, exact(f0, 64, 16000)) < 1e-14
        assert end.dtype == jnp.uint64


@pytest.mark.parametrize("seconds, limit", [(60, 1e-4), (600, 1e-3)])
@pytest.mark.parametrize("constant", [True, False])
def test_long_sounds_stay_in_phase(seconds, limit, constant):
    """The bars of 1e-4 cycles after a minute at 48 kHz and 1e-3 after ten."""
    rate, hop = 48000, 192
    frames = seconds * rate // hop
    t = np.arange(frames + 1) * hop / rate
    f0 = 440 + (0 if constant else 20) * np.sin(2 * np.pi * 5.1 * t)
    f0 = np.asarray(f0, np.float32)
    phases = jax.jit(frame_phases, static_argnums=(2, 3))(f0, ZERO, hop, rate)[0]
    f = f0.astype(np.float64)
    steps = (hop * f[:-1] + (f[1:] - f[:-1]) * (hop - 1) / 2) / rate
    begin = np.cumsum(steps) - steps
    gap = distance(phases[:, 0], begin)
    assert gap < limit / 10


def test_chunks_give_the_same_bits():
    f0 = np.random.default_rng(1).uniform(20, 3000, 101).astype(np.float32)
    whole, end = frame_phases(f0, ZERO, 64, 16000)
    for size in (1, 7, 33):
        phase, parts = ZERO, []
        for first in range(0, 100, size):
            part = f0[first : min(first + size, 100) + 1]
            found, phase = frame_phases(part, phase, 64, 16000)
            parts.append(found)
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert phase == end


def test_derivative_is_that_of_the_sum_of_increments():
    with jax.enable_x64(True):
        f0 = jnp.asarray(np.random.default_rng(2).uniform(20, 300, 6))
        change = jnp.asarray(np.random.default_rng(3).normal(size=6))

        def phases(f0):
            return frame_phases(f0, jnp.uint64(0), 8, 16000)[0]

        _, found = jax.jvp(phases, (f0,), (change,))
        n = np.arange(8) / 8
        steps = change[:-1, None] * (1 - n) + change[1:, None] * n
        expected = (np.cumsum(steps.ravel()) - steps.ravel()).reshape(5, 8) / 16000
        np.testing.assert_allclose(found, expected, atol=1e-15)
        weights = jnp.asarray(np.random.default_rng(4).normal(size=(5, 8)))
        _, pull = jax.vjp(phases, f0)
        np.testing.assert_allclose(
            jnp.vdot(weights, found), jnp.vdot(pull(weights)[0], change), rtol=1e-12
        )
