"""Whether a network's connections are of a strength that nervous systems have."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ._coupling import Coupling, coupling, warn_of_coupling
from ._network import Network
from ._populations import Populations
from ._projection import Projection


def couplings(network: Network, rate_hz: float = 10.0) -> dict[str, Coupling]:
    """What a spike does to a cell at rest, and a warning in one line if that is odd.

    Weights in another unit than they should be leave a network of cells by themselves,
    or one that is never silent; neither is an error that anyone would see.

    Args:
        network: which; what is traced is left out.
        rate_hz: of a sender, as it may be.

    Returns:
        By projection, and by kind of receptor where there are several.
    """
    found = {}
    with jax.ensure_compile_time_eval():
        for name, projection in network.projections.items():
            synapse = network.synapses[projection.onto]
            sizes = _by_kind(projection, synapse.kinds, network.cells)
            for kind, (weights, fan_in) in enumerate(sizes):
                one = coupling(
                    jnp.asarray(weights),
                    _of_kind(getattr(synapse, "reversal_mv", None), kind),
                    _decay_ms(synapse, projection, kind, network.dt_ms),
                    network.cell,
                    fan_in,
                    rate_hz,
                )
                if one is not None:
                    label = f"{name}[{kind}]" if synapse.kinds > 1 else name
                    warn_of_coupling(f"projections[{label!r}]", one)
                    found[label] = one
    return found


def _of_kind(numbers, kind):
    return None if numbers is None else float(jnp.ravel(numbers)[kind])


def _decay_ms(synapse, projection: Projection, kind: int, dt_ms: float) -> float:
    decay_ms = getattr(getattr(synapse, "kinetics", None), "decay_ms", None)
    if decay_ms is not None:
        return float(decay_ms[kind])
    # What arrives acts for a step, or as long as its sender says.
    longer = getattr(projection.release, "decay_ms", dt_ms)
    return float(np.median(np.asarray(longer)))


def _by_kind(projection: Projection, kinds: int, cells: int):
    """Weights onto each kind of receptor, and senders of a cell."""
    edges, weights = projection.connectivity, projection.weights
    if any(isinstance(x, Tracer) for x in jax.tree.leaves((edges, weights))):
        return
    weights = np.asarray(weights)
    if isinstance(edges, Populations):
        # As many as there are pairs of cells, of those that are connected.
        pairs = np.outer(edges.receiver_sizes, edges.sender_sizes) * (weights != 0)
        senders = pairs.sum() / max(edges.receivers, 1)
        some = np.repeat(weights.reshape(-1), np.minimum(pairs.reshape(-1), 10**4))
        yield from [(some, senders)] * kinds
        return
    kind = np.asarray(edges.targets) // max(cells, 1)
    of_edges = np.broadcast_to(
        np.asarray(projection.of_edges(jnp.asarray(weights))), kind.shape
    )
    for number in range(kinds):
        own = kind == number
        yield of_edges[own], own.sum() / max(cells, 1)
