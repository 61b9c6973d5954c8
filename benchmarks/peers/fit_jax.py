"""Fits as layers in JAX: djx, optimistix, JAXopt, and Newton's method by hand."""

# Peers come with the bench extra only.
# pyright: reportMissingImports=false, reportArgumentType=false

from collections.abc import Callable

import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx

from ..implicit_fits import CUBIC, Fit, RIDGE


TOLERANCE = 1e-10


def ridge(w, log_d, X, y):
    """The objective of ridge regression."""
    r = X @ w - y
    return (r @ r + jnp.exp(log_d) @ w**2) / 2


def logistic(w, log_d, X, y):
    """The objective of logistic regression, for targets of +1 and -1."""
    return jnp.sum(jax.nn.softplus(-y * (X @ w))) + jnp.exp(log_d) @ w**2 / 2


def residuals(w, basis, y):
    """Of the constraint layer, the square root of its penalty among them."""
    a = basis @ w
    return jnp.concatenate([a + CUBIC * a**3 - y, RIDGE**0.5 * w])


def djx_minimum(objective: Callable) -> Callable:
    """As it comes."""
    from djx.implicit import argmin

    def layer(log_d, X, y):
        return argmin(objective, jnp.zeros_like(log_d), log_d, X, y).value

    return layer


def djx_least_squares(basis, y):
    """As it comes."""
    from djx.implicit import least_squares

    start = jnp.zeros(basis.shape[1], basis.dtype)
    return least_squares(residuals, start, basis, y).value


def optimistix_minimum(objective: Callable, solver: str) -> Callable:
    """With Cholesky factors for the derivative.

    Args:
        objective: of (w, *args).
        solver: "LBFGS", or "Newton" on the gradient.

    Returns:
        The layer.
    """
    linear = lx.Cholesky()
    keywords = {
        "adjoint": optx.ImplicitAdjoint(linear_solver=linear),
        "tags": frozenset({lx.positive_semidefinite_tag}),
        "max_steps": 2000,
        "throw": False,  # the error says what became of it
    }

    def layer(*args):
        start = jnp.zeros_like(args[0])
        if solver == "Newton":
            newton = optx.Newton(TOLERANCE, TOLERANCE, linear_solver=linear)
            slope = jax.grad(objective)
            found = optx.root_find(
                lambda w, args: slope(w, *args), newton, start, args, **keywords
            )
        else:
            found = optx.minimise(
                lambda w, args: objective(w, *args),
                optx.LBFGS(TOLERANCE, TOLERANCE),
                start,
                args,
                **keywords,
            )
        return found.value

    return layer


def optimistix_least_squares(basis, y):
    """Levenberg and Marquardt's method, as it comes."""
    start = jnp.zeros(basis.shape[1], basis.dtype)
    return optx.least_squares(
        lambda w, args: residuals(w, *args),
        optx.LevenbergMarquardt(TOLERANCE, TOLERANCE),
        start,
        (basis, y),
    ).value


def jaxopt_minimum(objective: Callable, tight: bool) -> Callable:
    """LBFGS, as it comes, or at a tight tolerance with a direct solve backwards."""
    import jaxopt
    from jaxopt.linear_solve import solve_lu as lu

    options = {}
    if tight:
        options = {"tol": TOLERANCE, "maxiter": 2000, "implicit_diff_solve": lu}

    def layer(*args):
        solver = jaxopt.LBFGS(objective, **options)
        return solver.run(jnp.zeros_like(args[0]), *args).params

    return layer


def jaxopt_least_squares(direct: bool) -> Callable:
    """Levenberg and Marquardt's method with Cholesky factors.

    Args:
        direct: solve directly backwards, which is not the default.

    Returns:
        The layer.
    """
    import jaxopt
    from jaxopt.linear_solve import solve_lu

    options = {"implicit_diff_solve": solve_lu} if direct else {}

    def layer(basis, y):
        solver = jaxopt.LevenbergMarquardt(
            residuals, solver="cholesky", tol=TOLERANCE, maxiter=100, **options
        )
        start = jnp.zeros(basis.shape[1], basis.dtype)
        return solver.run(start, basis, y).params

    return layer


def limit_layer(fit: Fit) -> Callable:
    """Newton's method by hand; its last factor serves the derivative.

    Args:
        fit: what is fitted.

    Returns:
        The layer of (log penalties, rows, targets).
    """

    def factor(X, d, weights):
        return jax.scipy.linalg.cho_factor((X.T * weights) @ X + jnp.diag(d))

    def iterate(log_d, X, y):
        d = jnp.exp(log_d)

        def step(carry):
            w, _, _, count = carry
            a = X @ w
            chol = factor(X, d, fit.descent(a, y, jnp))[0]
            slope = X.T @ fit.slope(a, y, jnp) + d * w
            move = jax.scipy.linalg.cho_solve((chol, False), slope)
            return w - move, jnp.linalg.norm(move), chol, count + 1

        def more(carry):
            w, size, _, count = carry
            # The factor is that of the point before this step.
            return (size > 1e-9 * jnp.linalg.norm(w)) & (count < 50)

        n = X.shape[1]
        first = jnp.zeros(n), jnp.inf, jnp.zeros((n, n)), 0
        w, _, chol, _ = jax.lax.while_loop(more, step, step(first))
        return w, chol

    @jax.custom_vjp
    def layer(log_d, X, y):
        return iterate(log_d, X, y)[0]

    def forward(log_d, X, y):
        w, chol = iterate(log_d, X, y)
        return w, (log_d, X, y, w, chol)

    def backward(kept, cotangent):
        log_d, X, y, w, chol = kept
        d, a = jnp.exp(log_d), X @ w
        if fit.curvature is not fit.descent:
            chol = factor(X, d, fit.curvature(a, y, jnp))[0]
        u = jax.scipy.linalg.cho_solve((chol, False), cotangent)

        def slope(log_d, X, y):
            return X.T @ fit.slope(X @ w, y, jnp) + jnp.exp(log_d) * w

        return jax.vjp(slope, log_d, X, y)[1](-u)

    layer.defvjp(forward, backward)
    return layer
