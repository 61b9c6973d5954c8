"""LAPACK's routines for batches of matrices, without a deadlock of XLA's on CPUs.

A kernel for a batch hands parts of it to the pool of threads that it runs in, and waits
for them. Where as many such kernels run at once as the pool has threads (two, on two
cores), all wait for ever. The kernel of a single matrix hands nothing on: where cores
are few the matrices of a batch are taken in turn. `NPROC` sets the size of the pool.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float


# With more threads than that, as many kernels at once are improbable, and batches in
# parallel are worth having.
_FEW = 8

Matrix = Float[Array, "n n"]


def threads() -> int:
    """How many threads XLA's pool on this machine's CPU has."""
    stated = os.environ.get("NPROC", "")
    if stated.isdigit() and int(stated) > 0:
        return int(stated)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_turn(function: Callable) -> Callable:
    """A function of arrays whose batches run one after the other where they must.

    Args:
        function: of arrays without a batch axis; it is not to be differentiated.

    Returns:
        The function, for `vmap`.
    """
    one = custom_vmap(function)

    @one.def_vmap
    def _(size: int, mapped: Any, *args: Any):
        args = tuple(
            a if is_mapped else jnp.broadcast_to(a, (size, *jnp.shape(a)))
            for a, is_mapped in zip(args, mapped, strict=True)
        )

        def together(*args):
            return jax.vmap(function)(*args)

        def one_by_one(*args):
            return jax.lax.map(lambda each: one(*each), tuple(args))

        if size == 1:
            out = one(*[a[0] for a in args])
            out = jax.tree.map(lambda leaf: leaf[None], out)
        elif 1 < threads() <= _FEW:
            out = jax.lax.platform_dependent(*args, cpu=one_by_one, default=together)
        else:
            out = together(*args)
        return out, jax.tree.map(lambda _: True, out)

    return one


@in_turn
def cholesky(matrix: Matrix) -> Matrix:
    """The lower factor of a symmetric positive definite matrix; NaN if it has none."""
    return jnp.linalg.cholesky(matrix)


@in_turn
def cholesky_solve(factor: Matrix, rhs: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Solves with the matrix that a lower factor is of."""
    return jax.scipy.linalg.cho_solve((factor, True), rhs)


@in_turn
def lu(matrix: Matrix):
    """The factors of a square matrix, and the order of its rows."""
    return tuple(jax.scipy.linalg.lu_factor(matrix))


@functools.cache
def _lu_solve(transposed: bool):
    def solve(factor, order, rhs):
        return jax.scipy.linalg.lu_solve((factor, order), rhs, trans=int(transposed))

    return in_turn(solve)


def lu_solve(
    factors: Any, rhs: Float[Array, "n k"], transposed: bool = False
) -> Float[Array, "n k"]:
    """Solves with the matrix that `lu` factored, or its transpose."""
    return _lu_solve(transposed)(*factors, rhs)


@in_turn
def eigh(matrix: Matrix):
    """Eigenvalues in ascending order, and eigenvectors, of a symmetric matrix."""
    return tuple(jnp.linalg.eigh(matrix))


@in_turn
def svd(matrix: Matrix):
    """u, s and v' with u s v' the matrix."""
    return tuple(jnp.linalg.svd(matrix, full_matrices=False))
