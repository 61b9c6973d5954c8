"""Rows of those that fired, some at once: what any device can do."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from ._contraction import Contraction, over_lanes


BLOCK = 32  # senders that are looked at together


def rows_at_once(senders: int) -> int:
    """Rows that are gathered in one turn; a step with more takes several.

    Args:
        senders: how many.

    Returns:
        As many as fire at 20 Hz in a step of 0.1 ms, and a few more.
    """
    return min(max(senders, 1), 12 + senders // 512)


def turns(spikes: Array) -> Int[Array, ""]:
    """Turns that a step's rows take in a buffer of `rows_at_once`; none is ever lost.

    Args:
        spikes: of senders, zero for those that did not fire.

    Returns:
        How many; all after the first are overflows.
    """
    fired = jnp.sum(spikes != 0, dtype=jnp.int32)
    return -(-fired // rows_at_once(spikes.shape[0]))


def contract(what: Contraction, given: dict[str, Array]) -> Array:
    """The sum, by turns of rows.

    Terms by receivers are added in the order of edges where the device adds so.

    Args:
        what: the sum.
        given: its arrays.

    Returns:
        The result.
    """
    return over_lanes(_contract, what, given)


def _contract(what, given):
    source, out = what.source, what.start(given)
    mask = given["mask"] if what.by == "senders" else given["senders"] != 0

    def turn(chosen, out):
        row = source.of(chosen, given)
        terms = terms_of(what, given, chosen, row)
        if what.by == "senders":
            sums = jnp.sum(terms, 1)
            return out.at[chosen].add(sums, mode="drop", unique_indices=True)
        place = row.target if what.by == "receivers" else (row.edge,)
        place = tuple(index.reshape(-1) for index in place)
        return out.at[place].add(terms.reshape(-1), mode="drop")

    return over_rows(mask, rows_at_once(source.senders), turn, out)


def terms_of(what: Contraction, given: dict[str, Array], chosen, row) -> Array:
    """Products of what is known, edge by edge.

    Args:
        what: the sum.
        given: its arrays.
        chosen: senders.
        row: their edges.

    Returns:
        A row for each; zeros where there is no edge.
    """
    terms = jnp.ones((), given[what.factors[0]].dtype)
    if "senders" in what.factors:
        terms = given["senders"].at[chosen].get(mode="fill", fill_value=0)[:, None]
    if "receivers" in what.factors:
        back = given["receivers"].at[row.target].get(mode="fill", fill_value=0)
        terms = terms * back
    if "weights" in what.factors:
        terms = terms * given["weights"].at[row.edge].get(mode="fill", fill_value=0)
    # A choice between product and sum keeps compilers from fusing the two.
    return jnp.where(row.there, terms, 0)


def over_rows(mask: Bool[Array, " senders"], at_once: int, turn, carry):
    """Takes the rows that a mask names, in order, some at once.

    Blocks without any are passed over, so that the search costs a look at each block.

    Args:
        mask: of the rows.
        at_once: rows of a turn.
        turn: `(rows, carry)` to the next carry; rows behind the last are past the end.
        carry: before the first turn.

    Returns:
        The carry after all.
    """
    count = mask.shape[0]
    blocks = -(-count // BLOCK)
    numbers = np.arange(blocks * BLOCK).reshape(blocks, BLOCK).astype(np.int32)
    whole = jnp.pad(mask, (0, blocks * BLOCK - count)).reshape(blocks, BLOCK)
    some = min(at_once, blocks)

    def left(state):
        return state[0] < count

    def body(state):
        first, carry = state
        remaining = whole & (numbers >= first)
        (block,) = jnp.nonzero(jnp.any(remaining, 1), size=some, fill_value=blocks)
        inside = remaining.at[block].get(mode="fill", fill_value=False).reshape(-1)
        (place,) = jnp.nonzero(inside, size=at_once, fill_value=some * BLOCK)
        row = block.at[place // BLOCK].get(mode="fill", fill_value=blocks) * BLOCK
        row = jnp.minimum(row + place % BLOCK, count).astype(jnp.int32)
        after = jnp.where(row[-1] < count, row[-1] + 1, count)
        return after, turn(row, carry)

    start = jnp.where(jnp.any(mask), 0, count).astype(jnp.int32)
    return jax.lax.while_loop(left, body, (start, carry))[1]
