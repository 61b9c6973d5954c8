"""Backward solves that begin where the last one ended."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.implicit import argmin, fixed_point, Gradient, Receipt, root


def test_warm_started_adjoints_save_iterations(x64):
    rng = np.random.default_rng(4)
    W = rng.normal(size=(100, 100))
    W = jnp.asarray(0.9 * W / np.linalg.norm(W, 2))
    v = jnp.asarray(rng.normal(size=100))

    def loss(x, receipt, start):
        solution = fixed_point(
            lambda z: W @ z + 2 * x, jnp.zeros(100), receipt=receipt, start=start
        )
        return v @ solution.value

    grad = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    x = jnp.ones(100)
    exact = np.linalg.solve(np.eye(100) - np.asarray(W).T, v)
    slope, cold, adjoint = grad(x, Receipt.zeros(), jnp.zeros(100))
    again, warm, last = grad(x, Receipt.zeros(), adjoint)
    assert warm.iterations < cold.iterations / 3
    np.testing.assert_allclose(adjoint, exact, rtol=1e-6)
    np.testing.assert_allclose(last, exact, rtol=1e-6)
    np.testing.assert_allclose(slope, 2 * exact, rtol=1e-6)
    np.testing.assert_allclose(again, slope, rtol=1e-6)
    # A start that is no number is none.
    recovered, *_ = grad(x, Receipt.zeros(), jnp.full(100, jnp.nan))
    np.testing.assert_allclose(recovered, slope, rtol=1e-6)


@pytest.mark.parametrize("linear", ["cg", "gmres"])
@pytest.mark.parametrize("off", [0.0, 1e-12, 1e-9, 1e-5, 1.0])
def test_a_start_that_is_good_enough_is_no_failure(x64, linear, off):
    rng = np.random.default_rng(6)
    factor = rng.normal(size=(30, 30))
    A = jnp.asarray(factor @ factor.T / 30 + np.eye(30))
    v, along = jnp.asarray(rng.normal(size=(2, 30)))
    exact = np.linalg.solve(A, v)

    def loss(b, receipt, start):
        x = argmin(
            lambda x: x @ A @ x / 2 - b @ x,
            jnp.zeros(30),
            gradient=Gradient(linear=linear),
            receipt=receipt,
            start=start,
        )
        return v @ x.value

    begin = exact + off * along * np.linalg.norm(exact)
    b = jnp.ones(30)
    slope, told = jax.grad(loss, (0, 1))(b, Receipt.zeros(), begin)
    assert told.failed == 0
    true = np.linalg.norm(slope - exact) / np.linalg.norm(exact)
    assert true < 1.5e-8 and told.error < 1.5e-8 and true < 10 * told.error + 1e-14


def test_adjoints_of_many_lanes(x64):
    rng = np.random.default_rng(5)
    A = jnp.asarray(rng.normal(size=(4, 3, 3)) + 4 * np.eye(3))
    v = jnp.asarray(rng.normal(size=(4, 3)))

    def loss(A, v, start):
        return v @ root(lambda x: A @ x - 1, jnp.zeros(3), start=start).value

    exact = np.linalg.solve(np.asarray(A).mT, np.asarray(v)[:, :, None])[:, :, 0]
    adjoints = jax.vmap(jax.grad(loss, 2))
    np.testing.assert_allclose(adjoints(A, v, jnp.zeros((4, 3))), exact, rtol=1e-9)
    shared = jax.vmap(jax.grad(loss, 2), in_axes=(0, 0, None))
    np.testing.assert_allclose(shared(A, v, jnp.zeros(3)), exact, rtol=1e-9)
    mixed = jax.vmap(jax.grad(loss, 2), in_axes=(None, 0, None))
    first = np.linalg.solve(np.asarray(A[0]).T, v.T).T
    np.testing.assert_allclose(mixed(A[0], v, jnp.zeros(3)), first, rtol=1e-9)
    total = jax.grad(lambda s: jnp.sum(jax.vmap(loss, (0, 0, None))(A, v, s)))
    np.testing.assert_allclose(total(jnp.zeros(3)), exact.sum(0), rtol=1e-9)
    # A start carries no derivative of the value: at second order nothing of it is left.
    twice = jax.grad(lambda A: jnp.sum(jax.grad(loss)(A, v[0], jnp.zeros(3))))
    plain = jax.grad(
        lambda A: jnp.sum(
            jax.grad(lambda A: v[0] @ jnp.linalg.solve(A, jnp.ones(3)))(A)
        )
    )
    np.testing.assert_allclose(twice(A[0]), plain(A[0]), rtol=1e-9)
