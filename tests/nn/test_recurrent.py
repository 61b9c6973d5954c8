"""The recurrent unit against Equinox' cell in a plain loop."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.nn import GRU


def by_loop(unit, inputs, start):
    def step(h, x):
        h = unit.cell(x, h)
        return h, h

    return jax.lax.scan(step, start, inputs)[1]


def given(steps=7, in_size=3, size=5):
    unit = GRU(in_size, size, key=jax.random.key(0))
    unit = jax.tree.map(lambda a: a.astype("float64"), unit)
    keys = jax.random.split(jax.random.key(1), 2)
    inputs = jax.random.normal(keys[0], (steps, in_size), jnp.float64)
    return unit, inputs, jax.random.normal(keys[1], (size,), jnp.float64)


@pytest.mark.parametrize("steps", [1, 2, 30])
def test_states_are_those_of_the_cell(steps):
    with jax.enable_x64(True):
        unit, inputs, start = given(steps)
        expected = by_loop(unit, inputs, start)
        np.testing.assert_allclose(unit(inputs, start), expected, rtol=1e-12)
        half = steps // 2
        first = unit(inputs[:half], start)
        middle = first[-1] if half else start
        rest = unit(inputs[half:], middle)
        np.testing.assert_allclose(np.concatenate([first, rest]), expected, rtol=1e-12)


def test_derivatives_are_those_of_the_loop():
    with jax.enable_x64(True):
        primals = given()

        def ours(*parts):
            return parts[0](*parts[1:])

        along = jax.tree.map(
            lambda a: jnp.asarray(np.random.default_rng(2).normal(size=a.shape)),
            primals,
        )
        value, tangent = jax.jvp(ours, primals, along)
        np.testing.assert_allclose(
            tangent, jax.jvp(by_loop, primals, along)[1], rtol=1e-10
        )
        g = jnp.asarray(np.random.default_rng(3).normal(size=value.shape))
        back = jax.vjp(ours, *primals)[1](g)
        plain = jax.vjp(by_loop, *primals)[1](g)
        for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(plain), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
        inner = sum(
            jnp.vdot(a, b)
            for a, b in zip(jax.tree.leaves(along), jax.tree.leaves(back), strict=True)
        )
        np.testing.assert_allclose(jnp.vdot(g, tangent), inner, rtol=1e-10)


def test_second_derivatives_are_those_of_the_loop():
    with jax.enable_x64(True):
        unit, inputs, start = given(4, 2, 2)

        def energy(how, inputs):
            return jnp.sum(how(unit, inputs, start) ** 3)

        def hessian(how):
            return jax.jacfwd(jax.grad(lambda x: energy(how, x)))(inputs)

        ours = hessian(lambda unit, *rest: unit(*rest))
        np.testing.assert_allclose(ours, hessian(by_loop), rtol=1e-9, atol=1e-12)


def test_a_batch_has_one_product_for_the_weights_gradient():
    """Not one a step: the loop of the backward pass carries no matrix of weights."""
    unit = GRU(3, 5, key=jax.random.key(0))
    inputs = jnp.ones((4, 6, 3))

    def loss(unit):
        return jnp.sum(jax.vmap(unit)(inputs) ** 2)

    text = str(jax.make_jaxpr(eqx.filter_grad(loss))(unit))
    carried = [line for line in text.splitlines() if "num_carry" in line]
    assert carried and all("num_carry=1" in line for line in carried)
