"""Rows in blocks of one size, so that no row's bits depend on how many there are."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array


def in_blocks(
    function: Callable[..., Sequence[Array]], arrays: Sequence[Array], rows: int
) -> list[Array]:
    """Applies a function of rows to arrays of any number of rows, block by block.

    Compilers fuse a product and a sum into one operation, rounded once, or do not,
    depending on what stands around them and how large it is. Here the function is
    always compiled alone and for the same shapes. Blocks also fit a cache.

    Args:
        function: of arrays (rows, ...), to a list of arrays (rows, ...).
        arrays: (..., last), with the same leading axes; the first is of floats.
        rows: in a block.

    Returns:
        The function's arrays, with those leading axes.
    """
    lead = arrays[0].shape[:-1]
    count = math.prod(lead)
    blocks = -(-count // rows)

    def split(a):
        a = a.reshape(count, a.shape[-1])
        a = jnp.pad(a, [(0, blocks * rows - count), (0, 0)])
        return a.reshape(blocks, rows, a.shape[-1])

    block = [jax.ShapeDtypeStruct((rows, a.shape[-1]), a.dtype) for a in arrays]
    like = jax.eval_shape(function, *block)
    if not blocks:
        return [jnp.zeros((*lead, *o.shape[1:]), o.dtype) for o in like]
    given = [split(a) for a in arrays]
    # A loop of one turn would be taken apart and fused with what surrounds it. That
    # this is no number more than once is what no compiler knows.
    odd = jnp.isnan(given[0][0, 0, 0])
    turns = jnp.minimum(blocks, blocks + odd.astype(jnp.int32))

    def turn(index, out):
        told = function(
            *[jax.lax.dynamic_index_in_dim(g, index, 0, False) for g in given]
        )
        return [
            jax.lax.dynamic_update_index_in_dim(o, t, index, 0)
            for o, t in zip(out, told, strict=True)
        ]

    out = [jnp.zeros((blocks, *o.shape), o.dtype) for o in like]
    out = jax.lax.fori_loop(0, turns, turn, out)
    return [
        o.reshape(blocks * rows, *o.shape[2:])[:count].reshape(*lead, *o.shape[2:])
        for o in out
    ]
