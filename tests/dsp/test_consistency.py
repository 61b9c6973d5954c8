"""Distances of controls against SciPy, loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm, wasserstein_distance

from djx.dsp._consistency import (
    amplitude_consistency,
    HarmonicConsistency,
    KernelConsistency,
    TransportConsistency,
)
from djx.dsp._conversion import harmonic_to_sinusoidal
from djx.dsp._wasserstein import wasserstein


LOSSES = (KernelConsistency(), TransportConsistency(), TransportConsistency(power=2.0))


def midi(f):
    return 69 + 12 * np.log2(np.asarray(f, np.float64) / 440)


def two_sets(frames=5, ours=6, theirs=9):
    rng = np.random.default_rng(0)
    sets = []
    for count in (ours, theirs):
        sets.append(rng.uniform(100, 4000, (frames, count)))
        sets.append(rng.uniform(0.01, 1, (frames, count)))
    return sets


def kernels(f, a, g, b, width=0.1):
    """Densities by SciPy's Gaussians, sinusoid by sinusoid."""
    total = 0.0
    for row in zip(f, a, g, b, strict=True):
        for x, heard, y, wanted in (row, (*row[2:], *row[:2])):
            wanted = (wanted + 1e-7) / np.sum(wanted + 1e-7)
            for place, amplitude in zip(midi(x), heard / heard.sum(), strict=True):
                logs = norm.logpdf(place, midi(y), width) + np.log(wanted)
                total -= amplitude * np.logaddexp.reduce(logs)
        total += abs(np.sum(row[1]) - np.sum(row[3]))
    return total / len(f)


def quantiles(f, a, g, b, power=1):
    """Both distributions, at the middles of the steps of either."""
    total = 0.0
    for x, heard, y, wanted in zip(f, a, g, b, strict=True):
        parts = []
        for places, weights in ((midi(x), heard), (midi(y), wanted)):
            order = np.argsort(places)
            parts.append((places[order], np.cumsum(weights[order]) / weights.sum()))
        edges = np.sort(np.concatenate([[0], *(edge for _, edge in parts)]))
        middles = (edges[1:] + edges[:-1]) / 2
        left, right = (
            p[np.minimum(np.searchsorted(e, middles), len(p) - 1)] for p, e in parts
        )
        total += np.sum(np.diff(edges) * np.abs(left - right) ** power)
    return total / len(f)


REFERENCES = (kernels, quantiles, lambda *sets: quantiles(*sets, 2))


@pytest.mark.parametrize("loss, reference", zip(LOSSES, REFERENCES, strict=True))
def test_values_gradients_and_order(loss, reference):
    with jax.enable_x64(True):
        sets = two_sets()
        given = [jnp.asarray(x) for x in sets]
        np.testing.assert_allclose(loss(*given), reference(*sets), rtol=1e-9)
        rng = np.random.default_rng(1)
        grads = jax.grad(loss, (0, 1, 2, 3))(*given)
        for place, grad in enumerate(grads):
            along = rng.normal(size=grad.shape) * (10 if place % 2 == 0 else 0.1)
            ends = []
            for step in (1e-6, -1e-6):
                moved = list(sets)
                moved[place] = moved[place] + step * along
                ends.append(reference(*moved))
            slope = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(np.vdot(grad, along), slope, rtol=2e-5)
        order = rng.permutation(6)
        shuffled = loss(given[0][:, order], given[1][:, order], *given[2:])
        np.testing.assert_allclose(shuffled, loss(*given), rtol=1e-12)
        np.testing.assert_allclose(loss(*given[2:], *given[:2]), loss(*given), 1e-12)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
def test_transport_of_points(power):
    """Two points: their distance; two halves: in order; and SciPy's, for power 1."""
    one = jnp.ones(1)
    found = wasserstein(2 * one, 3 * one, -1.5 * one, 0.1 * one, power)
    np.testing.assert_allclose(found, 3.5**power, rtol=1e-6)
    pair = jnp.asarray([5.0, 0.0]), jnp.asarray([1.0, 2.0])
    found = wasserstein(pair[0], jnp.ones(2), pair[1], jnp.ones(2), power)
    np.testing.assert_allclose(found, (1 + 3**power) / 2, rtol=1e-6)
    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        for _ in range(5):
            x, a, y, b = (rng.normal(size=n) for n in (7, 7, 4, 4))
            a, b = a**2 * (a > -0.5), b**2  # points without weight among them
            found = wasserstein(*map(jnp.asarray, (x, a, y, b)), power)
            expected = wasserstein_distance(x, y, a, b)
            if power == 1:
                np.testing.assert_allclose(found, expected, rtol=1e-10)
            else:
                assert found ** (1 / power) >= expected - 1e-12
            assert wasserstein(*map(jnp.asarray, (x, a, x, a)), power) < 1e-12


@pytest.mark.parametrize("loss", LOSSES)
def test_the_true_fundamental_is_nearest(loss):
    rng = np.random.default_rng(3)
    f0 = np.asarray([110.0, 220.0, 345.6])
    strength = 0.7 ** jnp.arange(12)
    numbers = np.arange(1, 13) * 2 ** (rng.normal(size=(3, 12)) * 2e-3)
    heard = jnp.asarray(f0[:, None] * numbers, jnp.float32), jnp.tile(strength, (3, 1))

    def distance(factor):
        controls = jnp.asarray(factor * f0, jnp.float32), jnp.sum(heard[1], 1), heard[1]
        return loss(*harmonic_to_sinusoidal(*controls, 16000), *heard)

    others = [distance(x) for x in (0.5, 2 / 3, 0.9, 1.1, 1.5, 2.0)]
    assert distance(1.0) < 0.1 * min(others)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("silent", [(0, 1), (1, 0), (0, 0)])
def test_silence_is_finite(loss, silent):
    f, a, g, b = (jnp.asarray(x, jnp.float32) for x in two_sets())
    f = f.at[0].set(0)  # 0 Hz, too
    given = (f, silent[0] * a, g, silent[1] * b)
    value, grads = jax.value_and_grad(loss, (0, 1, 2, 3))(*given)
    assert np.isfinite(value) and all(np.all(np.isfinite(x)) for x in grads)


def test_amplitudes_and_harmonics():
    a, b = jnp.asarray([[0.1, 0.0], [0.2, 1.0]]), jnp.asarray([[0.3, 0.1], [0.2, 0.0]])
    np.testing.assert_allclose(amplitude_consistency(a, b), 1.3 / 4, rtol=1e-6)
    logs = np.log10(np.asarray(a) + 1e-5) - np.log10(np.asarray(b) + 1e-5)
    found = amplitude_consistency(a, b, logarithmic=True)
    np.testing.assert_allclose(found, np.mean(np.abs(logs)), rtol=1e-5)
    f0 = jnp.asarray([220.0, 300.0])
    loss = HarmonicConsistency(f0=2.0, amplitude=3.0, distribution=5.0)
    # The second frame's target is silent: pitch and shares do not count there.
    found = loss(f0, jnp.asarray([0.5, 0.2]), a, 2 * f0, jnp.asarray([0.4, 0.0]), b)
    expected = 2 * 12 / 2 + 3 * 0.3 / 2 + 5 * 0.3 / 4
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_edges_and_refusals():
    none, some = jnp.zeros((0, 3)), jnp.ones((2, 3))
    for loss in LOSSES:
        assert loss(none, none, none, none) == 0
        with pytest.raises(ValueError, match="as many frames, not 2 and 0"):
            loss(some, some, none, none)
        with pytest.raises(ValueError, match=r"\(2, 3\) and \(0, 3\)"):
            loss(some, none, some, some)
        with pytest.raises(ValueError, match="one sinusoid or more"):
            loss(some, some, some[:, :0], some[:, :0])
    assert wasserstein(jnp.ones(2), jnp.ones(2), jnp.zeros(0), jnp.zeros(0)) == 0
    for wrong, message in (
        (lambda: TransportConsistency(power=0.5), "power=0.5: has to be 1 or more"),
        (lambda: KernelConsistency(width=0.0), "width=0.0: has to be positive"),
        (lambda: amplitude_consistency(none, some), r"\(0, 3\) and \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
