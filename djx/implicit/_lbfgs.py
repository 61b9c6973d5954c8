"""The limited-memory BFGS method: minima by gradients alone."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._iterative import norm
from ._search import backtrack, lower, Point


Vector = Float[Array, " n"]

MEMORY = 10  # pairs of steps and changes of the gradient
PATIENCE = (
    5  # steps that lower no value before rounding is taken to be all that is left
)


class Descended(NamedTuple):
    """Where the method ended."""

    x: Vector
    converged: Bool[Array, ""]
    iterations: Int[Array, ""]


class _State(NamedTuple):
    x: Vector
    merit: Float[Array, ""]
    slope: Vector
    pairs: tuple[Array, Array, Array, Array]
    """Steps, changes, inverse products of the two, and the inverse curvature."""
    count: Int[Array, ""]
    size: Float[Array, ""]
    """Of the last step."""
    curvature: Float[Array, ""]
    """Change of the gradient over the last trial, by its length."""
    least: Float[Array, ""]
    """The length of a step that is none."""
    good: Bool[Array, ""]
    level: Int[Array, ""]
    """Steps since the value or the gradient was last clearly lower."""
    lowest: Float[Array, ""]
    """The gradient's norm then."""


def lbfgs(
    slope_of: Callable[[Vector], tuple[Float[Array, ""], Vector]],
    x: Vector,
    *,
    rtol: float,
    atol: float,
    max_steps: int,
    reduction: float = 0.0,
) -> Descended:
    """Minimises by limited-memory BFGS steps with backtracking (Nocedal 1980).

    Args:
        slope_of: value and gradient.
        x: where to start.
        rtol: step length at which to stop, relative to |x|.
        atol: step length at which to stop; what rounding leaves of the first one is
            always allowed.
        max_steps: at which to stop.
        reduction: of the gradient's norm, at which to stop too.

    Returns:
        The last point, whose value is no higher than the first one's but for rounding.
    """
    unit = float(jnp.finfo(x.dtype).eps)
    merit, slope = slope_of(x)
    low = reduction * norm(slope)

    def goal(state: _State):
        return rtol * norm(state.x) + state.least

    def live(state: _State):
        far = (norm(state.slope) > low) & (state.size > goal(state))
        moving = state.good & (state.level < PATIENCE)
        return moving & far & (state.count < max_steps)

    def step(state: _State) -> _State:
        direction = -_inverse_times(state.pairs, state.slope)
        at = Point(state.x, state.merit, state.slope)
        rule = lower(at, direction)
        (new, value, gradient), _, good = backtrack(
            slope_of, at, direction, rule, shortest=1e-6
        )
        move, change = new - state.x, gradient - state.slope
        there, value, gradient = jax.tree.map(
            lambda a, b: jnp.where(good, a, b),
            (new, value, gradient),
            (state.x, state.merit, state.slope),
        )
        length = norm(move)
        size = jnp.where(good, length, state.size)
        first = unit * length + atol
        least = jnp.where(state.count == 0, first, state.least)
        curvature = norm(change) / jnp.where(length > 0, length, 1)
        pairs = _remembered(state.pairs, move, change)
        now = norm(gradient)
        noise = 10 * unit * jnp.abs(state.merit)
        gain = (value < state.merit - noise) | (now < 0.9 * state.lowest)
        return _State(
            there,
            value,
            gradient,
            pairs,
            count=state.count + 1,
            size=size,
            curvature=curvature,
            least=least,
            good=good,
            level=jnp.where(gain, 0, state.level + 1),
            lowest=jnp.where(gain, now, state.lowest),
        )

    blank = jnp.zeros((MEMORY, x.shape[0]), x.dtype)
    steep = norm(slope)
    # No pair yet: to the minimum along the gradient of what is quadratic, else a step
    # of the length of x, or of one.
    _, bend = jax.jvp(lambda x: slope_of(x)[1], (x,), (slope,))
    along = jnp.dot(slope, bend)
    far = (1 + norm(x)) / jnp.where(steep > 0, steep, 1)
    curved = (along > 0) & jnp.isfinite(along)
    scale = jnp.where(curved, jnp.dot(slope, slope) / jnp.where(curved, along, 1), far)
    scale = jnp.minimum(scale, far)
    zero, infinite = jnp.zeros((), x.dtype), jnp.asarray(jnp.inf, x.dtype)
    pairs = blank, blank, jnp.zeros(MEMORY, x.dtype), scale
    start = jnp.zeros((), int)
    fine = jnp.isfinite(merit)
    first = _State(
        x, merit, slope, pairs, start, infinite, zero, zero, fine, start, steep
    )
    last = jax.lax.while_loop(live, step, first)
    # Where no step leads further down, rounding may be all that is left.
    left = norm(last.slope)
    stuck = left <= last.curvature * (unit**0.75 * norm(last.x) + last.least)
    done = (last.good & (last.size <= goal(last))) | stuck | (left <= low)
    return Descended(last.x, done & jnp.isfinite(last.merit), last.count)


def _inverse_times(pairs, vector):
    """The inverse Hessian's estimate times a vector, by the two-loop recursion."""

    def back(q, pair):
        step, change, weight = pair
        part = weight * jnp.dot(step, q)
        return q - part * change, part

    def forth(q, pair):
        step, change, weight, part = pair
        return q + (part - weight * jnp.dot(change, q)) * step, None

    steps, changes, weights, scale = pairs
    q, parts = jax.lax.scan(
        back, vector, (steps, changes, weights), reverse=True, unroll=True
    )
    return jax.lax.scan(
        forth, scale * q, (steps, changes, weights, parts), unroll=True
    )[0]


def _remembered(pairs, step, change):
    steps, changes, weights, scale = pairs
    along, size = jnp.dot(step, change), jnp.dot(change, change)
    # Without upward curvature the estimate would not stay positive definite.
    usable = along > 1e-10 * norm(step) * norm(change)
    new = (
        jnp.concatenate([steps[1:], step[None]]),
        jnp.concatenate([changes[1:], change[None]]),
        jnp.append(weights[1:], 1 / jnp.where(usable, along, 1)),
        along / jnp.where(size > 0, size, 1),
    )
    return jax.tree.map(lambda a, b: jnp.where(usable, a, b), new, pairs)
