"""A column of cortex in eight populations, at a tenth of its size.

Sources: Potjans and Diesmann 2014; for fewer synapses van Albada et al. 2015. One step
of the loop is a block of network steps.
"""

import functools as ft
from typing import Annotated, cast, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from pydantic import Field

from djx.brain import (
    Block,
    Connectivity,
    Currents,
    Exponential,
    fixed_total,
    LIF,
    Network,
    NetworkState,
    normal_delays,
    PoissonInput,
    Projection,
    Raster,
    run,
    SpikeStatistics,
    stacked,
)
from djx.run import Config as BaseConfig, Experiment, Report, Results
from experiments import _microcircuit_column as cortex, _microcircuit_figures as figures


class Config(BaseConfig):
    """Eight populations, with an input of random spikes or of a constant current."""

    cells_scale: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Part of the cells."""
    synapses_scale: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Part of the synapses of a cell; fewer are stronger."""
    poisson: bool = True
    """Whether the input from outside is random, or its mean."""
    dt_ms: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    block_ms: Annotated[float, Field(gt=0)] = 20.0
    """Of a step of the loop."""
    discard_ms: Annotated[float, Field(ge=0)] = 500.0
    """Before rates and variation are measured."""
    raster_ms: Annotated[float, Field(gt=0)] = 200.0
    """Length of the raster, from there on."""
    connectivity_seed: Annotated[int, Field(ge=0, lt=2**24)] = 1
    """Of who is connected to whom, alike in all lanes."""


class State(NamedTuple):
    """The network, and what is remembered of it."""

    network: NetworkState
    statistics: SpikeStatistics
    raster: Raster


@ft.lru_cache(maxsize=2)
def _connected(
    cells_scale: float, synapses_scale: float, dt_ms: float, seed: int
) -> tuple[Connectivity, jax.Array]:
    column = cortex.column(cells_scale, synapses_scale)
    first = [0, *map(int, np.cumsum(column.cells))]
    blocks = []
    # Made at once also where a trace asks for it: it is the same in all of them.
    with jax.ensure_compile_time_eval():
        for to, since in np.ndindex(8, 8):
            synapses = int(column.synapses[to, since])
            own = 64 * seed + 8 * to + since
            edges = fixed_total(
                int(column.cells[since]), int(column.cells[to]), synapses, seed=own
            )
            mean_ms = cortex.DELAY_MS[since % 2]
            spread_ms = cortex.DELAY_SPREAD * mean_ms
            edges = normal_delays(edges, mean_ms, spread_ms, dt_ms, seed=own)
            drawn = np.random.Generator(np.random.Philox(own)).normal(size=synapses)
            relative = 1 + cortex.WEIGHT_SPREAD * drawn
            weights_pa = column.weights_pa[to, since] * relative
            blocks.append(
                Block(
                    edges, jnp.asarray(weights_pa, jnp.float32), first[since], first[to]
                )
            )
        return stacked(blocks, first[-1], first[-1])


def network_of(config: Config) -> Network:
    """The network of an arm.

    Args:
        config: the arm's.

    Returns:
        It, without its state.
    """
    column = cortex.column(config.cells_scale, config.synapses_scale)
    cells, population = int(column.cells.sum()), _population(column)
    edges, weights_pa = _connected(
        config.cells_scale,
        config.synapses_scale,
        config.dt_ms,
        config.connectivity_seed,
    )
    inputs = {}
    if config.poisson:
        rates_hz = column.outside_hz[population]
        inputs["outside"] = PoissonInput(
            rates_hz, column.outside_pa, "currents", dt_ms=config.dt_ms, stream=1
        )
    return Network(
        LIF(
            c_pf=cortex.C_PF,
            g_leak_ns=cortex.C_PF / cortex.TAU_MS,
            e_leak_mv=cortex.E_LEAK_MV,
            threshold_mv=cortex.THRESHOLD_MV,
            reset_mv=cortex.E_LEAK_MV,
            refractory_ms=cortex.REFRACTORY_MS,
        ),
        cells,
        {"currents": Currents(Exponential(cortex.TAU_SYNAPSE_MS))},
        {"within": Projection(edges, weights_pa, "currents", weights_per="edge")},
        config.dt_ms,
        inputs,
    )


def _population(column: cortex.Column) -> np.ndarray:
    return np.repeat(np.arange(8), column.cells)


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    column = cortex.column(config.cells_scale, config.synapses_scale)
    network, population = network_of(config), _population(column)
    cells, steps = network.cells, round(config.block_ms / config.dt_ms)
    first = round(config.discard_ms / config.dt_ms)
    current_pa = column.constant_pa
    if not config.poisson:
        mean_pa = column.outside_hz * column.outside_pa * cortex.TAU_SYNAPSE_MS / 1000
        current_pa = current_pa + mean_pa
    current_pa = jnp.asarray(current_pa[population], jnp.float32)

    def init(key):
        voltage, rest = jr.split(key)
        state = network.init(rest)
        v_mv = cortex.FIRST_MV[population] + cortex.FIRST_SPREAD_MV[
            population
        ] * jr.normal(voltage, (cells,))
        state = state._replace(
            cells=state.cells._replace(v_mv=v_mv.astype(state.cells.v_mv.dtype))
        )
        window = round(config.raster_ms / config.dt_ms)
        return State(
            state, SpikeStatistics.of(cells, first), Raster.of(window, cells, first)
        )

    def step(state, index, key):
        del index, key
        after, monitors = run(
            network,
            state.network,
            steps,
            (state.statistics, state.raster),
            current_pa=current_pa,
        )
        return State(after, *monitors), {"voltage_mv": jnp.mean(after.cells.v_mv)}

    def evaluate(state, key):
        del key
        rates_hz = state.statistics.rates_hz(config.dt_ms)
        found = {"variation": state.statistics.variation()}
        end = np.cumsum(column.cells)
        for name, last, count in zip(
            cortex.POPULATIONS, end, column.cells, strict=True
        ):
            found[f"{name}_hz"] = jnp.mean(rates_hz[last - count : last])
        return found

    return Experiment(init, step, evaluate, _report)


def _report(results: Results, report: Report) -> None:
    arms = {
        name: (cast(Config, arm.config), cast(State, arm.lane()))
        for name, arm in results.arms.items()
    }
    figures.draw(report, arms)
