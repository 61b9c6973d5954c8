"""Two populations that compete, and decide: a choice, and its memory.

Source: Wang 2002. One step of the loop is a block of network steps.
"""

from typing import Annotated, cast, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pydantic import Field

from djx.brain import (
    ampa,
    gaba,
    Instantaneous,
    LIF,
    Network,
    NetworkState,
    NMDA,
    NMDAGating,
    PoissonInput,
    Populations,
    Projection,
    Redrawn,
    run,
)
from djx.run import Config as BaseConfig, Experiment, Report, Results
from experiments import _decision_figures as figures


SIZES = (240, 240, 1120, 400)  # first choice, second, none; inhibitory
EXCITATORY, INHIBITORY = (0, 1, 2), (3,)
BACKGROUND_HZ = 2400.0
STIMULUS_HZ, STIMULUS_SPREAD_HZ, REDRAWN_MS = 40.0, 4.0, 50.0
STIMULUS_MS = (1000.0, 3000.0)
DELAY_MS = 0.5
# Onto excitatory and inhibitory cells, nS.
OUTSIDE_NS, AMPA_NS = (2.1, 1.62), (0.05, 0.04)
NMDA_NS, GABA_NS = (0.165, 0.13), (1.3, 1.0)


class Config(BaseConfig):
    """A stimulus that is for one choice more or less."""

    coherence: Annotated[float, Field(ge=0, le=1)] = 0.128
    """By what share the first population's input is above the mean, the second's
    below."""
    strengthened: Annotated[float, Field(ge=1)] = 1.7
    """Weights within the populations that choose; others to them are weaker."""
    total_ms: Annotated[float, Field(gt=0)] = 4000.0
    """Of a trial, in which the stimulus is on from 1000 to 3000 ms."""
    dt_ms: Annotated[float, Field(gt=0, le=0.1)] = 0.1
    block_ms: Annotated[float, Field(gt=0)] = 50.0
    """Of a step of the loop, and of a bin of the rates."""


class Counts(NamedTuple):
    """Spikes of each population in a block."""

    spikes: Float[Array, " populations"]

    def see(self, spiked, step, state=None):
        """Adds those of a step."""
        del step, state
        first = np.cumsum((0, *SIZES))
        each = [
            jnp.sum(spiked[a:b]) for a, b in zip(first[:-1], first[1:], strict=True)
        ]
        return Counts(self.spikes + jnp.stack(each))


class State(NamedTuple):
    """The network, and the rates of its populations so far."""

    network: NetworkState
    rates_hz: Float[Array, "blocks populations"]


def network_of(config: Config) -> Network:
    """The network of an arm.

    Args:
        config: the arm's.

    Returns:
        It, without its state.
    """
    cells = sum(SIZES)
    inhibitory = np.arange(cells) >= cells - SIZES[-1]

    def either(pair):
        return np.where(inhibitory, pair[1], pair[0])

    more = config.strengthened
    less = 1 - 0.15 * (more - 1) / 0.85
    factors = np.array(
        [[more, less, less, 1], [less, more, less, 1], [1] * 4, [1] * 4], float
    )

    def weights_ns(pair, since):
        """To each population, from those named."""
        onto = np.array([pair[0]] * 3 + [pair[1]])[:, None]
        return jnp.asarray(onto * factors * np.isin(np.arange(4), since))

    edges, delay = Populations(SIZES, SIZES), round(DELAY_MS / config.dt_ms)
    choice = np.repeat(np.arange(4), SIZES)
    means_hz = STIMULUS_HZ * np.array(
        [1 + config.coherence, 1 - config.coherence, 0, 0]
    )
    stimulus = Redrawn(
        means_hz[choice],
        np.where(choice < 2, STIMULUS_SPREAD_HZ, 0.0),
        REDRAWN_MS,
        dt_ms=config.dt_ms,
        stream=1,
        group=choice,
        from_ms=STIMULUS_MS[0],
        until_ms=STIMULUS_MS[1],
    )
    outside = {"onto": "ampa", "dt_ms": config.dt_ms}
    arriving_ns = either(OUTSIDE_NS)[None, :]
    return Network(
        LIF(
            c_pf=either((500.0, 200.0)),
            g_leak_ns=either((25.0, 20.0)),
            e_leak_mv=-70.0,
            threshold_mv=-50.0,
            reset_mv=-55.0,
            refractory_ms=either((2.0, 1.0)),
        ),
        cells,
        {
            "ampa": ampa(2.0),
            "nmda": NMDA(Instantaneous()),
            "gaba": gaba(5.0, -70.0),
        },
        {
            "ampa": Projection(edges, weights_ns(AMPA_NS, EXCITATORY), "ampa", delay),
            "nmda": Projection(
                edges,
                weights_ns(NMDA_NS, EXCITATORY),
                "nmda",
                delay,
                release=NMDAGating(),
            ),
            "gaba": Projection(edges, weights_ns(GABA_NS, INHIBITORY), "gaba", delay),
        },
        config.dt_ms,
        {
            "background": PoissonInput(BACKGROUND_HZ, arriving_ns, stream=2, **outside),
            "stimulus": PoissonInput(
                stimulus, arriving_ns, stream=3, highest_hz=120.0, **outside
            ),
        },
    )


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    network, steps = network_of(config), round(config.block_ms / config.dt_ms)
    blocks = round(config.total_ms / config.block_ms)

    def init(key):
        rates_hz = jnp.zeros((blocks, len(SIZES)), jnp.float32)
        return State(network.init(key), rates_hz)

    def step(state, index, key):
        del key
        counts = Counts(jnp.zeros(len(SIZES), jnp.int32))
        after, counts = run(network, state.network, steps, counts)
        hz = counts.spikes / np.array(SIZES) * (1000 / config.block_ms)
        rates_hz = state.rates_hz.at[index].set(hz.astype(jnp.float32))
        return State(after, rates_hz), {"first_hz": hz[0], "second_hz": hz[1]}

    def evaluate(state, key):
        del key

        def between(start_ms, stop_ms):
            start, stop = (round(t / config.block_ms) for t in (start_ms, stop_ms))
            return jnp.mean(state.rates_hz[start:stop, :2], 0)

        spontaneous, late = between(500, 1000), between(2500, 3000)
        found = {
            "spontaneous_hz": jnp.mean(spontaneous),
            "winner_hz": jnp.max(late),
            "loser_hz": jnp.min(late),
            "first_wins": (late[0] > late[1]).astype(jnp.float32),
        }
        if config.total_ms >= 4000:
            memory = between(3500, 4000)
            found["remembered_hz"] = jnp.max(memory)
            found["other_remembered_hz"] = jnp.min(memory)
        return found

    return Experiment(init, step, evaluate, _report)


def _report(results: Results, report: Report) -> None:
    arms = {}
    for name, arm in results.arms.items():
        config = cast(Config, arm.config)
        state = cast(State, arm.state)
        arms[name] = config, np.asarray(state.rates_hz)
    figures.draw(report, arms)
