"""The support vector machine's dual and the hypergradients of its penalty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from experiments import hyperparameter_svm as svm


SMALL = svm.Data(samples=20, features=40, classes=3)


def test_dual_is_that_of_the_weights(x64):
    """penalty / 2 |W|^2 + <x, Y> with W = X'(Y - x) / penalty, from features."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(7, 4)), np.eye(3)[rng.integers(0, 3, 7)]
    x, penalty = rng.dirichlet(np.ones(3), 7), 2.5
    W = X.T @ (Y - x) / penalty
    expected = penalty / 2 * np.sum(W**2) + np.sum(x * Y)
    np.testing.assert_allclose(svm.dual(x, penalty, X @ X.T, Y), expected)


@pytest.mark.parametrize("method, steps", [("projected", 3000), ("block", 300)])
def test_solution_is_scipys(x64, method, steps):
    given = svm.kernels(SMALL)
    inner = svm.Inner(method=method, steps=steps)
    found = jax.jit(lambda at: svm.solve(at, given, inner))(1.0).value
    penalty, labels = np.exp(1.0), given.train_labels

    def value(flat):
        rest = labels - flat.reshape(labels.shape)
        grad = labels - given.train @ rest / penalty
        size = np.sum(rest * (given.train @ rest)) / (2 * penalty)
        return size + np.sum(flat * labels.ravel()), grad.ravel()

    sums = scipy.optimize.LinearConstraint(
        np.kron(np.eye(len(labels)), np.ones((1, 3))), 1, 1
    )
    reference = scipy.optimize.minimize(
        value,
        np.full(labels.size, 1 / 3),
        jac=True,
        bounds=[(0, 1)] * labels.size,
        constraints=[sums],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    np.testing.assert_allclose(found, reference.x.reshape(labels.shape), atol=1e-5)


@pytest.mark.parametrize("derivative", ["implicit", "unrolled"])
def test_hypergradient_agrees_with_differences(x64, derivative):
    given = svm.kernels(SMALL)
    inner = svm.Inner(method="projected", derivative=derivative, steps=2000)

    @jax.jit
    def outer(at):
        return svm.validation_loss(svm.solve(at, given, inner).value, at, given)

    step = 1e-4
    slope = (outer(1.0 + step) - outer(1.0 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(outer)(1.0), slope, rtol=1e-5)
    assert jax.jit(lambda: svm.gradient_error(1.0, given, inner))() < 1e-4


def test_a_solver_that_has_not_converged_is_flagged(x64):
    given = svm.kernels(SMALL)

    def failed(steps):
        inner = svm.Inner(method="mirror", steps=steps)
        return float(
            jax.jit(lambda at: svm.solve(at, given, inner))(1.0).receipt.failed
        )

    assert failed(3) == 1


def test_scores_use_the_kernel_of_the_split():
    given = svm.kernels(SMALL)
    assert given.validation.shape == given.test.shape == (20, 20)
    eigenvalues = np.linalg.eigvalsh(given.train)
    assert eigenvalues[0] > 0 and jnp.isfinite(eigenvalues[-1])
