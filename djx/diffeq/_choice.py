"""Which engine solves, and why."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._accumulate import AccumulatingSolver
from ._adjoint import ReplayAdjoint
from ._methods import method_of
from ._noise import is_bulk, is_stochastic, terms_of
from ._reversible import ReversibleAdjoint
from ._saving import is_sub
from ._setup import concrete
from ._stochastic import STEPS


class Choice(NamedTuple):
    """An engine, the reason for it, and the steps of a fixed grid."""

    engine: str
    """adaptive: the while-loop with replayed derivatives; grid: a scan over fixed
    steps; reversible: fixed steps run backwards in reverse mode; diffrax."""
    reason: str
    steps: int | None = None
    nodes: tuple[tuple[int, ...] | None, ...] = ()
    """For each array of times to save at: its steps, if it lies on the grid."""
    checked: tuple[bool, ...] = ()
    """For each of them: whether it is known to be in order and inside."""
    direction: int | None = None
    """1 or -1, where it is known before tracing."""


_DISCRETE = (
    diffrax.RecursiveCheckpointAdjoint,
    diffrax.DirectAdjoint,
    diffrax.ForwardMode,
    ReplayAdjoint,
)


def choose(problem: dict[str, Any]) -> Choice:
    """Chooses the engine.

    Args:
        problem: the arguments of `diffeqsolve` by name.

    Returns:
        The choice.
    """
    reason = _not_ours(problem)
    if reason is not None:
        return Choice("diffrax", reason)
    direction = None
    if concrete(problem["t0"], problem["t1"]):
        direction = 1 if np.asarray(problem["t0"]) <= np.asarray(problem["t1"]) else -1
    known = {"checked": _checked(problem), "direction": direction}
    return _engine(problem)._replace(**known)


def _engine(problem: dict[str, Any]) -> Choice:
    controller, solver = problem["stepsize_controller"], inner_of(problem["solver"])
    stochastic = is_stochastic(problem["terms"])
    reversible = isinstance(problem["adjoint"], ReversibleAdjoint)
    if isinstance(controller, diffrax.PIDController):
        if stochastic:
            return Choice("diffrax", "steps adapt to a stochastic equation")
        method = method_of(solver)
        if method is None or reversible:
            return Choice("diffrax", f"{_name(solver)} with adaptive steps")
        if method.b_error is None:
            return Choice("diffrax", f"{_name(solver)} has no error estimate")
        return Choice("adaptive", "explicit Runge-Kutta method, adaptive steps")
    steps = _steps(controller, problem["t0"], problem["t1"], problem["dt0"])
    if steps is None:
        bulk = any(map(is_bulk, terms_of(problem["terms"])))
        if isinstance(controller, diffrax.StepTo) or method_of(solver) is None or bulk:
            return Choice(
                "diffrax", "the number of fixed steps is not known in advance"
            )
        return Choice("adaptive", "fixed steps, their number not known in advance")
    if steps < 1:
        return Choice("diffrax", "no step to make")
    if reversible:
        return Choice("reversible", "reversible Heun method, fixed steps", steps)
    nodes = _nodes(problem, steps)
    return Choice("grid", "fixed steps, their number known in advance", steps, nodes)


def inner_of(solver: Any) -> Any:
    """The solver without its accumulators."""
    return solver.solver if isinstance(solver, AccumulatingSolver) else solver


def _not_ours(problem: dict[str, Any]) -> str | None:
    solver, terms, saveat = problem["solver"], problem["terms"], problem["saveat"]
    inner, adjoint = inner_of(solver), problem["adjoint"]
    controller = problem["stepsize_controller"]
    if problem["event"] is not None:
        return "an event"
    if saveat.dense:
        return "dense output (SaveAt(dense=True))"
    if saveat.controller_state or saveat.made_jump:
        return "SaveAt of the controller's state"
    for name in ("solver_state", "controller_state", "made_jump"):
        if problem[name] is not None:
            return f"{name} is passed in"
    if type(problem["progress_meter"]) is not diffrax.NoProgressMeter:
        return "a progress meter"
    if problem["max_steps"] is None:
        return "max_steps=None"
    if isinstance(adjoint, ReversibleAdjoint):
        if type(inner) is not diffrax.ReversibleHeun or inner is not solver:
            return "ReversibleAdjoint is for diffrax.ReversibleHeun"
    elif type(adjoint) not in _DISCRETE:
        return f"adjoint {_name(adjoint)}"
    known = type(inner) in STEPS or type(inner) is diffrax.ReversibleHeun
    if method_of(inner) is None and not known:
        return f"solver {_name(inner)}"
    if known and inner is not solver:
        return f"accumulators along {_name(inner)}"
    if type(inner) in STEPS and not _drift_and_diffusion(terms):
        return f"{_name(inner)} with terms other than MultiTerm(drift, diffusion)"
    kinds = (diffrax.ConstantStepSize, diffrax.StepTo, diffrax.PIDController)
    if type(controller) not in kinds:
        return f"controller {_name(controller)}"
    if not isinstance(terms, diffrax.AbstractTerm):
        return "several terms side by side"
    for term in terms_of(terms):
        if type(term).is_vf_expensive is not diffrax.AbstractTerm.is_vf_expensive:
            return f"term {_name(term)}"
    leaves = jax.tree.leaves((terms, problem["y0"], problem["args"]))
    if not jax.tree.leaves(problem["y0"]):
        return "an empty state"
    if any(eqx.is_array_like(x) and jnp.iscomplexobj(x) for x in leaves):
        return "complex numbers"
    for sub in jax.tree.leaves(saveat.subs, is_leaf=is_sub):
        if sub.ts is not None and sub.steps:
            return "SaveAt(ts=..., steps=...) in one"
    return None


def _drift_and_diffusion(terms: Any) -> bool:
    return (
        isinstance(terms, diffrax.MultiTerm)
        and len(terms.terms) == 2
        and type(terms.terms[0]) is diffrax.ODETerm
        and not isinstance(terms.terms[1], diffrax.MultiTerm)
    )


def _steps(controller: Any, t0: Any, t1: Any, dt0: Any) -> int | None:
    """The number of fixed steps, where it does not depend on traced values."""
    if isinstance(controller, diffrax.StepTo):
        return controller.ts.shape[0] - 1 if dt0 is None else 0
    if dt0 is None:
        return 0  # diffrax says what is missing
    if not concrete(t0, t1, dt0):
        return None
    dtype = jnp.result_type(float, *[x for x in (t0, t1, dt0) if _typed(x)])
    start, end, step = (np.asarray(x, dtype) for x in (t0, t1, dt0))
    if not np.isfinite(end - start) or (end - start) * step <= 0:
        return 0
    # As diffrax counts: a step that divides the interval up to rounding divides it.
    step = np.nextafter(np.abs(step), np.asarray(np.inf, dtype))
    return int(np.ceil(np.abs(end - start) / step))


def _checked(problem: dict[str, Any]) -> tuple[bool, ...]:
    """Checks times to save at where they are known; a check in the solve costs time."""
    t0, t1, checked = problem["t0"], problem["t1"], []
    for sub in jax.tree.leaves(problem["saveat"].subs, is_leaf=is_sub):
        if sub.ts is None:
            continue
        known = concrete(t0, t1, sub.ts)
        checked.append(known)
        if known:
            ts, ends = np.asarray(sub.ts), np.asarray([t0, t1], sub.ts.dtype)
            sign = 1 if ends[0] <= ends[1] else -1
            if np.any(sign * np.diff(ts) < 0):
                raise ValueError(
                    "saveat.ts must run from t0 to t1 without turning back"
                )
            if np.any((ts < ends.min()) | (ts > ends.max())):
                raise ValueError("saveat.ts must lie between t0 and t1")
    return tuple(checked)


def _nodes(problem: dict[str, Any], steps: int):
    """Which times to save at are ends of steps, where that is known."""
    t0, t1, dt0 = problem["t0"], problem["t1"], problem["dt0"]
    subs = jax.tree.leaves(problem["saveat"].subs, is_leaf=is_sub)
    known = isinstance(problem["stepsize_controller"], diffrax.ConstantStepSize)
    found = []
    for ts in [sub.ts for sub in subs if sub.ts is not None]:
        if not known or not concrete(ts):
            found.append(None)
            continue
        grid = np.linspace(float(t0), float(t1), steps + 1)
        grid[1] = float(t0) + float(dt0) if steps > 1 else grid[1]
        times = np.asarray(ts)
        index = np.abs(grid[None] - times[:, None]).argmin(1)
        gap = np.abs(grid[index] - times)
        scale = np.abs(grid).max() * 8 * np.finfo(times.dtype).eps
        found.append(tuple(map(int, index)) if np.all(gap <= scale) else None)
    return tuple(found)


def _typed(x: Any) -> bool:
    return hasattr(x, "dtype")


def _name(x: Any) -> str:
    return type(x).__name__
