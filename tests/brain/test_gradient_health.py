"""Norms against closed forms, and what is said about them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.brain._damping import damped, detached
from djx.brain._gradient_health import gradient_health


STEPS = [1, 3, 10, 30]


def repeated(step):
    def loss(x, steps):
        return jnp.sum(jax.lax.scan(lambda x, _: (step(x), None), x, length=steps)[0])

    return loss


def shifted(x):
    """Twice the number, without what is before the point: a slope of 2, bounded."""
    return 2 * x - jax.lax.stop_gradient(jnp.floor(2 * x))


@pytest.mark.parametrize("a, verdict", [(2.0, "explodes"), (0.5, "vanishes")])
def test_a_linear_map_has_its_powers(a, verdict):
    dt = 0.1
    with pytest.warns(UserWarning, match="e-fold") as told:
        found = gradient_health(repeated(lambda x: a * x), jnp.ones(4), STEPS, dt)
    assert len(told) == 1 and found.advice == str(told[0].message)
    assert "\n" not in found.advice
    expected = np.log10(2) + np.array(STEPS) * np.log10(a)  # of four equal numbers
    np.testing.assert_allclose(found.log10_norms, expected, rtol=1e-12)
    assert found.growth_per_ms == pytest.approx(np.log(a) / dt, rel=1e-9)
    assert found.verdict == verdict and found.first_not_finite is None
    np.testing.assert_allclose(found.losses, 4 * a ** np.array(STEPS))


def test_nothing_is_said_of_what_is_well(recwarn):
    turn = jnp.array([[0.6, -0.8], [0.8, 0.6]])
    found = gradient_health(repeated(lambda x: turn @ x), jnp.ones(2), STEPS)
    assert found.verdict == "healthy" and found.advice == "" and not len(recwarn)
    np.testing.assert_allclose(found.log10_norms, np.log10(2) / 2, atol=1e-5)


def test_a_chaotic_map_has_its_lyapunov_exponent(x64):
    # x = sin^2 u goes to sin^2 2u, so that its slope over n steps is 2^n times that of
    # sin^2 at the end by that at the start.
    u = np.random.default_rng(0).uniform(0.1, 1.5, 1000)
    steps = np.array([4, 12, 20, 28, 36])
    with pytest.warns(UserWarning, match="truncate it \\(after 9 steps\\)"):
        found = gradient_health(
            repeated(lambda x: 4 * x * (1 - x)), jnp.asarray(np.sin(u) ** 2), steps
        )
    assert found.growth_per_ms == pytest.approx(np.log(2), rel=0.01)
    few = steps[:3]  # beyond, rounding has become as large as the map
    slopes = [2.0**n * np.sin(2 * 2.0**n * u) / np.sin(2 * u) for n in few]
    expected = np.log10(np.linalg.norm(slopes, axis=1))
    np.testing.assert_allclose(found.log10_norms[:3], expected, rtol=1e-6)


def test_norms_beyond_what_floats_hold():
    steps = [10, 100, 120, 130, 200, 240]
    with pytest.warns(UserWarning, match="beyond what its floats can hold from 130"):
        found = gradient_health(repeated(shifted), jnp.array([0.3, 0.4]), steps)
    expected = np.array(steps) * np.log10(2) + np.log10(2) / 2
    # A loss that is 2^100 smaller reaches 2^228.
    np.testing.assert_allclose(found.log10_norms[:5], expected[:5], rtol=1e-12)
    assert np.isnan(found.log10_norms[5])
    np.testing.assert_array_equal(found.finite, np.array(steps) < 128)
    assert found.first_not_finite == 130 and found.verdict == "not finite"
    assert found.growth_per_ms == pytest.approx(np.log(2), rel=1e-9)
    np.testing.assert_array_less(found.losses, 2)

    # Half of 2^100 is left where a loss as it is has nothing left.
    with pytest.warns(UserWarning, match="shrinks"):
        found = gradient_health(repeated(lambda x: x / 2), jnp.ones(()), [100, 200])
    np.testing.assert_allclose(
        found.log10_norms, [-100 * np.log10(2), -200 * np.log10(2)]
    )


@pytest.mark.parametrize(
    "loss, verdict, words",
    [
        (lambda x, n: jnp.sqrt(0 * x), "not finite", "1 step .* not by growth"),
        (lambda x, n: jnp.floor(x), "zero", "give a surrogate"),
        (lambda x, n: x * (jnp.nan if n > 2 else 1), "loss not finite", "over 3 steps"),
        (
            lambda x, n: x if n < 3 else x + jnp.sqrt(0 * x),
            "not finite",
            "over 3 steps .* not by growth",
        ),
    ],
)
def test_what_is_not_growth(loss, verdict, words):
    with pytest.warns(UserWarning, match=words):
        assert gradient_health(loss, jnp.ones(()), STEPS).verdict == verdict


def test_damping_takes_back_the_growth():
    a, factor = 3.0, 0.25
    found = jax.grad(repeated(lambda x: a * damped(x, factor)))(jnp.ones(3), 12)
    np.testing.assert_allclose(found, (a * factor) ** 12, rtol=1e-5)
    truncated = repeated(lambda x: a * detached(x))
    np.testing.assert_array_equal(jax.grad(truncated)(jnp.ones(3), 12), 0)


@pytest.mark.parametrize("factor", [0.3, 0.0])
def test_damping_is_the_same_both_ways(factor):
    key = np.random.default_rng(0)
    tree, tangent, cotangent = (
        {
            "v": jnp.asarray(key.normal(size=5)),
            "g": jnp.asarray(key.normal(size=(2, 3))),
        }
        for _ in range(3)
    )
    f = jax.jit(lambda t, f: damped(t, f))
    value, forward = jax.jvp(lambda t: f(t, factor), (tree,), (tangent,))
    backward = jax.vjp(lambda t: f(t, factor), tree)[1](cotangent)[0]
    for name in tree:
        np.testing.assert_array_equal(value[name], tree[name])
        np.testing.assert_allclose(forward[name], factor * tangent[name], rtol=1e-6)
        np.testing.assert_allclose(backward[name], factor * cotangent[name], rtol=1e-6)
    across = jax.vmap(jax.grad(lambda x, f: damped(x, f) ** 2))
    lanes = across(jnp.array([3.0, 4.0]), jnp.array([0.5, 0.0]))
    np.testing.assert_allclose(lanes, [3, 0])


def test_what_has_no_derivative_stays():
    whole, real = damped((jnp.arange(3), jnp.ones(2)), 0.5)
    assert whole.dtype == jnp.int32 and real.dtype == jnp.float32
    # An infinite slope is stopped, not multiplied by zero.
    found = jax.grad(lambda x: jnp.sqrt(damped(x, jnp.asarray(0.0))))(0.0)
    assert found == 0
    assert jax.grad(lambda f: jnp.sum(damped(jnp.ones(2), f)))(0.5) == 0


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda f: gradient_health(f, jnp.ones(2), []), "horizons=\\[\\]"),
        (lambda f: gradient_health(f, jnp.ones(2), [0, 3]), "horizons=\\[0, 3\\]"),
        (lambda f: gradient_health(f, jnp.arange(2), [1]), "argument: .*int32"),
        (lambda f: gradient_health(lambda x, n: x, jnp.ones(2), [1]), "loss_of_steps"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ValueError, match=words):
        call(repeated(shifted))
