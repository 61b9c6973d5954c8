"""Fixed points."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import PyTree

from ._anderson import anderson, MEMORY
from ._attach import check_square
from ._broyden import broyden
from ._choose import System
from ._gradient import Gradient
from ._iterative import norm
from ._problem import by_caller, by_optimistix, finish, Flat, flat, Forward
from ._receipt import Receipt
from ._solution import Solution


def fixed_point(
    function: Callable[..., PyTree],
    guess: PyTree,
    *args: Any,
    solver: Literal["anderson", "picard", "broyden"] | Any = "anderson",
    gradient: Gradient | None = None,
    receipt: Receipt | None = None,
    start: PyTree | None = None,
    tolerance: float | None = None,
    max_steps: int = 500,
    has_aux: bool = False,
    throw: bool = False,
) -> Solution:
    """Finds x with function(x, *args) = x.

    Args:
        function: of x and `args`, to arrays like x (and something else with
            `has_aux`).
        guess: where to start: arrays of floating type.
        *args: further arguments.
        solver: "anderson", "picard" or "broyden", whose lanes stand still under `vmap`
            once they have converged; one of optimistix; or a function of (function,
            start) of flat vectors that returns a vector.
        gradient: how to differentiate; by default an iteration like the forward one,
            Picard's or Anderson's.
        receipt: zeros whose cotangent is the report of the backward solve.
        start: where the backward solve begins: zeros, or the adjoint of a neighbouring
            solve, which is the cotangent of `start` there.
        tolerance: of |function(x) - x| relative to |x|; what a caller's solver leaves
            is judged by it too. 1e-8 if None, in single precision 6e-6.
        max_steps: evaluations of the function.
        has_aux: see `function`.
        throw: stop the program where no fixed point was found.

    Returns:
        The solution; with own solvers `stats["rate"]` is by what factor the residual
        shrank per evaluation.

    Raises:
        ValueError: where the solver is unknown, or the function does not return as
            many numbers as x has.
        TypeError: where an unknown is not of floating type.
    """
    gradient = gradient or Gradient()
    image = (lambda x, *a: function(x, *a)[0]) if has_aux else function
    problem = flat(image, guess, args)
    check_square(problem.start, problem.closed(problem.constants, problem.start))
    if tolerance is None:
        tolerance = max(1e-8, 50 * float(jnp.finfo(problem.start.dtype).eps))
    if isinstance(solver, str):
        forward = _own(problem, solver, tolerance, max_steps)
    elif isinstance(solver, optx.AbstractFixedPointSolver | optx.AbstractRootFinder):
        forward = by_optimistix(problem, optx.fixed_point, solver, max_steps)
    else:
        forward = by_caller(problem, solver, gradient)
        forward = forward._replace(converged=_is_fixed(problem, forward.x, tolerance))

    def difference(constants, x):
        return x - problem.closed(constants, x)

    memory = 0 if solver == "picard" else MEMORY
    system = System(difference, contraction=True, memory=memory)
    aux_of = (lambda x: function(x, *args)[1]) if has_aux else None
    return finish(problem, system, forward, gradient, receipt, start, aux_of, throw)


def _is_fixed(problem: Flat, x, tolerance: float):
    """Whether a caller's solver found what it was asked for, or rounding forbade it."""
    x = jax.lax.stop_gradient(x)
    least = 4 * float(jnp.finfo(x.dtype).eps) ** 0.75
    return norm(problem.stopped()(x) - x) <= max(tolerance, least) * norm(x)


def _own(problem: Flat, solver: str, tolerance: float, max_steps: int) -> Forward:
    function = jax.vmap(problem.stopped())
    start = problem.start[None]
    match solver:
        case "anderson":
            found = anderson(function, start, tolerance=tolerance, max_steps=max_steps)
        case "picard":
            found = anderson(
                function, start, tolerance=tolerance, max_steps=max_steps, memory=0
            )
        case "broyden":
            found = broyden(function, start, tolerance=tolerance, max_steps=max_steps)
        case _:
            from ..core.errors import did_you_mean

            known = ("anderson", "picard", "broyden")
            raise ValueError(
                f"solver={solver!r}: choose from {', '.join(map(repr, known))}"
                f"{did_you_mean(solver, known)}"
            )
    first = jax.tree.map(lambda leaf: leaf[0], found)
    return Forward(
        first.x,
        first.converged,
        first.iterations,
        stats={"rate": first.rate},
    )
