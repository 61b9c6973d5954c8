"""djx's network of as many cells as a gigabyte should hold: workers for memory."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from djx import brain
from djx.brain import _native
from djx.brain._procedural import Procedural

from .. import brain_problems as problems
from ..harness import Numbers, Run
from ..meters import peak_mib
from .brain_djx import Counts, network_around, simulated, start_of


MB = 2**20 / 1e6  # of a MiB


def network_of(kind: str, cells: int, fan_in: int) -> brain.Network:
    """A network that djx draws itself.

    Args:
        kind: "shared": a weight of each cell; "own": of each edge; "procedural": edges
            are not kept.
        cells: how many.
        fan_in: synapses of a cell, on average.

    Returns:
        The network.
    """
    chance, inhibits = fan_in / cells, np.arange(cells) >= problems.excitatory(cells)
    weights = problems.weights_ns(cells)
    if kind == "procedural":
        kinds = jnp.asarray(inhibits, jnp.int32)
        edges = Procedural(cells, cells, chance, 1, kinds, 2)
    else:
        edges = brain.fixed_probability(cells, cells, chance, seed=1)
        edges = brain.onto_receptors(edges, inhibits, 2)
        if kind == "own":
            weights = np.repeat(weights, np.diff(np.asarray(edges.rows)))
    return network_around(edges, jnp.asarray(weights), cells)


def size_of(network: brain.Network) -> tuple[int, int]:
    """Bytes of all its arrays, and edges."""
    projection = network.projections["edges"]
    leaves = jax.tree.leaves(eqx.filter(network, eqx.is_array))
    edges = getattr(projection.connectivity, "edges", 0)
    return sum(leaf.nbytes for leaf in leaves), edges


def imported() -> Run:
    """`setup` of nothing: what a process holds that has computed a number."""
    jax.block_until_ready(jnp.ones(3) + 1)
    return lambda: {"peak MB": peak_mib() * MB}


def setup(kind: str, cells: str, steps: str) -> Run:
    """`setup` of some steps.

    Args:
        kind: as of `network_of`.
        cells: how many.
        steps: how many.

    Returns:
        One turn: the steps from the start.
    """
    _native.native_note()  # builds the library, if `pip install` has not
    count, many = int(cells), int(steps)
    less, more = (size_of(network_of(kind, 4000, fan_in)) for fan_in in (80, 160))
    told: Numbers = {}
    if kind != "procedural":
        told["further"] = (more[0] - less[0]) / (more[1] - less[1])
    network = network_of(kind, count, problems.FAN_IN)
    held, edges = size_of(network)
    told |= {"MB held": held / 1e6}
    if edges:
        told |= {"edges": edges, "bytes": held / edges}
    told["MB built"] = peak_mib() * MB
    state = start_of(network)
    counts = Counts(jnp.zeros(count, jnp.int32))
    compiled = jax.jit(simulated, static_argnums=3).lower(network, state, counts, many)
    compiled = compiled.compile()

    def turn() -> Numbers:
        seen, took = problems.timed(
            lambda: jax.block_until_ready(compiled(network, state, counts))[1]
        )
        rate = problems.rate_hz(np.asarray(seen.spikes).sum(), count, many)
        return took | told | {"rate": rate, "peak MB": peak_mib() * MB}

    return turn
