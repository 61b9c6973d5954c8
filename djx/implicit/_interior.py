"""Mehrotra's predictor-corrector method for convex quadratic programs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._lapack import cholesky, cholesky_solve


class Program(NamedTuple):
    """Minimise x'Qx/2 + q'x where Ax = b and Gx <= h."""

    Q: Float[Array, "n n"]
    q: Float[Array, " n"]
    A: Float[Array, "p n"]
    b: Float[Array, " p"]
    G: Float[Array, "m n"]
    h: Float[Array, " m"]


class Interior(NamedTuple):
    """Where the method is."""

    x: Float[Array, " n"]
    y: Float[Array, " p"]
    z: Float[Array, " m"]
    s: Float[Array, " m"]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    infeasible: Bool[Array, ""]
    unbounded: Bool[Array, ""]
    stuck: Bool[Array, ""]
    """Whether no step leads on."""

    @property
    def over(self) -> Bool[Array, ""]:
        """Whether there is no use in going on, whatever the tolerance."""
        return self.infeasible | self.unbounded | self.stuck


def scaled(program: Program) -> tuple[Program, Array, Array, Array]:
    """Rows of length one and an objective of size one.

    Args:
        program: any.

    Returns:
        The same problem scaled, and the factors of its objective, of the rows of A and
        of those of G.
    """
    Q, q, A, b, G, h = program

    def inverse(size):
        return jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 1)

    objective = inverse(jnp.maximum(_size(Q), _size(q)))
    of_a = inverse(jnp.max(jnp.abs(A), 1, initial=0))
    of_g = inverse(jnp.max(jnp.abs(G), 1, initial=0))
    return (
        Program(
            Q * objective,
            q * objective,
            A * of_a[:, None],
            b * of_a,
            G * of_g[:, None],
            h * of_g,
        ),
        objective,
        of_a,
        of_g,
    )


def _size(x):
    return jnp.max(jnp.abs(x), initial=0)


def _factors(program: Program, weights):
    """Of Q + G' diag(weights) G and of the Schur complement of the equalities."""
    Q, _, A, b, G, _ = program
    n, p = len(Q), len(b)
    small = 10 * float(jnp.finfo(Q.dtype).eps)
    H = Q + (G.T * weights) @ G + small * jnp.eye(n, dtype=Q.dtype)
    L = cholesky(H)
    if not p:
        return L, None, None
    half = cholesky_solve(L, A.T)
    S = A @ half
    S = S + (small * (1 + jnp.trace(S) / p)) * jnp.eye(p, dtype=Q.dtype)
    return L, half, cholesky(S)


def _kkt(program: Program, known, right, rp):
    """Solves H dx + A'dy = right, A dx = rp."""
    L, half, LS = known
    dx = cholesky_solve(L, right)
    if half is None:
        return dx, jnp.zeros(0, right.dtype)
    dy = cholesky_solve(LS, program.A @ dx - rp)
    return dx - half @ dy, dy


def begin(program: Program) -> Interior:
    """Mehrotra's starting point: the least-squares one, shifted to be well inside."""
    _, q, _, b, G, h = program
    known = _factors(program, jnp.ones(len(h), q.dtype))
    x, y = _kkt(program, known, -q + G.T @ h, b)
    slack = h - G @ x
    s = slack + jnp.maximum(0, -1.5 * jnp.min(slack, initial=jnp.inf))
    z = -slack + jnp.maximum(0, 1.5 * jnp.max(slack, initial=-jnp.inf))
    s, z = (jnp.maximum(v, 0) + 0.5 * _mean_shift(s, z, v) for v in (s, z))
    no = jnp.asarray(False)
    return Interior(x, y, z, s, jnp.zeros((), int), no, no, no, no)


def interior_point(
    program: Program, start: Interior, *, tolerance: Any, pairs: Any, max_steps: int
) -> Interior:
    """Solves a convex quadratic program from an infeasible start.

    Mehrotra 1992, one Cholesky factor of Q + G' diag(z / s) G a step and one of the
    Schur complement of the equalities. A lane that is done stands still under `vmap`.

    Args:
        program: scaled.
        start: where to go on.
        tolerance: of residuals.
        pairs: of the products of slacks and multipliers.
        max_steps: factorisations.

    Returns:
        Where it ended.
    """
    Q, q, A, b, G, h = program
    m = len(h)
    eps = float(jnp.finfo(q.dtype).eps)

    def residuals(x, y, z, s):
        return Q @ x + q + A.T @ y + G.T @ z, A @ x - b, G @ x + s - h

    def longest(v, dv):
        ratio = jnp.where(dv < 0, -v / jnp.where(dv < 0, dv, 1), jnp.inf)
        return jnp.minimum(1.0, jnp.min(ratio, initial=jnp.inf))

    def step(carry):
        x, y, z, s, count, *_ = carry
        rd, rp, rs = residuals(x, y, z, s)
        weights = z / s
        known = _factors(program, weights)

        def direction(rc, refine):
            right = -rd + G.T @ ((rc - z * rs) / s)
            dx, dy = _kkt(program, known, right, -rp)
            if refine:  # the system is ill conditioned near the end
                r1 = right - (Q @ dx + G.T @ (weights * (G @ dx)) + A.T @ dy)
                ddx, ddy = _kkt(program, known, r1, -rp - A @ dx)
                dx, dy = dx + ddx, dy + ddy
            ds = -rs - G @ dx
            return dx, dy, (-rc - z * ds) / s, ds

        mu = jnp.dot(s, z) / max(m, 1)
        _, _, dz, ds = direction(s * z, False)
        alpha = jnp.minimum(longest(z, dz), longest(s, ds))
        affine = jnp.dot(s + alpha * ds, z + alpha * dz) / max(m, 1)
        sigma = jnp.where(mu > 0, (affine / jnp.where(mu > 0, mu, 1)) ** 3, 0)
        dx, dy, dz, ds = direction(s * z + ds * dz - sigma * mu, True)
        alpha = jnp.minimum(longest(z, dz), longest(s, ds))
        alpha = jnp.where(alpha < 1, jnp.maximum(0.995, 1 - mu) * alpha, 1.0)
        alpha = jnp.minimum(alpha, 1.0)
        new = x + alpha * dx, y + alpha * dy, z + alpha * dz, s + alpha * ds
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(v)) for v in new]))
        x, y, z, s = (
            jnp.where(finite, a, b) for a, b in zip(new, (x, y, z, s), strict=True)
        )
        stuck = ~finite | (alpha < 10 * eps)
        return Interior(x, y, z, s, count + 1, *judged(x, y, z, s), stuck)

    def judged(x, y, z, s):
        rd, rp, rs = residuals(x, y, z, s)
        # Every pair on its own: one that lags behind decides which constraints hold.
        widest = jnp.max(s * z, initial=0)
        primal = jnp.maximum(_size(rp), _size(rs)) <= tolerance * (1 + _size(x))
        dual = _size(rd) <= tolerance * (1 + jnp.maximum(_size(y), _size(z)))
        converged = primal & dual & (widest <= pairs)
        # Farkas: A'y + G'z = 0, z >= 0 and b'y + h'z < 0 exclude any point.
        gain = -(b @ y + h @ z)
        loose = eps**0.5
        infeasible = (gain > 0) & (_size(A.T @ y + G.T @ z) <= loose * gain)
        infeasible &= jnp.maximum(_size(y), _size(z)) > 1 / loose**0.5
        # A ray along which the objective falls for ever.
        fall = -(q @ x)
        ray = jnp.maximum(_size(Q @ x), _size(A @ x))
        ray = jnp.maximum(ray, jnp.max(G @ x, initial=0))
        unbounded = (fall > 0) & (ray <= loose * fall) & (_size(x) > 1 / loose**0.5)
        return converged, infeasible & ~converged, unbounded & ~converged

    def live(carry):
        return (carry.iterations < max_steps) & ~(carry.converged | carry.over)

    first = start._replace(converged=jnp.asarray(False))
    return jax.lax.while_loop(live, step, first)


def _mean_shift(s, z, v):
    total = jnp.sum(v)
    shift = jnp.where(total > 0, jnp.dot(s, z) / jnp.where(total > 0, total, 1), 1)
    return jnp.maximum(shift, 1e-2)
