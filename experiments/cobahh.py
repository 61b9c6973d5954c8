"""A random network of Hodgkin-Huxley cells.

Sources: Brette et al. 2007 (benchmark 3); the cells are those of Traub and Miles 1991.
"""

import functools as ft
from typing import Annotated

from pydantic import Field

from djx.brain import TraubMiles
from djx.run import Experiment
from experiments import _random_network as random_network


class Config(random_network.Config):
    """Hodgkin-Huxley cells that excite and inhibit one another at random."""

    dt_ms: Annotated[float, Field(gt=0, le=0.1)] = 0.05


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    network = random_network.conductances(config, TraubMiles())
    start = ft.partial(random_network.started, voltages=(-65.0, 5.0), opened=True)
    return random_network.build(config, network, start)
