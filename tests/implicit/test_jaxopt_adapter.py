import sys
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.implicit.jaxopt import minimise, root


METHODS = ["lbfgs", "gradient_descent", "bfgs", "nonlinear_cg"]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
Y = RNG.normal(size=20)
RIDGE = 0.7
A = X.T @ X + RIDGE * np.eye(3)
THETA = np.linalg.solve(A, X.T @ Y)


def ridge(theta, ridge):
    return 0.5 * jnp.sum((X @ theta - Y) ** 2) + 0.5 * ridge * jnp.sum(theta**2)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("method", METHODS)
def test_ridge_regression_and_its_derivative_in_closed_form(x64, method):
    # The line search of JAXopt's gradient descent cannot resolve less.
    tolerance = 1e-7 if method == "gradient_descent" else 1e-10

    @jax.jit
    def solve(strength):
        def solution(strength):
            result = minimise(
                ridge, jnp.zeros(3), strength, method=method, tolerance=tolerance
            )
            return result.params, result

        return jax.jacrev(solution, has_aux=True)(strength)

    derivative, result = solve(RIDGE)
    off = np.linalg.norm(result.params - THETA)
    # The gradient is A (theta - THETA), which bounds the distance from both sides.
    gradient = A @ np.asarray(result.params) - X.T @ Y
    np.testing.assert_allclose(result.error, np.linalg.norm(gradient), atol=1e-12)
    assert off <= 1.01 * result.error / np.linalg.eigvalsh(A)[0] + 1e-15
    assert result.error <= 10 * tolerance
    exact = -np.linalg.solve(A, THETA)
    np.testing.assert_allclose(derivative, exact, rtol=100 * tolerance)
    assert 0 < result.iterations < 500


def test_derivative_through_the_iterations(x64):
    def solve(strength):
        return minimise(
            ridge,
            jnp.zeros(3),
            strength,
            method="gradient_descent",
            tolerance=1e-7,
            implicit_diff=False,
        ).params

    got = jax.jit(jax.jacrev(solve))(RIDGE)
    np.testing.assert_allclose(got, -np.linalg.solve(A, THETA), rtol=1e-4)


@pytest.mark.parametrize("method", ["lbfgs", "bfgs", "nonlinear_cg"])
def test_derivatives_that_jaxopt_gets_wrong_are_refused(method):
    with pytest.raises(ValueError, match="implicit_diff=True"):
        minimise(ridge, jnp.zeros(3), RIDGE, method=method, implicit_diff=False)


def test_params_and_arguments_are_trees_of_float32():
    def objective(params, target):
        return sum(jnp.sum((params[k] - target[k]) ** 2) for k in params)

    target = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}
    start = jax.tree.map(jnp.zeros_like, target)
    result = minimise(objective, start, target)
    chex.assert_trees_all_close(result.params, target, atol=1e-5)
    chex.assert_trees_all_equal_dtypes(result.params, target)


def test_running_out_of_iterations_shows_in_the_error():
    def rosenbrock(p):
        return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2

    start = jnp.array([-1.2, 1.0])
    short = minimise(rosenbrock, start, method="gradient_descent", max_iterations=2)
    assert short.iterations == 2 and short.error > 1e-2
    full = minimise(rosenbrock, start, tolerance=1e-3)
    np.testing.assert_allclose(full.params, [1.0, 1.0], atol=1e-2)
    assert full.error <= 1e-3


@pytest.mark.parametrize("method", ["lbfgs", "gradient_descent"])
def test_an_objective_that_is_nan_shows_in_the_error(method):
    # The gradient, 2 p, is finite: JAXopt alone could call this a minimum.
    def objective(p):
        return jnp.sum(p**2) + jnp.nan

    assert jnp.isnan(minimise(objective, jnp.ones(2), method=method).error)


def test_an_empty_tree_is_its_own_minimum():
    result = minimise(lambda p: 0.0, {})
    assert result.params == {} and result.iterations == 0 and result.error == 0
    assert root(lambda p: {}, {}).params == {}


def test_jit_traces_once(x64):
    @jax.jit
    @chex.assert_max_traces(n=1)
    def solve(strength):
        return minimise(ridge, jnp.zeros(3), strength, method="gradient_descent").params

    chex.clear_trace_counter()
    one, two = solve(0.5), solve(5.0)
    assert jnp.linalg.norm(two) < jnp.linalg.norm(one)


def test_vmap_over_the_strength_of_the_ridge(x64):
    def solve(strength):
        result = minimise(ridge, jnp.zeros(3), strength, method="bfgs", tolerance=1e-9)
        return result.params

    strengths = np.array([0.1, 0.7, 5.0])
    exact = [np.linalg.solve(X.T @ X + s * np.eye(3), X.T @ Y) for s in strengths]
    got = jax.jit(jax.vmap(solve))(strengths)
    np.testing.assert_allclose(got, np.stack(exact), rtol=1e-7)


def test_broyden_finds_square_roots_and_their_derivatives(x64):
    def solve(a):
        result = root(lambda x, a: x**2 - a, jnp.ones(2), a, tolerance=1e-12)
        return result.params, result

    a = np.array([2.0, 3.0])
    derivative, result = jax.jit(jax.jacrev(solve, has_aux=True))(a)
    np.testing.assert_allclose(result.params, np.sqrt(a), rtol=1e-10)
    assert result.error < 1e-10 and result.iterations > 0
    exact = np.diag(0.5 / np.sqrt(a))
    np.testing.assert_allclose(derivative, exact, rtol=1e-9, atol=1e-12)


def test_bisection_finds_kepler_and_its_derivative(x64):
    def kepler(anomaly, mean):
        return anomaly - 0.3 * jnp.sin(anomaly) - mean

    @jax.jit
    def solve(mean):
        result = root(
            kepler, None, mean, method="bisection", bracket=(0, 4), tolerance=1e-13
        )
        return result.params, result

    (got, result), derivative = solve(1.0), jax.grad(lambda m: solve(m)[0])(1.0)
    assert abs(got - 0.3 * np.sin(got) - 1.0) < 1e-12
    np.testing.assert_allclose(derivative, 1 / (1 - 0.3 * np.cos(got)), rtol=1e-10)
    # Bisection halves an interval of length 4 once in an iteration.
    assert result.iterations <= np.ceil(np.log2(4 / 1e-13))


def test_a_bracket_without_a_change_of_sign_shows_in_the_error():
    result = root(lambda x: x + 1, None, method="bisection", bracket=(0.0, 1.0))
    assert result.error >= 1


def test_misuse_says_what_to_do():
    with pytest.raises(ValueError, match="'nonlinear_cg'.* Did you mean 'lbfgs'?"):
        minimise(ridge, jnp.zeros(3), RIDGE, method="l-bfgs")
    with pytest.raises(ValueError, match="choose from 'broyden', 'bisection'.$"):
        root(lambda x: x, jnp.zeros(1), method="newton")
    with pytest.raises(ValueError, match="pass guess=None and bracket"):
        root(lambda x: x, jnp.zeros(()), method="bisection")
    with pytest.raises(ValueError, match="bracket is for"):
        root(lambda x: x, jnp.zeros(1), bracket=(0, 1))


def test_no_warning_reaches_the_caller(monkeypatch):
    # JAXopt warns when it is imported, which another test may have done before.
    monkeypatch.delitem(sys.modules, "jaxopt", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        minimise(lambda p: jnp.sum(p**2), jnp.ones(2), method="gradient_descent")
