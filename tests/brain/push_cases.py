"""Edges, spikes and weights to be pushed, and the same by other ways."""

import jax.numpy as jnp
import numpy as np
import pytest

from djx.brain._connectivity import from_edges
from djx.brain._native import available


BACKENDS = [
    pytest.param(
        "native", marks=pytest.mark.skipif(not available(), reason="not built")
    ),
    "serial",
    "buffered",
    "dense",
]
ORDERED = BACKENDS[:3]


def some_edges(senders, receivers, edges, seed=0, latest=None):
    """Duplicates and self-loops among them; every third row is empty."""
    rng = np.random.default_rng(seed)
    rows = np.arange(senders)
    rows = rows[rows % 3 != 1] if senders > 1 else rows
    ends = rng.choice(rows, edges), rng.integers(receivers, size=edges)
    delays = None if latest is None else 1 + np.arange(edges) % latest
    return from_edges(*ends, (senders, receivers), delays)


def weights_of(kind, connectivity, seed=1):
    rng = np.random.default_rng(seed)
    shape = {"one": (), "sender": (connectivity.senders,)}
    shape = shape.get(kind, (connectivity.edges,))
    return jnp.asarray(rng.normal(size=shape))


def spikes_of(count, fired, seed=2):
    """Zeros, and numbers of which none is one."""
    rng = np.random.default_rng(seed)
    spikes = np.zeros(count)
    spikes[rng.choice(count, fired, replace=False)] = rng.uniform(0.5, 2, fired)
    return jnp.asarray(spikes)


def dense(connectivity, spikes, weights, into, step=0):
    """By a matrix, edge by edge; a ring's rows are receivers of their own."""
    rows, targets = map(np.asarray, (connectivity.rows, connectivity.targets))
    senders = np.repeat(np.arange(connectivity.senders), np.diff(rows))
    weights = jnp.asarray(weights)
    if weights.ndim and weights.shape != (connectivity.edges,):
        weights = weights[senders]
    if connectivity.delays is not None:
        late = (step + np.asarray(connectivity.delays)) % into.shape[0]
        targets = late * connectivity.receivers + targets
    matrix = jnp.zeros((connectivity.senders, into.size))
    arrived = spikes @ matrix.at[senders, targets].add(weights)
    return into + arrived.reshape(into.shape)


def into_of(connectivity, seed=3):
    shape = (connectivity.receivers,)
    if connectivity.delays is not None:
        shape = connectivity.latest + 2, *shape
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))
