"""Which engine solves, and why."""

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp

from ._accumulate import AccumulatingSolver
from ._methods import method_of


class Choice(NamedTuple):
    """An engine and the reason for it."""

    engine: str
    reason: str


def choose(
    terms,
    solver,
    t0,
    t1,
    dt0,
    y0,
    *,
    saveat,
    stepsize_controller,
    adjoint,
    event,
    max_steps,
    progress_meter,
    solver_state,
    controller_state,
    made_jump,
) -> Choice:
    inner = solver.solver if isinstance(solver, AccumulatingSolver) else solver
    if method_of(inner) is None:
        return Choice("diffrax", "solver")
    if type(stepsize_controller) is not diffrax.PIDController and type(stepsize_controller) is not diffrax.ConstantStepSize:
        return Choice("diffrax", "controller")
    if saveat.dense or event is not None or max_steps is None:
        return Choice("diffrax", "dense")
    if type(adjoint) in (diffrax.BacksolveAdjoint, diffrax.ImplicitAdjoint):
        return Choice("diffrax", "adjoint")
    return Choice("adaptive", "")
