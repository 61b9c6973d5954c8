"""The pieces of one step."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.core import without_repetition
from djx.diffeq._methods import method_of
from djx.diffeq._step import (
    close,
    Equation,
    interpolate,
    interpolate_transposed,
    rolled_step,
    runge_kutta_step,
)


SOLVERS = [
    diffrax.Euler(),
    diffrax.Heun(),
    diffrax.Midpoint(),
    diffrax.Ralston(),
    diffrax.Bosh3(),
    diffrax.Tsit5(),
    diffrax.Dopri5(),
    diffrax.Dopri8(),
]
IDS = [type(solver).__name__ for solver in SOLVERS]

FIELD = Equation(
    lambda constants, t, y: jnp.sin(constants[0] @ y) + t,
    lambda constants, t0, t1: t1 - t0,
    lambda constants, f, h: h * f,
)


def _arguments():
    matrix = jax.random.normal(jax.random.key(0), (3, 3), jnp.float64)
    y = jnp.array([1.0, -2.0, 0.5])
    t0, t1 = jnp.asarray(0.3), jnp.asarray(0.7)
    return [matrix], t0, t1, y, FIELD.field([matrix], t0, y)


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_rolled_and_unrolled_steps_agree(x64, solver):
    method = method_of(solver)
    one = runge_kutta_step(method, FIELD, *_arguments())
    other = rolled_step(method, FIELD, *_arguments())
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_dense_output_is_that_of_diffrax(x64, solver):
    method = method_of(solver)
    constants, t0, t1, y, f = _arguments()
    stages = runge_kutta_step(method, FIELD, constants, t0, t1, y, f)
    times = jnp.linspace(t0, t1, 5)
    kwargs = {"y0": y, "y1": stages.y1}
    if type(solver) is not diffrax.Euler:
        kwargs["k"] = jnp.stack(stages.k)
    theirs = solver.interpolation_cls(t0=t0, t1=t1, **kwargs)
    expected = jax.vmap(theirs.evaluate)(times)
    ours = interpolate(method, times, t0, t1, y, stages.k)
    np.testing.assert_allclose(ours, expected, atol=1e-12)
    np.testing.assert_allclose(ours[0], y, atol=1e-14)


def test_dense_output_and_its_transpose_are_adjoint(x64):
    method = method_of(diffrax.Tsit5())
    keys = jax.random.split(jax.random.key(1), 10)
    times = jnp.linspace(0.1, 0.9, 6)
    y, w = jax.random.normal(keys[0], (2, 3)), jax.random.normal(keys[1], (6, 2, 3))
    k = [jax.random.normal(key, (2, 3)) for key in keys[3:]]
    ahead = jnp.vdot(interpolate(method, times, 0.0, 1.0, y, k), w)
    of_y, of_k = interpolate_transposed(method, times, 0.0, 1.0, w)
    back = jnp.vdot(of_y, y) + sum(map(jnp.vdot, of_k, k))
    np.testing.assert_allclose(ahead, back, rtol=1e-12)


def test_repeated_work_is_traced_once():
    def function(x, y):
        shared = jnp.tanh(x @ y)
        return shared + jnp.tanh(x @ y), jnp.tanh(x @ y) * jnp.tanh(y @ x), 2.0 * shared

    x, y = jnp.arange(4.0).reshape(2, 2), jnp.ones((2, 2))
    whole = jax.make_jaxpr(function)(x, y).jaxpr
    once = without_repetition(whole)
    count = [sum(e.primitive.name == "tanh" for e in j.eqns) for j in (whole, once)]
    assert count == [4, 2]
    closed, constants = close(function, x, y)
    pairs = zip(closed(constants, x, y), function(x, y), strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(a, b)


def test_random_numbers_of_different_keys_are_not_merged():
    def function(key):
        one, two = jax.random.split(key)
        return jax.random.normal(one), jax.random.normal(two), jax.random.normal(one)

    closed, constants = close(function, jax.random.key(0))
    a, b, c = closed(constants, jax.random.key(3))
    assert a == c and a != b
    np.testing.assert_array_equal(
        np.stack([a, b, c]), np.stack(function(jax.random.key(3)))
    )


def test_closed_over_arrays_become_arguments():
    def loss(weight):
        closed, constants = close(lambda y: weight * y, jnp.ones(3))
        return jnp.sum(closed(constants, jnp.full(3, 2.0)))

    np.testing.assert_array_equal(jax.grad(loss)(jnp.arange(3.0)), np.full(3, 2.0))
