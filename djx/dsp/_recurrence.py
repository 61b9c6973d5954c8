"""Linear recurrences: sample by sample on CPUs, by an associative scan elsewhere."""

import functools as ft
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._rows import unknown_to_compilers


LEAST = 1024  # samples of an array
Turn = Callable[..., tuple[Sequence[Array], list[tuple[Array, ...]]]]


def as_rows(lead: tuple[int, ...], *arrays: Array) -> list[Array]:
    """Leading axes made one."""
    count = math.prod(lead)
    return [a.reshape(count, *a.shape[len(lead) :]) for a in arrays]


def longest_turn(budget: int, numbers: int, dtype) -> int:
    """How many samples a turn of a loop takes.

    XLA compiles a loop as a whole where its body reads and writes less than a kilobyte,
    counted anew for each result; a longer body is interpreted, at a hundredth of the
    speed.

    Args:
        budget: single-precision numbers that a turn of this kind may take.
        numbers: that a sample takes.
        dtype: theirs.

    Returns:
        8, 4, 2 or 1.
    """
    words = jnp.dtype(dtype).itemsize // 4
    samples = min(8, budget // numbers) // words
    return 1 << max(samples, 1).bit_length() - 1


def by_samples(
    turn: Turn,
    state: Sequence[Float[Array, "rows ..."]],
    series: Sequence[Float[Array, "rows samples ..."]],
    fixed: Sequence[Float[Array, "rows ..."]],
    results: Sequence[tuple[int, ...]],
    samples_per_turn: int,
    backwards: bool = False,
) -> tuple[list[Array], list[Array]]:
    """Row by row, a few samples at a time, in a loop of one body.

    The body is compiled alone, whatever the number of rows and turns; so chunks of
    whole turns, and rows by themselves, give the bits of the whole. Compilers must not
    see a difference: products and sums that two results need are fused for one and not
    for the other, which depends on the order that they are computed in.

    Args:
        turn: (a row's `fixed`, its samples, each a tuple over `series`, its state) to
            the state and the samples' results, each a tuple. Samples come and go in
            the order of the recurrence.
        state: before the first sample.
        series: what changes from sample to sample.
        fixed: what does not.
        results: shapes of a sample's results.
        samples_per_turn: how many samples a turn takes; what is left over is taken one
            by one.
        backwards: from the last sample to the first.

    Returns:
        The state after the last sample, and the results.
    """
    rows, samples = series[0].shape[:2]
    whole, rest = divmod(samples, samples_per_turn)
    count = unknown_to_compilers(rows, series[0])
    # No short axis: compilers would see through its index, and round differently.
    size = max(rows * samples, LEAST)
    flat = [_filled(a.reshape(rows * samples, *a.shape[2:]), size) for a in series]
    fixed, state = (
        [_filled(a, max(rows, 64)) for a in some] for some in (fixed, state)
    )
    outs = [jnp.zeros((size, *r), series[0].dtype) for r in results]

    def of_row(row, carry):
        ends, outs = carry
        own = [_at(f, row) for f in fixed]
        carry = [_at(e, row) for e in ends], outs

        def loop(carry, first: int, turns: int, count: int):
            # The body has no number or bound that is another's, where they agree: what
            # compilers share between loops changes their order, and so their rounding.
            unknown = unknown_to_compilers(turns, series[0][-1, -1:])
            body = ft.partial(
                _turn, turn, own, flat, row * samples + first, count, backwards
            )
            return jax.lax.fori_loop(0, unknown, body, carry)

        if whole:
            carry = loop(carry, samples if backwards else 0, whole, samples_per_turn)
        if rest:
            carry = loop(carry, rest if backwards else samples - rest, rest, 1)
        last, outs = carry
        ends = [
            jax.lax.dynamic_update_index_in_dim(e, s, row, 0)
            for e, s in zip(ends, last, strict=True)
        ]
        return ends, outs

    ends, outs = jax.lax.fori_loop(0, count, of_row, (state, outs))
    outs = [
        out[: rows * samples].reshape(rows, samples, *out.shape[1:]) for out in outs
    ]
    return [end[:rows] for end in ends], outs


def _turn(turn, own, flat, first, count: int, backwards: bool, index, carry):
    state, outs = carry
    start = first - (index + 1) * count if backwards else first + index * count

    def at(a):
        return tuple(jnp.int32(i) for i in (start, *[0] * (a.ndim - 1)))

    cut = [
        jax.lax.dynamic_slice(
            a, at(a), (count, *a.shape[1:]), allow_negative_indices=False
        )
        for a in flat
    ]
    places = range(count)[::-1] if backwards else range(count)
    given = [tuple(c[place] for c in cut) for place in places]
    state, told = turn(own, given, state)
    told = told[::-1] if backwards else told
    outs = [
        jax.lax.dynamic_update_slice(
            out, jnp.stack(part), at(out), allow_negative_indices=False
        )
        for out, part in zip(outs, zip(*told, strict=True), strict=True)
    ]
    return list(state), outs


def _filled(array, size: int):
    missing = size - array.shape[0]
    return jnp.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)])


def _at(array, row):
    return jax.lax.dynamic_index_in_dim(array, row, 0, False)


def states_at_once(
    matrices: Float[Array, "samples order order"],
    inputs: Float[Array, "samples order"],
    start: Float[Array, " order"],
    backwards: bool = False,
) -> Float[Array, "samples order"]:
    """s[n] = A[n] s[n - 1] + u[n], by an associative scan.

    Args:
        matrices: A.
        inputs: u.
        start: the state before the first sample.
        backwards: s[n] = A[n] s[n + 1] + u[n].

    Returns:
        The states after each sample.
    """
    first = -1 if backwards else 0
    inputs = inputs.at[first].add(matrices[first] @ start)

    def join(earlier, later):
        return (
            later[0] @ earlier[0],
            jnp.einsum("...ij,...j->...i", later[0], earlier[1]) + later[1],
        )

    scan = jax.lax.associative_scan(join, (matrices, inputs), reverse=backwards)
    return scan[1]


def before(
    states: Float[Array, "samples order"],
    start: Float[Array, " order"],
    backwards: bool = False,
) -> Float[Array, "samples order"]:
    """The states before each sample."""
    if backwards:
        return jnp.concatenate([states[1:], start[None]])
    return jnp.concatenate([start[None], states[:-1]])
