"""Backtracking along a direction, as Newton's and quasi-Newton methods do it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._iterative import norm


Vector = Float[Array, " n"]


class Point(NamedTuple):
    """Where a method stands."""

    x: Vector
    merit: Float[Array, ""]
    slope: Vector
    """The merit's gradient, or what is to become zero."""


class Tried(NamedTuple):
    """The last point that was tried."""

    point: Point
    length: Float[Array, ""]
    """Of the step, in units of the direction."""
    good: Bool[Array, ""]


def backtrack(
    slope_of: Callable[[Vector], tuple[Float[Array, ""], Vector]],
    at: Point,
    direction: Vector,
    good_enough: Callable[[Float[Array, ""], Point], Bool[Array, ""]],
    shortest: float,
) -> Tried:
    """The longest of the steps 1, 1/4, 1/16, .. that is good enough.

    Args:
        slope_of: merit, and `Point.slope`.
        at: where from.
        direction: of the step.
        good_enough: of (length, point), asked only of points that are finite.
        shortest: length at which to give up.

    Returns:
        The step, and whether it is one.
    """

    def again(tried: Tried):
        return ~tried.good & (tried.length > shortest)

    def shorten(tried: Tried):
        length = tried.length / 4
        x = at.x + length * direction
        point = Point(x, *slope_of(x))
        finite = jnp.isfinite(point.merit) & jnp.all(jnp.isfinite(point.slope))
        return Tried(point, length, finite & good_enough(length, point))

    four = jnp.asarray(4.0, at.x.dtype)
    return jax.lax.while_loop(again, shorten, Tried(at, four, jnp.asarray(False)))


def lower(at: Point, direction: Vector) -> Callable:
    """Armijo's rule for minima, for `backtrack`.

    Args:
        at: where from.
        direction: of the step.

    Returns:
        Whether a point is enough lower, by its length of step.
    """
    downhill = jnp.dot(at.slope, direction)
    noise = 10 * float(jnp.finfo(at.x.dtype).eps) * jnp.abs(at.merit)

    def good_enough(length, new: Point):
        lower = new.merit <= at.merit + 1e-4 * length * downhill
        # Near the minimum values differ by rounding alone; there the gradient decides.
        level = new.merit <= at.merit + noise
        return lower | (level & (norm(new.slope) <= norm(at.slope)))

    return good_enough
