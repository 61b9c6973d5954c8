"""Bulk noise: its statistics, its keys, and the solves that it drives."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import diffeq
from djx.diffeq._reversible import reversed_heun, reversible_heun
from djx.diffeq._step import Equation

from .systems import stochastic


KEY = jax.random.key(7)


def _linear(spread, path, *, y0=1.0, theta=1.0, steps=100, t1=2.0, **options):
    """dy = -theta y dt + spread dW by Euler-Maruyama."""
    terms = diffrax.MultiTerm(
        diffrax.ODETerm(lambda t, y, a: -theta * y),
        diffrax.ControlTerm(spread, path),
    )
    solver = options.pop("solver", diffrax.Euler())
    return diffeq.diffeqsolve(
        terms, solver, 0.0, t1, t1 / steps, jnp.asarray(y0), max_steps=steps, **options
    )


def _increments(path, steps=173):
    noise = diffrax.ControlTerm(lambda t, y, a: jnp.eye(2), path)
    walk = diffeq.diffeqsolve(
        noise,
        diffrax.Euler(),
        0.0,
        1.0,
        1 / steps,
        jnp.zeros(2),
        saveat=diffrax.SaveAt(t0=True, steps=True),
        max_steps=steps,
    ).ys
    return jnp.diff(walk, axis=0) * steps**0.5


def test_increments_are_independent_standard_normals(x64):
    paths = jax.vmap(lambda i: _increments(diffeq.BulkBrownianPath((2,), KEY, path=i)))
    drawn = np.asarray(paths(jnp.arange(300)))  # paths, steps, dimensions
    flat = drawn.reshape(300, -1)
    count = flat.size
    assert abs(flat.mean()) < 4 / count**0.5
    assert abs(flat.var() - 1) < 4 * (2 / count) ** 0.5
    assert abs((flat**4).mean() - 3) < 4 * (96 / count) ** 0.5
    # steps of one run of 50 and of the next, neighbours, both dimensions, two paths
    for a, b in (
        (drawn[:, 3, 0], drawn[:, 53, 0]),
        (drawn[:, 49, 0], drawn[:, 50, 0]),
        (drawn[:, 7, 0], drawn[:, 7, 1]),
        (drawn[0].ravel(), drawn[1].ravel()),
    ):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / len(a) ** 0.5


def test_noise_is_a_function_of_key_path_and_step(x64):
    alone = _increments(diffeq.BulkBrownianPath((2,), KEY, path=3))
    batch = jax.vmap(lambda i: _increments(diffeq.BulkBrownianPath((2,), KEY, path=i)))(
        jnp.arange(5)
    )
    np.testing.assert_allclose(batch[3], alone, atol=1e-12)
    again = _increments(diffeq.BulkBrownianPath((2,), jax.random.fold_in(KEY, 3)))
    np.testing.assert_array_equal(alone, again)
    shorter = _increments(diffeq.BulkBrownianPath((2,), KEY, path=3), steps=60)
    np.testing.assert_allclose(shorter, alone[:60], atol=1e-12)


def test_ornstein_uhlenbeck(x64):
    """Mean and variance of the process, and the scheme's own stationary variance."""
    theta, sigma, paths = 1.5, 0.7, 20000

    def ends(steps, t1):
        def one(i):
            path = diffeq.BulkBrownianPath((), KEY, path=i)

            def spread(t, y, a):
                return jnp.asarray(sigma)

            return _linear(spread, path, y0=2.0, theta=theta, steps=steps, t1=t1).ys[0]

        return np.asarray(jax.jit(jax.vmap(one))(jnp.arange(paths)))

    found = ends(400, 1.0)
    variance = sigma**2 / (2 * theta) * (1 - np.exp(-2 * theta))
    assert abs(found.mean() - 2 * np.exp(-theta)) < 5 * (variance / paths) ** 0.5 + 5e-3
    assert found.var() == pytest.approx(variance, rel=5 * (2 / paths) ** 0.5 + 5e-3)
    h = 0.5
    biased = sigma**2 / (2 * theta - theta**2 * h)
    coarse = ends(40, 20.0)
    assert coarse.var() == pytest.approx(biased, rel=5 * (2 / paths) ** 0.5)
    assert abs(coarse.var() / (sigma**2 / (2 * theta)) - 1) > 0.3


def test_geometric_motion_and_its_pathwise_derivative(x64):
    """Milstein's scheme for dy = -y dt + b y dW is a product: so is its derivative."""
    steps, h = 40, 0.05

    def end(b):
        path = diffeq.BulkBrownianPath((), KEY)
        return _linear(lambda t, y, a: b * y, path, steps=steps).ys[0]

    normals = jnp.concatenate(
        [diffeq.BulkBrownianPath((), KEY).normals(i) for i in range(2)]
    )[:steps]
    noise, b = normals * h**0.5, 0.6
    factors = 1 - h + b * noise
    np.testing.assert_allclose(end(b), jnp.prod(factors), rtol=1e-12)
    expected = jnp.prod(factors) * jnp.sum(noise / factors)
    np.testing.assert_allclose(jax.grad(end)(b), expected, rtol=1e-10)
    np.testing.assert_allclose(jax.jvp(end, (b,), (1.0,))[1], expected, rtol=1e-10)


@pytest.mark.parametrize("steps", [1, 49, 50, 51, 130])
def test_reversible_adjoint_equals_the_plain_one(x64, steps):
    def loss(y0, a, t1, adjoint):
        path = diffeq.BulkBrownianPath((2,), KEY)
        return jnp.sum(
            diffeq.diffeqsolve(
                stochastic("diagonal", path),
                diffrax.ReversibleHeun(),
                0.0,
                1.0,
                1 / steps,
                y0 * t1,
                a,
                adjoint=adjoint,
            ).ys
            ** 2
        )

    arguments = jnp.array([1.0, -0.5]), 0.5, 1.0
    plain, reversed_ = (
        jax.value_and_grad(loss, (0, 1, 2))(*arguments, adjoint)
        for adjoint in (diffrax.DirectAdjoint(), diffeq.ReversibleAdjoint())
    )
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(reversed_), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


def test_reversible_heun_round_trip(x64):
    matrix = jax.random.normal(KEY, (4, 4))
    equation = Equation(
        lambda constants, t, y: jnp.sin(constants[0] @ y) + t,
        lambda constants, t0, t1: t1 - t0,
        lambda constants, f, noise: f * noise,
    )
    y0 = jnp.linspace(-1.0, 1.0, 4)
    times = jnp.linspace(0.0, 1.0, 1001)
    noise = 0.03 * jax.random.normal(KEY, (1000, 4))
    first = (y0, y0, equation.field([matrix], 0.0, y0))

    def ahead(state, x):
        return reversible_heun(equation, [matrix], x[0], x[1], state)[0], None

    def back(state, x):
        return reversed_heun(equation, [matrix], x[0], x[1], state), None

    last, _ = jax.lax.scan(ahead, first, (times[1:], noise))
    again, _ = jax.lax.scan(back, last, (times[:-1], noise), reverse=True)
    assert jnp.max(jnp.abs(last[0] - y0)) > 0.1
    for a, b in zip(again, first, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_reversible_adjoint_has_flat_memory(x64):
    def bytes_used(steps, adjoint):
        def loss(y0):
            path = diffeq.BulkBrownianPath((64,), KEY)
            terms = diffrax.MultiTerm(
                diffrax.ODETerm(lambda t, y, a: jnp.sin(y)),
                diffrax.ControlTerm(lambda t, y, a: jnp.diag(jnp.cos(y)), path),
            )
            return jnp.sum(
                diffeq.diffeqsolve(
                    terms,
                    diffrax.ReversibleHeun(),
                    0.0,
                    1.0,
                    1 / steps,
                    y0,
                    adjoint=adjoint,
                    max_steps=steps,
                ).ys
            )

        compiled = jax.jit(jax.grad(loss)).lower(jnp.ones(64)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = (bytes_used(n, diffeq.ReversibleAdjoint()) for n in (200, 2000))
    # times of steps only: two doubles and their like, no state of 64
    assert many - few < 64 * 1800
    assert bytes_used(2000, diffrax.DirectAdjoint()) > 8 * 64 * 2000
