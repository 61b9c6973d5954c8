"""Edges in groups of one's own choice, found on the host, once."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Int32

from ._connectivity import Connectivity
from ._loops import taken, times


class Groups(eqx.Module):
    """Lists of numbers, one after the other.

    Attributes:
        ordered: the numbers, group by group; None where that is how they are.
        rows: where each group begins, and where the last ends.
        count: how many numbers there are.
        longest: numbers of the longest group.
    """

    ordered: Int32[Array, " count"] | None
    rows: Int32[Array, " groups+1"]
    count: int = eqx.field(static=True)
    longest: int = eqx.field(static=True)

    @classmethod
    def of(cls, group: np.ndarray, groups: int) -> "Groups":
        """Numbers by their group, ascending in each.

        Args:
            group: of each number.
            groups: how many there are.

        Returns:
            The groups.
        """
        group = np.asarray(group)
        ordered = np.argsort(group, kind="stable")
        sizes = np.bincount(group, minlength=groups)
        rows = np.concatenate([[0], np.cumsum(sizes)])
        return cls(
            jnp.asarray(ordered, jnp.int32),
            jnp.asarray(rows, jnp.int32),
            len(group),
            int(np.max(sizes, initial=0)),
        )

    def places(self, chosen: Int[Array, " some"]) -> Int32[Array, "some longest"]:
        """Where the members of some groups stand.

        Args:
            chosen: groups; past the end for none.

        Returns:
            Places in the order of groups, and past the end.
        """
        last = self.rows.shape[0] - 1
        start, stop = self.rows[chosen], self.rows[jnp.minimum(chosen + 1, last)]
        place = start[:, None] + jnp.arange(self.longest, dtype=jnp.int32)
        return jnp.where(place < stop[:, None], place, self.count)

    def members(self, chosen: Int[Array, " some"]) -> Int32[Array, "some longest"]:
        """The numbers in some groups.

        Args:
            chosen: groups; past the end for none.

        Returns:
            Numbers, and past the end.
        """
        places = self.places(chosen)
        if self.ordered is None:
            return places
        return self.ordered.at[places].get(mode="fill", fill_value=self.count)

    def each(self, group: Int[Array, ""], visit: Callable, carry: Any) -> Any:
        """One group in a loop of single numbers.

        Args:
            group: which.
            visit: `(place, number, carry)` to the next carry.
            carry: before the first.

        Returns:
            The carry after the last.
        """

        def one(place, carry):
            number = place if self.ordered is None else taken(self.ordered, (place,))
            return visit(place, number, carry)

        first, last = (taken(self.rows, (group + i,)) for i in (0, 1))
        return times(first, last, one, carry)


class Incoming(eqx.Module):
    """Edges by the cell that they lead to, for what a cell's spike does to them.

    Attributes:
        by_cell: edges of every cell.
        senders: of edges in that order.
        by_arrival: edges of every sender and delay, a row of senders for each delay;
            None where edges have no delays of their own.
        cells: how many there are.
    """

    by_cell: Groups
    senders: Int32[Array, " edges"]
    by_arrival: Groups | None
    cells: int = eqx.field(static=True)

    @classmethod
    def of(cls, connectivity: Connectivity, cells: int | None = None) -> "Incoming":
        """From a connectivity, on the host.

        Args:
            connectivity: who is connected to whom.
            cells: how many there are at the other side, where each is several
                receivers, of which receiver k * cells + i is cell i's; as many as
                receivers if None.

        Returns:
            The edges, 8 bytes for each; 12 where they have delays.

        Raises:
            ValueError: where receivers are no multiple of the cells.
        """
        cells = connectivity.receivers if cells is None else cells
        if cells < 1 or connectivity.receivers % cells:
            raise ValueError(
                f"cells={cells}: the {connectivity.receivers} receivers have to be a "
                "multiple"
            )
        # In NumPy alone: what JAX computes under `jit` is not known on the host.
        senders = senders_of(connectivity)
        cell = np.asarray(connectivity.targets) % cells
        by_arrival = None
        if connectivity.delays is not None:
            count = connectivity.senders
            late = (np.asarray(connectivity.delays) - 1) * count + senders
            by_arrival = Groups.of(late, connectivity.latest * count)
        ordered = senders[np.argsort(cell, kind="stable")]
        return cls(
            Groups.of(cell, cells), jnp.asarray(ordered, jnp.int32), by_arrival, cells
        )


def senders_of(connectivity: Connectivity) -> np.ndarray:
    """The sender of every edge, on the host.

    Args:
        connectivity: who is connected to whom.

    Returns:
        Numbers of senders, row by row.
    """
    return np.repeat(
        np.arange(connectivity.senders), np.diff(np.asarray(connectivity.rows))
    )
