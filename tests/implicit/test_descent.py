"""Steps of first-order methods, L-BFGS, and matrices without products."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from djx.implicit import argmin, fixed_point, Gradient, RESULTS
from djx.implicit._matrix import is_constant, matrix_of
from djx.implicit.descent import block_step, iterate, mirror_step, proximal_step


def problem(n=6, k=3, seed=0):
    """<x, Kx> / 2 + <c, x> over rows on the simplex, and its minimum by SciPy."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(n, n))
    kernel, c = half @ half.T + np.eye(n), 3 * rng.normal(size=(n, k))

    def value(flat):
        x = flat.reshape(n, k)
        return np.sum(x * (kernel @ x)) / 2 + np.sum(c * x)

    found = scipy.optimize.minimize(
        value,
        np.full(n * k, 1 / k),
        jac=lambda flat: (kernel @ flat.reshape(n, k) + c).ravel(),
        bounds=[(0, None)] * (n * k),
        constraints=[
            {"type": "eq", "fun": lambda flat, i=i: flat.reshape(n, k)[i].sum() - 1}
            for i in range(n)
        ],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return kernel, c, found.x.reshape(n, k)


def objective(x, kernel, c):
    return jnp.vdot(x, kernel @ x) / 2 + jnp.vdot(c, x)


def onto_simplex(x, step):
    import optax

    del step
    if x.ndim == 1:
        return optax.projections.projection_simplex(x)
    return jax.vmap(optax.projections.projection_simplex)(x)


def maps(kernel):
    largest = np.linalg.norm(kernel, 2)

    def slope(x, i, kernel, c):
        return jnp.asarray(kernel)[i] @ x + jnp.asarray(c)[i]

    return {
        "projected": proximal_step(objective, onto_simplex, 1 / largest),
        "mirror": mirror_step(objective, 1 / np.max(np.abs(kernel))),
        "block": block_step(slope, onto_simplex, 1 / np.diagonal(kernel)),
    }


@pytest.mark.parametrize("kind", ["projected", "mirror", "block"])
def test_fixed_points_are_the_constrained_minimum(x64, kind):
    kernel, c, expected = problem()
    found = fixed_point(
        maps(kernel)[kind],
        np.full(c.shape, 1 / c.shape[1]),
        kernel,
        c,
        solver=iterate(5000),
        tolerance=1e-9,
    )
    np.testing.assert_allclose(found.value, expected, atol=2e-6)
    np.testing.assert_allclose(np.sum(found.value, 1), 1, rtol=1e-12)


@pytest.mark.parametrize("kind", ["projected", "block"])
def test_implicit_and_unrolled_derivatives_agree_with_differences(x64, kind):
    kernel, c, _ = problem()
    weights = np.random.default_rng(1).normal(size=c.shape)
    along = np.random.default_rng(2).normal(size=c.shape)

    def loss(c, gradient):
        x = fixed_point(
            maps(kernel)[kind],
            jnp.full(c.shape, 1 / c.shape[1]),
            kernel,
            c,
            solver=iterate(2000),
            gradient=gradient,
        ).value
        return jnp.sum(weights * x)

    exact = Gradient(linear="svd")
    step = 1e-5
    slope = (loss(c + step * along, exact) - loss(c - step * along, exact)) / (2 * step)
    assert abs(slope) > 1e-3
    for gradient in (exact, Gradient(mode="unrolled")):
        found = jax.jit(jax.grad(loss), static_argnums=1)(c, gradient)
        np.testing.assert_allclose(np.vdot(found, along), slope, rtol=1e-6)


def test_mirror_descent_has_the_derivative_of_the_minimum(x64):
    """Inside of the simplex the derivative is that of a system with its constraint."""
    H = np.diag([1.0, 2.0, 3.0, 4.0]) + 0.3
    w, theta = np.cos(np.arange(4.0) + 1), np.array([1.0, 1.2, 1.5, 0.9])

    def loss(theta):
        image = mirror_step(lambda x, t: x @ H @ x / 2 - t @ x, 0.2)
        start = jnp.full(4, 0.25)
        found = fixed_point(
            image, start, theta, solver="picard", tolerance=1e-13, max_steps=5000
        )
        return w @ found.value

    kkt = np.block([[H, np.ones((4, 1))], [np.ones((1, 4)), np.zeros((1, 1))]])
    assert np.linalg.solve(kkt, np.append(theta, 1))[:4].min() > 0.01
    expected = np.linalg.solve(kkt, np.append(w, 0))[:4]
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(theta), expected, rtol=1e-8)


def test_a_fixed_point_that_is_none_is_not_called_found(x64):
    kernel, c, _ = problem()
    start = np.full(c.shape, 1 / c.shape[1])

    def result(steps):
        image = maps(kernel)["projected"]
        return fixed_point(image, start, kernel, c, solver=iterate(steps)).result

    assert result(2) == RESULTS.not_converged
    assert result(3000) == RESULTS.successful


def test_mirror_descent_overflows_nowhere_and_keeps_zeros():
    image = mirror_step(lambda x: 1e6 * x[0] - 1e6 * x[1], 1.0, total=0.75)
    found = image(jnp.array([0.5, 0.25, 0.0]))
    np.testing.assert_allclose(found, [0, 0.75, 0], atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_large_minima_by_gradients_alone(precision):
    """Above 512 unknowns; a second solve from the solution ends at once."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(precision == "float64"):
        X, y = rng.normal(size=(700, 600)), np.sign(rng.normal(size=700))
        X, y = X.astype(precision), y.astype(precision)

        def objective(w):
            return jnp.sum(jax.nn.softplus(-y * (X @ w))) + w @ w / 2

        solve = jax.jit(lambda start: argmin(objective, start))
        found = solve(jnp.zeros(600, precision))
        again = solve(found.value)
        reference = scipy.optimize.minimize(
            lambda w: np.sum(np.logaddexp(0, -y * (X @ w))) + w @ w / 2,
            np.zeros(600),
            jac=lambda w: X.T @ (-y / (1 + np.exp(y * (X @ w)))) + w,
            method="L-BFGS-B",
            options={"ftol": 0, "gtol": 1e-9, "maxiter": 5000, "maxfun": 10000},
        )
    for one in (found, again):
        assert one.result == RESULTS.successful
        tolerance = 1e-8 if precision == "float64" else 2e-4
        np.testing.assert_allclose(one.value, reference.x, atol=tolerance)
    assert again.stats["iterations"] < found.stats["iterations"] / 3


@pytest.mark.parametrize("valley", ["curved", "at zero", "bottomless"])
def test_gradient_descent_ends_where_it_should(x64, valley):
    def rosenbrock(w):
        return jnp.sum(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2)

    objective, start, expected = {
        "curved": (rosenbrock, jnp.zeros(520), 1.0),
        "at zero": (lambda w: jnp.sum(jnp.cosh(w)), jnp.ones(520), 0.0),
        "bottomless": (lambda w: -jnp.sum(w), jnp.zeros(520), None),
    }[valley]
    found = jax.jit(lambda w: argmin(objective, w, max_steps=20000))(start)
    if expected is None:
        assert found.result == RESULTS.not_converged
        return
    assert found.result == RESULTS.successful
    np.testing.assert_allclose(found.value, expected, atol=1e-8)


def functions():
    rng = np.random.default_rng(0)
    X = jnp.asarray(rng.normal(size=(20, 9)))
    y = jnp.asarray(rng.normal(size=20))

    def ridge(w):
        return jnp.sum((X @ w - y) ** 2) + jnp.sum(w**2)

    def parts(w):  # slices, reshapes, both sides of products, and use besides
        a, b = w[:4], w[4:].reshape(1, 5)[0]
        return jnp.sum(jnp.tanh(X[:, :4] @ a) * (b @ X[:5, :5])[0]) + w[0] * w[8]

    def networks(w):
        return jnp.sum(jnp.tanh(w[:6].reshape(2, 3) @ X[:3, :4])) + jnp.sum(
            (X @ w) ** 4
        )

    return {"ridge": ridge, "parts": parts, "networks": networks}


@pytest.mark.parametrize("name", list(functions()))
def test_hessians_are_those_of_jax(x64, name):
    function = functions()[name]
    w = jnp.asarray(np.random.default_rng(1).normal(size=(2, 9)))
    found = jax.jit(jax.vmap(lambda w: matrix_of(jax.grad(function), w)))(w)
    expected = jax.vmap(jax.hessian(function))(w)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert is_constant(jax.grad(function), w[0]) == (name == "ridge")


def test_a_product_with_the_identity_is_not_computed(x64):
    def products(make):
        text = jax.jit(make).lower(jnp.zeros(9)).as_text()
        return text.count("dot_general")

    ridge = functions()["ridge"]
    ours = products(lambda w: matrix_of(jax.grad(ridge), w))
    assert ours == products(jax.hessian(ridge)) - 1


def test_memory_of_a_gradient_does_not_grow_with_inner_steps():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 20)), rng.normal(size=40)

    def memory(steps, mode):
        def loss(theta):
            def image(w):
                return w - 1e-3 * (X.T @ (X @ w - y) + jnp.exp(theta) * w)

            gradient = Gradient(mode=mode)
            start = jnp.zeros(20)
            found = fixed_point(image, start, solver=iterate(steps), gradient=gradient)
            return jnp.sum(found.value**2)

        compiled = jax.jit(jax.grad(loss)).lower(jnp.zeros(20)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    sizes = {
        (mode, steps): memory(steps, mode)
        for mode, steps in itertools.product(("exact", "unrolled"), (10, 1000))
    }
    assert sizes["exact", 1000] <= 1.01 * sizes["exact", 10]
    assert sizes["unrolled", 1000] > 10 * sizes["unrolled", 10]


def test_unrolled_iterations_cannot_be_corrected():
    with pytest.raises(ValueError, match="choose one of the two"):
        Gradient(mode="unrolled", certify="correct")
