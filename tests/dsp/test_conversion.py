"""Harmonics as sinusoids, and the mismatch of both, against loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp._conversion import harmonic_to_sinusoidal, sinusoidal_to_harmonic
from djx.dsp._mismatch import two_way_mismatch


def test_two_way_mismatch_is_its_sums_and_finds_fundamentals():
    with jax.enable_x64(True):
        f = 200.0 * np.asarray([1, 2, 3, 4, 6, 7.02])
        a = np.asarray([0.1, 1, 0.5, 0.3, 0.2, 0.05])
        candidates = np.asarray([100.0, 200, 203, 400, 133, 800, 90, 1400])
        expected = []
        for f0 in candidates:
            last = max(round(f.max() / f0), 1)
            harmonics, parts = f0 * np.arange(1, last + 1), []
            pairs = [(h, h, np.argmin(abs(f - h))) for h in harmonics]
            back = [
                (harmonics[np.argmin(abs(harmonics - x))], x, k)
                for k, x in enumerate(f)
            ]
            for some in (pairs, back):
                costs = []
                for h, scale, k in some:
                    d = abs(f[k] - h) / np.sqrt(scale)
                    costs.append(d + a[k] / a.max() * (1.4 * d - 0.5))
                parts.append(np.mean(costs))
            expected.append(parts[0] + 0.33 * parts[1])
        padded = jnp.asarray([*f, 9000.0, 0.0]), jnp.asarray([*a, 0.0, 0.0])
        found = two_way_mismatch(jnp.asarray(candidates), *padded)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        assert candidates[np.argmin(found)] == 200
        slope = jax.grad(lambda f0: two_way_mismatch(f0[None], *padded)[0])
        assert slope(jnp.asarray(198.0)) < 0 < slope(jnp.asarray(203.0))
        assert np.all(two_way_mismatch(jnp.ones(3), *(0 * x for x in padded)) == 0)


def test_harmonics_become_sinusoids_and_return():
    f0 = jnp.asarray([100.0, 2500.0, 0.0, 9000.0])
    strength = jnp.tile(0.5 ** jnp.arange(5), (4, 1))
    amplitude = jnp.asarray([0.8, 0.6, 0.0, 0.3])
    f, a = harmonic_to_sinusoidal(f0, amplitude, strength, 16000)
    np.testing.assert_allclose(f[0], 100.0 * np.arange(1, 6))
    np.testing.assert_allclose(a.sum(1), [0.8, 0.6, 0, 0], rtol=1e-6)
    back, shares = sinusoidal_to_harmonic(f[:, ::-1], a[:, ::-1], f0, 5, 16000)
    np.testing.assert_allclose(back, [0.8, 0.6, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(back[:, None] * shares, a, atol=1e-7)
    twice = jnp.tile(f, 2), jnp.tile(a, 2), f0, 5, 16000
    np.testing.assert_allclose(sinusoidal_to_harmonic(*twice)[0], 2 * back, rtol=1e-5)
    one = sinusoidal_to_harmonic(*twice, normalise=True)[0]
    np.testing.assert_allclose(one, back, rtol=1e-5)


@pytest.mark.parametrize("width", [0.1, 0.3])
def test_a_sinusoid_counts_by_its_distance(width):
    one = jnp.ones((1, 1))
    for place in (1.0, 1.07, 2.5):
        found = sinusoidal_to_harmonic(
            200 * place * one, 0.4 * one, 200 * one[0], 3, 16000, width=width
        )
        weights = np.exp(-(((place - np.arange(1, 4)) / width) ** 2))
        np.testing.assert_allclose(found[0], [0.4 * weights.sum()], rtol=1e-4)
        np.testing.assert_allclose(found[1], [weights / weights.sum()], 1e-4, 1e-9)


def test_gradients_are_those_of_differences_and_finite_at_silence():
    rng = np.random.default_rng(0)
    f = rng.uniform(100, 900, (2, 6))
    a, f0 = rng.uniform(0, 1, (2, 6)), np.asarray([140.0, 210.0])

    def total(f, a, f0):
        amplitude, shares = sinusoidal_to_harmonic(f, a, f0, 4, 16000)
        return jnp.sum(jnp.sin(amplitude)) + jnp.sum(shares**2)

    for silent in ((f, 0 * a, f0), (f, a, 0 * f0), (0 * f, a, f0)):
        grads = jax.grad(total, (0, 1, 2))(*(jnp.asarray(x, "float32") for x in silent))
        assert all(np.all(np.isfinite(x)) for x in grads)

    def by_loops(f, a, f0):
        out = 0.0
        for x, y, z in zip(f, a, f0, strict=True):
            harmonics = np.zeros(4)
            for n in range(4):
                for place, amplitude in zip(x, y, strict=True):
                    gap = (place / z - n - 1) / 0.1
                    harmonics[n] += amplitude * np.exp(-(gap**2))
            out += np.sin(harmonics.sum()) + np.sum((harmonics / harmonics.sum()) ** 2)
        return out

    with jax.enable_x64(True):
        given = (f, a, f0)
        grads = jax.grad(total, (0, 1, 2))(*map(jnp.asarray, given))
        for place, grad in enumerate(grads):
            along = rng.normal(size=grad.shape)
            ends = []
            for step in (1e-6, -1e-6):
                moved = list(given)
                moved[place] = moved[place] + step * along
                ends.append(by_loops(*moved))
            slope = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(np.vdot(grad, along), slope, rtol=1e-6)


def test_refusals():
    one = jnp.ones((1, 2))
    for wrong, message in (
        (lambda: two_way_mismatch(one[0], one[0], one[0], harmonics=0), "harmonics=0"),
        (lambda: two_way_mismatch(one[0], one, one), r"\(1, 2\) and \(1, 2\)"),
        (lambda: sinusoidal_to_harmonic(one, one[0], one[0], 3, 16000), r"\(2,\)"),
        (
            lambda: sinusoidal_to_harmonic(one, one, one[0], 3, 16000, width=0.0),
            "width=0.0: has to be positive, in parts of f0",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
