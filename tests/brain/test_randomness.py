"""What is drawn against its distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from djx.brain._randomness import (
    bernoulli_spikes,
    normals,
    poisson_counts,
    poisson_thresholds,
    uniforms,
)


MANY = jnp.arange(1_000_000)


def fits(counts, mean):
    """The chance of a worse chi square, over counts of which five are expected."""
    k = np.arange(counts.max() + 1)
    expected = np.append(stats.poisson.pmf(k, mean), stats.poisson.sf(k[-1], mean))
    expected, found = expected * counts.size, np.append(np.bincount(counts), 0)
    usual = expected >= 5
    expected, found = (
        np.append(x[usual], x[~usual].sum() + 1e-9) for x in (expected, found)
    )
    return stats.chi2.sf(np.sum((found - expected) ** 2 / expected), usual.sum())


def test_normals_are_normal():
    z = np.asarray(normals(1, 2, MANY), np.float64)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(z.mean()) < 5e-3 and abs(z.var() - 1) < 5 * np.sqrt(2e-6)
    for edge in (3.0, 4.0):
        tails = np.array([np.sum(z > edge), np.sum(z < -edge)])
        expected = 1e6 * stats.norm.sf(edge)
        assert np.all(np.abs(tails - expected) < 5 * np.sqrt(expected))


def test_uniforms_are_the_same_in_both_precisions():
    found = uniforms(1, 2, MANY)
    assert found.dtype == jnp.float32 and 0 < found.min() and found.max() < 1
    assert stats.kstest(np.asarray(found, float), "uniform").pvalue > 1e-3
    with jax.enable_x64(True):
        np.testing.assert_allclose(found, uniforms(1, 2, MANY), atol=2.0**-24)
        # The inverse of the distribution, computed by another.
        few = MANY[:1000]
        inverse = stats.norm.ppf(np.asarray(uniforms(1, 2, few)))
        np.testing.assert_allclose(normals(1, 2, few), inverse, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mean", [0.0, 1e-3, 0.16, 1.6, 7.0, 40.0])
def test_thresholds_are_the_poisson_distribution(mean):
    thresholds = poisson_thresholds(mean).astype(np.float64)
    chances = np.diff(np.concatenate([[-1], thresholds, [2.0**32 - 1]])) / 2.0**32
    true = stats.poisson.pmf(np.arange(len(chances)), mean)
    np.testing.assert_allclose(chances, true, atol=1.001 * 2.0**-32)
    assert stats.poisson.sf(len(thresholds), mean) < 2.0**-33


@pytest.mark.parametrize("mean", [0.04, 1.6, 12.0])
def test_counts_are_poisson(mean):
    fixed = np.asarray(poisson_counts(4, mean, 9, MANY))
    assert fits(fixed, mean) > 1e-3
    traced = jax.jit(lambda m: poisson_counts(4, m, 9, MANY, most=40))
    found = np.asarray(traced(jnp.float32(mean)))
    # The same inverse, of shares that are rounded.
    assert np.sum(found != fixed) < 20 and np.max(np.abs(found - fixed)) <= 1
    assert np.all(np.asarray(traced(jnp.float32(1.1 * mean))) >= found)
    assert not np.any(traced(jnp.float32(-1.0)))


def test_who_fires_by_chance():
    fired = [np.asarray(bernoulli_spikes(5, p, MANY)) for p in (0.0, 2e-3, 0.3, 1.0)]
    assert not fired[0].any() and fired[3].all()
    assert np.all(fired[2] >= fired[1])
    for p, found in zip((2e-3, 0.3), fired[1:3], strict=True):
        assert abs(found.sum() - 1e6 * p) < 5e3 * np.sqrt(p * (1 - p))


def test_counters_are_independent():
    # Of cells, steps, streams and seeds, and across all neighbours of two.
    at = [
        jnp.arange(n).reshape(-1, *[1] * (2 - d)) for d, n in enumerate((9, 300, 300))
    ]
    z = np.stack([normals(seed, at[1], at[0], at[2]) for seed in (0, 1, 2**31)])
    bound = 5 / np.sqrt(z[:-1].size / 2)
    for axis in range(4):
        z_first = np.moveaxis(z, axis, 0)
        beside = np.mean(z_first[1:] * z_first[:-1], (1, 2, 3))
        assert abs(beside.mean()) < bound
        assert np.all(np.abs(beside) < 6 / np.sqrt(z_first[0].size))
    assert abs(np.mean(z[:, :, 1:, 1:] * z[:, :, :-1, :-1])) < bound
    assert (
        abs(np.mean((z[:, :, :, 1:] ** 2 - 1) * (z[:, :, :, :-1] ** 2 - 1))) < 2 * bound
    )


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: poisson_counts(0, jnp.ones(2), MANY[:2]), "most=None"),
        (lambda: poisson_thresholds([1.0, -1.0]), "mean: from 0 to 500"),
        (lambda: poisson_thresholds(501.0), "mean: from 0 to 500"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ValueError, match=words):
        call()
