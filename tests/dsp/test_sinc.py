"""Windowed sincs against SciPy's, their spectra, and their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from djx.dsp._sinc import centred, windowed_sinc


RATE = 16000.0
WINDOWS = {"rectangular": "boxcar", "hann": "hann", "hamming": "hamming"}
WINDOWS["blackman"] = "blackman"
kinds = pytest.mark.parametrize("kind", ["lowpass", "highpass"])


@kinds
@pytest.mark.parametrize("window", list(WINDOWS))
@pytest.mark.parametrize("taps, cutoff", [(1, 500.0), (65, 500.0), (129, 7000.0)])
def test_against_scipy(kind, window, taps, cutoff):
    with jax.enable_x64(True):
        found = windowed_sinc(cutoff, taps, RATE, kind, window)
        expected = scipy.signal.firwin(
            taps, cutoff, window=WINDOWS[window], pass_zero=kind, fs=RATE
        )
        np.testing.assert_allclose(found, expected, atol=1e-14)


def test_even_low_passes_against_scipy():
    with jax.enable_x64(True):
        expected = scipy.signal.firwin(64, 900.0, fs=RATE)
        np.testing.assert_allclose(windowed_sinc(900.0, 64, RATE), expected, atol=1e-14)


@kinds
def test_it_passes_one_side_and_stops_the_other(kind):
    impulse = np.asarray(windowed_sinc(2000.0, 255, RATE, kind, "blackman"))
    gain = np.abs(np.fft.rfft(impulse, 8192))
    frequency = np.arange(4097) * RATE / 8192
    below, above = frequency < 1800, frequency > 2200
    passed, stopped = (below, above) if kind == "lowpass" else (above, below)
    np.testing.assert_allclose(gain[passed], 1, atol=1e-3)
    np.testing.assert_allclose(gain[stopped], 0, atol=1e-3)
    np.testing.assert_allclose(gain[np.argmin(abs(frequency - 2000))], 0.5, atol=1e-3)


def test_centred_it_has_no_delay():
    n = np.arange(800)
    audio = np.cos(2 * np.pi * 500 * n / RATE) + np.cos(2 * np.pi * 6000 * n / RATE)
    impulse = windowed_sinc(2000.0, 129, RATE)
    out = centred(jnp.asarray(audio, "float32"), impulse)
    low = np.cos(2 * np.pi * 500 * n / RATE)
    np.testing.assert_allclose(out[100:-100], low[100:-100], atol=5e-3)
    here = jnp.zeros(300).at[150].set(1.0)
    np.testing.assert_allclose(centred(here, impulse)[86:215], impulse, atol=1e-6)
    assert centred(jnp.zeros(0), impulse).shape == (0,)


@kinds
@pytest.mark.parametrize("cutoff", [300.0, 5000.0])
def test_derivative_in_the_cutoff(kind, cutoff):
    with jax.enable_x64(True):
        _, slope = jax.jvp(
            lambda c: windowed_sinc(c, 33, RATE, kind), (cutoff,), (1.0,)
        )
        step = 1e-3
        ends = [
            scipy.signal.firwin(33, cutoff + sign * step, pass_zero=kind, fs=RATE)
            for sign in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-11)


@kinds
@pytest.mark.parametrize("cutoff", [0.0, RATE / 2, RATE])
def test_ends_of_the_spectrum_are_finite(kind, cutoff):
    impulse = windowed_sinc(cutoff, 65, RATE, kind)
    slope = jax.jacfwd(lambda c: windowed_sinc(c, 65, RATE, kind))(cutoff)
    assert np.all(np.isfinite(impulse)) and np.all(np.isfinite(slope))
    if (kind == "highpass") == (cutoff == 0):  # all passes
        np.testing.assert_allclose(impulse, np.eye(65)[32], atol=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: windowed_sinc(1.0, 9, RATE, "low"), "kind='low': .*'lowpass'"),
        (lambda: windowed_sinc(1.0, 9, RATE, window="han"), "window='han': .*'hann'"),
        (lambda: windowed_sinc(1.0, 8, RATE, "highpass"), "taps=8: .* odd"),
        (lambda: windowed_sinc(1.0, 0, RATE), "taps=0: .* 1 or more"),
        (lambda: windowed_sinc(1.0, 9, 0.0), "sample_rate=0.0: has to be above"),
        (lambda: windowed_sinc(jnp.ones(2), 9, RATE), r"cutoff_hz .*\(2,\)"),
        (lambda: centred(jnp.ones(9), jnp.ones(4)), "4 taps has no middle"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
