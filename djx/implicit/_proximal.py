"""Minima of a smooth function plus one that has a proximal operator."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..core import close
from ._choose import DENSE, System
from ._flat import flattened
from ._gradient import Gradient
from ._iterative import norm
from ._problem import finish, Flat, flat, Forward
from ._receipt import Receipt
from ._solution import Solution


class Descent(NamedTuple):
    """Where the proximal gradient method ended."""

    x: Float[Array, " n"]
    step: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]


def proximal_argmin(
    objective: Callable[..., Any],
    prox: Callable[[PyTree, Any], PyTree],
    guess: PyTree,
    *args: Any,
    gradient: Gradient | None = None,
    receipt: Receipt | None = None,
    start: PyTree | None = None,
    tolerance: float = 1e-10,
    max_steps: int = 5000,
    throw: bool = False,
) -> Solution:
    """Minimises objective(x, *args) + g(x), where g is known by its proximal operator.

    Accelerated proximal gradient steps with backtracking and restarts (Beck and
    Teboulle 2009; O'Donoghue and Candes 2015). The derivative is that of the fixed
    point of a step; where g has a kink at the solution it is one of several, which
    `stats["kink"]` and the receipt say.

    Args:
        objective: of x and `args`, to one number, smooth.
        prox: of (x, step), to argmin_y g(y) + |y - x|^2 / (2 step): for a set its
            projection, whatever the step. `djx.implicit.prox` has the usual ones; what
            it closes over carries derivatives.
        guess: where to start: arrays of floating type.
        *args: further arguments.
        gradient: how to differentiate.
        receipt: zeros whose cotangent is the report of the backward solve.
        start: where an iterative backward solve begins; its cotangent is the adjoint.
        tolerance: length of a step at which to stop, relative to |x|.
        max_steps: gradient steps.
        throw: stop the program where no minimum was found.

    Returns:
        The solution; `stats["step"]` is the last length of a gradient step.

    Raises:
        ValueError: where the objective is not one number.
        TypeError: where an unknown is not of floating type.
    """
    gradient = gradient or Gradient()
    smooth = flat(objective, guess, args, scalar=True)
    unflatten = smooth.unflatten

    def of_flat(v):
        x, step = v[:-1], v[-1]
        return flattened(prox(unflatten(x), step)).astype(x.dtype)

    one = jnp.ones(1, smooth.start.dtype)
    closed_prox, of_prox = close(of_flat, jnp.concatenate([smooth.start, one]))
    stopped = jax.lax.stop_gradient(of_prox)

    def apply_prox(x, step):
        return closed_prox(stopped, jnp.append(x, step.astype(x.dtype)))

    found = _descend(smooth.stopped(), apply_prox, smooth.start, tolerance, max_steps)
    step = jax.lax.stop_gradient(found.step)
    count = len(smooth.constants)

    def image(constants, x):
        slope = jax.grad(lambda x: smooth.closed(constants[:count], x))(x)
        at = x - constants[count] * slope
        return closed_prox(constants[count + 1 :], jnp.append(at, constants[count]))

    def difference(constants, x):
        return x - image(constants, x)

    constants = [*smooth.constants, step, *of_prox]
    kink = _at_kink(smooth.stopped(), apply_prox, jax.lax.stop_gradient(found.x), step)
    system = System(difference, contraction=found.x.size > DENSE)
    whole = Flat(image, constants, smooth.start, unflatten)
    forward = Forward(
        found.x,
        found.converged,
        found.iterations,
        stats={"step": step},
        kink=kink,
    )
    return finish(whole, system, forward, gradient, receipt, start, None, throw)


def _descend(objective, prox, x, tolerance, max_steps) -> Descent:
    dtype = x.dtype
    tiny = 10 * float(jnp.finfo(dtype).eps)

    def attempt(at, value, slope, step):
        new = prox(at - step * slope, step)
        move = new - at
        bound = value + jnp.dot(slope, move) + jnp.dot(move, move) / (2 * step)
        noise = tiny * (1 + jnp.abs(value))
        return new, objective(new) <= bound + noise

    def body(carry):
        x, at, momentum, step, count, _ = carry
        value, slope = jax.value_and_grad(objective)(at)

        def shrink(inner):
            step, _, _ = inner
            step = step / 2
            return step, *attempt(at, value, slope, step)

        first = step, *attempt(at, value, slope, step)
        step, new, _ = jax.lax.while_loop(
            lambda inner: ~inner[2] & (inner[0] > 1e-30), shrink, first
        )
        move = norm(new - at)
        # Momentum that leads uphill is dropped.
        restart = jnp.dot(at - new, new - x) > 0
        momentum = jnp.where(restart, 1.0, momentum)
        next_momentum = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        weight = jnp.where(restart, 0.0, (momentum - 1) / next_momentum)
        ahead = new + weight * (new - x)
        scale = jnp.maximum(norm(new), 1e-30)
        converged = (move <= tolerance * scale) & (norm(new - x) <= tolerance * scale)
        # Slowly longer again: one cautious step must not slow all that follow.
        return new, ahead, next_momentum, step * 1.02, count + 1, converged

    def live(carry):
        x, *_, count, converged = carry
        return ~converged & (count < max_steps) & jnp.all(jnp.isfinite(x))

    slope = jax.grad(objective)(x)
    size = norm(slope)
    one = jnp.ones((), dtype)
    step = jnp.where(size > 0, (1 + norm(x)) / jnp.where(size > 0, size, 1), one)
    first = x, x, one, step.astype(dtype), jnp.zeros((), int), jnp.asarray(False)
    x, _, _, step, count, converged = jax.lax.while_loop(live, body, first)
    return Descent(x, step, count, converged)


def _at_kink(objective, prox, x, step):
    """Whether the operator's derivative differs on the two sides of where it is used.

    Along a fixed irregular direction of about the root of the rounding unit.
    """
    at = x - step * jax.grad(objective)(x)
    size = jnp.finfo(x.dtype).eps ** 0.5 * jnp.maximum(jnp.max(jnp.abs(at)), 1e-30)
    index = jnp.arange(x.shape[0], dtype=x.dtype)
    away = size * (1 + 0.5 * jnp.sin(12.9898 * index + 1))
    away = jnp.where(jnp.sin(78.233 * index + 0.3) > 0, away, -away)
    probe = 1 + 0.5 * jnp.cos(3.7 * index)

    def derivative(at):
        return jax.jvp(lambda at: prox(at, step), (at,), (probe,))[1]

    sides = derivative(at + away), derivative(at - away)
    return norm(sides[0] - sides[1]) > 1e-3 * norm(probe)
