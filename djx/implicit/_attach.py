"""Derivatives of a solution, whoever found it."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..core import bind, close
from ._batched import Batched
from ._choose import System
from ._flat import flattened, unflattener
from ._gradient import Gradient, implicit_only
from ._linear import FOUND, LinearSolve, REPORTS
from ._receipt import Receipt


class Attached(Batched):
    """A solution x as a function of the constants of F(x, constants) = 0.

    The arguments are those of `LinearSolve` but for b. The tangent of the start is a
    right-hand side, so that its cotangent is the adjoint.
    """

    def __init__(self, solve: LinearSolve):
        self.solve = solve

    def mapped_everywhere(self, index, count):
        """The solution is, and the start, and the receipts."""
        tail = self.solve.started + REPORTS * self.solve.reports
        return index == 0 or index >= count - tail

    def run(self, *arrays):
        """The solution as it was found."""
        return [arrays[0]]

    def linearised(self, active, primals):
        """The tangent -A^-1 B dtheta, from F(x, theta) = 0."""
        (x,) = bind(self, *primals)
        solve = self.solve
        reports = solve.reports and active[-1]
        end = len(primals) - REPORTS * solve.reports
        constants = primals[1 : 1 + solve.constants]
        where = [i for i in range(solve.constants) if active[1 + i]]

        def push(tangents):
            given = iter(tangents)
            whole = [next(given) if is_active else None for is_active in active]
            nearby = whole[end - 1] if solve.started else None
            if not where and nearby is None:
                return [None]

            def one(x, *constants):
                return solve.system.residual(constants, x)

            mapped = self.over_lanes(one, [None, *range(1, 1 + solve.constants)])

            def of_active(*values):
                changed = list(constants)
                for index, value in zip(where, values, strict=True):
                    changed[index] = value
                return mapped(x, *changed)

            if where:
                _, change = jax.jvp(
                    of_active,
                    [constants[i] for i in where],
                    [whole[1 + i] for i in where],
                )
                rhs = -change if nearby is None else nearby - change
            else:
                rhs = nearby
            levels = tuple(
                (*flags[:end], True, *flags[end:] * reports) for flags in self.levels
            )
            op = solve.alike(levels=levels, reports=reports)
            receipts = whole[end:] if reports else []
            return bind(op, x, *primals[1:end], rhs, *receipts)[:1]

        return [x], push


class Found(NamedTuple):
    """What a solver brings for the derivative."""

    x: Array
    """The flat solution."""
    status: Any = FOUND
    """Whether it is one, and whether at a kink."""
    aid: tuple[str, Sequence[Array]] | None = None
    """A factor of A near the solution: its kind and arrays."""


def implicit(
    system: System,
    constants: Sequence[Any],
    found: Found,
    gradient: Gradient,
    *,
    receipt: Receipt | None = None,
    start: Array | None = None,
) -> Array:
    """A flat solution with its derivatives with respect to the constants of F.

    Args:
        system: the equation it solves.
        constants: of F; carry the derivatives.
        found: the solution; its own derivatives are dropped.
        gradient: how to differentiate.
        receipt: zeros whose cotangent is the report of the backward solve.
        start: where iterative backward solves start; its cotangent is the adjoint.

    Returns:
        The solution.

    Raises:
        ValueError: where the gradient asks for unrolled iterations.
    """
    implicit_only(gradient)
    kind, leaves = found.aid or (None, ())
    x, leaves = jax.lax.stop_gradient((found.x, list(leaves)))
    solve = LinearSolve(
        system,
        gradient,
        len(constants),
        aid=kind,
        started=start is not None,
        reports=receipt is not None,
    )
    extra = [*leaves, *([] if start is None else [start])]
    receipts = [] if receipt is None else jax.tree.leaves(receipt)
    status = jnp.asarray(found.status, jnp.int32)
    (out,) = bind(Attached(solve), x, *constants, status, *extra, *receipts)
    return out


def corrected(
    system: System, constants: Sequence[Any], found: Found, gradient: Gradient
) -> Found:
    """The solution after one Newton step, if the gradient asks for that."""
    if gradient.certify != "correct":
        return found
    step = newton_correction(system, constants, found, gradient)
    return found._replace(x=jax.lax.stop_gradient(found.x) + step)


def newton_correction(
    system: System, constants: Sequence[Any], found: Found, gradient: Gradient
) -> Array:
    """-A^-1 F at a flat solution: how far off it is, to first order."""
    kind, leaves = found.aid or (None, ())
    exact = Gradient(linear=gradient.linear, ridge=gradient.ridge)
    solve = LinearSolve(system, exact, len(constants), aid=kind)
    constants, x, leaves = jax.lax.stop_gradient((list(constants), found.x, leaves))
    rhs = -system.residual(constants, x)
    (step,) = bind(solve, x, *constants, jnp.asarray(FOUND), *leaves, rhs)
    return jnp.where(jnp.all(jnp.isfinite(step)), step, 0)


def without_derivatives(function: Callable, *args: Any) -> Any:
    """Calls a function on arrays, its own and those it closes over, that carry none."""
    dynamic, static = eqx.partition(args, eqx.is_array_like)
    shape: list[Any] = []

    def of_arrays(dynamic):
        out, rest = eqx.partition(
            function(*eqx.combine(dynamic, static)), eqx.is_array_like
        )
        shape.append(rest)
        return out

    dynamic = jax.tree.map(jnp.asarray, dynamic)
    closed, constants = close(of_arrays, dynamic)
    constants, dynamic = jax.lax.stop_gradient((constants, dynamic))
    return eqx.combine(closed(constants, dynamic), shape[-1])


def attach(
    optimality: Callable[..., PyTree],
    solver: Callable[..., PyTree] | None = None,
    *,
    gradient: Gradient | None = None,
    has_aux: bool = False,
    positive_definite: bool = False,
    host: bool = False,
):
    """Gives the solutions of any solver the derivatives that the equation implies.

    `solver(*args)` returns x with `optimality(x, *args)` zero. It may be compiled or
    not, differentiable or not, and may close over arrays, as may `optimality`: those
    carry derivatives as well. As a decorator: `@attach(optimality)`.

    Args:
        optimality: of x and the solver's arguments, to as many numbers as x has.
        solver: of any arguments, to x; with `has_aux` to x and something else, which
            is passed on without derivatives.
        gradient: how to differentiate.
        has_aux: see `solver`.
        positive_definite: the derivative of `optimality` in x is symmetric and positive
            definite, as at minima.
        host: the solver takes and gives numpy arrays (SciPy's, say); its first
            argument tells the shape of x. Runs as a callback.

    Returns:
        The solver with derivatives; it also takes `receipt=Receipt.zeros()` and
        `start=`: where the backward solve begins, with the adjoint as its cotangent.
    """
    if solver is None:
        return functools.partial(
            attach,
            optimality,
            gradient=gradient,
            has_aux=has_aux,
            positive_definite=positive_definite,
            host=host,
        )
    run = on_host(solver) if host else solver
    how = gradient or Gradient()

    @functools.wraps(solver)
    def solve(*args, receipt: Receipt | None = None, start: PyTree | None = None):
        if how.mode == "unrolled":
            return run(*args)
        found = without_derivatives(run, *args)
        value, aux = found if has_aux else (found, None)
        unflatten = unflattener(value)
        x = flattened(value)

        def residual(x):
            out = flattened(optimality(unflatten(x), *args))
            check_square(x, out)
            return out.astype(x.dtype)

        closed, constants = close(residual, x)
        system = System(closed, definite=positive_definite)
        out = implicit(
            system,
            constants,
            corrected(system, constants, Found(x), how),
            how,
            receipt=receipt,
            start=None if start is None else flattened(start),
        )
        return (unflatten(out), aux) if has_aux else unflatten(out)

    return solve


def check_square(x: Array, residual: Array) -> None:
    """As many equations as unknowns?

    Raises:
        ValueError: if not.
    """
    if x.shape != residual.shape:
        raise ValueError(
            f"{residual.size} equations for {x.size} unknowns: the optimality "
            "condition has to return as many numbers as the solution has"
        )


def on_host(solver: Callable) -> Callable:
    """A function of numpy arrays as one of JAX's, which runs as a callback.

    Args:
        solver: of numpy arrays; returns arrays like its first argument.

    Returns:
        The function; under `vmap` it runs once for each lane.
    """

    def run(first, *rest):
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)),
            first,
        )

        def call(*args):
            import numpy as np

            args = jax.tree.map(np.asarray, args)
            return jax.tree.map(
                lambda leaf, shape: np.asarray(leaf, shape.dtype), solver(*args), like
            )

        return jax.pure_callback(call, like, first, *rest, vmap_method="sequential")

    return run
