"""What all kinds of solves have in common."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, PyTree

from ..core import close
from ._attach import corrected, Found, implicit
from ._choose import System
from ._direct import condition
from ._flat import flattened, unflattener
from ._gradient import Gradient
from ._lbfgs import lbfgs
from ._linear import aid_leaves, FOUND, KINK, LOST
from ._newton import Newton
from ._receipt import Receipt
from ._solution import checked, forward_receipt, result_of, Solution


class Flat(NamedTuple):
    """A function of the unknown alone, as one of flat vectors."""

    closed: Callable[[Sequence[Any], Array], Array]
    """(constants, x), where what the function closes over are the constants."""
    constants: list[Any]
    start: Array
    unflatten: Callable[[Array], PyTree]

    def unstopped(self) -> Callable[[Array], Array]:
        """The function of x, with derivatives in its constants."""
        return lambda x: self.closed(self.constants, x)

    def stopped(self) -> Callable[[Array], Array]:
        """The function of x, without derivatives in its constants."""
        constants = jax.lax.stop_gradient(self.constants)
        return lambda x: self.closed(constants, x)


class Forward(NamedTuple):
    """What a forward solver found."""

    x: Array
    converged: Any
    iterations: Any
    aid: tuple[str, Sequence[Array]] | None = None
    condition: Any = jnp.nan
    stats: dict[str, Any] = {}
    kink: Any = False
    unrolled: bool = False
    """Whether x carries the derivatives of the iterations."""


def flat(function: Callable, start: PyTree, args: Sequence[Any], scalar=False) -> Flat:
    """Makes a function of (x, *args) one of flat vectors.

    Args:
        function: of (x, *args), to arrays.
        start: an x.
        args: its other arguments.
        scalar: whether it must return one number.

    Returns:
        The flat function.

    Raises:
        ValueError: where a scalar function returns something else.
    """
    start = jax.tree.map(jnp.asarray, start)
    unflatten = unflattener(start)
    x = jax.lax.stop_gradient(flattened(start))

    def of_x(x):
        out = function(unflatten(x), *args)
        if not scalar:
            return flattened(out)
        if jnp.shape(out) != ():
            raise ValueError(
                f"an objective returns one number, not an array of shape "
                f"{jnp.shape(out)}"
            )
        return jnp.asarray(out)

    closed, constants = close(of_x, x)
    return Flat(closed, constants, x, unflatten)


def finish(
    problem: Flat,
    system: System,
    forward: Forward,
    gradient: Gradient,
    receipt: Receipt | None,
    start: PyTree | None,
    aux_of: Callable[[PyTree], Any] | None,
    throw: bool,
) -> Solution:
    """Attaches derivatives to what a solver found and reports on it."""
    converged = jnp.asarray(forward.converged)
    status = jnp.where(converged, jnp.where(forward.kink, KINK, FOUND), LOST)
    x = jax.lax.stop_gradient(forward.x)
    found = Found(x, status, forward.aid)
    found = corrected(system, problem.constants, found, gradient)
    x = found.x
    residual = system.residual(jax.lax.stop_gradient(problem.constants), x)
    told = forward_receipt(
        converged,
        forward.iterations,
        jnp.sqrt(jnp.sum(residual**2)),
        forward.condition,
    )
    out = forward.x
    if not forward.unrolled:
        out = implicit(
            system,
            problem.constants,
            found,
            gradient,
            receipt=receipt,
            start=None if start is None else flattened(start),
        )
    result = result_of(converged)
    value = checked(problem.unflatten(out), result, throw)
    stats = {"iterations": forward.iterations, "kink": forward.kink} | forward.stats
    stats = jax.lax.stop_gradient(stats)
    aux = None if aux_of is None else aux_of(value)
    return Solution(value, result, told, stats, aux)


def by_newton(found: Newton) -> Forward:
    """What djx' own Newton methods found, with their last factor."""
    aid = found.aid
    leaves = aid_leaves(aid)
    return Forward(
        found.x,
        found.converged,
        found.iterations,
        (aid.kind, leaves),
        condition(aid)[0],
    )


def by_descent(problem: Flat, **keywords: Any) -> Forward:
    """What djx' own limited-memory BFGS method finds.

    Args:
        problem: the flat function.
        **keywords: of `lbfgs`.

    Returns:
        The solution.
    """
    slope_of = jax.value_and_grad(problem.stopped())
    return Forward(*lbfgs(slope_of, problem.start, **keywords))


def by_optimistix(problem: Flat, solve: Callable, solver: Any, max_steps: int):
    """A forward solve by optimistix, whose errors become results.

    Args:
        problem: the flat function.
        solve: `optimistix.root_find` or its like.
        solver: optimistix' solver.
        max_steps: of it.

    Returns:
        What it found.
    """
    function = problem.stopped()
    solution = solve(
        lambda x, _: function(x),
        solver,
        problem.start,
        max_steps=max_steps,
        throw=False,
    )
    return Forward(
        jax.lax.stop_gradient(solution.value),
        solution.result == optx.RESULTS.successful,
        solution.stats["num_steps"],
    )


def by_caller(problem: Flat, solver: Callable, gradient: Gradient) -> Forward:
    """A forward solve by any function of (function, start), both of flat vectors.

    It counts as found where it is finite (a fixed point only where it is one):
    `Solution.receipt.residual` is what is left, and a certificate says what that means
    for a gradient.
    """
    unrolled = gradient.mode == "unrolled"
    function = problem.unstopped() if unrolled else problem.stopped()
    x = solver(function, problem.start)
    converged = jnp.all(jnp.isfinite(jax.lax.stop_gradient(x)))
    return Forward(x, converged, -1, unrolled=unrolled)
