"""Mel bands and cepstra against their definitions in loops, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from djx.dsp._mel import (
    cosines,
    hz_to_mel,
    log_mel,
    mel_filters,
    mel_spectrum,
    mel_to_hz,
    mfcc,
)


def corners(bands, least, greatest, scale):
    """Of the triangles, by the scales' textbook forms and their own inverses."""
    if scale == "htk":
        low, high = (1127.010480 * np.log(1 + f / 700) for f in (least, greatest))
        steps = np.linspace(low, high, bands + 2)
        return 700 * (np.exp(steps / 1127.010480) - 1)

    def mel(f):
        return 15 + 27 * np.log(f / 1000) / np.log(6.4) if f > 1000 else 3 * f / 200

    def hz(m):
        return 1000 * 6.4 ** ((m - 15) / 27) if m > 15 else 200 * m / 3

    return np.asarray(
        [hz(m) for m in np.linspace(mel(least), mel(greatest), bands + 2)]
    )


def by_definition(audio, rate, bands, size, hop, scale, equal_area, quantity):
    """Every frame, bin and band by itself, in float64."""
    audio = np.pad(np.asarray(audio, np.float64), (size // 2, size))
    n = np.arange(size)
    window = np.sin(np.pi * n / size) ** 2
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), n) / size)
    edges = corners(bands, 20.0, 0.45 * rate, scale)
    out = []
    for first in range(0, len(audio) - size - size // 2, hop):
        level = np.abs(fourier @ (audio[first : first + size] * window))
        level = level if quantity == "magnitude" else level**2
        row = []
        for left, peak, right in zip(edges, edges[1:], edges[2:], strict=False):
            total = 0.0
            for k, value in enumerate(level):
                f = k * rate / size
                if left < f < right:
                    rise = (f - left) / (peak - left)
                    total += value * (
                        rise if f < peak else (right - f) / (right - peak)
                    )
            row.append(total * (2 / (right - left) if equal_area else 1))
        out.append(row)
    return np.asarray(out)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize(
    "equal_area, quantity", [(False, "magnitude"), (True, "power")]
)
@pytest.mark.parametrize("dtype, rtol", [("float32", 2e-5), ("float64", 1e-7)])
def test_bands_are_those_of_loops(scale, equal_area, quantity, dtype, rtol):
    with jax.enable_x64(True):
        audio = jnp.asarray(np.random.default_rng(0).normal(size=390), dtype)
        expected = by_definition(audio, 8000, 9, 128, 32, scale, equal_area, quantity)
        found = mel_spectrum(
            audio,
            8000,
            bands=9,
            fft_size=128,
            hop=32,
            greatest_hz=3600.0,
            scale=scale,
            equal_area=equal_area,
            quantity=quantity,
        )
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=rtol)


def test_points_of_the_scales():
    """HTK: 1000 mel at 1 kHz; Slaney: 15 at 1 kHz, and 27 more at 6.4 times that."""
    assert abs(hz_to_mel(np.asarray(1000.0)) - 1000) < 0.02
    slaney = hz_to_mel(np.asarray([0, 200 / 3, 1000, 6400]), "slaney")
    np.testing.assert_allclose(slaney, [0, 1, 15, 42], atol=1e-12)
    f = np.linspace(0, 20000, 101)
    for scale in ("htk", "slaney"):
        there_and_back = mel_to_hz(hz_to_mel(f, scale), scale)
        np.testing.assert_allclose(there_and_back, f, atol=1e-9)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_triangles(scale):
    """They partition what is between the outer peaks; heights and areas are 1."""
    size, rate, bands = 1 << 16, 16000, 24
    edges = corners(bands, 20.0, 8000.0, scale)
    weights = mel_filters(bands, size, rate, scale=scale)
    f = np.arange(size // 2 + 1) * rate / size
    inside = (f >= edges[1]) & (f <= edges[-2])
    np.testing.assert_allclose(weights.sum(1)[inside], 1, atol=1e-12)
    outside = (f <= edges[0]) | (f >= edges[-1])
    assert np.all(weights[outside] < 1e-12) and np.all(weights >= 0)
    step = rate / size
    np.testing.assert_allclose(f[weights.argmax(0)], edges[1:-1], atol=step)
    np.testing.assert_allclose(weights.max(0), 1, atol=step / np.diff(edges).min())
    area = mel_filters(bands, size, rate, scale=scale, equal_area=True).sum(0) * step
    np.testing.assert_allclose(area, 1, rtol=1e-4)


@pytest.mark.parametrize("count", [13, 30])
def test_cepstra(count):
    whole = cosines(40, 40)
    np.testing.assert_allclose(whole.T @ whole, np.eye(40), atol=1e-13)
    audio = jnp.asarray(np.random.default_rng(1).normal(size=2000), jnp.float32)
    logs = np.log(np.asarray(mel_spectrum(audio, 16000), np.float64) + 1e-5)
    expected = scipy.fft.dct(logs, norm="ortho")[:, :count]
    found = mfcc(audio, 16000, count=count)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    # A louder sound is larger in coefficient 0 alone, by sqrt(bands) log(gain).
    gained = mfcc(8 * audio, 16000, count=count) - found
    np.testing.assert_allclose(gained[:, 0], np.sqrt(128) * np.log(8), rtol=1e-4)
    np.testing.assert_allclose(gained[:, 1:], 0, atol=1e-3)


def test_gradients():
    """Finite at silence, and that of differences elsewhere."""
    grad = jax.grad(lambda x: jnp.sum(mfcc(x, 16000) ** 2))(jnp.zeros(1500))
    np.testing.assert_array_equal(grad, 0)
    half = jnp.concatenate([jnp.zeros(2000), jnp.ones(50)])
    assert np.all(np.isfinite(jax.grad(lambda x: jnp.sum(log_mel(x, 16000)))(half)))
    with jax.enable_x64(True):
        audio, along = jnp.asarray(np.random.default_rng(2).normal(size=(2, 200)))
        settings = {"fft_size": 64, "hop": 16, "bands": 8, "greatest_hz": 3600.0}

        def total(x):
            return jnp.sum(jnp.sin(log_mel(x, 8000, **settings)))

        def by_loops(x):
            bands = by_definition(x, 8000, 8, 64, 16, "htk", False, "magnitude")
            return np.sum(np.sin(np.log(bands + 1e-5)))

        ends = [by_loops(audio + s * along) for s in (1e-6, -1e-6)]
        slope = jnp.vdot(jax.grad(total)(audio), along)
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


def test_batches_and_edges():
    audio = jax.random.normal(jax.random.key(0), (16, 1000))
    many = jax.vmap(lambda x: log_mel(x, 16000))
    np.testing.assert_allclose(many(audio)[:1], many(audio[:1]), rtol=1e-5)
    np.testing.assert_allclose(log_mel(jnp.zeros(600), 16000), np.log(1e-5), rtol=1e-6)
    assert mfcc(jnp.zeros(0), 16000).shape == (0, 13)
    assert mfcc(jnp.ones(1), 16000).shape == (1, 13)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"scale": "hkt"}, "scale='hkt': .*did you mean 'htk'"),
        ({"quantity": "energy"}, "quantity='energy': choose from 'magnitude', 'power'"),
        ({"greatest_hz": 9000.0}, "greatest_hz=9000.0: .* 8000.0 at most"),
        ({"bands": 0}, "bands=0: one or more"),
        ({"fft_size": 1000}, "fft_size=1000, hop=256"),
        ({"hop": 0}, "hop=0"),
    ],
)
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        mel_spectrum(jnp.zeros(10), 16000, **settings)
    with pytest.raises(ValueError, match="count=129: from 1 to 128"):
        mfcc(jnp.zeros(10), 16000, count=129)
