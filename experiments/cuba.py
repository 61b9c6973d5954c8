"""A random network of currents, which is solved exactly between spikes.

Sources: Brette et al. 2007 (benchmark 2), after Vogels and Abbott 2005; the solution
over a step is that of Rotter and Diesmann 1999.
"""

import jax.numpy as jnp
import jax.random as jr

from djx.brain import Currents, Exponential, LIF, Network, Projection
from djx.run import Experiment
from experiments import _random_network as random_network


G_LEAK_NS = 10.0
EXCITATORY_PA, INHIBITORY_PA = 1.62 * G_LEAK_NS, -9.0 * G_LEAK_NS  # from mV


class Config(random_network.Config):
    """Cells that excite and inhibit one another at random, by currents."""


def network_of(config: Config) -> Network:
    """The network of an arm.

    Args:
        config: the arm's.

    Returns:
        It, without its state.
    """
    cells = config.cells
    weights_pa = jnp.where(
        random_network.excitatory(cells), EXCITATORY_PA, INHIBITORY_PA
    )
    edges = random_network.connected(cells, config.connectivity_seed)
    return Network(
        LIF(g_leak_ns=G_LEAK_NS, e_leak_mv=-49.0),
        cells,
        {"currents": Currents(Exponential([5.0, 10.0]))},
        {"edges": Projection(edges, config.coupling * weights_pa, "currents")},
        config.dt_ms,
    )


def build(config: Config) -> Experiment:
    """The experiment of one arm."""

    def start(state, key):
        v_mv = jr.uniform(key, (config.cells,), minval=-60.0, maxval=-50.0)
        return state._replace(cells=state.cells._replace(v_mv=v_mv))

    return random_network.build(config, network_of(config), start)
