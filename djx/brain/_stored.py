"""Edges that are stored, as back-ends ask for them: padded rows, or one by one."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ._loops import taken, times


class Rows(NamedTuple):
    """Edges of some senders, padded to rows of one length.

    Attributes:
        there: which of them there are.
        edge: their numbers, past the end for the others.
        target: where the receivers are, along each axis of theirs; past the end for
            the others.
    """

    there: Bool[Array, "some longest"]
    edge: Int[Array, "some longest"]
    target: tuple[Int[Array, "some longest"], ...]


@dataclasses.dataclass(frozen=True)
class Stored:
    """Sizes of a connectivity whose edges are stored.

    Attributes:
        senders: how many there are.
        receivers: how many there are.
        edges: how many there are.
        longest: edges of the longest row.
        depth: rows of the ring of receivers; None where edges have no delays.
    """

    senders: int
    receivers: int
    edges: int
    longest: int
    depth: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of its arrays."""
        late = () if self.depth is None else ("delays", "step")
        return "rows", "targets", *late

    @property
    def reach(self) -> tuple[int, ...]:
        """The shape of receivers."""
        ring = () if self.depth is None else (self.depth,)
        return *ring, self.receivers

    @property
    def native(self) -> tuple[str, dict[str, int]]:
        """The handler in C++, and what it has to know."""
        sizes = {"receivers": self.receivers, "edges": self.edges}
        return "djx_push_stored", {**sizes, "depth": self.depth or 0}

    def of(self, chosen: Int[Array, " some"], given: dict[str, Array]) -> Rows:
        """The rows of some senders; a number past the end has an empty one."""
        rows = given["rows"]
        start, stop = rows[chosen], rows[jnp.minimum(chosen + 1, self.senders)]
        edge = start[:, None] + jnp.arange(self.longest, dtype=jnp.int32)
        there = edge < stop[:, None]
        edge = jnp.where(there, edge, self.edges)
        target = given["targets"].at[edge]
        target = (target.get(mode="fill", fill_value=self.receivers),)
        if self.depth is not None:
            late = given["delays"].at[edge].get(mode="fill", fill_value=0)
            target = (given["step"] + late) % self.depth, *target
        return Rows(there, edge, target)

    def each(self, given, at, sender, visit, carry):
        """One sender's row in a loop, `visit` being `(edge, target, carry)`."""
        start, stop = (taken(given["rows"], (*at["rows"], sender + i)) for i in (0, 1))
        if self.depth is not None:
            now = taken(given["step"], at["step"]) % self.depth

        def one(edge, carry):
            target = (taken(given["targets"], (*at["targets"], edge)),)
            if self.depth is not None:
                row = now + taken(given["delays"], (*at["delays"], edge))
                target = jnp.where(row < self.depth, row, row - self.depth), *target
            return visit(edge, target, carry)

        return times(start, stop, one, carry)
