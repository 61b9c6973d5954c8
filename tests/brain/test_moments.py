"""Moments over time: against the whole record, and after millions of steps."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from djx.brain._moments import Moments, Running, Synchrony
from djx.brain._monitors import Traces


class Cells(NamedTuple):
    v_mv: Array


class State(NamedTuple):
    cells: Cells


STEPS, SIZES = 600, (5, 4, 3)
COUNT = sum(SIZES)
LIKE = State(Cells(np.zeros(COUNT)))


def voltages(state):
    return state.cells.v_mv


def squares_by_half(state):
    return state.cells.v_mv.reshape(2, -1) ** 2


def recorded(seed):
    """Voltages that move together in part."""
    rng = np.random.default_rng(seed)
    shared = np.cumsum(rng.normal(size=(STEPS, 1)), 0) / 9
    return np.float32(-55 + shared + rng.normal(size=(STEPS, COUNT)))


V_MV = recorded(0)


def started():
    return {
        "moments": Moments.of(squares_by_half, LIKE, 100, 400),
        "synchrony": Synchrony.of(LIKE, SIZES, 100),
        "together": Synchrony.of(LIKE),
    }


def seen(monitors, values, first):
    def one(monitors, row):
        step, v_mv = row
        see = lambda m: m.see(None, step, State(Cells(v_mv)))  # noqa: E731
        is_monitor = lambda m: hasattr(m, "see")  # noqa: E731
        return jax.tree.map(see, monitors, is_leaf=is_monitor), None

    steps = first + jnp.arange(len(values))
    return jax.lax.scan(one, monitors, (steps, values))[0]


run = jax.jit(seen)


@pytest.fixture(scope="module")
def found():
    return run(started(), V_MV, 0)


def test_moments_are_those_of_the_record(found):
    v = V_MV.astype(float)
    squares = v[100:400].reshape(300, 2, -1) ** 2
    np.testing.assert_allclose(found["moments"].mean, squares.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found["moments"].variance, squares.var(0), rtol=1e-5)
    together = v.mean(1).var() / v.var(0).mean()
    np.testing.assert_allclose(found["together"].chi_squared(), together, rtol=1e-4)
    v, bounds = v[100:], ((0, 5), (5, 9), (9, 12))
    each = [v[:, a:b].mean(1).var() / v[:, a:b].var(0).mean() for a, b in bounds]
    np.testing.assert_allclose(found["synchrony"].chi_squared(), each, rtol=1e-4)


def test_a_run_that_goes_on_is_one_run(found):
    whole = run(run(started(), V_MV[:300], 0), V_MV[300:], 300)
    chex.assert_trees_all_equal(whole, found)


def test_lanes_are_runs_of_their_own(found):
    lanes = jax.jit(jax.vmap(seen, (None, 0, None)))
    both = lanes(started(), jnp.stack([recorded(1), V_MV]), 0)
    for name in ("synchrony", "together"):
        np.testing.assert_allclose(
            jax.vmap(lambda m: m.chi_squared())(both[name])[1],
            found[name].chi_squared(),
            rtol=1e-5,
        )


def test_sums_stay_exact_in_single_precision():
    # By Welford's recursion alone the mean is 0.05 mV off after so many steps.
    steps = 4_000_000

    def one(step, running):
        value = jnp.where(step < steps // 2, -60.0, -50.0) + 3.0 * (-1.0) ** (step % 2)
        return running.take(value, jnp.asarray(True))

    start = Running.of((), jnp.float32)
    running = jax.jit(lambda: jax.lax.fori_loop(0, steps, one, start))()
    np.testing.assert_allclose(running.mean, -55, rtol=1e-6)
    np.testing.assert_allclose(running.variance, 25 + 9, rtol=1e-6)


def test_all_alike_and_each_for_itself():
    wave = np.sin(np.arange(STEPS))[:, None] * np.ones(COUNT)
    independent = np.random.default_rng(3).normal(size=(STEPS, COUNT))

    @jax.jit
    def chi_squared(values):
        return seen(Synchrony.of(LIKE), values, 0).chi_squared()

    np.testing.assert_allclose(chi_squared(wave), 1, rtol=1e-5)
    # The mean's variance is chi square by its mean: spread sqrt(2 / steps).
    alone = COUNT * chi_squared(independent)
    assert abs(alone - 1) < 5 * np.sqrt(2 / STEPS)
    assert chi_squared(0 * wave) == 0


def test_traces_and_moments_have_derivatives():
    like = State(Cells(np.zeros(3)))

    @jax.jit
    @jax.grad
    def slope(scale):
        monitors = Traces.of(voltages, like, 4, 2), Moments.of(voltages, like)
        values = scale * jnp.arange(24.0).reshape(8, 3)
        traces, moments = seen(monitors, values, 0)
        return jnp.sum(traces.values) + jnp.sum(moments.mean + moments.variance)

    values = np.arange(24.0).reshape(8, 3)
    expected = values[::2].sum() + values.mean(0).sum() + 2 * 2.0 * values.var(0).sum()
    np.testing.assert_allclose(slope(2.0), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda: Moments.of(voltages, LIKE).see(None, 0),
            "state: Moments reads it",
        ),
        (lambda: Synchrony.of(LIKE, (5, 4)), "sizes: \\(5, 4\\) are not those of 12"),
        (
            lambda: Synchrony.of(LIKE, read=squares_by_half),
            "read: a value of each cell",
        ),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
