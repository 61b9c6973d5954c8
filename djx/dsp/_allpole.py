"""Filters with poles that change from sample to sample, and their exact adjoint."""

import functools as ft

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import bind
from ._poles import (
    parallel as _parallel,
    parallel_transposed as _parallel_transposed,
    sequential as _sequential,
    sequential_transposed as _sequential_transposed,
)
from ._rows import Lanes


def allpole(
    audio: Float[Array, " samples"],
    coefficients: Float[Array, "samples order"] | Float[Array, " order"],
    past: Float[Array, " order"] | None = None,
) -> Float[Array, " samples"]:
    """y[n] = x[n] - sum_k a[n, k] y[n - k], k from 1 to the order.

    The derivative is exact: the adjoint is the same filter in its transposed form, run
    backwards. It costs as much as the filter, and keeps nothing but the output. On CPUs
    samples are taken one by one; elsewhere in parallel, by an associative scan over the
    state's matrices. On CPUs a stream in chunks of multiples of 64 samples gives the
    bits of the whole; in others it may round differently.

    Args:
        audio: x.
        coefficients: a, for every sample or for all.
        past: y[-1], y[-2], ..; silence if None.

    Returns:
        The output; its last samples, the newest first, are `past` for what follows.

    Raises:
        ValueError: where shapes do not agree.
    """
    order = coefficients.shape[-1]
    whole = (*audio.shape, order)
    if audio.ndim != 1 or coefficients.shape not in (whole, (order,)):
        raise ValueError(
            f"audio is (samples,) and coefficients (samples, order) or (order,), not "
            f"{audio.shape} and {coefficients.shape}"
        )
    if past is not None and past.shape != (order,):
        raise ValueError(f"past has the {order} last outputs, not shape {past.shape}")
    dtype = jnp.result_type(audio, coefficients, jnp.float32)
    past = jnp.zeros(order) if past is None else past
    given = (x.astype(dtype) for x in (coefficients, audio, past))
    return bind(DIRECT, *given)[0]


def last_outputs(
    output: Float[Array, " samples"], past: Float[Array, " order"]
) -> Float[Array, " order"]:
    """The state of a filter after some samples.

    Args:
        output: the samples.
        past: the state before them.

    Returns:
        The newest outputs first, as many as there were.
    """
    return jnp.concatenate([output[::-1], past])[: past.shape[0]]


class _Direct(Lanes):
    """y[n] = x[n] - sum_k a[n, k] y[n - k]; backwards, y[n + k].

    Of (..., samples, order) or (..., order), (..., samples) and (..., order) arrays.
    """

    def __init__(self, backwards: bool):
        self.backwards = backwards

    def run(self, a, x, past):
        if past.shape[-1] == 0 or x.size == 0:
            return [x]
        out = jax.lax.platform_dependent(
            *(a, x, past),
            cpu=ft.partial(_sequential, backwards=self.backwards),
            default=ft.partial(_parallel, backwards=self.backwards),
        )
        return [out]

    def linearised(self, active, primals):
        """dy[n] = dx[n] - sum_k da[n, k] y[n - k] - sum_k a[n, k] dy[n - k]."""
        a, x, past = primals
        (y,) = bind(self, *primals)

        def push(tangents):
            given = iter(tangents)
            da, dx, dpast = (next(given) if one else None for one in active)
            dx = jnp.zeros_like(x) if dx is None else dx
            dpast = jnp.zeros_like(past) if dpast is None else dpast
            if da is not None:
                for k in range(1, past.shape[-1] + 1):
                    heard = earlier(y, past, k, self.backwards)
                    dx = dx - per_sample(da[..., k - 1], x) * heard
            return bind(self, a, dx, dpast)

        return [y], push

    def transposed(self, linear, cotangents, arguments):
        """The other form, the other way: what waits at its end belongs to the past."""
        a, _, past = arguments
        (g,) = cotangents
        other = FORWARD if self.backwards else BACKWARD
        d_x, d_past = bind(other, a, g, jnp.zeros(past.shape, g.dtype))
        return [None, d_x if linear[1] else None, d_past if linear[2] else None]


class _Transposed(Lanes):
    """y[n] = x[n] - sum_k a[n - k, k] y[n - k]; backwards, n + k.

    Every output sends a part of itself ahead as soon as it is known. What waits for
    the first samples comes in, what waits for those after the last goes out.
    """

    def __init__(self, backwards: bool):
        self.backwards = backwards

    def run(self, a, x, waiting):
        if waiting.shape[-1] == 0 or x.size == 0:
            return [x, waiting]
        return jax.lax.platform_dependent(
            *(a, x, waiting),
            cpu=ft.partial(_sequential_transposed, backwards=self.backwards),
            default=ft.partial(_parallel_transposed, backwards=self.backwards),
        )

    def linearised(self, active, primals):
        a, x, waiting = primals
        y, end = bind(self, *primals)

        def push(tangents):
            given = iter(tangents)
            da, dx, dwaiting = (next(given) if one else None for one in active)
            dx = jnp.zeros_like(x) if dx is None else dx
            dwaiting = jnp.zeros_like(waiting) if dwaiting is None else dwaiting
            if da is None:
                return bind(self, a, dx, dwaiting)
            order = waiting.shape[-1]
            parts = [-per_sample(da[..., k], x) * y for k in range(order)]
            now, later = sent([dx, *parts], self.backwards)
            dy, dend = bind(self, a, now, dwaiting)
            return [dy, dend + later]

        return [y, end], push

    def transposed(self, linear, cotangents, arguments):
        a, x, waiting = arguments
        g, past = (
            jnp.zeros(like.shape, like.dtype) if c is None else c
            for c, like in zip(cotangents, (x, waiting), strict=True)
        )
        (d_x,) = bind(DIRECT if self.backwards else AGAINST, a, g, past)
        nearest = jnp.flip(d_x, -1) if self.backwards else d_x
        d_waiting = jnp.concatenate([nearest, past], -1)[..., : past.shape[-1]]
        return [None, d_x if linear[1] else None, d_waiting if linear[2] else None]


DIRECT, AGAINST = _Direct(False), _Direct(True)
FORWARD, BACKWARD = _Transposed(False), _Transposed(True)


def per_sample(part, audio):
    """One of the coefficients, beside samples."""
    return part if part.ndim == audio.ndim else part[..., None]


def earlier(y, past, k: int, backwards: bool = False):
    """y[n - k], or y[n + k]; `past` has what lies before, the nearest first."""
    if backwards:
        return jnp.concatenate([y, past[..., :k]], -1)[..., k:]
    return jnp.concatenate([jnp.flip(past[..., :k], -1), y], -1)[..., : y.shape[-1]]


def sent(parts, backwards: bool = False):
    """sum_k parts[k][n - k] where there are samples, and what lies after the last."""
    order, samples = len(parts) - 1, parts[0].shape[-1]
    still = [(0, 0)] * (parts[0].ndim - 1)
    pads = [(k, order - k)[:: -1 if backwards else 1] for k in range(order + 1)]
    each = zip(parts, pads, strict=True)
    total = ft.reduce(jnp.add, [jnp.pad(part, [*still, pad]) for part, pad in each])
    if backwards:
        return total[..., order:], jnp.flip(total[..., :order], -1)
    return total[..., :samples], total[..., samples:]
