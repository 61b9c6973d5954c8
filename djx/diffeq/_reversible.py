"""The reversible Heun method and its reversible adjoint."""

import functools as ft
from typing import Any

import diffrax
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ._brownian import CHUNK
from ._step import Equation


class ReversibleAdjoint(diffrax.AbstractAdjoint):
    """Runs `diffrax.ReversibleHeun` backwards instead of remembering it.

    The reverse pass rebuilds every state from the one after it, to rounding, and draws
    the noise again from its key: memory does not grow with the number of steps
    (Kidger et al. 2021, algorithms 1 and 2). Reverse mode only, fixed steps only.
    """

    def loop(self, **kwargs):
        """Not for diffrax's own loop.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "ReversibleAdjoint serves diffrax.ReversibleHeun with fixed steps in "
            "djx.diffeq.diffeqsolve; use diffrax.RecursiveCheckpointAdjoint here"
        )


def reversible_heun(
    equation: Equation, constants: Any, t1: Any, control: PyTree, state: tuple
) -> tuple[tuple, PyTree]:
    """One step of the reversible Heun method.

    Args:
        equation: the field.
        constants: its arrays.
        t1: end of the step.
        control: of the step.
        state: y, yhat and the field at yhat.

    Returns:
        The state at t1, and the error estimate.
    """
    y, yhat, f = state
    move = equation.product(constants, f, control)
    yhat1 = jax.tree.map(lambda y, h, m: 2 * y - h + m, y, yhat, move)
    f1 = equation.field(constants, t1, yhat1)
    move1 = equation.product(constants, f1, control)
    y1 = jax.tree.map(lambda y, a, b: y + 0.5 * (a + b), y, move, move1)
    error = jax.tree.map(lambda a, b: 0.5 * (b - a), move, move1)
    return (y1, yhat1, f1), error


def reversed_heun(
    equation: Equation, constants: Any, t0: Any, control: PyTree, state: tuple
) -> tuple:
    """The step undone: the state at t0 from the one at the end."""
    y1, yhat1, f1 = state
    move1 = equation.product(constants, f1, control)
    yhat = jax.tree.map(lambda y, h, m: 2 * y - h - m, y1, yhat1, move1)
    f = equation.field(constants, t0, yhat)
    move = equation.product(constants, f, control)
    y = jax.tree.map(lambda y, a, b: y - 0.5 * (a + b), y1, move, move1)
    return y, yhat, f


def reversible_solve(
    equation: Equation, drive: Any, constants: Any, key: Any, grid: Any, y0: PyTree
) -> tuple[PyTree, PyTree]:
    """Solves over a grid with flat memory in reverse.

    Args:
        equation: the field.
        drive: (noise's arrays, first step, starts, ends) to the controls of steps.
        constants: the field's arrays.
        key: the noise's arrays, keys among them.
        grid: times, shape (n + 1,).
        y0: initial state.

    Returns:
        The last state, and the last yhat and field, which have no derivative.
    """
    return _solve((equation, drive), constants, key, grid, y0)


@ft.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _solve(static, constants, key, grid, y0):
    equation, drive = static
    f0 = equation.field(constants, grid[0], y0)

    def part(state, chunk):
        first, t0, t1, there = chunk

        def one(state, x):
            start, end, inside, control = x
            new, _ = reversible_heun(equation, constants, end, control, state)
            return _where(inside, new, state), None

        controls = drive(key, first, t0, t1)
        return lax.scan(one, state, (t0, t1, there, controls))[0], None

    state, _ = lax.scan(part, (y0, y0, f0), _chunks(grid))
    return state[0], state[1:]


def _forward(static, constants, key, grid, y0):
    out = _solve(static, constants, key, grid, y0)
    return out, (constants, key, grid, y0, out)


def _backward(static, kept, cotangent):
    equation, drive = static
    constants, key, grid, y0, (y, (yhat, f)) = kept
    of_y, (of_yhat, of_f) = cotangent
    index = [i for i, c in enumerate(constants) if jnp.issubdtype(c.dtype, jnp.inexact)]

    def with_floats(floats):
        whole = list(constants)
        for i, value in zip(index, floats, strict=True):
            whole[i] = value
        return whole

    floats = [constants[i] for i in index]

    def part(carry, chunk):
        first, t0, t1, there = chunk
        controls, pull_controls = jax.vjp(
            lambda a, b: _float_controls(drive, key, first, a, b), t0, t1
        )

        def one(carry, x):
            state, of_state, of_floats = carry
            start, end, inside, control = x
            before = reversed_heun(equation, constants, start, control, state)
            before = _where(inside, before, state)

            def step(before, end, control, floats):
                whole = with_floats(floats)
                return reversible_heun(equation, whole, end, control, before)[0]

            _, pull = jax.vjp(step, before, end, control, floats)
            found, of_end, of_control, more = pull(
                _where(inside, of_state, _zero(of_state))
            )
            of_state = _where(inside, found, of_state)
            of_floats = jax.tree.map(jnp.add, of_floats, more)
            return (before, of_state, of_floats), (of_end, of_control)

        carry, (of_end, of_controls) = lax.scan(
            one, carry, (t0, t1, there, controls), reverse=True
        )
        of_t0, of_t1 = pull_controls(of_controls)
        return carry, (of_t0, of_t1 + of_end)

    carry = ((y, yhat, f), (of_y, of_yhat, of_f), jax.tree.map(jnp.zeros_like, floats))
    carry, (of_t0, of_t1) = lax.scan(part, carry, _chunks(grid), reverse=True)
    _, (of_y, of_yhat, of_f), of_floats = carry
    _, pull = jax.vjp(
        lambda t, y, floats: equation.field(with_floats(floats), t, y),
        grid[0],
        y0,
        floats,
    )
    of_start, more_y, more = pull(of_f)
    of_y = jax.tree.map(lambda a, b, c: a + b + c, of_y, of_yhat, more_y)
    steps = grid.shape[0] - 1
    of_grid = jnp.zeros_like(grid).at[:-1].add(of_t0.reshape(-1)[:steps])
    of_grid = of_grid.at[1:].add(of_t1.reshape(-1)[:steps]).at[0].add(of_start)
    out = [None] * len(constants)
    for i, a, b in zip(index, of_floats, more, strict=True):
        out[i] = a + b
    out = [
        jnp.zeros(c.shape, jax.dtypes.float0) if o is None else o
        for c, o in zip(constants, out, strict=True)
    ]
    none = jax.tree.map(_no_cotangent, key)
    return out, none, of_grid, of_y


_solve.defvjp(_forward, _backward)


def _no_cotangent(x):
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.zeros_like(x)
    return np.zeros(x.shape, jax.dtypes.float0)


def _float_controls(drive, key, first, t0, t1):
    return drive(key, first, t0, t1)


def _chunks(grid):
    """The grid in runs of `CHUNK` steps; what the last one lacks has no length."""
    steps = grid.shape[0] - 1
    count = -(-steps // CHUNK)
    gap = count * CHUNK - steps
    t0 = jnp.concatenate([grid[:-1], jnp.full(gap, grid[-1])])
    t1 = jnp.concatenate([grid[1:], jnp.full(gap, grid[-1])])
    there = jnp.arange(count * CHUNK) < steps
    first = jnp.arange(count) * CHUNK
    return first, *(x.reshape(count, CHUNK) for x in (t0, t1, there))


def _where(mask, new, old):
    return jax.tree.map(lambda a, b: jnp.where(mask, a, b), new, old)


def _zero(tree):
    return jax.tree.map(jnp.zeros_like, tree)
