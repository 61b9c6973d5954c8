"""Who is connected to whom: rows of targets, one row for every sender."""

import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from ._hash import geometric_thresholds, hashed


class Connectivity(eqx.Module):
    """Edges in rows by sender (compressed sparse rows).

    An edge may stand there more than once, and a sender may be its own target.

    Attributes:
        targets: of the edges, row by row.
        rows: where each row begins, and where the last ends.
        receivers: how many there may be.
        longest: edges of the longest row.
    """

    targets: Int32[Array, " edges"]
    rows: Int32[Array, " senders+1"]
    receivers: int = eqx.field(static=True)
    longest: int = eqx.field(static=True)

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
    senders: np.ndarray, targets: np.ndarray, counts: tuple[int, int]
) -> Connectivity:
    """Given edges, which are sorted by sender and keep their order otherwise.

    Weights of edges have to be sorted like them, by
    `np.argsort(senders, kind="stable")`.

    Args:
        senders: of each edge.
        targets: of each edge.
        counts: of senders and receivers.

    Returns:
        The connectivity.

    Raises:
        ValueError: where the two lists are not equally long, or name who is not there.
    """
    senders, targets = map(_whole, (senders, targets))
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
    order = np.argsort(senders, kind="stable")
    degrees = np.bincount(senders, minlength=counts[0])
    return _of_rows(targets[order], degrees, counts[1])


def onto_receptors(
    connectivity: Connectivity, kind: np.ndarray, kinds: int
) -> Connectivity:
    """Each sender's edges lead to one kind of receptors of the same cells.

    Args:
        connectivity: from cells to cells.
        kind: of every sender, from 0 to kinds - 1.
        kinds: how many there are.

    Returns:
        The same edges, to receiver kind * cells + cell.

    Raises:
        ValueError: where a kind is not there, or is missing.
    """
    kind = _whole(kind)
    senders, receivers = connectivity.senders, connectivity.receivers
    if kind.shape != (senders,) or np.any((kind < 0) | (kind >= kinds)):
        raise ValueError(f"kind: {senders} numbers from 0 to {kinds - 1}")
    of_edges = np.repeat(kind, np.diff(np.asarray(connectivity.rows)))
    targets = np.asarray(connectivity.targets) + of_edges * receivers
    return Connectivity(
        jnp.asarray(targets, jnp.int32),
        connectivity.rows,
        kinds * receivers,
        connectivity.longest,
    )


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


def one_to_one(count: int) -> Connectivity:
    """Each to its own.

    Args:
        count: of senders and of receivers.

    Returns:
        The connectivity.
    """
    return _of_rows(np.arange(count), np.ones(count, int), count)


def all_to_all(senders: int, receivers: int, itself: bool = True) -> Connectivity:
    """Each to all.

    Args:
        senders: how many.
        receivers: how many.
        itself: whether one with its own number is a target.

    Returns:
        The connectivity.
    """
    targets = np.tile(np.arange(receivers), (senders, 1))
    there = np.ones_like(targets, bool)
    if not itself:
        there = targets != np.arange(senders)[:, None]
    return _of_rows(targets[there], there.sum(1), receivers)


def fixed_out_degree(
    senders: int, receivers: int, degree: int, *, seed: int
) -> Connectivity:
    """As many targets for each sender, drawn with replacement.

    Args:
        senders: how many.
        receivers: how many.
        degree: edges of a sender.
        seed: from 0 to 2^32 - 1.

    Returns:
        The connectivity.
    """
    targets = _drawn(senders, receivers, degree, seed)
    return _of_rows(targets, np.full(senders, degree), receivers)


def fixed_in_degree(
    senders: int, receivers: int, degree: int, *, seed: int
) -> Connectivity:
    """As many senders for each receiver, drawn with replacement.

    Args:
        senders: how many.
        receivers: how many.
        degree: edges of a receiver.
        seed: from 0 to 2^32 - 1.

    Returns:
        The connectivity.
    """
    drawn = _drawn(receivers, senders, degree, seed)
    targets = np.repeat(np.arange(receivers), degree)
    return from_edges(drawn, targets, (senders, receivers))


def fixed_probability(
    senders: int, receivers: int, probability: float, *, seed: int
) -> Connectivity:
    """Every pair by chance, each independently of all others.

    A row is a function of the seed and of its number, whatever stores it: gaps between
    targets are geometric, drawn by whole numbers from hashed counters.

    Args:
        senders: how many.
        receivers: how many.
        probability: of an edge.
        seed: from 0 to 2^32 - 1.

    Returns:
        The connectivity.

    Raises:
        ValueError: where the probability is none.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability={probability}: has to be from 0 to 1")
    _check_seed(seed)
    if probability == 1:
        return all_to_all(senders, receivers)
    if probability == 0 or not senders or not receivers:
        return _of_rows(np.zeros(0, int), np.zeros(senders, int), receivers)
    lists, degrees = [], []
    some = max(1, 2**22 // _most(receivers, probability))  # 16 MiB at once
    for first in range(0, senders, some):
        numbers = jnp.arange(first, min(first + some, senders))
        targets = np.asarray(_chance_rows(numbers, receivers, probability, seed))
        there = targets < receivers
        lists.append(targets[there])
        degrees.append(there.sum(1))
    return _of_rows(np.concatenate(lists), np.concatenate(degrees), receivers)


def chance_row(
    sender: Int32[Array, ""], receivers: int, probability: float, seed: int
) -> Int32[Array, " most"]:
    """A row of `fixed_probability`, made where it is needed.

    Args:
        sender: its number.
        receivers: how many.
        probability: of an edge, in (0, 1).
        seed: of the connectivity.

    Returns:
        Its targets, ascending; after the last, numbers that are no receiver's.
    """
    k = jnp.arange(_most(receivers, probability))
    thresholds = geometric_thresholds(probability, receivers)
    words = hashed(seed, jnp.asarray(sender), k)
    gaps = jnp.searchsorted(thresholds, words, side="right", method="scan_unrolled")
    # Sums stop before they run over: no gap counts for more than all receivers.
    steps = jnp.minimum(gaps, receivers) + 1
    return (
        jax.lax.associative_scan(
            lambda a, b: jnp.minimum(a + b, receivers + 1), steps.astype(jnp.int32)
        )
        - 1
    )


@ft.partial(jax.jit, static_argnums=(1, 2, 3))
def _chance_rows(numbers, receivers, probability, seed):
    return jax.vmap(lambda n: chance_row(n, receivers, probability, seed))(numbers)


def _most(receivers: int, probability: float) -> int:
    """Edges that a row has at most, but for one in 10^15."""
    mean = receivers * probability
    spread = (mean * (1 - probability)) ** 0.5
    return min(receivers, int(mean + 8 * spread + 16))


def _whole(numbers) -> np.ndarray:
    numbers = np.asarray(numbers)
    if numbers.size and not (
        np.issubdtype(numbers.dtype, np.integer) or numbers.dtype == bool
    ):
        raise ValueError(f"who is connected is told by whole numbers, not {numbers!r}")
    return numbers.astype(np.int64)


def _drawn(rows: int, among: int, degree: int, seed: int) -> np.ndarray:
    """Row by row, numbers below a count."""
    if degree < 0 or (degree and among < 1):
        raise ValueError(f"degree={degree}: of {among} to be drawn from")
    _check_seed(seed)
    words = hashed(seed, jnp.arange(rows)[:, None], jnp.arange(degree))
    # What some numbers are likelier than others is below their count / 2^32.
    drawn = words % jnp.uint32(max(among, 1))
    return np.asarray(drawn.astype(jnp.int32)).reshape(-1)


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed}: has to be from 0 to 2^32 - 1")


def _of_rows(targets, degrees, receivers: int) -> Connectivity:
    rows = np.concatenate([[0], np.cumsum(degrees)])
    return Connectivity(
        jnp.asarray(targets, jnp.int32),
        jnp.asarray(rows, jnp.int32),
        int(receivers),
        int(np.max(degrees, initial=0)),
    )
