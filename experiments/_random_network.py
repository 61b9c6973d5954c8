"""What the random networks of Brette et al. 2007 have in common.

One step of the loop is a block of network steps; statistics are kept on the way.
"""

import functools as ft
from collections.abc import Callable
from typing import Annotated, cast, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from pydantic import Field

from djx.brain import (
    Cell,
    Connectivity,
    fixed_probability,
    Network,
    NetworkState,
    onto_receptors,
    Projection,
    Raster,
    Receptors,
    run,
    SpikeStatistics,
)
from djx.core.errors import ConfigError, Fault
from djx.run import Config as BaseConfig, Experiment, Report, Results
from experiments import _random_network_figures as figures


FAN_IN = 80  # synapses of a cell on average, a fifth of them inhibitory
EXCITATORY_NS, INHIBITORY_NS = 6.0, 67.0
SHOWN = 200  # cells of the raster


class Config(BaseConfig):
    """Cells that excite and inhibit one another at random."""

    cells: Annotated[int, Field(ge=100)] = 4000
    """Four of five are excitatory."""
    coupling: Annotated[float, Field(ge=0)] = 1.0
    """Factor of all weights: what tells a network from cells by themselves."""
    dt_ms: Annotated[float, Field(gt=0, le=1)] = 0.1
    block_ms: Annotated[float, Field(gt=0)] = 10.0
    """Of a step of the loop."""
    discard_ms: Annotated[float, Field(ge=0)] = 200.0
    """Before variation, spread and silence are measured."""
    raster_ms: Annotated[float, Field(gt=0)] = 300.0
    """Length of the raster, from there on."""
    connectivity_seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    """Of who is connected to whom, alike in all lanes; voltages at first differ."""


class State(NamedTuple):
    """The network, and what is remembered of it."""

    network: NetworkState
    statistics: SpikeStatistics
    early: SpikeStatistics
    """Of the first second."""
    raster: Raster


@ft.lru_cache(maxsize=4)
def connected(cells: int, seed: int) -> Connectivity:
    """Every pair by chance; excitatory cells lead to kind 0, others to kind 1.

    Args:
        cells: how many, the first four of five excitatory.
        seed: of the edges.

    Returns:
        The connectivity.
    """
    # Made at once also where a trace asks for it: it is the same in all of them.
    with jax.ensure_compile_time_eval():
        chance = fixed_probability(cells, cells, FAN_IN / cells, seed=seed)
        return onto_receptors(chance, ~excitatory(cells), 2)


def excitatory(cells: int) -> np.ndarray:
    """Which are.

    Args:
        cells: how many there are.

    Returns:
        True for the first four of five.
    """
    return np.arange(cells) < cells * 4 // 5


def conductances(config: Config, cell: Cell) -> Network:
    """The network of benchmarks 1 and 3.

    Args:
        config: of an arm.
        cell: the model of all cells.

    Returns:
        The network, without its state.
    """
    cells = config.cells
    weights_ns = jnp.where(excitatory(cells), EXCITATORY_NS, INHIBITORY_NS)
    edges = connected(cells, config.connectivity_seed)
    return Network(
        cell,
        cells,
        {"receptors": Receptors([5.0, 10.0], [0.0, -80.0])},
        {"edges": Projection(edges, config.coupling * weights_ns, "receptors")},
        config.dt_ms,
    )


def started(
    state: NetworkState, key: jax.Array, voltages: tuple[float, float], opened: bool
) -> NetworkState:
    """Voltages, and maybe conductances, at first.

    Args:
        state: before.
        key: of the numbers.
        voltages: their mean and spread, mV.
        opened: whether synapses are.

    Returns:
        The state.
    """
    voltage, one, two = jr.split(key, 3)
    mean, spread = voltages
    v_mv = mean + spread * jr.normal(voltage, state.cells.v_mv.shape)
    state = state._replace(cells=state.cells._replace(v_mv=v_mv))
    if not opened:
        return state
    open_ns = [
        40 + 15 * jr.normal(one, v_mv.shape),
        200 + 120 * jr.normal(two, v_mv.shape),
    ]
    return state._replace(synapses={"receptors": jnp.stack(open_ns)})


def build(
    config: Config,
    network: Network,
    start: Callable[[NetworkState, jax.Array], NetworkState],
    current_pa: float = 0.0,
) -> Experiment:
    """The experiment of one arm.

    Args:
        config: the arm's.
        network: of that config.
        start: `(state, key)` to the state at first.
        current_pa: of every cell.

    Returns:
        The experiment.

    Raises:
        ConfigError: where a block is no whole number of steps.
    """
    steps = round(config.block_ms / config.dt_ms)
    if abs(steps * config.dt_ms - config.block_ms) > 1e-6 * config.block_ms:
        message = f"{config.block_ms} ms are no whole steps of dt_ms = {config.dt_ms}"
        raise ConfigError([Fault("config", "block_ms", message)])
    second = round(1000 / config.dt_ms)
    first = round(config.discard_ms / config.dt_ms)

    def init(key):
        return State(
            start(network.init(), key),
            SpikeStatistics.of(config.cells, first),
            SpikeStatistics.of(config.cells, until=second),
            Raster.of(
                round(config.raster_ms / config.dt_ms), min(SHOWN, config.cells), first
            ),
        )

    def step(state, index, key):
        del index, key
        monitors = (state.statistics, state.early, state.raster)
        after, monitors = run(
            network, state.network, steps, monitors, current_pa=current_pa
        )
        new = State(after, *monitors)
        voltage = new.network.cells.v_mv
        return new, {"voltage_mv": jnp.mean(voltage)}

    def evaluate(state, key):
        del key
        rates_hz = state.statistics.rates_hz(config.dt_ms)
        return {
            "first_second_hz": jnp.mean(state.early.rates_hz(config.dt_ms)),
            "rate_hz": jnp.mean(rates_hz),
            "variation": state.statistics.variation(),
            "spread_hz": jnp.std(rates_hz),
            "silent": jnp.mean(rates_hz == 0),
        }

    return Experiment(init, step, evaluate, _report)


def _report(results: Results, report: Report) -> None:
    arms = {
        name: (cast(Config, arm.config), cast(State, arm.lane()))
        for name, arm in results.arms.items()
    }
    figures.draw(report, arms)
