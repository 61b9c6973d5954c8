"""Sections of equalisers against the analogue filters that they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp._biquads import (
    biquad_all_pass,
    biquad_band_pass,
    biquad_high_pass,
    biquad_high_shelf,
    biquad_low_pass,
    biquad_low_shelf,
    biquad_notch,
    biquad_peaking,
)
from djx.dsp._iir import sosfilt


RATE, CUTOFF, Q, GAIN = 16000.0, 1700.0, 1.3, 9.0

# Numerators and denominators in s, where the cutoff is 1; A is the amplitude's root.
ANALOGUE = {
    biquad_low_pass: lambda q, A: ([0, 0, 1], [1, 1 / q, 1]),
    biquad_high_pass: lambda q, A: ([1, 0, 0], [1, 1 / q, 1]),
    biquad_band_pass: lambda q, A: ([0, 1 / q, 0], [1, 1 / q, 1]),
    biquad_notch: lambda q, A: ([1, 0, 1], [1, 1 / q, 1]),
    biquad_all_pass: lambda q, A: ([1, -1 / q, 1], [1, 1 / q, 1]),
    biquad_peaking: lambda q, A: ([1, A / q, 1], [1, 1 / (A * q), 1]),
    biquad_low_shelf: lambda q, A: ([A, A**1.5 / q, A * A], [A, A**0.5 / q, 1]),
    biquad_high_shelf: lambda q, A: ([A * A, A**1.5 / q, A], [1, A**0.5 / q, A]),
}
SHELVES = {biquad_peaking, biquad_low_shelf, biquad_high_shelf}
designs = pytest.mark.parametrize("design", list(ANALOGUE), ids=lambda d: d.__name__)


def designed(design, cutoff=CUTOFF, q=Q, gain=GAIN):
    gains = [gain] if design in SHELVES else []
    return design(cutoff, q, *gains, RATE)


def analogue(design, frequency, cutoff=CUTOFF, q=Q, gain=GAIN):
    s = 1j * np.tan(np.pi * np.asarray(frequency) / RATE)
    parts = ANALOGUE[design](q, 10 ** (gain / 40))
    over, under = (np.polyval(p, s / np.tan(np.pi * cutoff / RATE)) for p in parts)
    return over / under


def response(section, frequency):
    z = np.exp(-2j * np.pi * np.asarray(frequency) / RATE)
    b, a = np.asarray(section, np.float64).reshape(2, 3)
    return np.polyval(b[::-1], z) / np.polyval(a[::-1], z)


@designs
def test_they_are_the_analogue_filters(design):
    with jax.enable_x64(True):
        section = designed(design)
        frequency = np.linspace(0, RATE / 2, 300, endpoint=False)
        expected = analogue(design, frequency)
        np.testing.assert_allclose(response(section, frequency), expected, atol=1e-12)
        assert section[3] == 1


LOUD = 10 ** (GAIN / 20)


@pytest.mark.parametrize(
    "design, gains",
    [
        (biquad_low_pass, (1, Q, 0)),
        (biquad_high_pass, (0, Q, 1)),
        (biquad_band_pass, (0, 1, 0)),
        (biquad_notch, (1, 0, 1)),
        (biquad_all_pass, (1, 1, 1)),
        (biquad_peaking, (1, LOUD, 1)),
        (biquad_low_shelf, (LOUD, np.sqrt(LOUD), 1)),
        (biquad_high_shelf, (1, np.sqrt(LOUD), LOUD)),
    ],
    ids=lambda d: getattr(d, "__name__", ""),
)
def test_gains_at_both_ends_and_at_the_cutoff(design, gains):
    found = np.abs(response(designed(design), [0, CUTOFF, RATE / 2]))
    np.testing.assert_allclose(found, gains, atol=2e-5)


@designs
def test_they_are_heard_by_sosfilt(design):
    with jax.enable_x64(True):
        section = designed(design)
        impulse = jnp.zeros(1024).at[0].set(1.0)
        out, _ = sosfilt(impulse, section[None])
        frequency = np.arange(513) * RATE / 1024
        expected = response(section, frequency)
        np.testing.assert_allclose(np.fft.rfft(out), expected, atol=1e-10)


@designs
def test_derivatives(design):
    controls = (CUTOFF, Q, GAIN)

    def loudness(*controls):
        section = designed(design, *controls)
        turn = jnp.exp(-2j * jnp.pi * jnp.asarray([300.0, 2000.0]) / RATE)
        b, a = jnp.split(section, 2)
        ratio = jnp.polyval(b[::-1], turn) / jnp.polyval(a[::-1], turn)
        return jnp.sum(jnp.abs(ratio) ** 2)

    def exact(*controls):
        return np.sum(np.abs(analogue(design, [300.0, 2000.0], *controls)) ** 2)

    with jax.enable_x64(True):
        found = jax.grad(loudness, (0, 1, 2))(*controls)
        for k, step in enumerate((1e-2, 1e-5, 1e-5)):
            ends = [
                exact(*(c + sign * step * (j == k) for j, c in enumerate(controls)))
                for sign in (1, -1)
            ]
            slope = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(found[k], slope, rtol=1e-6, atol=1e-9)


@designs
@pytest.mark.parametrize("cutoff", [0.0, RATE / 2, RATE])
def test_ends_of_the_spectrum_are_finite(design, cutoff):
    def total(cutoff, q, gain):
        return jnp.sum(designed(design, cutoff, q, gain))

    section = designed(design, cutoff)
    assert np.all(np.isfinite(section)) and section[3] == 1
    assert np.all(np.isfinite(jax.grad(total, (0, 1, 2))(cutoff, 0.7, -6.0)))


def test_low_cutoffs_keep_their_digits():
    section = biquad_low_pass(2.0, 0.7, 48000.0)
    expected = np.sin(np.pi * 2 / 48000) ** 2
    np.testing.assert_allclose(section[0], expected, rtol=1e-3)


def test_opposite_gains_undo_one_another():
    up, down = (biquad_peaking(CUTOFF, Q, gain, RATE) for gain in (GAIN, -GAIN))
    audio = jnp.asarray(np.random.default_rng(0).normal(size=200), "float32")
    out, _ = sosfilt(audio, jnp.stack([up, down]))
    np.testing.assert_allclose(out, audio, atol=1e-5)


def test_arrays_of_controls():
    centres, gains = jnp.asarray([100.0, 1000.0]), jnp.asarray([[3.0], [0.0], [1.0]])
    sections = biquad_peaking(centres, 1.0, gains, RATE)
    assert sections.shape == (3, 2, 6)
    np.testing.assert_allclose(sections[2, 1], biquad_peaking(1e3, 1.0, 1.0, RATE))
    with pytest.raises(ValueError, match="sample_rate=0: has to be above"):
        biquad_notch(100.0, 1.0, 0)
