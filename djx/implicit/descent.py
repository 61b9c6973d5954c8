"""Steps of first-order methods, as maps whose fixed points are minima.

`fixed_point(mirror_step(objective, 0.1), guess, *args, solver="picard")` runs a method
to its tolerance and differentiates the solution; with `solver=iterate(300)` and
`Gradient(mode="unrolled")` it is the iterations that are differentiated.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


Objective = Callable[..., Any]
Map = Callable[..., PyTree]


def proximal_step(
    objective: Objective, prox: Callable[[PyTree, Any], PyTree], step: Any
) -> Map:
    """A gradient step and a proximal one: prox(x - step grad f(x), step).

    Args:
        objective: f, of x and further arguments, smooth.
        prox: of (x, step), as of `proximal_argmin`: of a set its projection.
        step: length, at most 2 / the largest curvature.

    Returns:
        The map of x and those arguments.
    """

    def image(x, *args):
        slope = jax.grad(objective)(x, *args)
        return prox(jax.tree.map(lambda a, b: a - step * b, x, slope), step)

    return image


def mirror_step(objective: Objective, step: Any, total: Any = 1.0) -> Map:
    """A step of mirror descent on simplices with the entropy as mirror map.

    Beck and Teboulle 2003: x exp(-step grad f(x)), scaled to the same sum along the
    last axis. Entries that are zero stay zero, so that extrapolation may end at a fixed
    point that is no minimum: iterate it with `solver="picard"`.

    Args:
        objective: f, of x and further arguments, smooth.
        step: length.
        total: the sum. It is a constant of the map: were it that of x, every sum would
            have a fixed point of its own, and none a derivative.

    Returns:
        The map of x (whose entries are not negative) and those arguments.
    """

    def image(x, *args):
        slope = jax.grad(objective)(x, *args)
        return jax.tree.map(lambda a, b: _reweighted(a, -step * b, total), x, slope)

    return image


def _reweighted(x, exponent, total):
    # The largest exponent is taken out of all: it must not overflow.
    weighted = x * jnp.exp(exponent - jnp.max(exponent, -1, keepdims=True))
    return weighted * (total / jnp.sum(weighted, -1, keepdims=True))


def block_step(
    slope: Callable[..., Array],
    prox: Callable[[Array, Any], Array],
    steps: Float[Array, " blocks"],
) -> Map:
    """One pass of block coordinate descent over the rows of x, each with its own step.

    Every row sees the rows before it as they are new: x_i becomes
    prox(x_i - steps_i grad_i f(x), steps_i).

    Args:
        slope: of (x, i, *args), to the gradient by row i alone, which is all that is
            needed and often costs one part in `blocks` of the whole.
        prox: of (row, step).
        steps: at most 2 / the largest curvature along each row.

    Returns:
        The map of x `(blocks, ...)` and those arguments.
    """
    steps = jnp.asarray(steps)

    def image(x, *args):
        def one(i, x):
            row = prox(x[i] - steps[i] * slope(x, i, *args), steps[i])
            return x.at[i].set(row)

        return jax.lax.fori_loop(0, x.shape[0], one, x)

    return image


def iterate(steps: int) -> Callable[[Callable, Array], Array]:
    """A solver for `fixed_point` that applies the map a given number of times.

    Args:
        steps: how many times.

    Returns:
        A function of (map, start).
    """

    def solver(function, start):
        return jax.lax.scan(lambda x, _: (function(x), None), start, None, steps)[0]

    return solver
