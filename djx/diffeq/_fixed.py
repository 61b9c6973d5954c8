"""Solves over a grid of fixed steps: Runge-Kutta, stochastic, reversible."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..core import safe_rms, varying, varying_alike
from ._grid import scan_steps, segments_of, Trail
from ._methods import Method
from ._noise import controls
from ._problem import Problem, State, Tally
from ._reversible import reversible_heun
from ._setup import Span, Turned, zeros_like
from ._step import close
from ._stochastic import Products, STEPS


class Stepper(NamedTuple):
    """A method on a grid, single steps of it."""

    start: Any
    """The state before the first step."""
    step: Callable[[Any, Any], tuple[Any, Any, Tally]]
    """(state, (t0, t1, control)) to the next state, the stages, what to tally."""
    method: Method | None
    evaluations: int
    """Of the drift's field in one step."""
    first_evaluations: int
    dense: Any


def runge_kutta(problem: Problem, flat: list[Any]) -> Stepper:
    """The stepper of an explicit Runge-Kutta method."""
    method = problem.method

    def step(state, x):
        t0, t1, control = x
        new, k, _, tally = problem.advance(state, t0, t1, flat, control)
        return new, k, tally

    return Stepper(
        problem.start(flat),
        step,
        method,
        method.new_stages,
        int(method.fsal),
        problem.dense,
    )


def stochastic(
    solver: Any, term: Any, whole: Span, y0: PyTree, args: Any, control: Any
):
    """The stepper of a method for drift and diffusion."""
    time, y, control = varying_alike(
        (whole.t0, y0, jax.tree.map(zeros_like, control)), y0, args, term, whole
    )

    def product_of(term, control):
        one = Turned(term, whole)
        function, constants = close(
            lambda t, y, c: one.vf_prod(t, y, args, c), time, y, control
        )
        return lambda t, y, c: function(constants, t, y, c)

    drift, diffusion = (
        product_of(one, c) for one, c in zip(term.terms, control, strict=True)
    )
    products = Products(drift, diffusion)
    function = STEPS[type(solver)]
    zero = zero_tally(y0)

    def step(state, x):
        t0, t1, control = x
        y1 = function(products, t0, t1, state.y, control)
        y1 = jax.tree.map(lambda new, old: new.astype(old.dtype), y1, state.y)
        return State(y1, None, ()), (), zero

    return Stepper(State(y0, None, ()), step, None, 1, 0, None)


def reversible(equation: Any, constants: Any, whole: Span, y0: PyTree) -> Stepper:
    """The stepper of the reversible Heun method."""
    zero = zero_tally(y0)

    def step(state, x):
        t0, t1, control = x
        (y, yhat, f), error = reversible_heun(
            equation, constants, t1, control, (state.y, *state.f)
        )
        one = safe_rms(error).astype(zero.error.dtype) * jnp.abs(t1 - t0)
        return State(y, (yhat, f), ()), (), Tally(one.astype(zero.error.dtype), zero[1])

    f = equation.field(constants, whole.t0, y0)
    return Stepper(State(y0, (y0, f), ()), step, None, 1, 1, None)


def zero_tally(y0: PyTree) -> Tally:
    """Nothing tallied yet."""
    zero = jnp.zeros((), jnp.result_type(float, *jax.tree.leaves(y0)))
    return Tally(zero, zero)


def example_control(term: Any, whole: Span) -> PyTree:
    """The shape of one step's control."""
    ends = jax.ShapeDtypeStruct((1,), whole.t0.dtype)
    many = jax.eval_shape(lambda a, b: controls(term, whole, 0, a, b), ends, ends)
    return jax.tree.map(lambda c: jax.ShapeDtypeStruct(c.shape[1:], c.dtype), many)


def run_grid(
    stepper: Stepper,
    term: Any,
    whole: Span,
    grid: Any,
    adjoint: Any,
    *,
    axes: frozenset[str],
    keep_nodes: bool,
    keep_stages: bool,
) -> Trail:
    """Runs a stepper over a grid.

    Args:
        stepper: which.
        term: what drives it.
        whole: the interval.
        grid: times, shape (n + 1,).
        adjoint: says how much a reverse pass may keep.
        axes: manual mesh axes that the solve differs along.
        keep_nodes: whether states after every step are wanted.
        keep_stages: whether their stages are.

    Returns:
        What the solve passed.
    """

    def step(carry, x):
        state, total = carry
        new, k, tally = stepper.step(state, x)
        total = jax.tree.map(jnp.add, total, tally)
        kept = (new.y if keep_nodes else None, k if keep_stages else None)
        return (new, total), kept

    y0 = stepper.start.y
    segments = segments_of(adjoint, y0, stepper.method, grid.shape[0] - 1)
    carry = varying((stepper.start, zero_tally(y0)), axes)
    (final, total), (nodes, stages) = scan_steps(
        step, carry, term, whole, grid, segments=segments
    )
    return Trail(final, total, nodes, stages)
