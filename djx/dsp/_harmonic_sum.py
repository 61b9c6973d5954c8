"""Sums of harmonics in memory proportional to samples, with their own derivatives."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import bind, Operation
from ._blocks import in_blocks
from ._waves import cosine, cosine_of_multiple, sine_of_multiple


GROUP = 32  # harmonics of one recurrence: rounding grows with their number
INLINE = 4  # groups up to which they make one expression
ROWS = 32  # frames of a block
BACKWARD_ROWS = 128  # the same for gradients: the sines of one harmonic fit a cache


def harmonic_sum(
    cycles: Float[Array, "frames hop"],
    left: Float[Array, "frames harmonics"],
    right: Float[Array, "frames harmonics"],
    fade: Float[Array, " hop"],
) -> Float[Array, "frames hop"]:
    """sum_h a_h sin(2 pi h phi), with amplitudes that fade from `left` to `right`.

    Nothing of the size samples x harmonics is made, neither forward nor backward:
    Clenshaw's recurrence runs over the harmonics, in groups of 32 that begin with
    sines of their own, and each frame's gradients come from one recurrence more. A row
    depends on no other row.

    Args:
        cycles: phases phi, best in [-1/2, 1/2).
        left: amplitudes at a frame's start.
        right: amplitudes at its end.
        fade: weight of `right` at each sample of a frame.

    Returns:
        The sums.
    """
    (out,) = bind(_Sum(), cycles, left, right, fade)
    return out


class _Rows(Operation):
    """An operation on (..., hop) and (..., harmonics) arrays, row by row."""

    rows_of: tuple[bool, ...]
    """Which arguments have rows; the others are the same for all."""

    def expanded(self, size, dims, arrays):
        """One more leading axis."""
        moved = []
        for array, dim, rows in zip(arrays, dims, self.rows_of, strict=True):
            if dim is not None:
                array = jnp.moveaxis(array, dim, 0)
            elif rows:
                array = jnp.broadcast_to(array, (size, *array.shape))
            moved.append(array)
        if any(
            d is not None and not r for d, r in zip(dims, self.rows_of, strict=True)
        ):
            raise NotImplementedError("fades are the same for a whole batch")
        return self, moved, [0 if rows else None for rows in self.rows_of], 0


class _Sum(_Rows):
    rows_of = (True, True, True, False)

    def run(self, cycles, left, right, fade):
        return in_blocks(lambda *rows: [_sum(*rows, fade)], (cycles, left, right), ROWS)

    def reference(self, cycles, left, right, fade):
        return [_plain_sum(cycles, left, right, fade)]

    def linearised(self, active, primals):
        results = bind(self, *primals)
        cycles, left, right, fade = primals
        push_through = _Tangent()

        def push(tangents):
            given = iter(tangents)
            whole = [next(given) if is_active else None for is_active in active]
            if active[3]:
                raise NotImplementedError("fades carry no derivatives")
            d_cycles, d_left, d_right = (
                jnp.zeros_like(p) if t is None else t
                for p, t in zip(primals[:3], whole[:3], strict=True)
            )
            return bind(push_through, *primals, d_cycles, d_left, d_right)

        return results, push


class _Tangent(_Rows):
    """The derivative along tangents of phases and amplitudes; linear in those."""

    rows_of = (True, True, True, False, True, True, True)

    def run(self, cycles, left, right, fade, d_cycles, d_left, d_right):
        h = _numbers(left)
        slope = _sum(cycles, left * h, right * h, fade, even=True)
        along = _sum(cycles, d_left, d_right, fade)
        return [2 * np.pi * d_cycles * slope + along]

    def reference(self, cycles, left, right, fade, *tangents):
        def function(*changed):
            return _plain_sum(*changed, fade)

        return [jax.jvp(function, (cycles, left, right), tangents)[1]]

    def transposed(self, linear, cotangents, arguments):
        given = bind(_Gradient(), *arguments[:4], cotangents[0])
        return [None] * 4 + [
            g if is_linear else None
            for g, is_linear in zip(given, linear[4:], strict=True)
        ]


class _Gradient(_Rows):
    """Cotangents of phases and amplitudes; linear in that of the sum."""

    rows_of = (True, True, True, False, True)

    def run(self, cycles, left, right, fade, cotangent):
        h = _numbers(left)

        def of_rows(cycles, left, right, cotangent):
            slope = _sum(cycles, left * h, right * h, fade, even=True)
            ends = _projections(cycles, cotangent, fade, left.shape[-1])
            return [2 * np.pi * cotangent * slope, *ends]

        return in_blocks(of_rows, (cycles, left, right, cotangent), BACKWARD_ROWS)

    def reference(self, cycles, left, right, fade, cotangent):
        def function(*parts):
            return _plain_sum(*parts, fade)

        return list(jax.vjp(function, cycles, left, right)[1](cotangent))


def _numbers(amplitudes):
    return jnp.arange(1, amplitudes.shape[-1] + 1, dtype=amplitudes.dtype)


def _groups(count: int) -> tuple[int, int]:
    """How many groups, and how many harmonics each: an even number."""
    groups = -(-count // GROUP)
    return groups, 2 * -(-count // (2 * groups))


def _plain_sum(cycles, left, right, fade):
    """As it is defined."""
    h = _numbers(left)
    sines = sine_of_multiple(cycles[..., None], h)
    f = fade[:, None]
    return jnp.sum(((1 - f) * left[..., None, :] + f * right[..., None, :]) * sines, -1)


def _sum(cycles, left, right, fade, even=False):
    count = left.shape[-1]
    if count == 0:
        return jnp.zeros_like(cycles)
    groups, size = _groups(count)
    wave = cosine_of_multiple if even else sine_of_multiple
    step = 2 * cosine(cycles)
    change = right - left

    def of_group(first, left, change):
        """sum_j a_j wave(first + j), by b_j = a_j + 2 cos b_(j+1) - b_(j+2)."""
        upper = lower = jnp.zeros_like(cycles)
        for j in reversed(range(1, left.shape[-1])):
            a = left[..., j, None] + fade * change[..., j, None]
            upper, lower = a + step * upper - lower, upper
        a = left[..., 0, None] + fade * change[..., 0, None]
        return (a - lower) * wave(cycles, first) + upper * wave(cycles, first + 1)

    if groups <= INLINE:
        cuts = [slice(g * size, (g + 1) * size) for g in range(groups)]
        parts = [
            of_group(cut.start + 1.0, left[..., cut], change[..., cut]) for cut in cuts
        ]
        return ft.reduce(jnp.add, parts)

    def stacked(a):
        pad = [(0, 0)] * (a.ndim - 1) + [(0, groups * size - count)]
        split = jnp.pad(a, pad).reshape(*a.shape[:-1], groups, size)
        return jnp.moveaxis(split, -2, 0)

    def add(total, given):
        return total + of_group(*given), None

    first = jnp.arange(groups, dtype=cycles.dtype) * size + 1
    return jax.lax.scan(
        add, jnp.zeros_like(cycles), (first, stacked(left), stacked(change))
    )[0]


def _projections(cycles, cotangent, fade, count: int):
    """sum_n g_n (1 - w_n) sin(h phi_n) and sum_n g_n w_n sin(h phi_n), by frame."""
    if count == 0:
        return (jnp.zeros((len(cycles), 0), cycles.dtype),) * 2
    # Rows come last: sums over samples are then sums of whole vectors.
    cycles, g = cycles.T, cotangent.T
    right = g * fade[:, None]
    left = g - right
    step = 2 * cosine(cycles)
    groups, size = _groups(count)

    def of_group(first):
        return _project_group(cycles, first, size, step, left, right)

    found = jax.lax.map(of_group, jnp.arange(groups, dtype=cycles.dtype) * size + 1)
    return tuple(f.reshape(groups * size, -1)[:count].T for f in found)


def _project_group(cycles, first, size: int, step, left, right):
    """Projections on the sines of one group, from s_(h+1) = 2 cos s_h - s_(h-1)."""

    def sums(sine) -> tuple[Array, Array]:
        return jnp.sum(left * sine, 0), jnp.sum(right * sine, 0)

    def advance(carry, _):
        # In pairs, so that no array has to change its place.
        odd, even = carry
        next_odd = step * even - odd
        next_even = step * next_odd - even
        told = [*zip(sums(odd), sums(even), strict=True)]
        return (next_odd, next_even), tuple(map(jnp.stack, told))

    start = sine_of_multiple(cycles, first), sine_of_multiple(cycles, first + 1)
    _, found = jax.lax.scan(advance, start, None, length=size // 2)
    return tuple(f.reshape(size, -1) for f in found)
