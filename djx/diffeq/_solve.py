"""`diffeqsolve`: diffrax's signature, djx's engine where it has one."""

from typing import Any

import diffrax
from jaxtyping import PyTree

from ._accumulate import check_adjoint
from ._choice import Choice, choose, inner_of
from ._diffrax import solve_by_diffrax
from ._noise import is_bulk, terms_of
from ._own import solve_ourselves
from ._warnings import warn_of_calculus, warn_of_rounding


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
    """Solves a differential equation: `diffrax.diffeqsolve`, faster where djx can.

    Takes diffrax's objects and returns its `Solution`. Explicit Runge-Kutta methods
    (Euler, Heun, Midpoint, Ralston, Bosh3, Tsit5, Dopri5, Dopri8) with constant steps,
    `StepTo` or `PIDController`, and the stochastic methods Euler, Heun, EulerHeun,
    ItoMilstein, StratonovichMilstein and ReversibleHeun on fixed steps run in djx's own
    engine. Everything else goes to diffrax unchanged; `explain` says which and why.

    Under `jax.vmap` every sample has adaptive steps of its own, and the field still
    sees the whole batch. Derivatives of adaptive solves are those of the steps taken,
    in both modes and to any order, whichever of diffrax's discretise-then-optimise
    adjoints is named; `RecursiveCheckpointAdjoint(checkpoints=n)` bounds the states
    kept to n (without it: 4 MiB of them, at least twice the square root of
    `max_steps`), past which steps are computed once more.

    `stats` has diffrax's entries and, besides: `num_field_evaluations`;
    `num_backward_evaluations`, those that a reverse pass adds; `error_estimate` and
    `stiffness_estimate`, summed over accepted steps times their length (equations 11
    and 12 of Pal et al. 2021; differentiable). The error is relative to the
    controller's tolerance; with fixed steps it is in units of y. Both are 0 where a
    method has no such estimate.

    Args:
        terms: the equation.
        solver: a diffrax solver, or one in an `AccumulatingSolver`.
        t0: start.
        t1: end; may lie before t0.
        dt0: first step, or the constant one; None for the controller's choice.
        y0: initial state, a pytree.
        args: passed to the field.
        saveat: what to save.
        stepsize_controller: how steps are chosen.
        adjoint: how to differentiate.
        event: when to stop early.
        max_steps: attempts after which a solve gives up.
        throw: whether a failure raises; else see `result`.
        progress_meter: diffrax's.
        solver_state: to go on from.
        controller_state: to go on from.
        made_jump: whether the field jumps at t0.

    Returns:
        The solution. `result` tells, for each sample, of too many steps, of a step
        that has become too small, or of values that are not finite.

    Raises:
        ValueError: for arguments that do not go together.
        RuntimeError: if `throw` and the solve fails.
    """
    problem = dict(locals())
    check_adjoint(solver, adjoint)
    choice = choose(problem)
    if choice.engine == "diffrax":
        _refuse_bulk(terms, choice)
        return solve_by_diffrax(problem)
    warn_of_rounding(stepsize_controller, t0, t1, dt0, y0)
    warn_of_calculus(terms, solver)
    solution = solve_ourselves(problem, choice)
    if throw:
        failed = solution.result != diffrax.RESULTS.successful
        solution = solution.result.error_if(solution, failed)
    return solution


def explain(
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
) -> Choice:
    """Prints which engine `diffeqsolve` would use for these arguments, and why.

    Args:
        terms: this and the others as in `diffeqsolve`.
        solver: see there.
        t0: see there.
        t1: see there.
        dt0: see there.
        y0: see there.
        args: see there.
        saveat: see there.
        stepsize_controller: see there.
        adjoint: see there.
        event: see there.
        max_steps: see there.
        throw: see there.
        progress_meter: see there.
        solver_state: see there.
        controller_state: see there.
        made_jump: see there.

    Returns:
        The choice.
    """
    choice = choose(dict(locals()))
    who = "diffrax" if choice.engine == "diffrax" else f"djx ({choice.engine} engine)"
    steps = "" if choice.steps is None else f", {choice.steps} steps"
    print(f"{type(inner_of(solver)).__name__}: solved by {who}: {choice.reason}{steps}")
    return choice


def _refuse_bulk(terms: Any, choice: Choice) -> None:
    if isinstance(terms, diffrax.AbstractTerm) and any(map(is_bulk, terms_of(terms))):
        raise ValueError(
            "BulkBrownianPath serves djx's own engine, which cannot take this solve "
            f"({choice.reason}); use diffrax.VirtualBrownianTree"
        )
