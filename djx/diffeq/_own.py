"""Solves by djx's own engines: arguments in, a diffrax solution out."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..core import bind, varying_axes
from ._accumulate import AccumulatingSolver
from ._adaptive import (
    Forward,
    GAVE_UP,
    NOT_FINITE,
    OKAY,
    OUT_OF_STEPS,
    Results,
    UNDERFLOW,
)
from ._choice import Choice, inner_of
from ._fixed import (
    example_control,
    reversible,
    run_grid,
    runge_kutta,
    stochastic,
    zero_tally,
)
from ._grid import at_nodes, at_times, grid_of, Trail
from ._lanes import Lanes
from ._methods import method_of
from ._noise import controls
from ._problem import Inputs, Problem, State, stop, Tally
from ._reversible import reversible_solve
from ._saving import assembled, Part, parts_of, Saved
from ._separate import separated, Separation
from ._setup import arrays_of, equation_of, promoted, Span, span, Turned
from ._stochastic import STEPS


BUDGET = 2**22  # bytes of states that a record keeps by default


class Outcome(NamedTuple):
    """What an engine hands back."""

    saved: Saved
    final: State
    tally: Tally
    attempts: Any
    code: Any
    evaluations: Any
    backward: Any


def solve_ourselves(problem: dict[str, Any], choice: Choice) -> diffrax.Solution:
    """Solves by the chosen engine.

    Args:
        problem: the arguments of `diffeqsolve` by name.
        choice: the engine, and the number of fixed steps.

    Returns:
        The solution.
    """
    times = problem["t0"], problem["t1"], problem["dt0"]
    names = ("terms", "solver", "y0", "args", "saveat", "stepsize_controller")
    given = {name: problem[name] for name in names}
    return _solve(times, given, problem["adjoint"], problem["max_steps"], choice)


@eqx.filter_jit
def _solve(times, given, adjoint, max_steps, choice) -> diffrax.Solution:
    parts, structure = parts_of(given["saveat"])
    given_ts = [p.sub.ts for p in parts if p.ts is not None]
    t0, t1, dt0 = times
    whole = span(t0, t1, dt0, given_ts, direction=choice.direction)
    dtype = whole.t0.dtype
    ts = [whole.turned(jnp.asarray(t, dtype)) for t in given_ts]
    known = zip(ts, choice.checked, strict=True)
    ts = [t if is_known else _checked(t, whole) for t, is_known in known]
    y0 = promoted(given["y0"], dtype)
    arguments = (given, adjoint, max_steps, parts, whole, ts, y0)
    if choice.engine == "adaptive":
        outcome = _adaptive(*arguments)
    else:
        outcome = _fixed(*arguments, choice)
    args = given["args"]
    pairs = [assembled(p, outcome.saved, whole.turned, args, max_steps) for p in parts]
    solver, state = given["solver"], None
    if given["saveat"].solver_state:
        state = _solver_state(solver, outcome.final)
    accepted = outcome.saved.accepted
    stats = {
        "num_steps": outcome.attempts,
        "num_accepted_steps": accepted,
        "num_rejected_steps": outcome.attempts - accepted,
        "max_steps": max_steps,
        "num_field_evaluations": outcome.evaluations,
        "num_backward_evaluations": outcome.backward,
        "error_estimate": outcome.tally.error,
        "stiffness_estimate": outcome.tally.stiffness,
    }
    return diffrax.Solution(
        t0=whole.turned(whole.t0),
        t1=whole.turned(whole.t1),
        ts=jax.tree.unflatten(structure, [t for t, _ in pairs]) if pairs else None,
        ys=jax.tree.unflatten(structure, [y for _, y in pairs]) if pairs else None,
        interpolation=None,
        stats=stats,
        result=_result(outcome.code),
        solver_state=state,
        controller_state=None,
        made_jump=None,
        event_mask=None,
    )


def _checked(ts, whole: Span):
    ts = eqx.error_if(
        ts, ts[1:] < ts[:-1], "saveat.ts must be increasing or decreasing."
    )
    outside = (ts > whole.t1) | (ts < whole.t0)
    return eqx.error_if(ts, outside, "saveat.ts must lie between t0 and t1.")


def _problem(given, equation, constants, whole, first, ts, y0, state, max_steps, rest):
    """The problem of an explicit method, and its arrays."""
    solver = given["solver"]
    inner = inner_of(solver)
    accumulators = solver.accumulators if isinstance(solver, AccumulatingSolver) else {}
    controller = given["stepsize_controller"].wrap(whole.direction)
    controller, static_controller = arrays_of(controller)
    state, static_state = arrays_of(state)
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
    steps, rows, compaction, separate = rest
    method = method_of(inner)
    assert method is not None
    problem = Problem(
        method,
        equation,
        static_controller,
        static_state,
        static_accumulators,
        inner.error_order(given["terms"]),
        max_steps,
        tree,
        steps,
        rows,
        compaction,
        separate,
    )
    return problem, flat


def _adaptive(given, adjoint, max_steps, parts: list[Part], whole, ts, y0) -> Outcome:
    terms, inner = given["terms"], inner_of(given["solver"])
    equation, constants = equation_of(terms, whole, y0, given["args"])
    start, separation = y0, None
    if _may_separate(given, whole):
        steps = given["stepsize_controller"]
        found = separated(equation, constants, steps, whole.t0, y0)
        if found is not None:
            equation, separation = found
            start = separation.split(y0)
    controller = given["stepsize_controller"].wrap(whole.direction)
    first, state = controller.init(
        Turned(terms, whole),
        whole.t0,
        whole.t1,
        y0,
        whole.dt0,
        given["args"],
        inner.func,
        inner.error_order(terms),
    )
    first = jnp.minimum(jnp.asarray(first, whole.t0.dtype), whole.t1)
    state = jax.tree.map(lambda x: jnp.asarray(x) if eqx.is_array_like(x) else x, state)
    steps = tuple(p.sub.steps for p in parts if p.steps is not None)
    compaction = getattr(adjoint, "compaction", False)
    rows = rows_of(adjoint, y0, max_steps)
    rest = (steps, rows, compaction, separation is not None)
    problem, flat = _problem(
        given, equation, constants, whole, first, ts, start, state, max_steps, rest
    )
    forward = Forward(problem, Lanes((), [()] * len(flat)), False, False)
    shape = jax.eval_shape(forward.solve, flat)
    results, _ = jax.tree.unflatten(jax.tree.structure(shape), bind(forward, *flat))
    if separation is not None:
        results = _joined(results, separation)
    end = jnp.where(results.code == OKAY, whole.t1, results.t)
    saved = Saved(
        whole.t0,
        y0,
        [
            (jnp.where(t <= end, t, jnp.inf), _or_start(whole, y0, one))
            for t, one in zip(ts, results.saved, strict=True)
        ],
        list(zip(results.ends, results.stepped, strict=True)),
        end,
        results.final.y,
        results.accepted,
    )
    method = problem.method
    return Outcome(
        saved,
        results.final,
        results.tally,
        results.attempts,
        results.code,
        method.new_stages * results.attempts + method.fsal,
        method.new_stages * results.accepted + method.fsal,
    )


def _may_separate(given, whole) -> bool:
    # Accumulators see the state, and maps over a mesh mark what varies.
    accumulates = isinstance(given["solver"], AccumulatingSolver)
    ordinary = type(given["terms"]) is diffrax.ODETerm
    return ordinary and not accumulates and not varying_axes(given, whole)


def _joined(results: Results, separation: Separation) -> Results:
    final, join = results.final, separation.join
    f = None if final.f is None else join(final.f)
    return results._replace(
        final=State(join(final.y), f, final.values),
        saved=[join(one) for one in results.saved],
        stepped=[join(one) for one in results.stepped],
    )


def _fixed(
    given, adjoint, max_steps, parts: list[Part], whole, ts, y0, choice: Choice
) -> Outcome:
    terms, inner, args = given["terms"], inner_of(given["solver"]), given["args"]
    assert choice.steps is not None
    grid = grid_of(given["stepsize_controller"], whole, choice.steps)
    if isinstance(given["stepsize_controller"], diffrax.StepTo):
        wrong = (grid[0] != whole.t0) | (grid[-1] != whole.t1)
        grid = eqx.error_if(grid, wrong, "Must have `t0==ts[0]` and `t1==ts[-1]`.")
        backwards = grid[1:] <= grid[:-1]
        message = "StepTo(ts=...) must run strictly from t0 to t1."
        grid = eqx.error_if(grid, backwards, message)
    steps = min(choice.steps, max_steps)
    grid = grid[: steps + 1]
    control = example_control(terms, whole)
    wants_nodes = bool(ts) or any(p.steps is not None for p in parts)
    if type(inner) in STEPS:
        stepper = stochastic(inner, terms, whole, y0, args, control)
    else:
        equation, constants = equation_of(terms, whole, y0, args, control=control)
        if type(inner) is diffrax.ReversibleHeun:
            stepper = reversible(equation, constants, whole, y0)
        else:
            problem, flat = _problem(
                given,
                equation,
                constants,
                whole,
                whole.t1,
                [],
                y0,
                (),
                steps,
                ((), 2, False, False),
            )
            stepper = runge_kutta(problem, flat)
    method = stepper.method
    if choice.engine == "reversible":
        trail = _reversible(equation, constants, terms, whole, grid, y0, parts, ts)
    else:
        curved = method is not None and method.dense.shape[1] > 1
        trail = run_grid(
            stepper,
            terms,
            whole,
            grid,
            adjoint,
            axes=varying_axes(given, y0, whole),
            keep_nodes=wants_nodes,
            keep_stages=curved and any(one is None for one in choice.nodes),
        )
    final = trail.final
    at_ts = []
    for times, nodes in zip(ts, choice.nodes, strict=True):
        if nodes is not None:
            states = at_nodes([min(node, steps) for node in nodes], y0, trail)
        else:
            states = at_times(times, grid, y0, trail, method, stepper.dense)
        if steps < choice.steps:  # the solve ended before it got there
            reached = times <= grid[-1]
            states = jax.tree.map(lambda s, r=reached: _hidden(s, r), states)
            times = jnp.where(reached, times, jnp.inf)
        at_ts.append((times, states))
    at_steps = []
    for part in parts:
        if part.steps is not None:
            every = part.sub.steps
            rows = max_steps // every

            def padded(x, every=every, rows=rows):
                x = x[every - 1 :: every]
                gap = jnp.full((rows - x.shape[0], *x.shape[1:]), jnp.inf, x.dtype)
                return jnp.concatenate([x, gap])

            at_steps.append((padded(grid[1:]), jax.tree.map(padded, trail.nodes)))
    count = jnp.asarray(steps, jnp.int32)
    saved = Saved(whole.t0, y0, at_ts, at_steps, grid[-1], final.y, count)
    finite = jnp.asarray(True)
    for leaf in jax.tree.leaves(final.y):
        finite = finite & jnp.all(jnp.isfinite(leaf))
    code = OKAY if steps == choice.steps else OUT_OF_STEPS
    code = jnp.where(finite, code, NOT_FINITE)
    evaluations = steps * stepper.evaluations + stepper.first_evaluations
    backward = 2 * steps if choice.engine == "reversible" else 0
    return Outcome(
        saved,
        final,
        trail.tally,
        count,
        code,
        jnp.asarray(evaluations, jnp.int32),
        jnp.asarray(backward, jnp.int32),
    )


def _reversible(equation, constants, terms, whole, grid, y0, parts, ts):
    if ts or any(p.steps is not None for p in parts):
        raise ValueError(
            "ReversibleAdjoint keeps no states on the way: use SaveAt(t0=..., t1=...)"
        )
    arrays, static = arrays_of(terms)

    def drive(arrays, first, t0, t1):
        return controls(eqx.combine(arrays, static), whole, first, t0, t1)

    y, rest = reversible_solve(equation, drive, constants, arrays, grid, y0)
    return Trail(State(y, rest, ()), zero_tally(y0), None, None)


def rows_of(adjoint: Any, y0: PyTree, max_steps: int) -> int:
    """How many states a record keeps: an even number, or one for every step."""
    asked = getattr(adjoint, "checkpoints", None)
    if asked is None:
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(y0))
        # Never fewer than keep both levels of the record at the square root.
        asked = max(BUDGET // max(2 * size, 1), 2 * int(max_steps**0.5))
    return max_steps if asked >= max_steps else max(2, asked - asked % 2)


def _or_start(whole: Span, y0: PyTree, saved: PyTree) -> PyTree:
    # Where there is no time to pass, no step saved anything.
    still = whole.t0 == whole.t1
    return jax.tree.map(lambda y, rows: jnp.where(still, y[None], rows), y0, saved)


def _hidden(rows, there):
    wide = jnp.expand_dims(there, tuple(range(1, rows.ndim)))
    return jnp.where(wide, rows, jnp.inf)


def _result(code):
    results: Any = diffrax.RESULTS
    out = results.successful
    for number, one in (
        (GAVE_UP, results.dt_min_reached),
        (UNDERFLOW, results.dt_min_reached),
        (OUT_OF_STEPS, results.max_steps_reached),
        (NOT_FINITE, results.nonfinite),
    ):
        out = results.where(code == number, one, out)
    return out


def _solver_state(solver, final: State):
    inner = inner_of(solver)
    state = None
    if type(inner) is diffrax.ReversibleHeun:
        state = final.f
    elif final.f is not None:
        state = (jnp.array(False), final.f)
    if isinstance(solver, AccumulatingSolver):
        return state, final.values
    return state
