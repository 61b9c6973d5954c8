"""Which method solves a linear system, and what if it fails."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._anderson import anderson, MEMORY
from ._direct import backward_error, condition, Factored, solved
from ._gradient import Gradient
from ._iterative import cg, gmres, Iterated, Lanes, norm, Product, series


DENSE = 512  # unknowns up to which a matrix is formed and factored
DENSE_CONTRACTION = 64  # the same where iterating costs a few products
DENSE_RESORT = 2048  # the same after all else failed


class System(NamedTuple):
    """The equation F(x, constants) = 0 as functions of flat real vectors."""

    residual: Callable[[Sequence[Any], Array], Array]
    """(constants, x) to F."""
    operator: Callable[[Sequence[Any], Array, Array], Array] | None = None
    """(constants, x, u) to what stands for A u; dF/dx u if None. Symmetric."""
    definite: bool = False
    """Whether dF/dx is symmetric and positive definite."""
    contraction: bool = False
    """Whether F(x) = x - T(x) with T expected to contract."""
    memory: int = MEMORY
    """Of Anderson's method for the adjoint of a contraction."""
    inverse: Callable[..., Array] | None = None
    """(constants, x, aid, rhs, transposed) to about A^-1 rhs, where A has structure;
    `aid` is then any list of arrays."""


class Solved(NamedTuple):
    """What a method found for every lane."""

    u: Array
    iterations: Array
    condition: Array
    residual: Array
    error: Array


def tolerance_of(gradient: Gradient, dtype: Any) -> float:
    """The relative error that a solve may have."""
    if gradient.tolerance is not None:
        return gradient.tolerance
    return float(jnp.finfo(dtype).eps) ** 0.5


def find(
    gradient: Gradient,
    system: System,
    product: Product,
    dense: Callable[[str], Factored],
    rhs: Lanes,
    start: Lanes,
    aid: Factored | None,
    invert: Product | None,
    transposed: bool,
) -> Solved:
    """Solves A u = rhs for all lanes by a method that fits, and if it fails the next.

    Args:
        gradient: what is asked for.
        system: what is known of A.
        product: with A.
        dense: a factor of A, of a kind.
        rhs: right-hand sides.
        start: where iterations start.
        aid: a factor of a matrix near A, or near its transpose if `transposed`.
        invert: product with the inverse of a matrix near A.
        transposed: see `aid`.

    Returns:
        What was found.
    """
    n = rhs.shape[1]
    limit = tolerance_of(gradient, rhs.dtype)
    lanes, unit = len(rhs), float(jnp.finfo(rhs.dtype).eps)
    nothing = jnp.full(lanes, jnp.nan, rhs.dtype)
    zero = jnp.zeros(lanes, int)

    def residual_of(u):
        return _relative(rhs - product(u), rhs)

    def precondition(r):
        return r if invert is None else invert(r)

    def direct(kind):
        return lambda: _direct(gradient, product, dense(kind), rhs, residual_of)

    def iterated(method):
        def once(carry):
            """To a residual that the condition known so far says is small enough."""
            told, rounds, worst = carry
            sure = jnp.where(jnp.isfinite(told.condition), told.condition, 1)
            goal = limit / (10 * jnp.maximum(sure, 1))
            # Where the start was good enough, nothing is known of the condition yet.
            stuck = (rounds > 0) & ~jnp.isfinite(told.condition)
            goal = jnp.maximum(jnp.where(stuck, told.residual / 100, goal), 2 * unit)
            found: Iterated = method(
                product,
                rhs,
                told.u,
                tolerance=goal,
                max_steps=gradient.max_steps,
                precondition=precondition,
            )
            bound = jnp.fmax(found.condition, told.condition)
            left = residual_of(found.x)
            # At the level of rounding no method would know more.
            bound = jnp.where((left <= 4 * unit) & jnp.isnan(bound), 1, bound)
            error = left * jnp.where(
                jnp.isfinite(bound), jnp.maximum(bound, 1), jnp.inf
            )
            spent = told.iterations + found.iterations
            # What further rounds gain in residual they may not gain in error.
            worst = jnp.where(rounds == 0, error, jnp.fmax(error, worst))
            return Solved(found.x, spent, bound, left, error), rounds + 1, worst

        def more(carry):
            told, rounds, _ = carry
            return jnp.any(~(told.error <= limit)) & (rounds < 3)

        def go():
            unknown = jnp.full(lanes, jnp.inf, rhs.dtype)
            first = Solved(start, zero, nothing, unknown, unknown), 0, unknown
            last, _, worst = jax.lax.while_loop(more, once, first)
            error = jnp.where(last.error <= limit, last.error, worst)
            return last._replace(error=error)

        return go

    def contracted():
        return _contract(
            product, rhs, start, limit / 10, gradient, system.memory, residual_of
        )

    def refined():
        return _refine(product, invert, aid, transposed, rhs, limit, system.definite)

    def approximate(u, count):
        left = residual_of(u)
        return Solved(u, zero + count, nothing, left, left)

    steps = gradient.steps
    match gradient.mode:
        case "truncated":
            method = cg if system.definite else gmres
            u = method(
                product,
                rhs,
                jnp.zeros_like(rhs),
                tolerance=0.0,
                max_steps=steps,
                precondition=precondition,
            ).x
            return approximate(u, steps)
        case "jacobian_free":
            return approximate(precondition(rhs), 0)
        case "neumann":
            u = series(product, rhs, steps=steps, precondition=precondition)
            return approximate(u, steps - 1)
        case "phantom":
            u = series(
                product,
                rhs,
                steps=steps,
                damping=gradient.damping,
                precondition=precondition,
            )
            return approximate(u, steps - 1)
    named = {
        "cg": iterated(cg),
        "gmres": iterated(gmres),
        "fixed_point": contracted,
    }
    if gradient.linear != "auto":
        return named.get(gradient.linear, direct(gradient.linear))()
    best = direct("cholesky" if system.definite else "lu")
    if invert is not None:
        attempts = [refined, best if n <= DENSE_RESORT else iterated(gmres)]
    elif system.contraction and n > DENSE_CONTRACTION:
        attempts = [contracted, best if n <= DENSE_RESORT else iterated(gmres)]
    elif n <= DENSE:
        attempts = [best, direct("lu")] if system.definite else [best]
    elif system.definite:
        attempts = [iterated(cg), iterated(gmres)]
    else:
        attempts = [iterated(gmres)]
    found = attempts[0]()
    for attempt in attempts[1:]:
        found = _or_else(found, attempt, limit)
    return found


def _relative(residual: Lanes, rhs: Lanes) -> Array:
    """|r| / |b| of every lane; |r| where b is zero."""
    left, size = norm(residual), norm(rhs)
    return jnp.where(size > 0, left / jnp.where(size > 0, size, 1), left)


def _or_else(found: Solved, attempt: Callable[[], Solved], limit: float) -> Solved:
    """The better of two for every lane; the second is tried only if a lane failed."""

    def again():
        other = attempt()
        better = (other.error < found.error) | jnp.isnan(found.error)

        def choose(a, b):
            return jnp.where(better.reshape((-1,) + (1,) * (a.ndim - 1)), a, b)

        spent = found.iterations + other.iterations
        return Solved(*map(choose, other, found))._replace(iterations=spent)

    return jax.lax.cond(jnp.all(found.error <= limit), lambda: found, again)


def _direct(gradient, product, factor: Factored, rhs, residual_of) -> Solved:
    def invert(r):
        return solved(factor, r[:, :, None])[:, :, 0]

    # The matrix was formed from products with A or A', whichever is solved with.
    u = invert(rhs)
    for _ in range(gradient.refinements):
        u = _better(u, u + invert(rhs - product(u)), residual_of)
    bound = jnp.broadcast_to(condition(factor), rhs.shape[:1])
    left = residual_of(u)
    unit = float(jnp.finfo(rhs.dtype).eps)
    backward = backward_error(factor, rhs - product(u), u, rhs)
    error = bound * jnp.maximum(backward, unit)
    if factor.kind in ("eigh", "svd"):
        # What is left over is no error where A is singular: it has no solution.
        error = bound * unit * jnp.ones_like(left) + 0 * left
    zero = jnp.zeros(len(rhs), int)
    return Solved(u, zero, bound, left, error)


def _better(old, new, residual_of):
    gain = residual_of(new) < residual_of(old)
    return jnp.where(gain[:, None], new, old)


def _refine(product, invert, aid, transposed, rhs, limit, definite) -> Solved:
    """Starts from the inverse of a nearby matrix and corrects."""
    lanes = len(rhs)
    known = aid is not None
    bound = condition(aid) if known else jnp.ones(())
    bound = jnp.broadcast_to(bound, (lanes,))
    unit = float(jnp.finfo(rhs.dtype).eps)
    goal = jnp.maximum(1e-2 * limit / jnp.maximum(bound, 1), 4 * unit)

    def more(carry):
        _, _, left, before, count = carry
        live = (left > goal) & (left < before / 2)
        return jnp.any(live) & (count < 16)

    def step(carry):
        u, r, left, _, count = carry
        new = u + invert(r)
        new_r = rhs - product(new)
        new_left = _relative(new_r, rhs)
        gain = new_left < left
        return (
            jnp.where(gain[:, None], new, u),
            jnp.where(gain[:, None], new_r, r),
            jnp.where(gain, new_left, left),
            left,
            count + 1,
        )

    def conjugate(u, r, left):
        """The same corrections, but conjugate: about half as many."""
        del r, left
        found = cg(product, rhs, u, tolerance=goal, max_steps=16, precondition=invert)
        r = rhs - product(found.x)
        # The factor may be that of a damped matrix, whose condition is lower.
        worse = jnp.fmax(found.condition, 1)
        return found.x, r, _relative(r, rhs), found.iterations, worse

    def plain(u, r, left):
        first = u, r, left, jnp.full(lanes, jnp.inf, rhs.dtype), 0
        u, r, left, _, count = jax.lax.while_loop(more, step, first)
        return u, r, left, jnp.broadcast_to(count, (lanes,)), jnp.ones_like(left)

    def enough(u, r, left):
        return u, r, left, jnp.zeros(lanes, int), jnp.ones_like(left)

    u = invert(rhs)
    r = rhs - product(u)
    left = _relative(r, rhs)
    go_on = conjugate if definite and known else plain
    # The factor of a Hessian that is constant leaves nothing to correct.
    done = jnp.all(left <= goal)
    u, r, left, count, worse = jax.lax.cond(done, enough, go_on, u, r, left)
    bound = bound * worse
    backward = left
    if known:
        backward = backward_error(aid, r, u, rhs, transposed)
    error = bound * jnp.maximum(backward, unit)
    bound = jnp.where(known, bound, jnp.nan)
    return Solved(u, count, bound, left, error)


def _contract(product, rhs, start, tolerance, gradient, memory, residual_of) -> Solved:
    """Anderson's method on u = b + J u, with J = 1 - A."""
    found = anderson(
        lambda u: u - product(u) + rhs,
        start,
        tolerance=tolerance,
        max_steps=gradient.max_steps,
        scale=norm(rhs),
        memory=memory,
    )
    left = residual_of(found.x)
    # |A^-1| of a contraction is 1 / (1 - rate).
    error = left / jnp.maximum(1 - found.rate, jnp.finfo(rhs.dtype).eps)
    unknown = jnp.full(len(rhs), jnp.nan, rhs.dtype)
    return Solved(found.x, found.iterations, unknown, left, error)
