"""The fits that hypergradients are raced on, as numpy arrays, and the exact answers.

All are minima of sum_i phi(x_i'w, y_i) + sum_j d_j w_j^2 / 2.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Fit(NamedTuple):
    """phi and its derivatives in a = x'w, for numpy and JAX alike; the first two."""

    slope: Callable[[Any, Any, Any], Any]
    """(a, y, the module: numpy or jax.numpy) to d phi / d a."""
    curvature: Callable[[Any, Any, Any], Any]
    """To the second derivative."""
    descent: Callable[[Any, Any, Any], Any]
    """To a curvature that is positive everywhere."""


def _sigmoid(a, m):
    return 0.5 * (1 + m.tanh(a / 2))


CUBIC = 0.3  # of the residuals a + CUBIC a^3 - y


def _residual(a, y):
    return a + CUBIC * a**3 - y


def _stretch(a):
    return 1 + 3 * CUBIC * a**2


FITS = {
    "ridge": Fit(
        lambda a, y, m: a - y,
        lambda a, y, m: m.ones_like(a),
        lambda a, y, m: m.ones_like(a),
    ),
    # y is +1 or -1
    "logistic": Fit(
        lambda a, y, m: -y * _sigmoid(-y * a, m),
        lambda a, y, m: _sigmoid(a, m) * _sigmoid(-a, m),
        lambda a, y, m: _sigmoid(a, m) * _sigmoid(-a, m),
    ),
    "least squares": Fit(
        lambda a, y, m: _residual(a, y) * _stretch(a),
        lambda a, y, m: _stretch(a) ** 2 + _residual(a, y) * 6 * CUBIC * a,
        lambda a, y, m: _stretch(a) ** 2,
    ),
}


def regression(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log penalties of 300 features, 800 rows of them, and targets.

    Args:
        name: "ridge" or "logistic", whose targets are signs.

    Returns:
        (300,), (800, 300), (800,).
    """
    random = np.random.default_rng(0)
    X = random.standard_normal((800, 300))
    y = X @ random.standard_normal(300) + random.standard_normal(800)
    penalties = random.standard_normal(300)
    return penalties, X, np.sign(y) if name == "logistic" else y


RIDGE = 1e-2  # of the constraint layer


def constraints() -> tuple[np.ndarray, np.ndarray]:
    """Sixteen basis functions at 2048 points, and eight right-hand sides.

    Returns:
        (2048, 16), (8, 2048).
    """
    random = np.random.default_rng(0)
    basis = random.standard_normal((2048, 16)) / 4
    exact = random.standard_normal((8, 16)) @ basis.T
    noise = 0.5 * random.standard_normal((8, 2048))
    return basis, exact + CUBIC * exact**3 + noise


def minimum(fit: Fit, X: np.ndarray, y: np.ndarray, d: np.ndarray) -> np.ndarray:
    """w, by Newton's method until rounding."""
    w, size = np.zeros(X.shape[1]), np.inf
    for _ in range(200):
        a = X @ w
        slope = X.T @ fit.slope(a, y, np) + d * w
        matrix = (X.T * fit.descent(a, y, np)) @ X + np.diag(d)
        if size < 1e-4:  # where the whole Hessian is positive definite
            matrix = (X.T * fit.curvature(a, y, np)) @ X + np.diag(d)
        step = np.linalg.solve(matrix, slope)
        w, size = w - step, np.max(np.abs(step))
        if size < 1e-14:
            return w
    raise ValueError("Newton's method did not find the minimum")


def adjoint(fit: Fit, X: np.ndarray, y: np.ndarray, d: np.ndarray, w: np.ndarray):
    """Solves H u = cos w, for the loss sum(sin(w))."""
    matrix = (X.T * fit.curvature(X @ w, y, np)) @ X + np.diag(d)
    return np.linalg.solve(matrix, np.cos(w))


def penalty_gradient(name: str) -> np.ndarray:
    """The gradient of sum(sin(w)) by the log penalties."""
    log_d, X, y = regression(name)
    d, fit = np.exp(log_d), FITS[name]
    w = minimum(fit, X, y, d)
    return -adjoint(fit, X, y, d, w) * d * w


def constraint_gradients() -> tuple[np.ndarray, np.ndarray]:
    """The gradients of sum(sin(w)) by the basis and the right-hand sides."""
    basis, targets = constraints()
    fit, d = FITS["least squares"], np.full(basis.shape[1], RIDGE)
    of_basis, of_targets = np.zeros_like(basis), np.zeros_like(targets)
    for row, y in enumerate(targets):
        w = minimum(fit, basis, y, d)
        u = adjoint(fit, basis, y, d, w)
        a, along = basis @ w, basis @ u
        of_targets[row] = _stretch(a) * along
        of_basis -= np.outer(fit.slope(a, y, np), u)
        of_basis -= np.outer(fit.curvature(a, y, np) * along, w)
    return of_basis, of_targets
