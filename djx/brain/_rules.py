"""Rules by which cells are connected, drawn by whole numbers from hashed counters."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32

from ._connectivity import Connectivity, from_edges, of_rows
from ._hash import check_seed, geometric_thresholds, hashed, stream


def one_to_one(count: int) -> Connectivity:
    """Each to its own.

    Args:
        count: of senders and of receivers.

    Returns:
        The connectivity.
    """
    return of_rows(np.arange(count), np.ones(count, int), count)


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
    return of_rows(targets[there], there.sum(1), receivers)


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
    return of_rows(targets, np.full(senders, degree), receivers)


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


def fixed_total(senders: int, receivers: int, edges: int, *, seed: int) -> Connectivity:
    """As many edges in all, sender and target of each drawn with replacement.

    With log(1 - p) / log(1 - 1 / (senders receivers)) edges, p is the chance that two
    are connected at all (Potjans & Diesmann 2014).

    Args:
        senders: how many.
        receivers: how many.
        edges: how many.
        seed: from 0 to 2^32 - 1.

    Returns:
        The connectivity.

    Raises:
        ValueError: where they are none, or nobody is there to be drawn.
    """
    if not 0 <= edges < 2**31 or (edges and min(senders, receivers) < 1):
        raise ValueError(
            f"edges={edges}: of {senders} senders and {receivers} receivers; has to be "
            "from 0 to 2^31 - 1, and 0 where nobody is"
        )
    check_seed(seed)
    lists: tuple = [np.zeros(0, int)], [np.zeros(0, int)]
    some = 2**22  # 16 MiB at once
    for first in range(0, edges, some):
        numbers = np.arange(first, min(first + some, edges))
        for side, count in enumerate((senders, receivers)):
            words = hashed(seed, stream("fixed total"), numbers, np.uint32(side))
            lists[side].append(words % np.uint32(count))
    drawn, targets = (np.concatenate(found).astype(np.int64) for found in lists)
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
    found = [
        (targets[there].astype(np.int32), there.sum(1))
        for _, targets, there in chances(senders, receivers, probability, seed)
    ]
    lists, degrees = map(list, zip(*found, strict=True))
    del found
    targets, degrees = np.concatenate(lists), np.concatenate(degrees)
    del lists  # of large networks, as large as what is made of them
    return of_rows(targets, degrees, receivers)


def chances(senders: int, receivers: int, probability: float, seed: int):
    """Every pair by chance, some rows at once.

    Args:
        senders: how many.
        receivers: how many.
        probability: of a pair.
        seed: from 0 to 2^32 - 1.

    Yields:
        Numbers of senders; targets, a row for each; which of them there are.

    Raises:
        ValueError: where the probability is none.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability={probability}: has to be from 0 to 1")
    check_seed(seed)
    some = max(1, 2**22 // (most(receivers, probability) or 1))  # 16 MiB at once
    for first in range(0, max(senders, 1), some):
        numbers = np.arange(first, min(first + some, senders))
        if 0 < probability < 1 and receivers:
            k = np.arange(most(receivers, probability))
            thresholds = geometric_thresholds(probability, receivers)
            words = hashed(seed, numbers[:, None], k)
            gaps = np.searchsorted(thresholds, words, side="right")
            targets = np.cumsum(gaps + 1, 1) - 1
        else:
            targets = np.arange(receivers if probability else 0)
            targets = np.broadcast_to(targets, (len(numbers), len(targets)))
        yield numbers, targets, targets < receivers


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
    k = jnp.arange(most(receivers, probability))
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


def most(receivers: int, probability: float) -> int:
    """Edges that a row has at most, but for one in 10^15.

    Args:
        receivers: how many.
        probability: of an edge.

    Returns:
        Their number.
    """
    mean = receivers * probability
    spread = (mean * (1 - probability)) ** 0.5
    return min(receivers, int(mean + 8 * spread + 16))


def _drawn(rows: int, among: int, degree: int, seed: int) -> np.ndarray:
    """Row by row, numbers below a count."""
    if degree < 0 or (degree and among < 1):
        raise ValueError(f"degree={degree}: of {among} to be drawn from")
    check_seed(seed)
    words = hashed(seed, np.arange(rows)[:, None], np.arange(degree))
    # What some numbers are likelier than others is below their count / 2^32.
    return (words % np.uint32(max(among, 1))).reshape(-1)
