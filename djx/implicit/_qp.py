"""Quadratic programs as layers."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._attach import corrected, Found, implicit
from ._choose import System
from ._gradient import Gradient
from ._interior import begin, Interior, interior_point, Program, scaled
from ._lapack import cholesky, cholesky_solve
from ._linear import FOUND, KINK, LOST
from ._receipt import Receipt
from ._solution import checked, forward_receipt, RESULTS, Solution


CLOSER = 1e-3  # of one try to know the active set and the next


class Optimum(eqx.Module):
    """A solution of a quadratic program and its multipliers, all differentiable.

    Attributes:
        x: the minimiser.
        equality: multipliers y of Ax = b.
        inequality: multipliers z >= 0 of Gx <= h: Qx + q + A'y + G'z = 0.
    """

    x: Float[Array, " n"]
    equality: Float[Array, " p"]
    inequality: Float[Array, " m"]


def qp(
    Q: Float[Array, "n n"],
    q: Float[Array, " n"],
    A: Float[Array, "p n"] | None = None,
    b: Float[Array, " p"] | None = None,
    G: Float[Array, "m n"] | None = None,
    h: Float[Array, " m"] | None = None,
    *,
    gradient: Gradient | None = None,
    receipt: Receipt | None = None,
    tolerance: float | None = None,
    max_steps: int = 50,
    throw: bool = False,
) -> Solution:
    """Minimises x'Qx/2 + q'x where Ax = b and Gx <= h, for Q positive semidefinite.

    An interior-point method finds which inequalities hold with equality; the solution
    is then polished, and differentiated, as that of an equation. Under `vmap` lanes
    stop by themselves, and one that has no solution is NaN and harms no other; what its
    derivatives are is `gradient.on_failure`'s to say.

    Args:
        Q: the quadratic term; its symmetric part counts.
        q: the linear term.
        A: equalities.
        b: their right-hand sides.
        G: inequalities.
        h: their right-hand sides.
        gradient: how to differentiate.
        receipt: zeros whose cotangent is the report of the backward solve.
        tolerance: of the interior-point method, relative to the scaled data; 1e-9 in
            float64, 1e-4 in float32 if None. Polishing gains the rest.
        max_steps: of it.
        throw: stop the program where there is no solution.

    Returns:
        A solution whose value is an `Optimum`. `result` tells infeasible and unbounded
        programs; `stats["active"]` is which inequalities hold with equality, and
        `stats["kink"]` whether one of them does so without a multiplier: then the
        derivative is one of several.

    Raises:
        ValueError: where shapes do not fit, A comes without b, G without h, or the mode
            of the gradient is "unrolled".
    """
    gradient = gradient or Gradient()
    program = _program(Q, q, A, b, G, h)
    dtype = program.q.dtype
    eps = float(jnp.finfo(dtype).eps)
    if tolerance is None:
        tolerance = 1e-9 if eps < 1e-10 else 1e-4
    stopped = jax.lax.stop_gradient(program)
    small, objective, of_a, of_g = scaled(stopped)
    inner, polished = _solved(small, tolerance, max_steps)
    x, y, z, active, gap, _ = polished
    n, p = len(program.q), len(program.b)
    flat = jnp.concatenate([x, y * of_a / objective, z * of_g / objective])
    # What decides is whether the polished point is optimal: it is not where the wrong
    # constraints were taken to hold.
    lost = inner.infeasible | inner.unbounded
    converged = (gap <= 10 * tolerance) & jnp.all(jnp.isfinite(flat)) & ~lost
    near = jnp.maximum(jnp.abs(z), jnp.abs(small.h - small.G @ x)) < tolerance**0.5
    kink = converged & jnp.any(near)
    flat = jnp.where(converged, flat, jnp.where(lost, jnp.nan, flat))
    shapes = [jnp.shape(part) for part in program]

    def residual(constants, v):
        Q, q, A, b, G, h = (
            c.reshape(s) for c, s in zip(constants[:6], shapes, strict=True)
        )
        active = constants[6]
        x, y, z = v[:n], v[n : n + p], v[n + p :]
        return jnp.concatenate(
            [
                (Q + Q.T) @ x / 2 + q + A.T @ y + G.T @ z,
                A @ x - b,
                jnp.where(active, h - G @ x, z),
            ]
        )

    system = System(residual, inverse=_inverse(n, p, shapes))
    status = jnp.where(converged, jnp.where(kink, KINK, FOUND), LOST)
    aid = ("qp", [polished.factor, objective, of_a, of_g])
    # A lane without a solution must not put NaNs into the others' sums.
    safe = jnp.where(jnp.isfinite(flat), flat, 0)
    constants = [*program, active]
    found = corrected(system, constants, Found(safe, status, aid), gradient)
    out = implicit(system, constants, found, gradient, receipt=receipt)
    out = out + jax.lax.stop_gradient(flat - safe)
    codes: Any = RESULTS
    result = codes.where(inner.unbounded, codes.unbounded, codes.not_converged)
    result = codes.where(inner.infeasible, codes.infeasible, result)
    result = codes.where(converged, codes.successful, result)
    value = Optimum(out[:n], out[n : n + p], out[n + p :])
    told = forward_receipt(converged, inner.iterations, gap)
    stats: dict[str, Any] = {
        "iterations": inner.iterations,
        "active": active,
        "kink": kink,
    }
    return Solution(checked(value, result, throw), result, told, stats)


def _program(Q, q, A, b, G, h) -> Program:
    Q, q = jnp.asarray(Q), jnp.asarray(q)
    if q.ndim != 1:
        raise ValueError(f"q is a vector, not of shape {q.shape}; use vmap for batches")
    (n,) = q.shape
    for matrix, vector, names in ((A, b, "Ab"), (G, h, "Gh")):
        if (matrix is None) != (vector is None):
            raise ValueError(f"{names[0]} and {names[1]} come together")
    A, b = (jnp.zeros((0, n)), jnp.zeros(0)) if A is None else (A, b)
    G, h = (jnp.zeros((0, n)), jnp.zeros(0)) if G is None else (G, h)
    parts = [jnp.asarray(part) for part in (Q, q, A, b, G, h)]
    dtype = jnp.result_type(*[part for part in parts if part.size], float(0) * q[:0])
    for name, matrix in (("A", parts[2]), ("G", parts[4])):
        if matrix.ndim != 2:
            raise ValueError(f"{name} is a matrix, not of shape {matrix.shape}")
    p, m = len(parts[2]), len(parts[4])
    wanted = [(n, n), (n,), (p, n), (p,), (m, n), (m,)]
    for name, part, shape in zip("QqAbGh", parts, wanted, strict=True):
        if part.shape != shape:
            raise ValueError(f"{name} has shape {part.shape}; expected {shape}")
    return Program(*[part.astype(dtype) for part in parts])


def _weight(dtype) -> float:
    """Of the constraints in the augmented objective; data are scaled to size one."""
    return 1e6 if jnp.finfo(dtype).eps < 1e-10 else 1e3


def _augmented(small: Program, active):
    """The Cholesky factor of Q + weight * C'C for the constraints C that hold."""
    Q, _, A, _, G, _ = small
    n = len(Q)
    weight = _weight(Q.dtype)
    H = Q + weight * (A.T @ A + (G.T * active) @ G)
    eps = float(jnp.finfo(Q.dtype).eps)
    H = H + 10 * eps * jnp.eye(n, dtype=Q.dtype) * (1 + jnp.max(jnp.abs(H)))
    return cholesky(H)


def _kkt_step(L, A, G, active, weight, r1, r2, r3):
    """One step of the method of multipliers for the equality-constrained problem.

    Q x + A'y + G'z = r1, Ax = r2, Gx = r3 where active and z = r3 elsewhere.
    """
    outside = jnp.where(active, 0, r3)
    r1 = r1 - G.T @ outside
    right = r1 + weight * (A.T @ r2 + G.T @ jnp.where(active, r3, 0))
    x = cholesky_solve(L, right)
    y = weight * (A @ x - r2)
    z = jnp.where(active, weight * (G @ x - r3), outside)
    return x, y, z


class Polished(NamedTuple):
    """A point where some inequalities hold with equality."""

    x: Array
    y: Array
    z: Array
    active: Array
    gap: Array
    """By how much it misses the conditions of optimality."""
    factor: Array
    """Of the augmented matrix of these constraints."""


def _solved(small: Program, tolerance: float, max_steps: int):
    """Interior-point steps until the inequalities that hold are all but known.

    The interior point need not be precise: polishing is, it tells whether its guess of
    the active set was right, and mends that. Only a lane where this fails goes on.
    """

    def attempt(carry):
        inner, _, pairs = carry
        last = pairs <= 1e-4 * tolerance
        inner = interior_point(
            small,
            inner,
            tolerance=jnp.where(last, tolerance, tolerance**0.5),
            pairs=pairs,
            max_steps=max_steps,
        )
        polished = _polished(small, inner, tolerance)
        closer = jnp.maximum(pairs * CLOSER, 1e-4 * tolerance)
        return inner, polished, jnp.where(last, -1, closer)

    def live(carry):
        inner, polished, pairs = carry
        spent = inner.over | (inner.iterations >= max_steps)
        return (pairs > 0) & ~spent & ~(polished.gap <= tolerance)

    first = begin(small)
    pairs = jnp.asarray(tolerance**0.5, small.q.dtype)
    inner, polished, _ = jax.lax.while_loop(
        live, attempt, (first, _unpolished(first), pairs)
    )
    return inner, polished


def _unpolished(inner: Interior) -> Polished:
    x, y, z, s, *_ = inner
    gap = jnp.full((), jnp.inf, x.dtype)
    return Polished(x, y, z, z > s, gap, jnp.zeros((len(x), len(x)), x.dtype))


def _polished(small: Program, inner: Interior, tolerance: float) -> Polished:
    """The optimum near an interior point, or that point itself if it misses by less.

    Solves for the point where the inequalities that seem to hold with equality do, and
    corrects which these are: the primal-dual active set method (Hintermueller, Ito and
    Kunisch 2002), Newton's method on min(z, h - Gx) = 0.
    """
    Q, q, A, b, G, h = small
    weight = _weight(q.dtype)
    Q = (Q + Q.T) / 2

    def gap_of(x, y, z):
        parts = (
            Q @ x + q + A.T @ y + G.T @ z,
            A @ x - b,
            jnp.minimum(z, h - G @ x),
        )
        return jnp.max(jnp.stack([jnp.max(jnp.abs(part), initial=0) for part in parts]))

    def step(carry):
        _, active, count = carry
        L = _augmented(small, active)
        point = inner.x, inner.y, jnp.where(active, inner.z, 0)
        for _ in range(3):
            x, y, z = point
            moves = _kkt_step(
                L,
                A,
                G,
                active,
                weight,
                -q - Q @ x - A.T @ y - G.T @ z,
                b - A @ x,
                jnp.where(active, h - G @ x, -z),
            )
            point = tuple(a + d for a, d in zip(point, moves, strict=True))
        x, y, z = point
        found = Polished(x, y, z, active, gap_of(x, y, z), L)
        return found, z + G @ x > h, count + 1

    def wrong(carry):
        found, active, count = carry
        other = jnp.any(active != found.active) | (count == 0)
        return ~(found.gap <= tolerance) & other & (count < 5)

    first = _unpolished(inner)
    found, _, _ = jax.lax.while_loop(wrong, step, (first, first.active, 0))
    before = gap_of(inner.x, inner.y, inner.z)
    better = found.gap <= before
    x, y, z = (
        jnp.where(better, a, b)
        for a, b in zip(found[:3], (inner.x, inner.y, inner.z), strict=True)
    )
    gap = jnp.minimum(found.gap, jnp.where(better, found.gap, before))
    return Polished(x, y, z, found.active, gap, found.factor)


def _inverse(n, p, shapes):
    """A^-1 of the optimality conditions, to one step of the method of multipliers."""

    def inverse(constants, v, aid, rhs, transposed):
        del v
        L, objective, of_a, of_g = aid
        A = constants[2].reshape(shapes[2]) * of_a[:, None]
        G = constants[4].reshape(shapes[4]) * of_g[:, None]
        active = constants[6]
        weight = _weight(rhs.dtype)
        r1, r2, r3 = rhs[:n], rhs[n : n + p], rhs[n + p :]
        # In the scaled problem: Q to objective Q, multipliers y to objective y / of_a.
        if not transposed:
            # rows: Qx + A'y + G'z = r1; Ax = r2; -Gx = r3 where active, z elsewhere
            third = jnp.where(active, -r3 * of_g, r3 * objective / of_g)
            x, y, z = _kkt_step(
                L, A, G, active, weight, r1 * objective, r2 * of_a, third
            )
            return jnp.concatenate([x, y * of_a / objective, z * of_g / objective])
        # rows: Qu + A'v - G'w = r1 (w where active); Au = r2; Gu = r3 where active,
        # Gu + w = r3 elsewhere
        u, v, w = _kkt_step(
            L,
            A,
            G,
            active,
            weight,
            r1 * objective,
            r2 * of_a,
            jnp.where(active, r3 * of_g, 0),
        )
        w = jnp.where(active, -w * of_g / objective, r3 - (G @ u) / of_g)
        return jnp.concatenate([u, v * of_a / objective, w])

    return inverse
