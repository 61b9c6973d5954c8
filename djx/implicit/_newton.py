"""Newton's method for roots and minima, whose last factor serves the derivative."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._direct import Factored, factored, solved
from ._iterative import norm
from ._lbfgs import lbfgs
from ._matrix import is_constant, matrix_of
from ._search import backtrack, lower, Point


Vector = Float[Array, " n"]

LARGE = 64  # unknowns


class Newton(NamedTuple):
    """What Newton's method found."""

    x: Vector
    residual: Float[Array, ""]
    """The norm of F, or of the gradient, at x."""
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    aid: Factored
    """The factor of the last step, at the iterate before x."""


class _State(NamedTuple):
    x: Vector
    merit: Float[Array, ""]
    slope: Vector
    """F, or the gradient."""
    aid: Factored
    damping: Float[Array, ""]
    least: Float[Array, ""]
    """The length of a step that is none."""
    count: Int[Array, ""]
    live: Bool[Array, ""]
    converged: Bool[Array, ""]


def newton_root(
    function: Callable[[Vector], Vector],
    x: Vector,
    *,
    rtol: float,
    atol: float,
    max_steps: int,
) -> Newton:
    """A root of as many equations as unknowns, by damped Newton steps.

    Args:
        function: F.
        x: where to start.
        rtol: step length at which to stop, relative to |x|.
        atol: step length at which to stop.
        max_steps: factorisations.

    Returns:
        What was found.
    """

    def slope_of(x):
        out = function(x)
        return norm(out), out

    def matrix_at(x):
        return matrix_of(function, x)

    return _newton("lu", slope_of, matrix_at, x, rtol, atol, max_steps)


def newton_minimum(
    objective: Callable[[Vector], Float[Array, ""]],
    x: Vector,
    *,
    rtol: float,
    atol: float,
    max_steps: int,
) -> Newton:
    """A minimum by Newton steps with a damped Hessian (Levenberg and Marquardt's way).

    Args:
        objective: to be minimised.
        x: where to start.
        rtol: step length at which to stop, relative to |x|.
        atol: step length at which to stop.
        max_steps: factorisations.

    Returns:
        What was found.
    """

    def matrix_at(x):
        return matrix_of(jax.grad(objective), x)

    slope_of = jax.value_and_grad(objective)
    if x.shape[0] >= LARGE and not is_constant(jax.grad(objective), x):
        # A Hessian costs many gradients: it is formed where few will do.
        x = lbfgs(slope_of, x, rtol=rtol, atol=atol, reduction=1e-6, max_steps=50).x
    return _newton("cholesky", slope_of, matrix_at, x, rtol, atol, max_steps)


def newton_least_squares(
    residuals: Callable[[Vector], Float[Array, " m"]],
    x: Vector,
    *,
    rtol: float,
    atol: float,
    max_steps: int,
) -> Newton:
    """A minimum of |r|^2 / 2 by Levenberg and Marquardt's method.

    Args:
        residuals: r.
        x: where to start.
        rtol: step length at which to stop, relative to |x|.
        atol: step length at which to stop.
        max_steps: factorisations of J'J.

    Returns:
        What was found.
    """

    def slope_of(x):
        r, pull = jax.vjp(residuals, x)
        return jnp.dot(r, r) / 2, pull(r)[0]

    def matrix_at(x):
        jacobian = matrix_of(residuals, x)
        return jacobian.T @ jacobian

    return _newton("cholesky", slope_of, matrix_at, x, rtol, atol, max_steps)


def _newton(kind, slope_of, matrix_at, x, rtol, atol, max_steps) -> Newton:
    n = x.shape[0]
    unit = float(jnp.finfo(x.dtype).eps)

    def factor_at(x, damping):
        matrix = matrix_at(x)
        if kind == "cholesky":
            size = jnp.max(jnp.abs(jnp.diagonal(matrix)))
            matrix = matrix + damping * size * jnp.eye(n, dtype=x.dtype)
        return factored(kind, matrix[None])

    def search(state: _State, direction):
        at = Point(state.x, state.merit, state.slope)

        def closer(length, new: Point):
            return new.merit <= (1 - 1e-4 * length) * at.merit

        rule = lower(at, direction) if kind == "cholesky" else closer
        return backtrack(slope_of, at, direction, rule, shortest=1e-10)

    def polish(aid, x, merit, slope, least):
        """More steps with the same factor, as long as each is a tenth of the last."""

        def step_at(slope):
            return -solved(aid, slope[None, :, None])[0, :, 0]

        def more(carry):
            x, _, _, step, size, before = carry
            goal = rtol * norm(x) + least
            return (size > goal) & (size < before / 10)

        def advance(carry):
            x, merit, slope, step, size, _ = carry
            new = x + step
            new_merit, new_slope = slope_of(new)
            new_step = step_at(new_slope)
            new_size = norm(new_step)
            good = new_size < size
            kept = jax.tree.map(
                lambda a, b: jnp.where(good, a, b),
                (new, new_merit, new_slope, new_step),
                (x, merit, slope, step),
            )
            return *kept, jnp.where(good, new_size, size), size

        step = step_at(slope)
        infinite = jnp.asarray(jnp.inf, x.dtype)
        first = x, merit, slope, step, norm(step), infinite
        return jax.lax.while_loop(more, advance, first)

    def step(state: _State) -> _State:
        aid = factor_at(state.x, state.damping)
        direction = -solved(aid, state.slope[None, :, None])[0, :, 0]
        usable = jnp.all(jnp.isfinite(direction))
        direction = jnp.where(usable, direction, 0)
        (new, merit, slope), length, good = search(state, direction)
        good = good & usable
        new, merit, slope = jax.tree.map(
            lambda a, b: jnp.where(good, a, b),
            (new, merit, slope),
            (state.x, state.merit, state.slope),
        )
        # Where the root is zero, lengths are relative to where the search came from.
        least = jnp.where(state.count == 0, unit * norm(direction) + atol, state.least)
        new, merit, slope, _, size, _ = polish(aid, new, merit, slope, least)
        # Steps stop shrinking at the level of rounding, wherever that is.
        goal = rtol * norm(new) + least
        level = (size <= unit**0.75 * norm(new)) & good
        settled = usable & ((size <= goal) | level) & (state.damping < 1e-2)
        damping = jnp.where(
            good & (length > 0.2),
            jnp.where(state.damping > 1e-6, state.damping / 10, 0),
            jnp.maximum(10 * state.damping, 1e-4),
        )
        hopeless = damping > 1e12 if kind == "cholesky" else ~good
        count = state.count + 1
        live = ~settled & ~hopeless & (count < max_steps)
        return _State(new, merit, slope, aid, damping, least, count, live, settled)

    merit, slope = slope_of(x)
    zero = jnp.zeros((), x.dtype)
    blank = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(lambda: tuple(factor_at(x, zero))[1:]),
    )
    first = _State(
        x,
        merit,
        slope,
        Factored(kind, *blank),
        zero,
        zero,
        jnp.zeros((), int),
        jnp.isfinite(merit),
        jnp.asarray(False),
    )

    def packed(state):
        return state._replace(aid=tuple(state.aid)[1:])

    def unpacked(state):
        return state._replace(aid=Factored(kind, *state.aid))

    last = unpacked(
        jax.lax.while_loop(
            lambda state: state.live,
            lambda state: packed(step(unpacked(state))),
            packed(first),
        )
    )
    return Newton(last.x, norm(last.slope), last.count, last.converged, last.aid)
