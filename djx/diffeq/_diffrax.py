"""Solves that diffrax makes, with the statistics that every solution has."""

from typing import Any

import diffrax
import jax.numpy as jnp

from ._accumulate import AccumulatingSolver
from ._choice import inner_of
from ._statistics import field_evaluations


def solve_by_diffrax(problem: dict[str, Any]) -> diffrax.Solution:
    """Passes a solve on to diffrax unchanged.

    Args:
        problem: the arguments of `diffeqsolve` by name.

    Returns:
        Its solution; `stats` has `num_field_evaluations` where they can be counted.
    """
    solution = diffrax.diffeqsolve(**problem)
    inner = inner_of(problem["solver"])
    stats = dict(solution.stats)
    if isinstance(inner, diffrax.AbstractERK) and isinstance(
        inner.tableau, diffrax.ButcherTableau
    ):
        stats["num_field_evaluations"] = field_evaluations(solution, inner)
    if isinstance(problem["solver"], AccumulatingSolver) and problem["saveat"].solver_state:
        values = solution.solver_state[1]
        del values
    none = jnp.asarray(jnp.nan)
    for name in ("error_estimate", "stiffness_estimate"):
        stats.setdefault(name, none)
    return diffrax.Solution(
        **{
            field: stats if field == "stats" else getattr(solution, field)
            for field in solution.__dataclass_fields__
        }
    )
