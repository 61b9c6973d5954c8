"""What a solve returns."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, PyTree

from ._receipt import Receipt


class RESULTS(optx.RESULTS):  # pyright: ignore[reportGeneralTypeIssues]
    """How a solve ended: optimistix's codes and those of constrained problems."""

    infeasible = "No point satisfies the constraints."
    unbounded = "The objective is unbounded below."
    not_converged = "The solver stopped before it reached its tolerance."


class Solution(eqx.Module):
    """A solution, how it was found, and whether it is one.

    Attributes:
        value: the solution, differentiable.
        result: how the solve ended, of `RESULTS`.
        receipt: of the forward solve: `residual` is the norm of what should be zero,
            `condition` that of the last factor. The backward solve's receipt comes as
            the cotangent of the `receipt` that was passed in.
        stats: "iterations", and what a method has to say besides. Carry no
            derivatives.
        aux: what the function returned besides, at the solution.
    """

    value: PyTree
    result: Any
    receipt: Receipt
    stats: dict[str, Any]
    aux: Any = None


def result_of(converged: Array) -> Any:
    """Success, or that the tolerance was not reached."""
    codes: Any = RESULTS
    return codes.where(converged, codes.successful, codes.not_converged)


def forward_receipt(
    converged: Array, iterations: Any, residual: Any, condition: Any = jnp.nan
) -> Receipt:
    """The receipt of a forward solve.

    Args:
        converged: whether it reached its tolerance.
        iterations: how many.
        residual: the norm of what should be zero.
        condition: of the last factor.

    Returns:
        Figures without derivatives.
    """
    figures = jax.lax.stop_gradient(
        (
            1.0,
            jnp.where(converged, 0.0, 1.0),
            jnp.asarray(iterations, float),
            residual,
            condition,
            jnp.nan,
            0.0,
        )
    )
    return Receipt(*map(jnp.asarray, figures))


def checked(value: PyTree, result: Any, throw: bool) -> PyTree:
    """The value; a solve that failed stops the program where that is asked for."""
    if not throw:
        return value
    return result.error_if(value, result != RESULTS.successful)
