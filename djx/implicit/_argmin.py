"""Minima without constraints."""

from collections.abc import Callable
from typing import Any

import jax
import optimistix as optx
from jaxtyping import PyTree

from ._choose import DENSE, System
from ._gradient import Gradient
from ._newton import newton_least_squares, newton_minimum
from ._problem import by_caller, by_descent, by_newton, by_optimistix, finish, flat
from ._receipt import Receipt
from ._solution import Solution


def argmin(
    objective: Callable[..., Any],
    guess: PyTree,
    *args: Any,
    solver: Any = None,
    gradient: Gradient | None = None,
    receipt: Receipt | None = None,
    start: PyTree | None = None,
    rtol: float = 1e-12,
    atol: float = 0.0,
    max_steps: int | None = None,
    has_aux: bool = False,
    throw: bool = False,
) -> Solution:
    """Finds a local minimum of objective(x, *args) over x.

    The derivative is that of the root of the gradient; at a minimum where the Hessian
    is singular `Gradient(linear="eigh")` gives the one of least norm.

    Args:
        objective: of x and `args`, to one number (and something else with `has_aux`),
            twice differentiable.
        guess: where to start: arrays of floating type.
        *args: further arguments.
        solver: None: Newton's method with a damped Hessian, whose last factor serves
            the derivative, or the limited-memory BFGS method above 512 unknowns; a
            minimiser of optimistix; or a function of (objective, start) of flat
            vectors that returns a vector.
        gradient: how to differentiate.
        receipt: zeros whose cotangent is the report of the backward solve.
        start: where an iterative backward solve begins: zeros, or the adjoint of a
            neighbouring solve, which is the cotangent of `start` there.
        rtol: length of the last step, relative to |x|.
        atol: length of the last step; what rounding leaves of the first one is always
            allowed.
        max_steps: of the solver; 200 of Newton's, 2000 of others if None.
        has_aux: see `objective`.
        throw: stop the program where no minimum was found.

    Returns:
        The solution.

    Raises:
        ValueError: where the objective is not one number.
        TypeError: where an unknown is not of floating type.
    """
    gradient = gradient or Gradient()
    scalar = (lambda x, *a: objective(x, *a)[0]) if has_aux else objective
    problem = flat(scalar, guess, args, scalar=True)
    newton = solver is None and problem.start.size <= DENSE
    max_steps = max_steps or (200 if newton else 2000)
    if newton:
        found = newton_minimum(
            problem.stopped(), problem.start, rtol=rtol, atol=atol, max_steps=max_steps
        )
        forward = by_newton(found)
    elif solver is None:
        forward = by_descent(problem, rtol=rtol, atol=atol, max_steps=max_steps)
    elif isinstance(solver, optx.AbstractMinimiser):
        forward = by_optimistix(problem, optx.minimise, solver, max_steps)
    else:
        forward = by_caller(problem, solver, gradient)

    def slope(constants, x):
        return jax.grad(lambda x: problem.closed(constants, x))(x)

    system = System(slope, definite=True)
    aux_of = (lambda x: objective(x, *args)[1]) if has_aux else None
    return finish(problem, system, forward, gradient, receipt, start, aux_of, throw)


def least_squares(
    residuals: Callable[..., PyTree],
    guess: PyTree,
    *args: Any,
    solver: Any = None,
    gradient: Gradient | None = None,
    receipt: Receipt | None = None,
    start: PyTree | None = None,
    rtol: float = 1e-12,
    atol: float = 0.0,
    max_steps: int = 200,
    has_aux: bool = False,
    throw: bool = False,
) -> Solution:
    """Finds a local minimum of |residuals(x, *args)|^2 / 2 over x.

    The derivative uses the whole Hessian, with the second derivatives of the residuals;
    `Gradient(mode="gauss_newton")` leaves them out.

    Args:
        residuals: of x and `args`, to any arrays (and something else with `has_aux`).
        guess: where to start: arrays of floating type.
        *args: further arguments.
        solver: None: Levenberg and Marquardt's method with a Cholesky factor of J'J,
            or optimistix' LevenbergMarquardt with LSMR above 512 unknowns; a solver of
            optimistix; or a function of (residuals, start) of flat vectors that
            returns a vector.
        gradient: how to differentiate.
        receipt: zeros whose cotangent is the report of the backward solve.
        start: where an iterative backward solve begins: zeros, or the adjoint of a
            neighbouring solve, which is the cotangent of `start` there.
        rtol: length of the last step, relative to |x|.
        atol: length of the last step; what rounding leaves of the first one is always
            allowed.
        max_steps: of the solver.
        has_aux: see `residuals`.
        throw: stop the program where no minimum was found.

    Returns:
        The solution.

    Raises:
        TypeError: where an unknown is not of floating type.
    """
    gradient = gradient or Gradient()
    whole = (lambda x, *a: residuals(x, *a)[0]) if has_aux else residuals
    problem = flat(whole, guess, args)
    if solver is None and problem.start.size > DENSE:
        import lineax as lx

        inner = lx.LSMR(rtol=1e-8, atol=1e-8)
        solver = optx.LevenbergMarquardt(rtol=rtol, atol=atol, linear_solver=inner)
    if solver is None:
        found = newton_least_squares(
            problem.stopped(), problem.start, rtol=rtol, atol=atol, max_steps=max_steps
        )
        forward = by_newton(found)
    elif isinstance(solver, optx.AbstractLeastSquaresSolver | optx.AbstractMinimiser):
        forward = by_optimistix(problem, optx.least_squares, solver, max_steps)
    else:
        forward = by_caller(problem, solver, gradient)

    def slope(constants, x):
        r, pull = jax.vjp(lambda x: problem.closed(constants, x), x)
        return pull(r)[0]

    def gauss_newton(constants, x, u):
        r, push = jax.linearize(lambda x: problem.closed(constants, x), x)
        return jax.linear_transpose(push, x)(push(u))[0]

    operator = gauss_newton if gradient.mode == "gauss_newton" else None
    system = System(slope, operator, definite=True)
    aux_of = (lambda x: residuals(x, *args)[1]) if has_aux else None
    return finish(problem, system, forward, gradient, receipt, start, aux_of, throw)
