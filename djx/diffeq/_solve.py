"""`diffeqsolve`: diffrax's signature, djx's engine where it has one."""

import functools as ft
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._accumulate import AccumulatingSolver
from ._adaptive import Forward, GAVE_UP, OKAY, OUT_OF_STEPS, UNDERFLOW
from ._choice import Choice, choose
from ._lanes import Lanes
from ._methods import method_of
from ._operation import bind
from ._problem import Inputs, Problem, stop
from ._saving import assembled, is_sub, parts_of, Saved
from ._setup import arrays_of, equation_of, promoted, span, Turned


BUDGET = 2**18  # bytes of states that a record keeps by default


def diffeqsolve(
    terms: PyTree[diffrax.AbstractTerm],
    solver: diffrax.AbstractSolver,
    t0: Any,
    t1: Any,
    dt0: Any,
    y0: PyTree,
    args: PyTree = None,
    *,
    saveat: diffrax.SaveAt = diffrax.SaveAt(t1=True),
    stepsize_controller: Any = diffrax.ConstantStepSize(),
    adjoint: diffrax.AbstractAdjoint = diffrax.RecursiveCheckpointAdjoint(),
    event: diffrax.Event | None = None,
    max_steps: int | None = 4096,
    throw: bool = True,
    progress_meter: Any = diffrax.NoProgressMeter(),
    solver_state: PyTree = None,
    controller_state: PyTree = None,
    made_jump: Any = None,
) -> diffrax.Solution:
    """Solves a differential equation: `diffrax.diffeqsolve`, faster where djx can."""
    choice = choose(
        terms,
        solver,
        t0,
        t1,
        dt0,
        y0,
        saveat=saveat,
        stepsize_controller=stepsize_controller,
        adjoint=adjoint,
        event=event,
        max_steps=max_steps,
        progress_meter=progress_meter,
        solver_state=solver_state,
        controller_state=controller_state,
        made_jump=made_jump,
    )
    if choice.engine == "diffrax":
        return diffrax.diffeqsolve(
            terms,
            solver,
            t0,
            t1,
            dt0,
            y0,
            args,
            saveat=saveat,
            stepsize_controller=stepsize_controller,
            adjoint=adjoint,
            event=event,
            max_steps=max_steps,
            throw=throw,
            progress_meter=progress_meter,
            solver_state=solver_state,
            controller_state=controller_state,
            made_jump=made_jump,
        )
    solution = _adaptive(
        terms, solver, t0, t1, dt0, y0, args, saveat, stepsize_controller, adjoint, max_steps
    )
    if throw:
        solution = solution.result.error_if(
            solution, solution.result != diffrax.RESULTS.successful
        )
    return solution


@eqx.filter_jit
def _adaptive(
    terms, solver, t0, t1, dt0, y0, args, saveat, controller, adjoint, max_steps
):
    parts, structure = parts_of(saveat)
    given_ts = [p.sub.ts for p in parts if p.ts is not None]
    whole = span(t0, t1, dt0, given_ts)
    dtype = whole.t0.dtype
    ts = [whole.turned(jnp.asarray(t, dtype)) for t in given_ts]
    y0 = promoted(y0, dtype)
    inner, accumulators = solver, {}
    if isinstance(solver, AccumulatingSolver):
        inner, accumulators = solver.solver, solver.accumulators
    equation, constants = equation_of(terms, whole, y0, args)
    controller = controller.wrap(whole.direction)
    order = inner.error_order(terms)
    first, state = controller.init(
        Turned(terms, whole), whole.t0, whole.t1, y0, whole.dt0, args, inner.func, order
    )
    first = jnp.minimum(jnp.asarray(first, dtype), whole.t1)
    state = jax.tree.map(
        lambda x: jnp.asarray(x) if eqx.is_array_like(x) else x, state
    )
    state, static_state = arrays_of(state)
    controller, static_controller = arrays_of(controller)
    accumulators, static_accumulators = arrays_of(accumulators)
    inputs = Inputs(
        y0,
        whole.t0,
        whole.t1,
        first,
        ts,
        constants,
        stop(controller),
        stop(state),
        accumulators,
    )
    flat, tree = jax.tree.flatten(inputs)
    problem = Problem(
        method_of(inner),
        equation,
        static_controller,
        static_state,
        static_accumulators,
        order,
        max_steps,
        tree,
        tuple(p.sub.steps for p in parts if p.steps is not None),
        rows_of(adjoint, y0, max_steps),
    )
    forward = Forward(problem, Lanes((), [()] * len(flat)), False, False)
    shape = jax.eval_shape(forward.solve, flat)
    results, _ = jax.tree.unflatten(jax.tree.structure(shape), bind(forward, *flat))
    saved = Saved(
        whole.t0,
        y0,
        list(zip(ts, results.saved, strict=True)),
        list(zip(results.ends, results.stepped, strict=True)),
        jnp.where(results.code == OKAY, whole.t1, results.t),
        results.final.y,
        results.accepted,
    )
    pairs = [assembled(p, saved, whole.turned, args, max_steps) for p in parts]
    out_ts = jax.tree.unflatten(structure, [t for t, _ in pairs]) if pairs else None
    out_ys = jax.tree.unflatten(structure, [y for _, y in pairs]) if pairs else None
    return diffrax.Solution(
        t0=whole.turned(whole.t0),
        t1=whole.turned(whole.t1),
        ts=out_ts,
        ys=out_ys,
        interpolation=None,
        stats=_stats(problem.method, results, max_steps),
        result=_result(results.code),
        solver_state=_solver_state(solver, saveat, problem, results),
        controller_state=None,
        made_jump=None,
        event_mask=None,
    )


def rows_of(adjoint, y0, max_steps: int) -> int:
    """How many states the record keeps: an even number, or one for every step."""
    asked = getattr(adjoint, "checkpoints", None)
    if asked is None:
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(y0))
        # Never fewer than keep both levels of the record at the square root.
        asked = max(BUDGET // max(2 * size, 1), 2 * int(max_steps**0.5))
    return max_steps if asked >= max_steps else max(2, asked - asked % 2)


def _stats(method, results, max_steps):
    evaluations = method.new_stages * results.attempts + method.fsal
    return {
        "num_steps": results.attempts,
        "num_accepted_steps": results.accepted,
        "num_rejected_steps": results.attempts - results.accepted,
        "max_steps": max_steps,
        "num_field_evaluations": evaluations,
        "num_backward_evaluations": method.new_stages * results.accepted + method.fsal,
        "error_estimate": results.tally.error,
        "stiffness_estimate": results.tally.stiffness,
    }


def _result(code):
    results = diffrax.RESULTS
    out = results.successful
    for number, one in (
        (GAVE_UP, results.dt_min_reached),
        (UNDERFLOW, results.dt_min_reached),
        (OUT_OF_STEPS, results.max_steps_reached),
    ):
        out = results.where(code == number, one, out)
    return out


def _solver_state(solver, saveat, problem, results):
    if not saveat.solver_state:
        return None
    inner = None
    if problem.method.fsal:
        inner = (jnp.array(False), results.final.f)
    if isinstance(solver, AccumulatingSolver):
        return inner, results.final.values
    return inner
