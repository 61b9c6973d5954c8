"""Solves that diffrax makes, with the statistics that every solution has."""

import dataclasses
from typing import Any

import diffrax
import jax.numpy as jnp

from ._accumulate import AccumulatingSolver
from ._choice import inner_of
from ._estimates import ErrorIntegral, StiffnessIntegral
from ._methods import method_of
from ._statistics import field_evaluations


def solve_by_diffrax(problem: dict[str, Any]) -> diffrax.Solution:
    """Passes a solve on to diffrax.

    Its steps and values are diffrax's own. Where an explicit Runge-Kutta method runs
    under `RecursiveCheckpointAdjoint`, the error and stiffness estimates are
    accumulated beside it; elsewhere they are not a number.

    Args:
        problem: the arguments of `diffeqsolve` by name.

    Returns:
        Its solution, with djx's entries in `stats`.
    """
    inner = inner_of(problem["solver"])
    explicit = isinstance(inner, diffrax.AbstractERK) and isinstance(
        inner.tableau, diffrax.ButcherTableau
    )
    accumulators = {}
    if explicit and _can_accumulate(problem):
        accumulators = _estimates(inner, problem["stepsize_controller"])
    if accumulators:
        saveat = dataclasses.replace(problem["saveat"])
        object.__setattr__(saveat, "solver_state", True)
        solver = _wrapper(inner)(inner, accumulators)
        solution = diffrax.diffeqsolve(**problem | {"solver": solver, "saveat": saveat})
        both: Any = solution.solver_state
        state, values = both
        state = state if problem["saveat"].solver_state else None
    else:
        solution = diffrax.diffeqsolve(**problem)
        state, values = solution.solver_state, {}
    stats = dict(solution.stats)
    if explicit:
        stats["num_field_evaluations"] = field_evaluations(solution, inner)
    for name in ("error", "stiffness"):
        stats[f"{name}_estimate"] = values.get(name, jnp.asarray(jnp.nan))
    fields = {f.name: getattr(solution, f.name) for f in dataclasses.fields(solution)}
    return diffrax.Solution(**fields | {"stats": stats, "solver_state": state})


class _Ito(AccumulatingSolver, diffrax.AbstractItoSolver):
    pass


class _Stratonovich(AccumulatingSolver, diffrax.AbstractStratonovichSolver):
    pass


def _wrapper(inner: Any) -> type[AccumulatingSolver]:
    """An accumulating solver that converges to the same calculus as the one inside."""
    if isinstance(inner, diffrax.AbstractStratonovichSolver):
        return _Stratonovich
    return _Ito if isinstance(inner, diffrax.AbstractItoSolver) else AccumulatingSolver


def _can_accumulate(problem: dict[str, Any]) -> bool:
    return (
        type(problem["adjoint"]) is diffrax.RecursiveCheckpointAdjoint
        and not isinstance(problem["solver"], AccumulatingSolver)
        and problem["solver_state"] is None
        and isinstance(problem["terms"], diffrax.AbstractTerm)
    )


def _estimates(solver: Any, controller: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rtol: Any = 0.0
    atol: Any = 1.0
    if isinstance(controller, diffrax.PIDController):
        rtol, atol = controller.rtol, controller.atol
    found["error"] = ErrorIntegral(rtol=rtol, atol=atol)
    method = method_of(solver)
    if method is not None and method.two_at_end:
        found["stiffness"] = StiffnessIntegral(solver)
    return found
