"""Dense linear systems of many lanes: factors, solutions, condition."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._iterative import norm
from ._lapack import cholesky, cholesky_solve, eigh, lu, lu_solve, svd


class Factored(NamedTuple):
    """A factor of scaled matrices rows * A * columns, one a lane, or one for all.

    Scaling makes units of unknowns and residuals irrelevant to rounding and condition.
    """

    kind: str
    factor: Any
    rows: Float[Array, "lanes n"]
    columns: Float[Array, "lanes n"]
    size: Float[Array, " lanes"]
    """The 1-norm of the scaled matrix."""


def factored(kind: str, matrix: Float[Array, "lanes n n"]) -> Factored:
    """Factors matrices.

    Args:
        kind: "cholesky" (symmetric positive definite), "lu", "eigh" (symmetric) or
            "svd".
        matrix: one a lane; a single one serves all lanes.

    Returns:
        The factors; not finite where there are none.
    """
    symmetric = kind in ("cholesky", "eigh")
    if symmetric:
        matrix = (matrix + matrix.mT) / 2
        diagonal = jnp.abs(jnp.diagonal(matrix, axis1=1, axis2=2))
        rows = columns = jnp.sqrt(_inverse(diagonal))
    else:
        rows = _inverse(jnp.max(jnp.abs(matrix), 2))
        columns = _inverse(jnp.max(jnp.abs(matrix * rows[:, :, None]), 1))
    scaled = matrix * rows[:, :, None] * columns[:, None, :]
    size = jnp.max(jnp.sum(jnp.abs(scaled), 1), 1)
    # XLA's routines may not return from matrices that hold no numbers.
    fine = jnp.all(jnp.isfinite(scaled), (1, 2), keepdims=True)
    scaled = jnp.where(fine, scaled, jnp.eye(matrix.shape[-1], dtype=matrix.dtype))
    match kind:
        case "cholesky":
            factor = jax.vmap(cholesky)(scaled)
        case "lu":
            factor = jax.vmap(lu)(scaled)
        case "eigh":
            factor = jax.vmap(eigh)(scaled)
        case _:
            factor = jax.vmap(svd)(scaled)
    size = jnp.where(fine[:, 0, 0], size, jnp.nan)
    return Factored(kind, factor, rows, columns, size)


def _inverse(x):
    return jnp.where(x > 0, 1 / jnp.where(x > 0, x, 1), 1)


def solved(
    factored: Factored, rhs: Float[Array, "lanes n k"], transposed: bool = False
) -> Float[Array, "lanes n k"]:
    """Solves with the matrices, or their transposes.

    Args:
        factored: their factors.
        rhs: right-hand sides as columns.
        transposed: solve with the transposes.

    Returns:
        The solutions; of least norm (of the scaled unknowns) by "eigh" and "svd".
    """
    first, last = factored.rows, factored.columns
    if transposed:
        first, last = last, first
    x = first[:, :, None] * rhs
    if factored.rows.shape[0] == 1:  # one matrix: the lanes are columns
        columns = jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)[None]
        y = _scaled(factored, columns, transposed)[0]
        y = jnp.moveaxis(y.reshape(x.shape[1], x.shape[0], x.shape[2]), 1, 0)
    else:
        y = _scaled(factored, x, transposed)
    return last[:, :, None] * y


def _scaled(factored: Factored, rhs, transposed: bool):
    match factored.kind:
        case "cholesky":
            return jax.vmap(cholesky_solve)(factored.factor, rhs)
        case "lu":
            return jax.vmap(lambda f, b: lu_solve(f, b, transposed))(
                factored.factor, rhs
            )
        case "eigh":
            values, left = factored.factor
            right = left
        case _:
            left, values, right_transposed = factored.factor
            right = right_transposed.mT
    if transposed:
        left, right = right, left
    return right @ (_pseudoinverse(values)[:, :, None] * (left.mT @ rhs))


def _pseudoinverse(values):
    size = jnp.max(jnp.abs(values), -1, keepdims=True)
    kept = jnp.abs(values) > cutoff(values) * size
    return jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)


def backward_error(
    factored: Factored, residual, x, rhs, transposed: bool = False
) -> Float[Array, " lanes"]:
    """|r| / (|A| |x| + |b|) of the scaled system: times the condition, an error of x.

    Args:
        factored: A's factor.
        residual: r = b - Ax.
        x: the solution.
        rhs: b.
        transposed: the system is that of the transpose.

    Returns:
        The backward error of each lane; 0 where all is zero.
    """
    first, last = factored.rows, factored.columns
    if transposed:
        first, last = last, first
    below = factored.size * norm(x / last) + norm(first * rhs)
    above = norm(first * residual)
    return jnp.where(below > 0, above / jnp.where(below > 0, below, 1), above)


def cutoff(values: Float[Array, "*lanes n"]) -> float:
    """The relative size below which a singular value counts as zero."""
    return 10 * values.shape[-1] * float(jnp.finfo(values.dtype).eps)


def condition(factored: Factored) -> Float[Array, " lanes"]:
    """Estimates the condition number of the scaled matrices in the 1-norm.

    One step of the block method of Higham and Tisseur 2000 with two columns: a lower
    bound, rarely below a third. By "eigh" and "svd": the spread of the singular values
    that are not counted as zero.

    Args:
        factored: the factors.

    Returns:
        The estimates; infinite or NaN where a matrix is singular.
    """
    if factored.kind in ("eigh", "svd"):
        place = 0 if factored.kind == "eigh" else 1
        values = jnp.abs(factored.factor[place])
        inverse = jnp.abs(_pseudoinverse(values))
        return jnp.max(values, -1) * jnp.max(inverse, -1)
    lanes, n = factored.rows.shape
    dtype = factored.rows.dtype
    signs = jnp.where(jnp.arange(n) % 3 == 1, -1.0, 1.0)
    probes = jnp.stack([jnp.ones(n), signs], 1).astype(dtype) / n
    probes = jnp.broadcast_to(probes, (lanes, n, 2))
    first = _scaled(factored, probes, False)
    dual = _scaled(factored, jnp.where(first >= 0, 1.0, -1.0).astype(dtype), True)
    norms = jnp.sum(jnp.abs(first), 1).max(-1)
    return factored.size * jnp.maximum(norms, jnp.max(jnp.abs(dual), (1, 2)))
