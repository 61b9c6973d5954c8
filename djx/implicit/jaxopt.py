"""Minima and roots by JAXopt.

JAXopt is no longer maintained: it serves as an oracle and a baseline, and this is the
only module that imports it.
"""

import difflib
import functools
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree, Scalar, ScalarLike


_MINIMISERS = {
    "lbfgs": "LBFGS",
    "gradient_descent": "GradientDescent",
    "bfgs": "BFGS",
    "nonlinear_cg": "NonlinearCG",
}
_ROOT_FINDERS = {"broyden": "Broyden", "bisection": "Bisection"}


class Minimum(eqx.Module):
    """The result of `minimise`.

    Attributes:
        params: The minimiser that was found, differentiable.
        iterations: Number of iterations.
        error: Euclidean norm of the gradient at `params`; NaN where the objective is
            not finite there. Carries no derivative.
    """

    params: PyTree
    iterations: Scalar
    error: Scalar


class Root(eqx.Module):
    """The result of `root`.

    Attributes:
        params: The root that was found, differentiable.
        iterations: Number of iterations.
        error: Euclidean norm of the residual at `params`. Carries no derivative.
    """

    params: PyTree
    iterations: Scalar
    error: Scalar


def minimise(
    objective: Callable[..., ScalarLike],
    params: PyTree,
    *args: Any,
    method: str = "lbfgs",
    tolerance: float = 1e-5,
    max_iterations: int = 500,
    implicit_diff: bool = True,
) -> Minimum:
    """Minimise `objective(params, *args)` over `params`.

    The minimum is differentiable in reverse mode with respect to `args`, not to what
    `objective` closes over. Check `error`: running out of iterations does not raise.

    Args:
        objective: A differentiable function to a scalar.
        params: Where to start: a pytree of floating-point arrays of one dtype.
        *args: Further arguments of `objective`, pytrees of arrays.
        method: "lbfgs", "bfgs", "nonlinear_cg", or "gradient_descent" (accelerated;
            its line search resolves no error below the square root of the machine
            epsilon, and its estimate of the error may then be too small).
        tolerance: Stop when the error that the method estimates is this small; the
            linear solve of the derivative stops at it too.
        max_iterations: Stop after this many iterations.
        implicit_diff: Differentiate the optimality condition. False differentiates
            the iterations instead, for "gradient_descent" only.

    Returns:
        The minimum.

    Raises:
        ValueError: If `method` is unknown, or cannot be differentiated as asked.
    """
    name = _choose(method, _MINIMISERS)
    if not implicit_diff and method != "gradient_descent":
        # JAXopt accepts this, and its line searches then give NaN derivatives.
        raise ValueError(
            f"method={method!r} cannot be differentiated through its iterations: use "
            'implicit_diff=True, or method="gradient_descent".'
        )
    if not jax.tree.leaves(params):
        return Minimum(params, jnp.asarray(0), jnp.asarray(0.0))

    def fun(params, *args):
        return objective(params, *args)

    params = jax.tree.map(jnp.asarray, params)
    solver = _solver(name, fun, tolerance, max_iterations, implicit_diff=implicit_diff)
    params, state = solver.run(params, *args)
    value, gradient = jax.value_and_grad(fun)(*jax.lax.stop_gradient((params, *args)))
    error = jnp.where(jnp.isfinite(value), _norm(gradient), jnp.nan)
    return Minimum(params, state.iter_num, error)


def root(
    residual: Callable[..., PyTree],
    guess: PyTree,
    *args: Any,
    method: str = "broyden",
    bracket: tuple[float, float] | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 500,
) -> Root:
    """Find where `residual(params, *args)` is zero.

    The root is differentiable in reverse mode with respect to `args`, by implicit
    differentiation, but not to what `residual` closes over. Check `error`: running
    out of iterations, or a bracket without a change of sign, does not raise.

    Args:
        residual: A differentiable function to a pytree of the structure of `guess`.
        guess: Where "broyden" starts: a pytree of floating-point arrays of one
            dtype. "bisection" takes None.
        *args: Further arguments of `residual`, pytrees of arrays.
        method: "broyden", or "bisection" for one scalar unknown.
        bracket: For "bisection": two numbers, not traced, where `residual` differs
            in sign.
        tolerance: Stop when the norm of the residual is this small; the linear solve
            of the derivative stops at it too.
        max_iterations: Stop after this many iterations.

    Returns:
        The root.

    Raises:
        ValueError: If `method` is unknown, or `bracket` or `guess` does not fit it.
    """
    name = _choose(method, _ROOT_FINDERS)

    def fun(params, *args):
        return residual(params, *args)

    options = {}
    if method == "bisection":
        if bracket is None or guess is not None:
            raise ValueError(
                'method="bisection" searches a bracket: pass guess=None and '
                "bracket=(lower, upper)."
            )
        # JAXopt closes over the bracket, which may therefore not be traced. Nor can
        # its own check of the bracket be.
        lower, upper = map(float, bracket)
        options = {"lower": lower, "upper": upper, "check_bracket": False}
    elif bracket is not None:
        raise ValueError(f'bracket is for method="bisection", not {method!r}.')
    elif not jax.tree.leaves(guess):
        return Root(guess, jnp.asarray(0), jnp.asarray(0.0))
    else:
        guess = jax.tree.map(jnp.asarray, guess)
    solver = _solver(name, fun, tolerance, max_iterations, **options)
    params, state = solver.run(guess, *args)
    error = _norm(fun(*jax.lax.stop_gradient((params, *args))))
    return Root(params, state.iter_num, error)


def _choose(method: str, choices: dict[str, str]) -> str:
    if method in choices:
        return choices[method]
    close = difflib.get_close_matches(str(method), choices, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"Unknown method {method!r}: choose from {', '.join(map(repr, choices))}.{hint}"
    )


def _solver(
    name: str, fun: Callable, tolerance: float, max_iterations: int, **options: Any
) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import jaxopt
        from jaxopt.linear_solve import solve_normal_cg

    return getattr(jaxopt, name)(
        fun,
        tol=tolerance,
        maxiter=max_iterations,
        implicit_diff_solve=functools.partial(solve_normal_cg, tol=tolerance),
        **options,
    )


def _norm(tree: PyTree) -> Scalar:
    return jnp.sqrt(sum(jnp.sum(jnp.abs(x) ** 2) for x in jax.tree.leaves(tree)))
