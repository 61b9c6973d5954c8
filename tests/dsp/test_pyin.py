"""Probabilistic YIN against enumerations, loops and sounds of known pitch."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from djx.dsp import yin
from djx.dsp._pyin import _chances, _likeliest_path, pyin
from djx.dsp._yin import dips, normalised_differences


RATE, HOP, FRAMES = 16000, 64, 250
track = jax.jit(lambda audio: pyin(audio, RATE))


def harmonics(f0_hz, amplitudes):
    """Of an f0 (samples,) and amplitudes (harmonics,) or (harmonics, samples)."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE
    total = sum(a * np.sin(k * phase + k) for k, a in enumerate(amplitudes, 1))
    return jnp.asarray(total, jnp.float32)


TIME = np.arange(FRAMES * HOP) / RATE


def cents(found, expected):
    return 1200 * np.abs(np.log2(np.asarray(found, np.float64) / expected))


def test_differences_are_those_of_all_pairs_about_a_frame():
    audio = np.random.default_rng(3).normal(size=100) + 2
    with jax.enable_x64(True):
        found = np.asarray(normalised_differences(jnp.asarray(audio), 10, 16))
    padded = np.pad(audio, 32)
    for frame, row in enumerate(found):
        x = padded[16 + 10 * frame :][:32]
        gaps = [np.mean((x[: 32 - lag] - x[lag:]) ** 2) for lag in range(1, 16)]
        expected = gaps / (np.cumsum(gaps) / np.arange(1, 16))
        np.testing.assert_allclose(row, [1, *expected], rtol=1e-10)


@pytest.mark.parametrize("switch, reach", [(0.01, 1), (0.3, 2)])
def test_the_path_is_the_likeliest_of_all(switch, reach):
    """Every path of four frames through two kinds of four bins, one by one."""
    rng = np.random.default_rng(0)
    step = np.maximum(reach + 1 - np.abs(np.subtract.outer(range(4), range(4))), 0)
    step = np.log(np.maximum(step / step.sum(1, keepdims=True), 1e-300))
    states = list(itertools.product(range(2), range(4)))
    for _ in range(5):
        observed = np.log(rng.dirichlet(0.3 * np.ones(8), 4) + 1e-12).reshape(4, 2, 4)

        def score(path, observed=observed):
            total = sum(o[s] for o, s in zip(observed, path, strict=True))
            for (v, m), (w, n) in itertools.pairwise(path):
                total += step[m, n] + np.log(switch if v != w else 1 - switch)
            return total

        best = max(itertools.product(states, repeat=4), key=score)
        with jax.enable_x64(True):
            kinds, bins = _likeliest_path(jnp.asarray(observed), reach, switch)
        assert list(zip(kinds.tolist(), bins.tolist(), strict=True)) == list(best)


@pytest.mark.parametrize("preference", [0.7, 2.0, np.inf])
def test_chances_are_those_of_loops(preference):
    """Thresholds, dips below them, and Boltzmann's weights, one after the other."""
    rng = np.random.default_rng(1)
    gaps = rng.uniform(0, 0.6, (6, 40)) * np.linspace(1, 0.3, 6)[:, None]
    gaps[0] = np.linspace(1, 0.5, 40)  # no dip at all
    levels = np.linspace(0, 1, 51)
    prior = np.diff(scipy.stats.beta.cdf(levels, 2, 18))
    expected = np.zeros_like(gaps)
    for gap, out in zip(gaps, expected, strict=True):
        inner = range(3, 39)
        lags = [t for t in inner if gap[t] <= gap[t - 1] and gap[t] < gap[t + 1]]
        for level, weight in zip(levels[1:], prior, strict=True):
            below = [t for t in lags if gap[t] < level]
            shares = np.exp(-preference * np.arange(1, len(below)))
            shares = np.asarray([1.0, *shares])[: len(below)]
            for lag, share in zip(below, shares, strict=True):
                out[lag] += weight * share / shares.sum()
            if lags and not below:
                out[min(lags, key=lambda t: gap[t])] += 0.02 * weight
    with jax.enable_x64(True):
        gap = jnp.asarray(gaps)
        heights = jnp.where(jax.vmap(dips, (0, None))(gap, 3), gap, jnp.inf)
        found = np.asarray(_chances(heights, 50, (2.0, 18.0), preference, 0.02))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.all(found[0] == 0)


@pytest.mark.parametrize(
    "f0, amplitudes, limit",
    [
        (np.full_like(TIME, 61.7), [0.5, 0.3, 0.2], 2),
        (220 * 2 ** (np.sin(2 * np.pi * 5 * TIME) / 24), 0.5 ** np.arange(8), 12),
        (np.linspace(150, 450, len(TIME)), [0.3] * 4, 12),
        (np.full_like(TIME, 150.0), [0, 1, 0.8, 0.6, 0.4], 2),
        (np.full_like(TIME, 1500.0), [1.0], 12),
    ],
    ids=["low", "vibrato", "glide", "no fundamental", "high"],
)
def test_known_pitch(f0, amplitudes, limit):
    found = track(harmonics(f0, amplitudes))
    middle = slice(10, -10)
    assert np.all(found.voiced[middle])
    assert np.max(cents(found.f0_hz[middle], f0[::HOP][middle])) < limit
    assert np.min(found.voiced_probability[middle]) > 0.5


def test_an_octave_is_no_way_out():
    """Odd harmonics fade and return: frame by frame, YIN takes their absence for f0."""
    f0 = np.full_like(TIME, 150.0)
    odd = 0.5 + 0.48 * np.cos(2 * np.pi * 2 * TIME)
    audio = harmonics(f0, [odd, 1, 0.5 * odd, 0.6])
    alone = yin(audio, RATE).f0_hz
    assert np.mean(cents(alone[10:-10], 150) > 1000) > 0.2
    found = track(audio)
    assert np.all(found.voiced[10:-10]) and np.all(cents(found.f0_hz, 150)[10:-10] < 5)


def test_voice_begins_and_ends():
    """Silence, a note, noise, an offset: a window of 40 ms sees across borders."""
    note = np.asarray(harmonics(np.full_like(TIME, 200.0), [0.3, 0.2, 0.1]))
    kind = np.minimum(np.arange(len(TIME)) * 5 // len(TIME), 4)
    noise = 0.1 * np.random.default_rng(2).normal(size=len(TIME))
    audio = np.choose(kind, [0, note, noise, note, 0.3])
    found = track(jnp.asarray(audio, jnp.float32))
    for part, voiced in enumerate([0, 1, 0, 1, 0]):
        inner = slice(50 * part + 8, 50 * part + 42)
        assert np.mean(found.voiced[inner] == voiced) > 0.9, part
    assert np.all(cents(found.f0_hz, 200)[58:92] < 5)
    assert np.all(found.voiced_probability[np.r_[5:42, 208:240]] == 0)
    assert np.all(np.isfinite(found.f0_hz))


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_nothing_is_not_voiced(level):
    found = track(jnp.full(FRAMES * HOP, level, jnp.float32))
    assert not np.any(found.voiced[6:-6]) and np.all(np.isfinite(found.f0_hz))


def test_rows_and_edges():
    audio = jnp.stack([harmonics(f + 0 * TIME, [0.5, 0.4]) for f in (100, 200, 330)])
    audio = audio + 0.05 * jax.random.normal(jax.random.key(0), audio.shape)
    many = jax.jit(jax.vmap(lambda x: pyin(x, RATE)))(audio)
    for row, sound in enumerate(audio):
        single = track(sound)
        np.testing.assert_array_equal(many.voiced[row], single.voiced)
        np.testing.assert_allclose(many.f0_hz[row], single.f0_hz, rtol=1e-5)
    for samples in (0, 1):
        assert track(jnp.ones(samples, jnp.float32)).f0_hz.shape == (samples,)


def test_the_frequency_has_its_derivative():
    """A tone's, along its own change of frequency: one Hz per Hz."""
    with jax.enable_x64(True):
        time = jnp.arange(2000) / RATE

        def found(f):
            tone = jnp.sin(2 * jnp.pi * f * time) + jnp.sin(4 * jnp.pi * f * time) / 2
            return jnp.mean(pyin(tone, RATE, hop=250).f0_hz[3:-3])

        value, slope = jax.jit(jax.value_and_grad(found))(jnp.asarray(221.3))
        np.testing.assert_allclose(value, 221.3, rtol=1e-3)
        # A parabola through samples of a cosine is off by a little that changes.
        np.testing.assert_allclose(slope, 1, rtol=0.02)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"least_hz": 900.0, "greatest_hz": 800.0}, "least_hz=900"),
        ({"thresholds": 0}, "thresholds=0: one or more"),
        ({"preference": 0.0}, "preference=0.0: has to be positive"),
        ({"switch_probability": 1.0}, "switch_probability=1.0: from 0 to 1"),
        ({"hop": 0}, "hop=0"),
    ],
)
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        pyin(jnp.zeros(10), RATE, **settings)
