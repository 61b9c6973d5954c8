"""Filters with poles that change from sample to sample, and their exact adjoint."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import bind
from ._rows import Lanes, unknown_to_compilers


BLOCK = 64  # samples
UNROLL = 2  # samples of one turn of the innermost loop


def allpole(
    audio: Float[Array, " samples"],
    coefficients: Float[Array, "samples order"] | Float[Array, " order"],
    past: Float[Array, " order"] | None = None,
) -> Float[Array, " samples"]:
    """y[n] = x[n] - sum_k a[n, k] y[n - k], k from 1 to the order.

    The derivative is exact: the adjoint is the same filter, run backwards with its
    coefficients shifted, v[n] = g[n] - sum_k a[n + k, k] v[n + k]. It costs as much as
    the filter, and keeps nothing but the output. On CPUs samples are taken one by one;
    elsewhere in parallel, by an associative scan over the state's matrices. On CPUs a
    stream in chunks of multiples of 64 samples gives the bits of the whole; in others
    it may round differently.

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
    coefficients = jnp.broadcast_to(coefficients, whole)
    given = (x.astype(dtype) for x in (coefficients, audio, past))
    return bind(_AllPole(), *given)[0]


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


class _AllPole(Lanes):
    """Of (..., samples, order), (..., samples) and (..., order) arrays."""

    def run(self, a, x, past):
        lead, samples = x.shape[:-1], x.shape[-1]
        if a.shape[-1] == 0 or x.size == 0:
            return [x]
        count = math.prod(lead)
        rows = (
            a.reshape(count, *a.shape[-2:]),
            x.reshape(count, samples),
            past.reshape(count, -1),
        )

        def one_by_one(*rows):
            return jax.lax.map(lambda row: _sequential(*row), rows)

        def at_once(*rows):
            return jax.vmap(_parallel)(*rows)

        out = jax.lax.platform_dependent(*rows, cpu=one_by_one, default=at_once)
        return [out.reshape(x.shape)]

    def linearised(self, active, primals):
        """dy[n] = dx[n] - sum_k da[n, k] y[n - k] - sum_k a[n, k] dy[n - k]."""
        a, x, past = primals
        (y,) = bind(self, *primals)

        def push(tangents):
            given = iter(tangents)
            da, dx, dpast = (next(given) if is_active else None for is_active in active)
            dx = jnp.zeros_like(x) if dx is None else dx
            dpast = jnp.zeros_like(past) if dpast is None else dpast
            if da is not None:
                for k in range(1, a.shape[-1] + 1):
                    dx = dx - da[..., k - 1] * _delayed(y, past, k)
            return bind(self, a, dx, dpast)

        return [y], push

    def transposed(self, linear, cotangents, arguments):
        """Backwards, with the coefficients of the samples that look back at one."""
        a, _, past = arguments
        (g,) = cotangents
        order = a.shape[-1]
        ahead = [_shifted(a[..., k - 1], k) for k in range(1, order + 1)]
        back = jnp.flip(jnp.stack(ahead, -1), -2) if order else jnp.zeros_like(a)
        nothing = jnp.zeros(past.shape, g.dtype)
        (v,) = bind(self, back, jnp.flip(g, -1), nothing)
        v = jnp.flip(v, -1)
        before = []
        for j in range(1, order + 1):  # y[-j] is heard in y[n] by a[n, n + j]
            heard = range(min(order - j + 1, v.shape[-1]))
            parts = [-a[..., n, n + j - 1] * v[..., n] for n in heard]
            before.append(sum(parts, start=jnp.zeros_like(g[..., 0])))
        d_past = jnp.stack(before, -1) if order else nothing
        return [None, v if linear[1] else None, d_past if linear[2] else None]


def _delayed(y, past, k: int):
    """y[n - k]."""
    return jnp.concatenate([jnp.flip(past[..., :k], -1), y], -1)[..., : y.shape[-1]]


def _shifted(a, k: int):
    """a[n + k], zero after the end."""
    k = min(k, a.shape[-1])
    none = jnp.zeros((*a.shape[:-1], k), a.dtype)
    return jnp.concatenate([a[..., k:], none], -1)


def _sequential(a, x, past):
    """Sample by sample, in blocks of one size: chunks of blocks cannot change a bit."""
    samples, order = a.shape
    blocks = -(-samples // BLOCK)
    fill = blocks * BLOCK - samples
    a = jnp.pad(a, [(0, fill), (0, 0)]).reshape(blocks, BLOCK, order)
    x = jnp.pad(x, (0, fill)).reshape(blocks, BLOCK)

    def step(last, given):
        a, x = given
        # The newest output last, so that what waits for it is one operation.
        out = x
        for k in reversed(range(order)):
            out = out - a[k] * last[k]
        return (out, *last[:-1]), out

    def of_block(index, carry):
        last, outs = carry
        given = (jax.lax.dynamic_index_in_dim(z, index, 0, False) for z in (a, x))
        last, out = jax.lax.scan(step, last, tuple(given), unroll=UNROLL)
        return last, jax.lax.dynamic_update_index_in_dim(outs, out, index, 0)

    start = tuple(past[k] for k in range(order))
    turns = unknown_to_compilers(blocks, x)
    _, out = jax.lax.fori_loop(0, turns, of_block, (start, jnp.zeros_like(x)))
    return out.reshape(-1)[:samples]


def _parallel(a, x, past):
    """The states s[n] = A[n] s[n - 1] + (x[n], 0, ..), by an associative scan."""
    samples, order = a.shape
    below = jnp.broadcast_to(
        jnp.eye(order - 1, order, dtype=a.dtype), (samples, order - 1, order)
    )
    matrices = jnp.concatenate([-a[:, None, :], below], 1)
    inputs = jnp.zeros((samples, order), x.dtype).at[:, 0].set(x)
    inputs = inputs.at[0].add(matrices[0] @ past)

    def join(first, second):
        return (
            second[0] @ first[0],
            jnp.einsum("...ij,...j->...i", second[0], first[1]) + second[1],
        )

    return jax.lax.associative_scan(join, (matrices, inputs))[1][:, 0]
