"""Words of warning where a solve is not what its caller may think."""

import warnings
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ._choice import inner_of
from ._noise import is_stochastic
from ._setup import concrete


def warn_of_calculus(terms: Any, solver: Any) -> None:
    """Warns of a stochastic equation solved by a method of neither calculus.

    Args:
        terms: the equation.
        solver: the method.
    """
    marked = diffrax.AbstractItoSolver, diffrax.AbstractStratonovichSolver
    if is_stochastic(terms) and not isinstance(inner_of(solver), marked):
        warnings.warn(
            f"{type(inner_of(solver)).__name__} is not known to converge to the Ito or "
            "the Stratonovich solution",
            stacklevel=3,
        )


_warned: set[str] = set()


def warn_of_rounding(controller: Any, t0: Any, t1: Any, dt0: Any, y0: PyTree) -> None:
    """Warns, once for each type, of a tolerance below 50 units of rounding.

    There the error estimate is mostly rounding, and steps shrink for nothing.

    Args:
        controller: the controller; only `PIDController` has tolerances.
        t0: start, which takes part in the state's type as the next two do.
        t1: end.
        dt0: first step.
        y0: initial state.
    """
    if not isinstance(controller, diffrax.PIDController):
        return
    rtol, atol = controller.rtol, controller.atol
    if not concrete(rtol, atol):
        return
    leaves = [x for x in (*jax.tree.leaves(y0), t0, t1, dt0) if x is not None]
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(float, *leaves)
    if not jnp.issubdtype(dtype, jnp.floating):
        return
    tolerance, least = np.max([np.max(rtol), np.max(atol)]), 50 * jnp.finfo(dtype).eps
    if tolerance < least and dtype.name not in _warned:
        _warned.add(dtype.name)
        remedy = "" if dtype == jnp.float64 else ", or solve in float64"
        warnings.warn(
            f"tolerance {tolerance:.2g} is below 50 units of {dtype.name}'s rounding "
            f"({least:.2g}): the error estimate measures rounding; loosen it{remedy}",
            stacklevel=3,
        )
