"""Functions of rows, in blocks of one size: no bit depends on how many rows there are.

On CPUs compilers fuse a product and a sum into one operation, rounded once, or they do
not, depending on what stands around them and how large it is. A function of rows is
always compiled alone there and for the same shapes, which also fit a cache.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import bind, Operation


Function = Callable[..., list[Array]]
WIDTH = 64  # samples of a row of `of_samples`
WIDE_ROWS = 4  # of its blocks


def by_rows(
    function: Function,
    *arrays: Array,
    rows: int,
    pull: Callable[[Sequence[Array], Sequence[Array]], list[Array]] | None = None,
    pull_rows: int | None = None,
) -> list[Array]:
    """Applies a function of rows, that works on each row by itself, in blocks.

    Args:
        function: of arrays (rows, ...) to a list of arrays (rows, ...). It closes over
            nothing that carries a derivative.
        arrays: (..., last), with the same leading axes; the first is of floats.
        rows: in a block.
        pull: (arrays, cotangents) to the arrays' cotangents, where one is known that is
            better than what JAX derives.
        pull_rows: in a block of `pull`.

    Returns:
        The function's arrays, with the leading axes of the arguments; they can be
        differentiated to any order in both modes.
    """
    return bind(_Rows(function, rows, pull, pull_rows or rows), *arrays)


def of_samples(
    function: Callable[..., Array], *signals: Float[Array, "*samples"]
) -> Float[Array, " samples"]:
    """A function of samples, each by itself, whose bits no chunk changes.

    Args:
        function: of arrays (rows, samples or 1) to one (rows, samples). It closes over
            nothing that carries a derivative.
        signals: a value for every sample or one for all; the first is of samples.

    Returns:
        A value for every sample.
    """
    (samples,) = signals[0].shape
    rows = -(-samples // WIDTH)

    def split(signal):
        if signal.ndim == 0:
            return jnp.broadcast_to(signal, (rows, 1))
        return jnp.pad(signal, (0, rows * WIDTH - samples)).reshape(rows, WIDTH)

    (out,) = by_rows(lambda *a: [function(*a)], *map(split, signals), rows=WIDE_ROWS)
    return out.reshape(-1)[:samples]


class Lanes(Operation):
    """An operation whose arguments and results all take further leading axes."""

    def expanded(self, size, dims, arrays):
        """One more leading axis."""
        moved = [
            jnp.broadcast_to(a, (size, *a.shape))
            if d is None
            else jnp.moveaxis(a, d, 0)
            for a, d in zip(arrays, dims, strict=True)
        ]
        return self, moved, [0] * len(arrays), 0


class _Rows(Lanes):
    def __init__(self, function: Function, rows: int, pull: Any, pull_rows: int):
        self.function, self.rows = function, rows
        self.pull, self.pull_rows = pull or self._derived, pull_rows

    def _derived(self, arrays, cotangents):
        return list(jax.vjp(self.function, *arrays)[1](list(cotangents)))

    def run(self, *arrays):
        def in_blocks(*arrays):
            return _in_blocks(self.function, arrays, self.rows)

        # Elsewhere a block is a call, and compilers fuse alike for any number of rows.
        return jax.lax.platform_dependent(
            *arrays, cpu=in_blocks, default=self.reference
        )

    def reference(self, *arrays):
        lead = arrays[0].shape[:-1]
        flat = [a.reshape(math.prod(lead), a.shape[-1]) for a in arrays]
        return [o.reshape(*lead, *o.shape[1:]) for o in self.function(*flat)]

    def linearised(self, active, primals):
        results = bind(self, *primals)

        def push(tangents):
            given = iter(tangents)
            whole = [next(given) if is_active else None for is_active in active]
            whole = [
                jnp.zeros_like(p) if t is None else t
                for p, t in zip(primals, whole, strict=True)
            ]
            return bind(_Tangent(self), *primals, *whole)

        return results, push


class _Tangent(_Rows):
    """The derivative along tangents of all arguments; linear in those."""

    def __init__(self, of: _Rows):
        self.of = of

        def function(*arrays):
            count = len(arrays) // 2
            return jax.jvp(of.function, arrays[:count], arrays[count:])[1]

        super().__init__(function, of.rows, None, of.rows)

    def transposed(self, linear, cotangents, arguments):
        """The cotangents of the tangents, by the function's own rule."""
        count = len(arguments) // 2
        primals, of = arguments[:count], self.of
        shapes = jax.eval_shape(of.reference, *primals)
        whole = [
            jnp.zeros(s.shape, s.dtype) if c is None else c
            for c, s in zip(cotangents, shapes, strict=True)
        ]

        def function(*arrays):
            return of.pull(arrays[:count], arrays[count:])

        out = bind(_Rows(function, of.pull_rows, None, of.rows), *primals, *whole)
        wanted = zip(out, linear[count:], strict=True)
        return [None] * count + [o if is_linear else None for o, is_linear in wanted]


def _in_blocks(function: Function, arrays: Sequence[Array], rows: int) -> list[Array]:
    lead = arrays[0].shape[:-1]
    count = math.prod(lead)
    blocks = -(-count // rows)
    # Of one block the place is known: what is done there would leave the loop, and be
    # compiled with what surrounds it. A second one is held, and never reached.
    held = max(blocks, 2)

    def split(a):
        a = a.reshape(count, a.shape[-1])
        a = jnp.pad(a, [(0, held * rows - count), (0, 0)])
        return a.reshape(held, rows, a.shape[-1])

    block = [jax.ShapeDtypeStruct((rows, a.shape[-1]), a.dtype) for a in arrays]
    like = jax.eval_shape(function, *block)
    if not blocks:
        return [jnp.zeros((*lead, *o.shape[1:]), o.dtype) for o in like]
    given = [split(a) for a in arrays]
    turns = unknown_to_compilers(blocks, given[0])

    def turn(index, out):
        told = function(
            *[jax.lax.dynamic_index_in_dim(g, index, 0, False) for g in given]
        )
        return [
            jax.lax.dynamic_update_index_in_dim(o, t, index, 0)
            for o, t in zip(out, told, strict=True)
        ]

    out = [jnp.zeros((held, *o.shape), o.dtype) for o in like]
    out = jax.lax.fori_loop(0, turns, turn, out)
    return [
        o.reshape(held * rows, *o.shape[2:])[:count].reshape(*lead, *o.shape[2:])
        for o in out
    ]


def unknown_to_compilers(count: int, floats: Array) -> Array:
    """A number of turns that no compiler knows: a loop of one would be taken apart.

    Args:
        count: the number.
        floats: something that is computed; not empty.

    Returns:
        The number.
    """
    # It depends on whether an element is a number, if only on paper; behind a barrier,
    # or of constants the loop would be computed by the compiler, who rounds otherwise.
    first = jax.lax.optimization_barrier(floats.reshape(-1)[0])
    odd = jnp.isnan(first).astype(jnp.int32)
    return jnp.minimum(count, count + odd)
