"""Sums of harmonics in memory proportional to samples, with their own derivatives."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._rows import by_rows
from ._waves import cosine, cosine_of_multiple, sine_of_multiple


GROUP = 32  # harmonics of one recurrence: rounding grows with their number
INLINE = 4  # groups up to which they make one expression
ROWS = 8  # frames of a block: one frame of a stream costs as many
BACKWARD_ROWS = 128  # the same for gradients: the sines of one harmonic fit a cache


def harmonic_sum(
    cycles: Float[Array, "frames hop"],
    left: Float[Array, "frames harmonics"],
    right: Float[Array, "frames harmonics"],
    fade: Float[np.ndarray, " hop"],
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
    fade = np.asarray(fade, cycles.dtype)

    def of_rows(cycles, left, right):
        return [_sum(cycles, left, right, fade)]

    def pull(given, cotangents):
        cycles, left, right = given
        (g,) = cotangents
        h = _numbers(left)
        slope = _sum(cycles, left * h, right * h, fade, even=True)
        ends = _projections(cycles, g, fade, left.shape[-1])
        return [2 * np.pi * g * slope, *ends]

    (out,) = by_rows(
        of_rows, cycles, left, right, rows=ROWS, pull=pull, pull_rows=BACKWARD_ROWS
    )
    return out


def _groups(count: int) -> tuple[int, int]:
    """How many groups, and how many harmonics each: an even number."""
    groups = -(-count // GROUP)
    return groups, 2 * -(-count // (2 * groups))


def _numbers(amplitudes):
    return jnp.arange(1, amplitudes.shape[-1] + 1, dtype=amplitudes.dtype)


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
