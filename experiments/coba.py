"""A random network of conductances, whose rates and irregularity are known.

Sources: Brette et al. 2007 (benchmark 1), after Vogels and Abbott 2005.
"""

import functools as ft
from typing import Literal

from djx.brain import LIF, Network
from djx.run import Experiment
from experiments import _random_network as random_network


class Config(random_network.Config):
    """Cells that excite and inhibit one another at random."""

    variant: Literal["drive", "brette"] = "drive"
    """drive: a constant current of 20 mV times the leak, synapses closed at first;
    brette: no current, synapses open at first. The two have rates of their own."""


def network_of(config: Config) -> Network:
    """The network of an arm.

    Args:
        config: the arm's.

    Returns:
        It, without its state.
    """
    return random_network.conductances(config, LIF())


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    driven = config.variant == "drive"
    start = ft.partial(
        random_network.started,
        voltages=(-55.0, 2.0) if driven else (-65.0, 5.0),
        opened=not driven,
    )
    current_pa = 200.0 if driven else 0.0
    return random_network.build(config, network_of(config), start, current_pa)
