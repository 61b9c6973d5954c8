"""What an adaptive solve is made of: static structure here, arrays as arguments."""

import dataclasses
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._accumulate import Step
from ._methods import Method
from ._pid import pid_decision
from ._step import (
    Equation,
    interpolate,
    interpolate_transposed,
    rolled_step,
    runge_kutta_step,
    scaled_error_of,
    stiffness_of,
)


class Inputs(NamedTuple):
    """The arrays of a solve. Time runs upwards: signs are the field's business."""

    y0: PyTree
    t0: Any
    t1: Any
    first: Any
    """End of the first step that is tried."""
    ts: list[Any]
    """Times to save at, one array for each part of the output that has some."""
    constants: list[Any]
    controller: PyTree
    controller_state: PyTree
    accumulators: PyTree


class State(NamedTuple):
    """What one step hands to the next."""

    y: PyTree
    f: PyTree
    values: PyTree
    """Of the accumulators."""


class Tally(NamedTuple):
    """What one accepted step adds to the running estimates."""

    error: Any
    stiffness: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """The static part of a solve: single-lane functions of its arrays."""

    method: Method
    equation: Equation
    controller: Any
    """The controller's static part."""
    controller_state: Any
    accumulators: Any
    """The accumulators' static part."""
    error_order: Any
    max_steps: int
    structure: Any
    """Of `Inputs`."""
    save_steps: tuple[int, ...]
    """Every so many accepted steps; one number for each part that saves steps."""
    rows: int
    """States that the record keeps."""
    compaction: bool
    """Whether a batch goes on without the solves that have ended."""
    separate: bool
    """Whether the state is a list of numbers."""

    def inputs(self, flat: list[Any]) -> Inputs:
        """The arrays by name."""
        return jax.tree.unflatten(self.structure, flat)

    def start(self, flat: list[Any]) -> State:
        """The state before the first step."""
        given = self.inputs(flat)
        f = None
        if self.method.fsal:
            f = self.equation.field(given.constants, given.t0, given.y0)
        whole = eqx.combine(given.accumulators, self.accumulators)
        values = _each(lambda one: one.init(given.y0), whole)
        return State(given.y0, f, jax.tree.map(jnp.asarray, values))

    def advance(
        self, state: State, t0: Any, t1: Any, flat: list[Any], control: Any = None
    ):
        """One step; its control is passed where it is at hand already.

        Returns:
            The next state, the stages, the error estimate, what to tally.
        """
        given = self.inputs(flat)
        stages = runge_kutta_step(
            self.method,
            self.equation,
            given.constants,
            t0,
            t1,
            state.y,
            state.f,
            control,
        )
        return self._advanced(given, state, t0, t1, stages)

    def move(self, state: State, t0: Any, t1: Any, flat: list[Any]) -> State:
        """The next state alone, by a step that compiles fast."""
        given = self.inputs(flat)
        stages = rolled_step(
            self.method, self.equation, given.constants, t0, t1, state.y, state.f
        )
        return self._advanced(given, state, t0, t1, stages)[0]

    def _advanced(self, given, state, t0, t1, stages):
        whole = eqx.combine(given.accumulators, self.accumulators)
        values = state.values
        if jax.tree.leaves(values):
            k = jax.tree.map(lambda *s: jnp.stack(s), *stages.k)
            info = {"y0": state.y, "y1": stages.y1, "k": k}
            step = Step(t0, t1, state.y, stages.y1, stages.y_error, info)
            values = _each(lambda one, v: one.update(v, step), whole, values)
        tally = self._tally(given, stages, state.y, t1 - t0)
        return State(stages.y1, stages.f1, values), stages.k, stages.y_error, tally

    def _tally(self, given, stages, y0, h):
        zero = jnp.zeros((), jnp.result_type(float, *jax.tree.leaves(y0)))
        rtol, atol = self.tolerances(given)
        error, stiffness = zero, zero
        if stages.y_error is not None:
            one = scaled_error_of(stages.y_error, y0, stages.y1, rtol, atol)
            error = one * jnp.abs(h)
        if self.method.two_at_end:
            stiffness = stiffness_of(self.method, stages.k, h) * jnp.abs(h)
        return Tally(error.astype(zero.dtype), stiffness.astype(zero.dtype))

    def tolerances(self, given: Inputs):
        """The controller's; (0, 1) where steps are fixed: errors in units of y."""
        if isinstance(self.controller, diffrax.PIDController):
            whole = eqx.combine(given.controller, self.controller)
            return whole.rtol, whole.atol
        return 0.0, 1.0

    def times(self, t0, t1, start: State, y1, error, state, flat):
        """The controller's answer to one attempt.

        Returns:
            Whether the step is kept, the next attempt's ends, the controller's state,
            whether it gives up, whether the attempt was not a number, and whether no
            other could be one.
        """
        given = self.inputs(flat)
        controller = eqx.combine(given.controller, self.controller)
        whole = eqx.combine(state, self.controller_state)
        if isinstance(controller, diffrax.ConstantStepSize):
            # Its state holds the ends of the solve, which may have derivatives.
            whole = (*whole[:2], given.t0, given.t1)
        y0, broken = start.y, jnp.asarray(False)
        if error is not None:
            for leaf in jax.tree.leaves(error):
                broken = broken | jnp.any(jnp.isnan(leaf))
            # A field that is undefined there: rejected, like any error too large.
            error = jax.tree.map(lambda e: jnp.where(jnp.isnan(e), jnp.inf, e), error)
        if isinstance(controller, diffrax.PIDController):
            keep, begin, end, new, gave_up = pid_decision(
                controller, t0, t1, y0, y1, error, self.error_order, whole
            )
        else:
            _, begin, end, _, new, _ = controller.adapt_step_size(
                t0, t1, y0, y1, None, error, self.error_order, whole
            )
            keep, gave_up = jnp.asarray(True), jnp.asarray(False)
        begin = jnp.minimum(begin, given.t1)
        # A last step shorter than rounding would spoil its interpolation.
        floor = given.t1 - 100 * jnp.finfo(given.t1.dtype).eps * jnp.abs(given.t1)
        middle = begin + 0.5 * (given.t1 - begin)
        clipped = jnp.where(keep, given.t1, middle)
        end = jnp.where(end > floor, clipped, end)
        new = jax.tree.map(jnp.asarray, eqx.filter(new, eqx.is_array_like))
        hopeless = jnp.asarray(False)
        for leaf in jax.tree.leaves((y0, start.f)):
            hopeless = hopeless | jnp.any(jnp.isnan(leaf))
        return keep, begin, end, new, gave_up, broken, hopeless

    def dense(self, ts, t0, t1, y, k):
        """States at times inside a step."""
        return interpolate(self.method, ts, t0, t1, y, k)

    def dense_transposed(self, ts, t0, t1, cotangent):
        """From cotangents of those states to those of y and the stages."""
        return interpolate_transposed(self.method, ts, t0, t1, cotangent)


def _each(function, accumulators, *rest):
    from ._accumulate import _map

    return _map(function, accumulators, *rest)


def stop(tree: PyTree) -> PyTree:
    """Without derivatives."""
    return jax.tree.map(
        lambda x: lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, tree
    )
