"""Connectivities put together of several, and taken apart for several devices."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, Shaped

from ._connectivity import Connectivity, of_rows, order_of, whole


class Block(NamedTuple):
    """Edges from one range of cells to another."""

    connectivity: Connectivity
    """Numbers count from the beginnings of the ranges."""
    weights: Float[Array, "..."] | float = 1.0
    """One, or one an edge."""
    senders_from: int = 0
    """Where the range of those who send begins."""
    cells_from: int = 0
    """Where the range of those who receive begins."""
    kind: int = 0
    """Of their receptors."""


def stacked(
    blocks: Sequence[Block], senders: int, cells: int, kinds: int = 1
) -> tuple[Connectivity, Float[Array, " edges"]]:
    """Several blocks as one connectivity, from senders to receptors of cells.

    Edges of a sender stand in the order of blocks, and in a block as they did.

    Args:
        blocks: which.
        senders: how many in all.
        cells: how many receive in all.
        kinds: of receptors of each of them.

    Returns:
        The connectivity, to receiver kind * cells + cell; and the weights of its
        edges, which have derivatives by the blocks'.

    Raises:
        ValueError: where a block does not fit in, its weights are not as many as its
            edges, or some blocks have delays and others do not.
    """
    late = [block.connectivity.delays is not None for block in blocks]
    if len(set(late)) > 1:
        raise ValueError(
            f"blocks: block {late.index(False)} has no delays and others have; "
            "with_delays gives it some"
        )
    lists, weights = [], []
    for number, block in enumerate(blocks):
        within, named = block.connectivity, f"block {number}: "
        first, start = block.senders_from, block.cells_from
        for word, begin, count, of in (
            ("senders", first, within.senders, senders),
            ("cells", start, within.receivers, cells),
            ("kinds", block.kind, 1, kinds),
        ):
            if not 0 <= begin <= begin + count <= of:
                raise ValueError(
                    f"{named}{word} {begin} to {begin + count - 1} are not within {of}"
                )
        if jnp.shape(block.weights) not in ((), (within.edges,)):
            raise ValueError(
                f"{named}weights: one, or {within.edges} of edges, not "
                f"{jnp.shape(block.weights)}"
            )
        weights.append(jnp.broadcast_to(jnp.asarray(block.weights), (within.edges,)))
        targets = np.asarray(within.targets, np.int64) + block.kind * cells + start
        lists.append((_senders(within) + first, targets))
    none = np.zeros(0, np.int64)
    who, targets = map(np.concatenate, zip((none, none), *lists, strict=True))
    order = order_of(who)
    delays = None
    if any(late):
        delays = np.concatenate([np.asarray(b.connectivity.delays) for b in blocks])
        delays = delays[order]
    degrees = np.bincount(who, minlength=senders)
    found = of_rows(targets[order], degrees, kinds * cells, delays)
    return found, jnp.concatenate([*weights, jnp.zeros(0, int)])[order]


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
    kind = whole(kind)
    senders, receivers = connectivity.senders, connectivity.receivers
    if kind.shape != (senders,) or np.any((kind < 0) | (kind >= kinds)):
        raise ValueError(f"kind: {senders} numbers from 0 to {kinds - 1}")
    if kinds * receivers >= 2**31:
        raise ValueError(f"kinds={kinds}: of {receivers} receivers, more than 2^31")
    # In 32 bits: nothing else of a large network takes as much memory.
    targets = np.repeat((kind * receivers).astype(np.int32), np.diff(connectivity.rows))
    targets += np.asarray(connectivity.targets)
    return dataclasses.replace(
        connectivity,
        targets=jnp.asarray(targets, jnp.int32),
        receivers=kinds * receivers,
    )


class Parts(NamedTuple):
    """A connectivity in parts, by who receives, with a leading axis of parts."""

    connectivity: Connectivity
    """Each part's, from all senders to its own receivers. Behind its last row stand
    edges that are nobody's, to a receiver past the end, so that all parts have as
    many."""
    edges: Int32[Array, "parts most"]
    """Which edge of the whole each was; those that are nobody's are past its end."""

    def of_edges(self, numbers: Shaped[Array, " edges"]) -> Shaped[Array, "parts most"]:
        """What belongs to edges, such as weights, by part.

        Args:
            numbers: one an edge of the whole.

        Returns:
            One an edge of each part; 0 for those that are nobody's.
        """
        return numbers.at[self.edges].get(mode="fill", fill_value=0)


def split(connectivity: Connectivity, parts: int, kinds: int = 1) -> Parts:
    """Parts of a connectivity, of which each can be on a device of its own.

    Part b has cells from b * cells / parts on, and their receptors of all kinds as
    receivers kind * (cells / parts) + cell. Edges keep their order, so that each
    receiver's sums are those of the whole.

    Args:
        connectivity: to receiver kind * cells + cell.
        parts: how many.
        kinds: of receptors of each cell.

    Returns:
        The parts, of equal sizes.

    Raises:
        ValueError: where cells cannot be shared out evenly.
    """
    cells = connectivity.receivers // max(kinds, 1)
    if kinds < 1 or kinds * cells != connectivity.receivers:
        raise ValueError(
            f"kinds={kinds}: {connectivity.receivers} receivers are not those of whole "
            "cells"
        )
    if parts < 1 or cells % parts:
        raise ValueError(
            f"parts={parts}: has to divide {cells} cells; add some that do nothing"
        )
    local = cells // parts
    kind, cell = np.divmod(np.asarray(connectivity.targets), max(cells, 1))
    part, place = np.divmod(cell, max(local, 1))
    senders, edges = connectivity.senders, connectivity.edges
    degrees = np.bincount(
        part * np.int64(senders) + _senders(connectivity),
        minlength=parts * senders,
    ).reshape(parts, senders)
    rows = np.pad(np.cumsum(degrees, 1), ((0, 0), (1, 0)))
    sizes = np.bincount(part, minlength=parts)
    order, ends = order_of(part), np.cumsum(sizes)
    numbers = np.full((parts, np.max(sizes)), edges)
    for b, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        numbers[b, :size] = order[end - size : end]
    targets = np.append(kind * local + place, kinds * local)[numbers]
    delays = connectivity.delays
    if delays is not None:
        delays = jnp.asarray(np.append(np.asarray(delays), 1)[numbers], jnp.int32)
    found = Connectivity(
        jnp.asarray(targets, jnp.int32),
        jnp.asarray(rows, jnp.int32),
        kinds * local,
        int(np.max(degrees, initial=0)),
        delays,
        connectivity.latest,
    )
    return Parts(found, jnp.asarray(numbers, jnp.int32))


def _senders(connectivity: Connectivity) -> np.ndarray:
    degrees = np.diff(np.asarray(connectivity.rows))
    return np.repeat(np.arange(connectivity.senders), degrees)
