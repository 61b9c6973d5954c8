"""All edges as a matrix: for devices that multiply matrices and little else."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._buffered import terms_of
from ._contraction import Contraction


def contract(what: Contraction, given: dict[str, Array]) -> Array:
    """The sum, by a product with a matrix.

    Terms are added in whatever order the device likes.

    Args:
        what: the sum.
        given: its arrays.

    Returns:
        The result.
    """
    start = what.start(given)
    function = lambda given: _of_lane(what, given)  # noqa: E731
    for lane in reversed(what.lanes):
        function = _over(function, lane, given)
    return start + function({n: a for n, a in given.items() if n != "into"})


def _over(function, lane, given):
    axes = {n: 0 if n in lane.of else None for n in given if n != "into"}
    every = jax.vmap(function, in_axes=(axes,), axis_size=lane.size)
    if "result" in lane.of:
        return every
    return lambda given: jnp.sum(every(given), 0)


def _of_lane(what, given):
    source = what.source
    chosen = jnp.arange(source.senders, dtype=jnp.int32)
    row = source.of(chosen, given)
    if what.by == "weights":
        terms = terms_of(what, given, chosen, row)
        out = jnp.zeros(what.shape, terms.dtype)
        return out.at[row.edge].add(terms, mode="drop")
    known = given["senders" if what.by == "receivers" else "receivers"]
    terms = row.there.astype(known.dtype)
    if what.weighted:
        weights = given["weights"].at[row.edge].get(mode="fill", fill_value=0)
        terms = jnp.where(row.there, weights, 0)
    matrix = jnp.zeros((source.senders, *source.reach), known.dtype)
    matrix = matrix.at[chosen[:, None], *row.target].add(terms, mode="drop")
    matrix = matrix.reshape(source.senders, -1)
    exact = jax.lax.Precision.HIGHEST
    if what.by == "receivers":
        return jnp.matmul(known, matrix, precision=exact).reshape(source.reach)
    sums = jnp.matmul(matrix, known.reshape(-1), precision=exact)
    return jnp.where(given["mask"], sums, 0)
