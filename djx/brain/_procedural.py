"""Connectivity that is drawn again whenever a cell fires, instead of stored."""

import dataclasses
import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Int32

from ..core import varying_alike
from ._blocks import onto_receptors
from ._connectivity import Connectivity
from ._hash import check_seed, geometric_thresholds, hashed
from ._loops import taken
from ._rules import chance_row, fixed_probability, most
from ._stored import Rows


GUIDE = 12  # bits of a word by which its gap is looked up


class Procedural(eqx.Module):
    """`fixed_probability`, whose rows are made where they are needed.

    An edge takes a few operations each time instead of 4 bytes for good. Weights are
    one for all or one a sender.

    Attributes:
        senders: how many.
        cells: that each sender may reach.
        probability: of an edge, in (0, 1).
        seed: from 0 to 2^32 - 1.
        kind: of every sender's edges, as `onto_receptors` takes it; None for one kind.
        kinds: of receptors of every cell.
    """

    senders: int = eqx.field(static=True)
    cells: int = eqx.field(static=True)
    probability: float = eqx.field(static=True)
    seed: int = eqx.field(static=True)
    kind: Int32[Array, " senders"] | None = None
    kinds: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if not 0 < self.probability < 1:
            raise ValueError(
                f"probability={self.probability}: has to be above 0 and below 1; store "
                "other connectivities"
            )
        check_seed(self.seed)
        if self.kind is not None and jnp.shape(self.kind) != (self.senders,):
            raise ValueError(f"kind: one for each of {self.senders} senders")

    @property
    def receivers(self) -> int:
        """Receptor k of cell i is receiver k * cells + i."""
        return self.kinds * self.cells

    @property
    def longest(self) -> int:
        """Edges that a row has at most."""
        return most(self.cells, self.probability)

    @property
    def delays(self) -> None:
        """Edges have none of their own."""
        return None

    def kind_of(self, shape: tuple[int, ...], per: str | None = None) -> str:
        """What weights are of: "one" or "sender".

        Args:
            shape: theirs.
            per: "sender", or None.

        Returns:
            "one" or "sender".

        Raises:
            ValueError: where they are of neither.
        """
        for name, such in {"sender": (self.senders,), "one": ()}.items():
            if shape == such and per in (None, name):
                return name
        raise ValueError(
            f"weights: one or {self.senders} of senders, not {shape}"
            + (f" per {per}" if per else "")
            + "; store the connectivity where edges have weights of their own"
        )

    def stored(self) -> Connectivity:
        """The same edges, stored."""
        found = fixed_probability(
            self.senders, self.cells, self.probability, seed=self.seed
        )
        if self.kind is None:
            return found
        return onto_receptors(found, np.asarray(self.kind), self.kinds)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Sizes of a procedural connectivity, and how its rows are drawn."""

    senders: int
    cells: int
    receivers: int
    probability: float
    seed: int
    shifted: bool

    names = "thresholds", "guide", "offsets"

    @property
    def reach(self) -> tuple[int, ...]:
        """The shape of receivers."""
        return (self.receivers,)

    @property
    def longest(self) -> int:
        """Edges that a row has at most."""
        return most(self.cells, self.probability) if self.cells else 0

    @property
    def edges(self) -> int:
        """At most."""
        return self.senders * self.longest

    @property
    def native(self) -> tuple[str, dict[str, int]]:
        """The handler, and what it has to know."""
        sizes = {"cells": self.cells, "most": self.longest}
        return "djx_push_drawn", {**sizes, "shift": 32 - GUIDE, "seed": self.seed}

    def arrays(self, offsets: Array | None) -> dict[str, Array]:
        """Tables by which words become gaps, and where senders' receivers begin."""
        thresholds, guide = _tables(self.probability, self.cells)
        if offsets is None:
            offsets = jnp.zeros(0, jnp.int32)
        return {
            "thresholds": jnp.asarray(thresholds),
            "guide": jnp.asarray(guide),
            "offsets": offsets,
        }

    def of(self, chosen: Int[Array, " some"], given: dict[str, Array]) -> Rows:
        """The rows of some senders; a number past the end has an empty one."""

        def row(sender):
            return chance_row(sender, self.cells, self.probability, self.seed)

        cell = jax.vmap(row)(chosen)
        there = (cell < self.cells) & (chosen < self.senders)[:, None]
        if self.shifted:
            cell = cell + given["offsets"].at[chosen].get(mode="fill")[:, None]
        edge = chosen[:, None] * self.longest + jnp.arange(self.longest)
        return Rows(there, edge, (jnp.where(there, cell, self.receivers),))

    def each(self, given, at, sender, visit, carry):
        """One sender's row in a loop, `visit` being `(edge, target, carry)`."""
        offset = jnp.int32(0)
        if self.shifted:
            offset = taken(given["offsets"], (*at["offsets"], sender))

        def left(state):
            return (state[0] < self.longest) & (state[1] < self.cells)

        def one(state):
            place, cell, carry = state
            carry = visit(place, (offset + cell,), carry)
            return place + 1, self._next(given, sender, place + 1, cell), carry

        first = self._next(given, sender, jnp.int32(0), jnp.int32(-1))
        start = varying_alike(jnp.int32(0), first), first, carry
        return lax.while_loop(left, one, start)[2]

    def _next(self, given, sender, place, cell):
        """The target after another: a gap further."""
        word = hashed(self.seed, sender, place)
        part = (word >> np.uint32(32 - GUIDE)).astype(jnp.int32)
        ends = tuple(taken(given["guide"], (part + i,)) for i in (0, 1))

        def halved(ends):
            low, high = ends
            middle = (low + high) // 2
            above = taken(given["thresholds"], (middle,)) <= word
            return jnp.where(above, middle + 1, low), jnp.where(above, high, middle)

        gap = lax.while_loop(lambda ends: ends[0] < ends[1], halved, ends)[0]
        return cell + gap + 1


@ft.lru_cache(maxsize=16)
def _tables(probability: float, cells: int):
    """Thresholds of gaps; for words by their first bits, how many are not above."""
    thresholds = geometric_thresholds(probability, cells)
    firsts = np.arange(2**GUIDE, dtype=np.uint64) << (32 - GUIDE)
    guide = np.searchsorted(thresholds, firsts.astype(np.uint32), side="right")
    guide = np.append(guide, len(thresholds))
    return thresholds, guide.astype(np.int32)
