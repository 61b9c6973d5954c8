"""Who is connected to whom: rows of targets, one row for every sender."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32


class Connectivity(eqx.Module):
    """Edges in rows by sender (compressed sparse rows).

    An edge may stand there more than once, and a sender may be its own target.

    Attributes:
        targets: of the edges, row by row.
        rows: where each row begins, and where the last ends.
        receivers: how many there may be.
        longest: edges of the longest row.
        delays: steps from a spike to its arrival, of every edge, each 1 or more; None
            where the one who sends knows them.
        latest: the largest delay, in steps.
    """

    targets: Int32[Array, " edges"]
    rows: Int32[Array, " senders+1"]
    receivers: int = eqx.field(static=True)
    longest: int = eqx.field(static=True)
    delays: Int32[Array, " edges"] | None = None
    latest: int = eqx.field(static=True, default=1)

    @property
    def senders(self) -> int:
        """How many there are."""
        return self.rows.shape[0] - 1

    @property
    def edges(self) -> int:
        """How many there are."""
        return self.targets.shape[0]

    def kind_of(self, shape: tuple[int, ...], per: str | None = None) -> str:
        """What weights are of.

        Args:
            shape: theirs.
            per: "sender" or "edge", where they are as many as both.

        Returns:
            "one", "sender" or "edge".

        Raises:
            ValueError: where they are of nothing, or could be of both.
        """
        senders, edges = shape == (self.senders,), shape == (self.edges,)
        # Where each has one edge, weights of senders are those of edges.
        if senders and edges and per is None and self.edges > 1 < self.longest:
            raise ValueError(
                f"weights: {self.edges} could be of senders or of edges; say "
                "per='sender' or per='edge'"
            )
        found = {"one": shape == (), "sender": senders, "edge": edges}
        for kind in [per] if per else ["one", "edge", "sender"]:
            if found.get(kind):
                return kind
        raise ValueError(
            f"weights: one, {self.senders} of senders or {self.edges} of edges, not "
            f"{shape}" + (f" per {per}" if per else "")
        )

    def sender_of_edges(self) -> Int32[Array, " edges"]:
        """The sender of every edge."""
        return jnp.repeat(
            jnp.arange(self.senders, dtype=jnp.int32),
            jnp.diff(self.rows),
            total_repeat_length=self.edges,
        )

    def dense(
        self, weights: Float[Array, "..."] | float = 1.0, per: str | None = None
    ) -> Float[Array, "senders receivers"]:
        """The matrix, in which edges between the same two add up.

        Args:
            weights: one for all, one a sender or one an edge.
            per: "sender" or "edge", where weights are as many as both.

        Returns:
            A row for every sender.
        """
        senders = self.sender_of_edges()
        weights = jnp.asarray(weights)
        if self.kind_of(weights.shape, per) == "sender":
            weights = weights[senders]
        matrix = jnp.zeros((self.senders, self.receivers), weights.dtype)
        return matrix.at[senders, self.targets].add(weights)


def from_edges(
    senders: np.ndarray,
    targets: np.ndarray,
    counts: tuple[int, int],
    delays: np.ndarray | None = None,
) -> Connectivity:
    """Given edges, which are sorted by sender and keep their order otherwise.

    Weights of edges have to be sorted like them, by
    `np.argsort(senders, kind="stable")`.

    Args:
        senders: of each edge.
        targets: of each edge.
        counts: of senders and receivers.
        delays: of each edge, in steps.

    Returns:
        The connectivity.

    Raises:
        ValueError: where the lists are not equally long, name who is not there, or a
            delay is not a step or more.
    """
    senders, targets = map(whole, (senders, targets))
    if senders.shape != targets.shape or senders.ndim != 1:
        raise ValueError(
            f"senders and targets: two lists of as many, not {senders.shape} and "
            f"{targets.shape}"
        )
    for name, given, count in zip(
        ("senders", "targets"), (senders, targets), counts, strict=True
    ):
        if given.size and not (0 <= given.min() and given.max() < count):
            raise ValueError(
                f"{name}: {given.min()} to {given.max()} are not all from 0 to "
                f"{count - 1}"
            )
    order = order_of(senders)
    degrees = np.bincount(senders, minlength=counts[0])
    if delays is not None:
        delays = checked_delays(delays, len(senders))[order]
    return of_rows(targets[order], degrees, counts[1], delays)


def from_matrix(matrix: np.ndarray) -> tuple[Connectivity, Float[Array, " edges"]]:
    """A connectome: an edge wherever a matrix is not zero.

    Args:
        matrix: weights from a row's sender to a column's receiver.

    Returns:
        The connectivity, and the weights of its edges.
    """
    matrix = np.asarray(matrix)
    senders, targets = np.nonzero(matrix)
    found = from_edges(senders, targets, (matrix.shape[0], matrix.shape[1]))
    return found, jnp.asarray(matrix[senders, targets])


def of_rows(targets, degrees, receivers: int, delays=None) -> Connectivity:
    """Edges that stand row by row already.

    Args:
        targets: of edges.
        degrees: edges of each sender.
        receivers: how many there may be.
        delays: of edges, in steps; None where they have none.

    Returns:
        The connectivity.

    Raises:
        ValueError: where there are more edges or receivers than 32 bits count.
    """
    rows = np.concatenate([[0], np.cumsum(degrees)])
    if max(rows[-1], receivers) >= 2**31:
        raise ValueError(
            f"{rows[-1]} edges, {receivers} receivers: not below 2^31; build several"
        )
    return Connectivity(
        jnp.asarray(targets, jnp.int32),
        jnp.asarray(rows, jnp.int32),
        int(receivers),
        int(np.max(degrees, initial=0)),
        None if delays is None else jnp.asarray(delays, jnp.int32),
        1 if delays is None else int(np.max(delays, initial=1)),
    )


def whole(numbers) -> np.ndarray:
    """Numbers by which somebody is called.

    Args:
        numbers: any.

    Returns:
        They, in 64 bits.

    Raises:
        ValueError: where they are not.
    """
    numbers = np.asarray(numbers)
    if numbers.size and not (
        np.issubdtype(numbers.dtype, np.integer) or numbers.dtype == bool
    ):
        raise ValueError(f"who is connected is told by whole numbers, not {numbers!r}")
    return numbers.astype(np.int64)


def order_of(numbers: np.ndarray) -> np.ndarray:
    """The order by which numbers of 0 or more ascend, and equal ones stay as they are.

    Args:
        numbers: whole, below 2^32.

    Returns:
        Their places.
    """
    # Of 16 bits at once numpy sorts by radix, some ten times faster than of 64.
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    if np.max(numbers, initial=0) >= 2**16:
        high = (numbers >> 16).astype(np.uint16)
        order = order[np.argsort(high[order], kind="stable")]
    return order


def checked_delays(delays, edges: int) -> np.ndarray:
    """Delays of all edges.

    Args:
        delays: one for all or one an edge, in steps.
        edges: how many.

    Returns:
        One an edge.

    Raises:
        ValueError: where they are not as many, not whole, or not a step or more.
    """
    delays = np.asarray(delays)
    if delays.shape not in ((), (edges,)):
        raise ValueError(f"delays: one, or {edges} of edges, not {delays.shape}")
    if delays.size and not np.issubdtype(delays.dtype, np.integer):
        raise ValueError(
            f"delays: whole steps, not {delays.dtype}; delays_in_steps makes them of ms"
        )
    if delays.size and not (1 <= delays.min() and delays.max() < 2**31):
        raise ValueError(
            f"delays: {delays.min()} to {delays.max()} steps; have to be 1 or more"
        )
    return np.broadcast_to(delays, (edges,)).astype(np.int32)
