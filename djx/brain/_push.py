"""Spikes to their targets: work for those that fired, in both directions."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..core import Bilinear, bind, Operation
from ._connectivity import Connectivity


BLOCK = 32  # senders that are looked at together


def push(
    connectivity: Connectivity,
    spikes: Float[Array, " senders"],
    weights: Float[Array, "..."] | float = 1.0,
    active: Bool[Array, " senders"] | None = None,
    per: str | None = None,
) -> Float[Array, " receivers"]:
    """What arrives: of each edge whose sender fired, its weight times the spike.

    Terms are added in the order of edges on CPUs. Senders that did not fire cost
    nothing, nor do those that are not active in the gradient by spikes. A gradient by
    weights of edges adds an array of as many, most of it zeros.

    Args:
        connectivity: who is connected to whom.
        spikes: of senders; mostly zeros, usually ones else.
        weights: one for all edges, one a sender or one an edge.
        active: senders whose spike could change, where a surrogate's slope is not zero;
            others' slopes are taken for zero. All if None.
        per: "sender" or "edge", where weights are as many as both.

    Returns:
        A number for every receiver.

    Raises:
        ValueError: where spikes or weights are not as many as they should be, or
            weights could be of senders as well as of edges.
    """
    weights = jnp.asarray(weights)
    count = connectivity.senders
    if spikes.shape != (count,):
        raise ValueError(f"spikes: one for each of {count} senders, not {spikes.shape}")
    kind = connectivity.kind_of(weights.shape, per)
    dtype = jnp.result_type(spikes, weights, float)
    if active is None:
        active = jnp.ones(count, bool)
    else:
        spikes = jnp.where(active, spikes, jax.lax.stop_gradient(spikes))
    shape = Layout(connectivity, kind)
    fixed = connectivity.rows, connectivity.targets, active
    operation = Contraction(shape, "receivers")
    given = spikes.astype(dtype), weights.astype(dtype)
    return bind(operation, *given, *fixed)[0]


class Layout:
    """Sizes, which compilers know."""

    def __init__(self, connectivity: Connectivity, kind: str):
        self.senders = connectivity.senders
        self.receivers = connectivity.receivers
        self.edges = connectivity.edges
        self.longest = connectivity.longest
        self.kind = kind
        self.at_once = rows_at_once(self.senders)


def rows_at_once(senders: int) -> int:
    """Rows that are gathered in one turn; a step with more takes several.

    Args:
        senders: how many.

    Returns:
        As many as fire at 20 Hz in a step of 0.1 ms, and a few more.
    """
    return min(max(senders, 1), 12 + senders // 512)


class _Pushed(Bilinear):
    """Bilinear in floats; lanes are taken one after the other."""

    def expanded(self, size, dims, arrays):
        """One lane after the other."""
        moved = [
            a if d is None else jnp.moveaxis(a, d, 0)
            for a, d in zip(arrays, dims, strict=True)
        ]
        where = tuple(d is not None for d in dims)
        return _Mapped(self, where), moved, [0 if w else None for w in where], 0


class Contraction(_Pushed):
    """A derivative of the sum, over edges, of sender times weight times receiver.

    By receivers it is `push`, by senders what an edge brings back, by weights what each
    edge carried. Arguments: the two others in this order, then rows, targets, active.
    """

    def __init__(self, layout: Layout, by: str):
        self.layout, self.by = layout, by
        names = ["senders", "weights", "receivers"]
        self.names = [name for name in names if name != by]

    def run(self, *arrays):
        """Row by row of those that count."""
        first, second, rows, targets, active = arrays
        given = dict(zip(self.names, (first, second), strict=True))
        layout = self.layout
        mask = active if self.by == "senders" else given["senders"] != 0
        sizes = {
            "senders": (layout.senders,),
            "receivers": (layout.receivers,),
            "weights": {"one": (), "sender": (layout.senders,)}.get(
                layout.kind, (layout.edges,)
            ),
        }
        out = jnp.zeros(sizes[self.by], first.dtype)
        if not layout.edges:
            return [out]

        def turn(chosen, out):
            start, stop = rows[chosen], rows[jnp.minimum(chosen + 1, layout.senders)]
            edge = start[:, None] + jnp.arange(layout.longest, dtype=jnp.int32)
            there = edge < stop[:, None]
            edge = jnp.where(there, edge, layout.edges)
            target = targets.at[edge].get(mode="fill", fill_value=layout.receivers)
            terms = there.astype(out.dtype)
            if "senders" in given:
                sender = given["senders"].at[chosen].get(mode="fill", fill_value=0)
                terms = terms * sender[:, None]
            if "receivers" in given:
                terms = terms * given["receivers"].at[target].get(
                    mode="fill", fill_value=0
                )
            if "weights" in given:
                terms = terms * _weights(given["weights"], layout.kind, chosen, edge)
            if self.by == "receivers":
                return out.at[target.reshape(-1)].add(terms.reshape(-1), mode="drop")
            if self.by == "weights" and layout.kind == "edge":
                return out.at[edge].set(terms, mode="drop", unique_indices=True)
            sums = jnp.sum(terms, 1)
            if self.by == "weights" and layout.kind == "one":
                return out + jnp.sum(sums)
            return out.at[chosen].set(sums, mode="drop", unique_indices=True)

        return [over_rows(mask, layout.at_once, turn, out)]

    def transposed(self, linear, cotangents, arguments):
        """Another derivative of the same sum."""
        place = linear.index(True)
        known = {self.by: cotangents[0], self.names[1 - place]: arguments[1 - place]}
        other = Contraction(self.layout, self.names[place])
        given = [known[name] for name in other.names]
        out: list = [None] * len(arguments)
        (out[place],) = bind(other, *given, *arguments[2:])
        return out


class _Mapped(_Pushed):
    """Lanes of a contraction; what all share stays one."""

    def __init__(self, of: Operation, where: tuple[bool, ...]):
        self.of, self.where = of, where

    def _over(self, function, where, arrays):
        lanes = [a for a, w in zip(arrays, where, strict=True) if w]

        def one(lanes):
            given = iter(lanes)
            whole = [
                next(given) if w else a for a, w in zip(arrays, where, strict=True)
            ]
            return function(*whole)

        return jax.lax.map(one, lanes)

    def run(self, *arrays):
        """In a loop."""
        return self._over(self.of.run, self.where, arrays)

    def transposed(self, linear, cotangents, arguments):
        """Of every lane; of what lanes share, the sum."""
        place = linear.index(True)
        given = [*cotangents, *arguments]
        given[1 + place] = jnp.zeros(())  # stands for what is linear

        def one(g, *arguments):
            return self.of.transposed(linear, [g], arguments)[place]

        where = (True, *(w and i != place for i, w in enumerate(self.where)))
        found = self._over(one, where, given)
        out: list = [None] * len(arguments)
        out[place] = found if self.where[place] else jnp.sum(found, 0)
        return out


def _weights(weights, kind: str, chosen, edge):
    if kind == "one":
        return weights
    if kind == "sender":
        return weights.at[chosen].get(mode="fill", fill_value=0)[:, None]
    return weights.at[edge].get(mode="fill", fill_value=0)


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
