"""Roots of equations."""

from collections.abc import Callable
from typing import Any

import lineax as lx
import optimistix as optx
from jaxtyping import PyTree

from ._attach import check_square
from ._choose import DENSE, System
from ._gradient import Gradient
from ._newton import newton_root
from ._problem import by_caller, by_newton, by_optimistix, finish, flat
from ._receipt import Receipt
from ._solution import Solution


def root(
    function: Callable[..., PyTree],
    guess: PyTree,
    *args: Any,
    solver: Any = None,
    gradient: Gradient | None = None,
    receipt: Receipt | None = None,
    start: PyTree | None = None,
    rtol: float = 1e-12,
    atol: float = 0.0,
    max_steps: int = 100,
    has_aux: bool = False,
    positive_definite: bool = False,
    throw: bool = False,
) -> Solution:
    """Finds x with function(x, *args) = 0.

    The solution can be differentiated with respect to `args` and to whatever the
    function closes over, in forward and reverse mode and repeatedly, not with respect
    to `guess`.

    Args:
        function: of x and `args`, to as many numbers as x has (and something else with
            `has_aux`).
        guess: where to start: arrays of floating type.
        *args: further arguments.
        solver: None: damped Newton steps, whose last factor serves the derivative, or
            GMRES within them above 512 unknowns; one of optimistix; or a function of
            (function, start) of flat vectors that returns a vector.
        gradient: how to differentiate.
        receipt: zeros whose cotangent is the report of the backward solve.
        start: where an iterative backward solve begins: zeros, or the adjoint of a
            neighbouring solve, which is the cotangent of `start` there.
        rtol: length of the last step, relative to |x|. Precision below what rounding
            allows is not asked for.
        atol: length of the last step; what rounding leaves of the first one is always
            allowed.
        max_steps: of the solver.
        has_aux: see `function`.
        positive_definite: dF/dx is symmetric and positive definite.
        throw: stop the program where no root was found.

    Returns:
        The solution.

    Raises:
        ValueError: where the numbers of equations and unknowns differ.
        TypeError: where an unknown is not of floating type.
    """
    gradient = gradient or Gradient()
    equation = (lambda x, *a: function(x, *a)[0]) if has_aux else function
    problem = flat(equation, guess, args)
    check_square(problem.start, problem.closed(problem.constants, problem.start))
    n = problem.start.size
    if solver is None and n > DENSE:
        inner = lx.GMRES(rtol=1e-6, atol=1e-6)
        solver = optx.Newton(rtol=rtol, atol=atol, linear_solver=inner)
    if solver is None:
        found = newton_root(
            problem.stopped(), problem.start, rtol=rtol, atol=atol, max_steps=max_steps
        )
        forward = by_newton(found)
    elif isinstance(solver, optx.AbstractRootFinder | optx.AbstractLeastSquaresSolver):
        forward = by_optimistix(problem, optx.root_find, solver, max_steps)
    else:
        forward = by_caller(problem, solver, gradient)
    system = System(problem.closed, definite=positive_definite)
    aux_of = (lambda x: function(x, *args)[1]) if has_aux else None
    return finish(problem, system, forward, gradient, receipt, start, aux_of, throw)
