"""Linear systems of many lanes by products alone; a finished lane stands still."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._lapack import eigh, svd


Lanes = Float[Array, "lanes n"]
Product = Callable[[Lanes], Lanes]


class Iterated(NamedTuple):
    """What an iterative method found."""

    x: Lanes
    iterations: Int[Array, " lanes"]
    condition: Float[Array, " lanes"]
    """An estimate from the iterations; NaN where there is none."""


def norm(x: Float[Array, "*lanes n"]) -> Float[Array, "*lanes"]:
    """The Euclidean norm of each lane, without overflow."""
    largest = jnp.max(jnp.abs(x), -1, keepdims=True)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return scale[..., 0] * jnp.sqrt(jnp.sum((x / scale) ** 2, -1))


def _dot(a, b):
    return jnp.sum(a * b, -1)


def _safe_ratio(a, b):
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def cg(
    product: Product,
    rhs: Lanes,
    start: Lanes,
    *,
    tolerance: float | Float[Array, " lanes"],
    max_steps: int,
    precondition: Product = lambda r: r,
) -> Iterated:
    """Conjugate gradients, for symmetric positive definite operators.

    The condition number comes from the extreme eigenvalues of the Lanczos matrix that
    the method builds on the way.

    Args:
        product: with the operator.
        rhs: right-hand sides.
        start: where to start.
        tolerance: residual at which a lane stops, relative to its right-hand side.
        max_steps: after which every lane stops.
        precondition: product with an approximate inverse.

    Returns:
        What was found; a lane whose operator is not positive definite stops there.
    """
    goal = tolerance * norm(rhs)
    kept = min(max_steps, rhs.shape[-1] + 1, 200)  # of the Lanczos matrix

    def more(carry):
        return jnp.any(carry[0])

    def step(carry):
        live, count, x, r, z, p, rz, diagonal, beside = carry
        ap = product(p)
        curvature = _dot(p, ap)
        positive = live & (curvature > 0)
        alpha = jnp.where(positive, _safe_ratio(rz, curvature), 0)
        x = x + alpha[:, None] * p
        r_new = r - alpha[:, None] * ap
        z_new = precondition(r_new)
        rz_new = _dot(r_new, z_new)
        beta = _safe_ratio(rz_new, rz)
        p_new = z_new + beta[:, None] * p

        place = jnp.where(positive, jnp.minimum(count, kept), kept)
        lanes = jnp.arange(len(rhs))
        inverse = _safe_ratio(jnp.ones_like(alpha), alpha)
        diagonal = diagonal.at[lanes, place].add(inverse)
        diagonal = diagonal.at[lanes, place + 1].add(beta * inverse)
        beside = beside.at[lanes, place].set(jnp.sqrt(jnp.maximum(beta, 0)) * inverse)

        def keep(new, old):
            return jnp.where(positive.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

        count = count + positive
        live = positive & (norm(r_new) > goal) & (count < max_steps)
        r, z, p = keep(r_new, r), keep(z_new, z), keep(p_new, p)
        return live, count, x, r, z, p, keep(rz_new, rz), diagonal, beside

    r = rhs - product(start)
    z = precondition(r)
    lanes = len(rhs)
    first = (
        norm(r) > goal,
        jnp.zeros(lanes, int),
        start,
        r,
        z,
        z,
        _dot(r, z),
        jnp.zeros((lanes, kept + 2), rhs.dtype),
        jnp.zeros((lanes, kept + 1), rhs.dtype),
    )
    _, count, x, *_, diagonal, beside = jax.lax.while_loop(more, step, first)
    return Iterated(x, count, _lanczos_condition(diagonal, beside, count, kept))


def _lanczos_condition(diagonal, beside, count, kept):
    """From the tridiagonal matrix of the first `count` steps."""
    size = jnp.minimum(count, kept)
    index = jnp.arange(kept)
    inside = index < size[:, None]
    # Outside of what was built: copies of the first entry, which change no extreme.
    main = jnp.where(inside, diagonal[:, :kept], diagonal[:, :1])
    off = jnp.where(index[1:] < size[:, None], beside[:, : kept - 1], 0)

    def extremes(main, off):
        matrix = jnp.diag(main) + jnp.diag(off, 1) + jnp.diag(off, -1)
        values = eigh(matrix)[0]
        return values[-1] / values[0]

    fine = jnp.all(jnp.isfinite(main), -1) & jnp.all(jnp.isfinite(off), -1) & (size > 0)
    safe_main = jnp.where(fine[:, None], main, 1)
    safe_off = jnp.where(fine[:, None], off, 0)

    def of_first(count):
        def spread():
            return jax.vmap(extremes)(safe_main[:, :count], safe_off[:, : count - 1])

        return spread

    # Most solves end early, and the cost of eigenvalues grows with the cube.
    few = min(kept, 24)
    spread = jax.lax.cond(jnp.all(size <= few), of_first(few), of_first(kept))
    return jnp.where(fine, spread, jnp.nan)


def gmres(
    product: Product,
    rhs: Lanes,
    start: Lanes,
    *,
    tolerance: float | Float[Array, " lanes"],
    max_steps: int,
    precondition: Product = lambda r: r,
    restart: int = 30,
) -> Iterated:
    """Generalised minimal residuals, restarted, preconditioned from the right.

    Args:
        product: with the operator.
        rhs: right-hand sides.
        start: where to start.
        tolerance: residual at which a lane stops, relative to its right-hand side.
        max_steps: after which every lane stops, rounded up to whole cycles.
        precondition: product with an approximate inverse.
        restart: length of a cycle.

    Returns:
        What was found; the condition is that of the operator on the last Krylov space.
    """
    lanes, n = rhs.shape
    size = min(restart, n, max_steps)
    goal = tolerance * norm(rhs)
    tiny = 10 * jnp.finfo(rhs.dtype).eps

    def cycle(carry):
        live, count, x, r, _ = carry
        beta = norm(r)
        basis = jnp.zeros((size + 1, lanes, n), rhs.dtype)
        basis = basis.at[0].set(_safe_ratio(r, beta[:, None]))
        hessenberg = jnp.zeros((lanes, size + 1, size), rhs.dtype)

        def arnoldi(k, inner):
            basis, hessenberg = inner
            w = product(precondition(basis[k]))
            before = norm(w)
            # Twice is enough: orthogonal to rounding.
            total = jnp.zeros((size + 1, lanes), rhs.dtype)
            for _ in range(2):
                along = jnp.sum(basis * w, -1)
                w = w - jnp.einsum("kl,kln->ln", along, basis)
                total = total + along
            left = norm(w)
            left = jnp.where(left > tiny * before, left, 0)  # an invariant space
            basis = basis.at[k + 1].set(_safe_ratio(w, left[:, None]))
            column = total.T.at[:, k + 1].add(left)
            return basis, hessenberg.at[:, :, k].set(column)

        basis, hessenberg = jax.lax.fori_loop(0, size, arnoldi, (basis, hessenberg))
        u, values, vt = jax.vmap(svd)(_finite(hessenberg))
        kept = values > tiny * values[:, :1]
        inverse = jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)
        y = vt.mT @ (inverse * u[:, 0, :] * beta[:, None])[:, :, None]
        x_new = x + precondition(jnp.einsum("lk,kln->ln", y[:, :, 0], basis[:size]))
        r_new = rhs - product(x_new)
        better = live & (norm(r_new) < norm(r))
        x = jnp.where(better[:, None], x_new, x)
        r = jnp.where(better[:, None], r_new, r)
        count = count + size * live
        # A cycle that gains nothing would gain nothing again.
        gained = norm(r) < 0.999 * beta
        live = better & gained & (norm(r) > goal) & (count < max_steps)
        return live, count, x, r, values[:, 0] * jnp.max(inverse, -1)

    r = rhs - product(start)
    unknown = jnp.full(lanes, jnp.nan, rhs.dtype)
    first = norm(r) > goal, jnp.zeros(lanes, int), start, r, unknown
    _, count, x, _, condition = jax.lax.while_loop(
        lambda carry: jnp.any(carry[0]), cycle, first
    )
    return Iterated(x, count, condition)


def _finite(matrix):
    fine = jnp.all(jnp.isfinite(matrix), (1, 2), keepdims=True)
    return jnp.where(fine, matrix, 0)


def series(
    product: Product,
    rhs: Lanes,
    *,
    steps: int,
    damping: float = 1.0,
    precondition: Product = lambda r: r,
) -> Lanes:
    """The first terms of damping * sum_k (1 - damping * P A)^k P rhs.

    With A = I - J and no damping: the Neumann series sum J^k rhs.

    Args:
        product: with A.
        rhs: right-hand sides.
        steps: how many terms.
        damping: in (0, 1].
        precondition: product with P, an approximate inverse.

    Returns:
        The sums.
    """
    first = damping * precondition(rhs)

    def step(_, x):
        return x + damping * precondition(rhs - product(x))

    return jax.lax.fori_loop(1, steps, step, first)
