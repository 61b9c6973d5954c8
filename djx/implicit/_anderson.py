"""Fixed points of many lanes at once: Picard's and Anderson's iterations."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._iterative import Lanes, norm


MEMORY = 5  # residuals that Anderson's method keeps


class FixedPoints(NamedTuple):
    """What was found for every lane."""

    x: Lanes
    """Where the last residual was measured."""
    iterations: Int[Array, " lanes"]
    """Evaluations of the map."""
    residual: Float[Array, " lanes"]
    """|T(x) - x|."""
    rate: Float[Array, " lanes"]
    """By which the residual shrank per iteration, on average."""
    converged: Bool[Array, " lanes"]


class _Carry(NamedTuple):
    live: Bool[Array, " lanes"]
    count: Int[Array, " lanes"]
    image: Lanes
    residual: Lanes
    """Of the iterate before `image`; empty where nothing mixes them."""
    size: Float[Array, " lanes"]
    """The residual's norm."""
    reference: Float[Array, " lanes"]
    best: Float[Array, " lanes"]
    images: Float[Array, "memory lanes n"]
    residuals: Float[Array, "memory lanes n"]
    filled: Int[Array, " lanes"]


def anderson(
    function: Callable[[Lanes], Lanes],
    start: Lanes,
    *,
    tolerance: float,
    max_steps: int,
    scale: Float[Array, " lanes"] | None = None,
    memory: int = MEMORY,
    ridge: float = 1e-8,
) -> FixedPoints:
    """Anderson's acceleration of x <- T(x); with `memory=0` Picard's iteration.

    The next point is the combination of the last `memory` images whose combined
    residual is smallest (Walker and Ni 2011, with a ridge relative to the trace of the
    Gram matrix). A lane begins anew where its residual doubled, and stands still once
    it has converged.

    Args:
        function: T, of all lanes.
        start: where to start.
        tolerance: of |T(x) - x| relative to |x|, or to `scale`.
        max_steps: evaluations of T.
        scale: what residuals are relative to.
        memory: residuals kept.
        ridge: see above.

    Returns:
        The points; x is the image T of the last iterate.
    """
    lanes, n = start.shape
    dtype = start.dtype
    kept = memory if memory > 1 else 0

    def live_after(size, reference):
        return ~(size <= tolerance * reference) & jnp.isfinite(size)

    def more(carry):
        return jnp.any(carry.live)

    def step(carry: _Carry) -> _Carry:
        image, filled = carry.image, carry.filled
        images, residuals = carry.images, carry.residuals
        x = image
        if kept:
            # What has grown to twice the best is not near a fixed point: begin anew.
            filled = jnp.where(carry.size > 2 * carry.best, 0, filled)
            place = filled % kept, jnp.arange(lanes)
            images = images.at[place].set(image)
            residuals = residuals.at[place].set(carry.residual)
            filled = filled + 1
            x = _mixed(images, residuals, filled, kept, ridge, image)
        new = function(x)
        residual = new - x
        size = _norm_near(residual, carry.size)
        reference = _norm_near(new, carry.reference) if scale is None else scale

        def keep(new, old):
            return jnp.where(carry.live[:, None], new, old)

        size = jnp.where(carry.live, size, carry.size)
        reference = jnp.where(carry.live, reference, carry.reference)
        count = carry.count + carry.live
        return _Carry(
            carry.live & live_after(size, reference) & (count < max_steps),
            count,
            keep(new, image),
            keep(residual, carry.residual) if kept else carry.residual,
            size,
            reference,
            jnp.minimum(carry.best, size),
            images,
            residuals,
            filled,
        )

    image = function(start)
    residual = image - start
    began = norm(residual)
    reference = norm(image) if scale is None else scale
    store = jnp.zeros((kept, lanes, n), dtype)
    first = _Carry(
        live_after(began, reference) & (max_steps > 1),
        jnp.ones(lanes, int),
        image,
        residual if kept else jnp.zeros((lanes, 0), dtype),
        began,
        reference,
        began,
        store,
        store,
        jnp.zeros(lanes, int),
    )
    last = jax.lax.while_loop(more, step, first)
    size = last.size
    ratio = jnp.where(began > 0, size / jnp.where(began > 0, began, 1), 0)
    rate = ratio ** (1 / jnp.maximum(last.count - 1, 1))
    converged = size <= tolerance * last.reference
    return FixedPoints(last.image, last.count, size, rate, converged)


def _norm_near(x: Lanes, like: Float[Array, " lanes"]) -> Float[Array, " lanes"]:
    """The norm, where that of the step before says what not to overflow at."""
    fine = (like > 4 * jnp.finfo(x.dtype).tiny) & jnp.isfinite(like)
    unit = jnp.where(fine, like, 1)
    return unit * jnp.sqrt(jnp.sum((x * (1 / unit)[:, None]) ** 2, -1))


def _mixed(images, residuals, filled, kept, ridge, image):
    """The combination of images whose residual is smallest, by lane."""
    there = jnp.arange(kept)[:, None] < filled[None]
    safe = jnp.where(there[:, :, None], residuals, 0)
    gram = jnp.einsum("kln,mln->lkm", safe, safe)
    trace = jnp.trace(gram, axis1=1, axis2=2)[:, None, None]
    unit = jnp.where(trace > 0, trace, 1)
    eye = jnp.eye(kept, dtype=image.dtype)
    missing = jnp.where(there.T, 0.0, 1.0).astype(image.dtype)
    # Weights solve (G + ridge) w = 1 up to scale; slots not filled yet get none.
    matrix = gram / unit + ridge * eye + missing[:, :, None] * eye
    weights = _solve_small(matrix, 1 - missing)
    total = jnp.sum(weights, 1, keepdims=True)
    weights = weights / jnp.where(total == 0, 1, total)
    mixed = jnp.einsum("lk,kln->ln", weights, images)
    fine = jnp.all(jnp.isfinite(weights), 1, keepdims=True) & (total != 0)
    return jnp.where(fine, mixed, image)


def _solve_small(matrix, rhs):
    """Gaussian elimination of small positive definite matrices, lanes vectorised.

    A library call in a loop costs more than these few operations, and has been seen
    to hang on machines of two cores.
    """
    size = matrix.shape[-1]
    rows = [matrix[:, i] for i in range(size)]
    values = [rhs[:, i] for i in range(size)]
    for i in range(size):
        for j in range(i + 1, size):
            factor = rows[j][:, i] / rows[i][:, i]
            rows[j] = rows[j] - factor[:, None] * rows[i]
            values[j] = values[j] - factor * values[i]
    out: list[Array] = [values[0]] * size
    for i in reversed(range(size)):
        known = sum(
            (rows[i][:, j] * out[j] for j in range(i + 1, size)),
            start=jnp.zeros_like(values[i]),
        )
        out[i] = (values[i] - known) / rows[i][:, i]
    return jnp.stack(out, 1)
