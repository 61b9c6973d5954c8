"""Sparse codes, classifiers on them, and what is measured of both."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from djx import implicit
from djx.implicit import prox


class Codes(NamedTuple):
    """Of one row of data, or of many."""

    value: Float[Array, "*rows atoms"]
    converged: Bool[Array, "*rows"]
    kink: Bool[Array, "*rows"]
    """Whether a coefficient is about to become zero, or to stop being it."""


def unit_atoms(raw: Float[Array, "atoms features"]) -> Float[Array, "atoms features"]:
    """Rows scaled to length 1."""
    return raw / jnp.linalg.norm(raw, axis=1, keepdims=True)


def encode(
    atoms: Float[Array, "atoms features"],
    rows: Float[Array, "rows features"],
    l1: Any,
    l2: Any,
    *,
    receipt: implicit.Receipt | None = None,
    tolerance: float = 1e-10,
) -> Codes:
    """argmin_x |y - x D|^2 / 2 + l1 |x|_1 + l2 |x|^2 / 2 for every row y.

    Elastic-net codes (Mairal et al. 2012), with implicit derivatives in all arguments.

    Args:
        atoms: D.
        rows: data.
        l1: weight of the absolute values.
        l2: weight of the squares.
        receipt: zeros whose cotangent reports the backward solves, summed over rows.
        tolerance: relative length of the last proximal step.

    Returns:
        The codes.
    """
    gram = atoms @ atoms.T + l2 * jnp.eye(len(atoms), dtype=atoms.dtype)

    def smooth(x, target):
        return x @ gram @ x / 2 - x @ target

    def one(target):
        found = implicit.proximal_argmin(
            smooth,
            lambda x, step: prox.l1(x, step * l1),
            jnp.zeros_like(target),
            target,
            receipt=receipt,
            tolerance=tolerance,
        )
        return Codes(found.value, found.receipt.failed == 0, found.stats["kink"])

    return jax.vmap(one)(rows @ atoms.T)


def reconstruction(
    atoms: Float[Array, "atoms features"],
    rows: Float[Array, "rows features"],
    codes: Float[Array, "rows atoms"],
) -> Float[Array, ""]:
    """Half the squared error by row, mean over rows.

    With codes held fixed its gradient in the atoms is that of the least objective, by
    the envelope theorem.
    """
    return jnp.mean(jnp.sum((rows - codes @ atoms) ** 2, 1)) / 2


def cross_entropy(scores: Float[Array, " rows"], labels: Float[Array, " rows"]):
    """Of every row, for labels 0 and 1."""
    return jax.nn.softplus(scores) - labels * scores


def area_under_curve(scores: Float[Array, " rows"], labels: Float[Array, " rows"]):
    """The chance that a row of label 1 scores above one of label 0; ties count half."""
    ahead = scores[:, None] - scores[None]
    pairs = labels[:, None] * (1 - labels[None])
    return jnp.sum(pairs * (jnp.sign(ahead) + 1) / 2) / jnp.sum(pairs)


def best_classifier(
    features: Float[Array, "rows features"], labels: Float[Array, " rows"], ridge: Any
) -> tuple[Float[Array, " features"], Float[Array, ""]]:
    """The minimum of mean cross-entropy + ridge |w|^2 / 2, by Newton's method.

    Args:
        features: of training rows.
        labels: their classes.
        ridge: as above.

    Returns:
        Weights and offset.
    """

    def objective(w):
        scores = features @ w[:-1] + w[-1]
        return (
            jnp.mean(cross_entropy(scores, labels)) + ridge * jnp.sum(w[:-1] ** 2) / 2
        )

    start = jnp.zeros(features.shape[1] + 1, features.dtype)
    w = implicit.argmin(objective, start).value
    return w[:-1], w[-1]


class HypergradientCheck(NamedTuple):
    """An implicit directional derivative beside a central difference."""

    error: Float[Array, ""]
    """Relative to the difference."""
    moved: Float[Array, ""]
    """Rows left out: their support changed within the difference, or has a kink."""


def hypergradient_check(
    raw: Float[Array, "atoms features"],
    direction: Float[Array, "atoms features"],
    rows: Float[Array, "rows features"],
    labels: Float[Array, " rows"],
    classifier: tuple[Array, Array],
    l1: Any,
    l2: Any,
    *,
    step: float = 1e-4,
    tolerance: float = 1e-14,
) -> HypergradientCheck:
    """Of the cross-entropy of codes, along a direction of the dictionary.

    Args:
        raw: atoms before they are scaled to length 1.
        direction: of the derivative.
        rows: data.
        labels: their classes.
        classifier: weights and offset.
        l1: as in `encode`.
        l2: as in `encode`.
        step: of the difference, which is extrapolated from it and its half.
        tolerance: of the codes.

    Returns:
        The check, over the rows whose support stays the same.
    """
    weights, offset = classifier

    def losses(raw):
        codes = encode(unit_atoms(raw), rows, l1, l2, tolerance=tolerance)
        return cross_entropy(codes.value @ weights + offset, labels), codes

    _, pull, here = jax.vjp(losses, raw, has_aux=True)
    steps = step * jnp.asarray([1, -1, 0.5, -0.5], raw.dtype)
    values, there = jax.lax.map(lambda s: losses(raw + s * direction), steps)
    same = jnp.all((there.value != 0) == (here.value != 0)[None], (0, 2))
    stable = same & ~here.kink
    kept = jnp.where(stable, 1 / len(rows), 0).astype(raw.dtype)
    by = values @ kept
    wide, narrow = (by[0] - by[1]) / (2 * step), (by[2] - by[3]) / step
    difference = (4 * narrow - wide) / 3
    slope = jnp.sum(pull(kept)[0] * direction)
    moved = jnp.sum(~stable).astype(raw.dtype)
    return HypergradientCheck(jnp.abs(slope - difference) / jnp.abs(difference), moved)
