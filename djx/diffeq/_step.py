"""One step of an explicit Runge-Kutta method: stages unrolled, nothing masked."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import close as core_close, safe_rms
from ._lanes import lanes_behind
from ._methods import Method


EXACT = jax.lax.Precision.HIGHEST  # a step's rounding is not the matrix unit's


class Equation(NamedTuple):
    """A differential equation as functions whose arrays are all explicit."""

    field: Callable[[Sequence[Any], Any, PyTree], PyTree]
    """(constants, t, y) to the vector field."""
    control: Callable[[Sequence[Any], Any, Any], PyTree]
    """(constants, t0, t1) to what drives the step: its length for an ODE."""
    product: Callable[[Sequence[Any], PyTree, PyTree], PyTree]
    """(constants, field's value, control) to an increment, shaped as y."""


class Stages(NamedTuple):
    """What one step computed."""

    y1: PyTree
    f1: PyTree
    """The field at y1 where the method is first-same-as-last, else None."""
    k: list[PyTree]
    """Field times control at each stage."""
    y_error: PyTree | None


def close(function: Callable, *examples: Any) -> tuple[Callable, list[Any]]:
    """`djx.core.close`, with batch axes of what is computed put last."""
    closed, constants = core_close(function, *examples)
    return lambda *given: lanes_behind(closed(*given)), constants


def weighted(weights: Any, k: Sequence[PyTree]) -> PyTree | None:
    """The sum of stages times constant weights; None where all weights are zero."""
    used = [(float(w), s) for w, s in zip(weights, k, strict=False) if w != 0]
    if not used:
        return None

    def total(*leaves):
        # Weakly typed weights: the sum keeps the state's type.
        out = used[0][0] * leaves[0]
        for (weight, _), leaf in zip(used[1:], leaves[1:], strict=True):
            out = out + weight * leaf
        return out

    return jax.tree.map(total, *[stage for _, stage in used])


def runge_kutta_step(
    method: Method,
    equation: Equation,
    constants: Any,
    t0: Any,
    t1: Any,
    y: Any,
    f: Any,
    control: Any = None,
) -> Stages:
    """One step from t0 to t1.

    Args:
        method: which.
        equation: the field.
        constants: the field's arrays.
        t0: start.
        t1: end.
        y: state at t0.
        f: field at (t0, y) for a first-same-as-last method; else ignored.
        control: of the step, where it is at hand already.

    Returns:
        The stages.
    """
    h = t1 - t0
    if control is None:
        control = equation.control(constants, t0, t1)
    if not method.fsal:
        f = equation.field(constants, t0, y)
    k, yi, fi = [equation.product(constants, f, control)], y, f
    for c, row in zip(method.c[1:], method.a[1:], strict=True):
        move = weighted(row, k)
        yi = y if move is None else jax.tree.map(jnp.add, y, move)
        ti = t1 if c == 1 else t0 + float(c) * h
        fi = equation.field(constants, ti, yi)
        k.append(equation.product(constants, fi, control))
    if method.fsal:
        y1 = yi  # the last stage was evaluated there
    else:
        y1 = jax.tree.map(jnp.add, y, weighted(method.b, k))
    error = None if method.b_error is None else weighted(method.b_error, k)
    return Stages(y1, fi if method.fsal else None, k, error)


def rolled_step(
    method: Method, equation: Equation, constants: Any, t0: Any, t1: Any, y: Any, f: Any
) -> Stages:
    """The same step with its stages in a loop: slower, and compiled sooner.

    For paths that are seldom run. It agrees with the other to rounding.
    """
    h, control = t1 - t0, equation.control(constants, t0, t1)
    if not method.fsal:
        f = equation.field(constants, t0, y)
    first = equation.product(constants, f, control)
    count = method.stages
    table = np.zeros((count, count))
    for i, row in enumerate(method.a):
        table[i, : len(row)] = row
    c = jnp.asarray(method.c, h.dtype)

    def mix(weights, k):
        def one(rows):
            flat = rows.reshape(count, -1)
            weight = jnp.asarray(weights, rows.dtype)
            return jnp.matmul(weight, flat, precision=EXACT).reshape(rows.shape[1:])

        return jax.tree.map(one, k)

    def stage(i, carry):
        k, _, _ = carry
        yi = jax.tree.map(jnp.add, y, mix(jnp.asarray(table)[i], k))
        ti = jnp.where(c[i] == 1, t1, t0 + c[i] * h)
        fi = equation.field(constants, ti, yi)
        new = equation.product(constants, fi, control)
        k = jax.tree.map(lambda rows, row: rows.at[i].set(row), k, new)
        return k, yi, fi

    k = jax.tree.map(
        lambda row: jnp.zeros((count, *row.shape), row.dtype).at[0].set(row), first
    )
    k, yi, fi = jax.lax.fori_loop(1, count, stage, (k, y, f))
    y1 = yi if method.fsal else jax.tree.map(jnp.add, y, mix(method.b, k))
    error = None if method.b_error is None else mix(method.b_error, k)
    stages = [jax.tree.map(lambda rows, i=i: rows[i], k) for i in range(count)]
    return Stages(y1, fi if method.fsal else None, stages, error)


def dense_weights(method: Method, t: Any, t0: Any, t1: Any) -> Float[Array, "n s"]:
    """The weight of each stage at times inside a step.

    Args:
        method: which.
        t: times, shape (n,).
        t0: start of the step.
        t1: end of the step.

    Returns:
        The values of the polynomials p_i.
    """
    h = t1 - t0
    theta = jnp.where(h == 0, 0, (t - t0) / jnp.where(h == 0, 1, h))
    powers = [theta]
    for _ in range(method.dense.shape[1] - 1):
        powers.append(powers[-1] * theta)
    table = jnp.asarray(method.dense.T, theta.dtype)
    return jnp.matmul(jnp.stack(powers, -1), table, precision=EXACT)


def interpolate(
    method: Method, t: Any, t0: Any, t1: Any, y: PyTree, k: Sequence[PyTree]
) -> PyTree:
    """Dense output inside one step.

    Args:
        method: which.
        t: times inside the step, shape (n,).
        t0: start of the step.
        t1: end of the step.
        y: state at t0.
        k: the step's stages.

    Returns:
        States, with a leading axis of n.
    """
    weights = dense_weights(method, t, t0, t1)

    def evaluate(y, *k):
        stages = jnp.stack(k).reshape(len(k), y.size)
        moved = jnp.matmul(weights.astype(y.dtype), stages, precision=EXACT)
        return y[None] + moved.reshape(len(weights), *y.shape)

    return jax.tree.map(evaluate, y, *k)


def interpolate_transposed(
    method: Method, t: Any, t0: Any, t1: Any, cotangent: PyTree
) -> tuple[PyTree, list[PyTree]]:
    """The transpose of `interpolate` in y and the stages.

    Args:
        method: which.
        t: times inside the step, shape (n,).
        t0: start of the step.
        t1: end of the step.
        cotangent: of the states, with a leading axis of n.

    Returns:
        Cotangents of y and of each stage.
    """
    weights = dense_weights(method, t, t0, t1)

    def pull(ct):
        flat = ct.reshape(ct.shape[0], ct[0].size)
        moved = jnp.matmul(weights.astype(ct.dtype).T, flat, precision=EXACT)
        return moved.reshape(method.stages, *ct.shape[1:])

    leaves, structure = jax.tree.flatten(cotangent)
    pulled = [pull(leaf) for leaf in leaves]
    stages = range(method.stages)
    return (
        jax.tree.unflatten(structure, [jnp.sum(leaf, 0) for leaf in leaves]),
        [jax.tree.unflatten(structure, [p[i] for p in pulled]) for i in stages],
    )


def scaled_error_of(y_error: PyTree, y0: PyTree, y1: PyTree, rtol: Any, atol: Any):
    """The scaled error of a step; see `scaled_error`."""

    def ratio(error, a, b):
        return error / (atol + rtol * jnp.maximum(jnp.abs(a), jnp.abs(b)))

    return safe_rms(jax.tree.map(ratio, y_error, y0, y1))


def stiffness_of(method: Method, k: Sequence[PyTree], h: Any) -> Float[Array, ""]:
    """Shampine's estimate from the last two stages; see `stiffness_estimate`."""
    before_last = [*method.a[-2], 0.0]
    gap = weighted([a - b for a, b in zip(method.a[-1], before_last, strict=True)], k)
    field_gap = jax.tree.map(jnp.subtract, k[-1], k[-2])
    still = h == 0
    size = safe_rms(gap) * jnp.abs(jnp.where(still, 1, h))
    return jnp.where(still, 0, safe_rms(field_gap) / size)
