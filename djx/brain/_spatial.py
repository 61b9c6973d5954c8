"""Rules by which it matters who is near whom."""

import numpy as np
from jaxtyping import Float

from ._connectivity import Connectivity, of_rows
from ._hash import below, check_seed, hashed, stream
from ._rules import chances


def gaussian(
    senders: Float[np.ndarray, "senders dims"],
    receivers: Float[np.ndarray, "receivers dims"],
    peak: float,
    width: float,
    *,
    seed: int,
    period: Float[np.ndarray, " dims"] | float | None = None,
    itself: bool = True,
) -> Connectivity:
    """Every pair by a chance that falls with distance, as peak exp(-d^2 / (2 width^2)).

    Pairs are those of `fixed_probability` by the peak, thinned: the work is theirs.

    Args:
        senders: where each is.
        receivers: where each is.
        peak: chance of an edge between two at one place.
        width: standard deviation of the bell, in the unit of places.
        seed: from 0 to 2^32 - 1.
        period: length after which space begins again, of all dimensions or of each;
            infinite where it does not. Distances are the shortest.
        itself: whether one with its own number is a target.

    Returns:
        The connectivity, with rows that ascend.

    Raises:
        ValueError: where places, peak, width or period are none.
    """
    places = [np.asarray(given, np.float64) for given in (senders, receivers)]
    first, second = (p[:, None] if p.ndim == 1 else p for p in places)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"senders and receivers: places [count, dims] in one space, not "
            f"{places[0].shape} and {places[1].shape}"
        )
    if not 0 <= peak <= 1:
        raise ValueError(f"peak={peak}: has to be from 0 to 1")
    if not width > 0:
        raise ValueError(f"width={width}: has to be above 0")
    lengths = np.asarray(np.inf if period is None else period, np.float64)
    if lengths.shape not in ((), (first.shape[1],)) or not np.all(lengths > 0):
        raise ValueError(
            f"period={period}: one length, or one for each of {first.shape[1]} "
            "dimensions, above 0"
        )
    lists, degrees = [], []
    for numbers, targets, there in chances(len(first), len(second), peak, seed):
        words = hashed(seed, stream("gaussian"), numbers[:, None], targets)
        row, _ = np.nonzero(there)
        sender, target = numbers[row], targets[there]
        apart = np.mod(np.abs(first[sender] - second[target]), lengths)
        apart = np.minimum(apart, lengths - apart)
        chance = np.exp(-np.sum(apart**2, 1) / (2 * width**2))
        stays = below(words[there], chance)
        if not itself:
            stays &= sender != target
        lists.append(target[stays])
        degrees.append(np.bincount(row[stays], minlength=len(numbers)))
    return of_rows(np.concatenate(lists), np.concatenate(degrees), len(second))


def small_world(
    count: int, neighbours: int, probability: float, *, seed: int
) -> Connectivity:
    """A ring of which edges lead elsewhere by chance (Watts & Strogatz 1998), directed.

    Each cell sends to as many on both its sides. Every edge is rewired by chance, to a
    cell that is neither its sender nor the target of another edge of it: each row has
    as many different targets, at a probability of 1 any with the same chance.

    Args:
        count: of cells.
        neighbours: edges of each cell, an even number below the count.
        probability: that an edge is rewired.
        seed: from 0 to 2^32 - 1.

    Returns:
        The connectivity, with rows that ascend.

    Raises:
        ValueError: where the neighbours or the probability are none.
    """
    if neighbours % 2 or not 0 <= neighbours < max(count, 1):
        raise ValueError(
            f"neighbours={neighbours}: has to be even, 0 or more, and below {count}"
        )
    if not 0 <= probability <= 1:
        raise ValueError(f"probability={probability}: has to be from 0 to 1")
    check_seed(seed)
    numbers = np.arange(count)[:, None]
    nearest = np.arange(1, neighbours // 2 + 1)
    targets = (numbers + np.concatenate([-nearest[::-1], nearest])) % max(count, 1)
    whose = numbers, np.arange(neighbours)
    moves = below(hashed(seed, stream("rewired"), *whose), probability)
    words = hashed(seed, stream("to whom"), *whose).astype(np.int64)
    # Ascending: the sender, targets that stay, and numbers far off where none is yet.
    taken = np.concatenate([numbers, np.where(moves, 2 * count, targets)], 1)
    taken.sort(1)
    for place in range(neighbours):
        (rows,) = np.nonzero(moves[:, place])
        some = taken[rows]
        rank = words[rows, place] % (count - np.sum(some < count, 1))
        # The free number of a rank has as many taken ones below it as this counts.
        passed = np.sum(some - np.arange(neighbours + 1) <= rank[:, None], 1)
        targets[rows, place] = some[:, -1] = rank + passed
        some.sort(1)
        taken[rows] = some
    targets.sort(1)
    return of_rows(targets.reshape(-1), np.full(count, neighbours), count)
