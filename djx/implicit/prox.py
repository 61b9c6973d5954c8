"""Proximal operators and projections, with derivatives where they have one.

Those that optax has are re-exported; the rest is what JAXopt had. All take pytrees or
vectors as noted and are differentiable in their parameters too.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree
from optax.projections import (
    projection_box as box,
    projection_halfspace as halfspace,
    projection_hypercube as hypercube,
    projection_hyperplane as hyperplane,
    projection_l1_ball as l1_ball,
    projection_l1_sphere as l1_sphere,
    projection_l2_ball as l2_ball,
    projection_l2_sphere as l2_sphere,
    projection_linf_ball as linf_ball,
    projection_non_negative as non_negative,
    projection_simplex as simplex,
)


__all__ = [
    "affine",
    "birkhoff",
    "box",
    "box_section",
    "elastic_net",
    "group_lasso",
    "halfspace",
    "hypercube",
    "hyperplane",
    "l1",
    "l1_ball",
    "l1_sphere",
    "l2_ball",
    "l2_sphere",
    "linf_ball",
    "non_negative",
    "non_negative_l1",
    "polyhedron",
    "positive_semidefinite",
    "ridge",
    "simplex",
    "transport",
]


def l1(x: PyTree, strength: Any = 1.0) -> PyTree:
    """Of strength * |x|_1: soft thresholding.

    Args:
        x: arrays.
        strength: a number, or a tree like x.

    Returns:
        sign(x) max(|x| - strength, 0).
    """
    return _each(lambda v, s: jnp.sign(v) * jax.nn.relu(jnp.abs(v) - s), x, strength)


def non_negative_l1(x: PyTree, strength: Any = 1.0) -> PyTree:
    """Of strength * sum x for x >= 0.

    Args:
        x: arrays.
        strength: a number, or a tree like x.

    Returns:
        max(x - strength, 0).
    """
    return _each(lambda v, s: jax.nn.relu(v - s), x, strength)


def ridge(x: PyTree, strength: Any = 1.0) -> PyTree:
    """Of strength * |x|^2 / 2.

    Args:
        x: arrays.
        strength: a number, or a tree like x.

    Returns:
        x / (1 + strength).
    """
    return _each(lambda v, s: v / (1 + s), x, strength)


def elastic_net(x: PyTree, l1_strength: Any, l2_strength: Any) -> PyTree:
    """Of l1_strength * |x|_1 + l2_strength * |x|^2 / 2.

    Args:
        x: arrays.
        l1_strength: a number, or a tree like x.
        l2_strength: a number, or a tree like x.

    Returns:
        Soft thresholding, then shrinking.
    """
    return ridge(l1(x, l1_strength), l2_strength)


def group_lasso(x: Float[Array, "... group"], strength: Any = 1.0):
    """Of strength * sum of the Euclidean norms of the last axis.

    Args:
        x: groups along the last axis.
        strength: a number, or one for each group.

    Returns:
        Each group shortened by `strength`, to zero at least.
    """
    square = jnp.sum(x**2, -1, keepdims=True)
    size = jnp.sqrt(jnp.where(square > 0, square, 1))
    strength = jnp.asarray(strength)[..., None]
    return jnp.where(square > 0, jax.nn.relu(1 - strength / size), 0) * x


def _each(function, x, parameter):
    if jax.tree.structure(parameter) == jax.tree.structure(x):
        return jax.tree.map(function, x, parameter)
    return jax.tree.map(lambda v: function(v, parameter), x)


def affine(
    x: Float[Array, " n"], A: Float[Array, "p n"], b: Float[Array, " p"]
) -> Float[Array, " n"]:
    """The nearest point with Ax = b, for rows of A that are independent.

    Args:
        x: a vector.
        A: rows.
        b: right-hand sides.

    Returns:
        x - A'(AA')^-1 (Ax - b).
    """
    return x - A.T @ jnp.linalg.solve(A @ A.T, A @ x - b)


def polyhedron(x: Float[Array, " n"], A: Any, b: Any, G: Any, h: Any):
    """The nearest point with Ax = b and Gx <= h, by `djx.implicit.qp`.

    Args:
        x: a vector.
        A: equalities, or None.
        b: their right-hand sides, or None.
        G: inequalities, or None.
        h: their right-hand sides, or None.

    Returns:
        The point; NaN where there is none.
    """
    from ._qp import qp

    eye = jnp.eye(x.shape[0], dtype=x.dtype)
    return qp(eye, -x, A, b, G, h).value.x


def box_section(
    x: Float[Array, " n"],
    lower: Any,
    upper: Any,
    weights: Float[Array, " n"],
    total: Any,
) -> Float[Array, " n"]:
    """The nearest point with lower <= x <= upper and weights'x = total.

    Args:
        x: a vector.
        lower: bounds.
        upper: bounds.
        weights: of the sum, positive.
        total: the sum.

    Returns:
        clip(x + t * weights) for the one t that has the sum; derivatives are those of
        the active set.
    """
    x = jnp.asarray(x)
    lower, upper = jnp.broadcast_to(lower, x.shape), jnp.broadcast_to(upper, x.shape)
    stopped = jax.lax.stop_gradient((x, lower, upper, weights, total))
    y, low, high, w, goal = stopped

    def excess(t):
        return jnp.sum(w * jnp.clip(y + t * w, low, high)) - goal

    ends = jnp.stack([(low - y) / w, (high - y) / w])
    left, right = jnp.min(ends), jnp.max(ends)

    def halve(_, bracket):
        left, right = bracket
        middle = (left + right) / 2
        above = excess(middle) > 0
        return jnp.where(above, left, middle), jnp.where(above, middle, right)

    left, right = jax.lax.fori_loop(0, 60, halve, (left, right))
    t = (left + right) / 2
    inside = (y + t * w > low) & (y + t * w < high)
    # On the active set the sum is linear in t: exact, and differentiable.
    clipped = jnp.where(y + t * w <= low, lower, upper)
    fixed = jnp.where(inside, 0, weights * clipped)
    free = jnp.where(inside, weights * x, 0)
    square = jnp.sum(jnp.where(inside, weights**2, 0))
    safe = jnp.where(square > 0, square, 1)
    t = jnp.where(square > 0, (total - jnp.sum(fixed) - jnp.sum(free)) / safe, t)
    return jnp.where(inside, x + t * weights, clipped)


@jax.custom_jvp
def positive_semidefinite(x: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The nearest symmetric positive semidefinite matrix.

    Its derivative is by divided differences (Malick and Sendov 2006), finite at
    repeated eigenvalues too; where an eigenvalue is zero it is one of several.

    Args:
        x: a matrix, of which the symmetric part counts.

    Returns:
        The matrix without its negative eigenvalues.
    """
    values, vectors = jnp.linalg.eigh((x + x.T) / 2)
    return (vectors * jnp.maximum(values, 0)) @ vectors.T


@positive_semidefinite.defjvp
def _positive_semidefinite_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    values, vectors = jnp.linalg.eigh((x + x.T) / 2)
    kept = jnp.maximum(values, 0)
    gap = values[:, None] - values[None]
    near = jnp.abs(gap) <= 1e-12 * jnp.max(jnp.abs(values), initial=0)
    slope = (values[:, None] > 0).astype(x.dtype) + 0 * values[None]
    ratio = (kept[:, None] - kept[None]) / jnp.where(near, 1, gap)
    middle = vectors.T @ ((dx + dx.T) / 2) @ vectors
    tangent = vectors @ (jnp.where(near, slope, ratio) * middle) @ vectors.T
    return (vectors * kept) @ vectors.T, tangent


def transport(
    x: Float[Array, "k l"], rows: Float[Array, " k"], columns: Float[Array, " l"]
) -> Float[Array, "k l"]:
    """The nearest matrix with entries >= 0 and these sums, by `djx.implicit.qp`.

    Args:
        x: a matrix.
        rows: sums over columns.
        columns: sums over rows, of the same total.

    Returns:
        The matrix.
    """
    height, width = x.shape
    index = jnp.arange(height * width)
    of_rows = (index[None] // width == jnp.arange(height)[:, None]).astype(x.dtype)
    # The last sum follows from the others.
    of_columns = (index[None] % width == jnp.arange(width - 1)[:, None]).astype(x.dtype)
    A = jnp.concatenate([of_rows, of_columns])
    b = jnp.concatenate([rows, columns[:-1]])
    eye = jnp.eye(height * width, dtype=x.dtype)
    out = polyhedron(x.ravel(), A, b, -eye, jnp.zeros(height * width, x.dtype))
    return out.reshape(height, width)


def birkhoff(x: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """The nearest doubly stochastic matrix.

    Args:
        x: a square matrix.

    Returns:
        The matrix.
    """
    one = jnp.ones(x.shape[0], x.dtype)
    return transport(x, one, one)
