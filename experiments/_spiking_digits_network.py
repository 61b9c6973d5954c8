"""A layer of spiking cells that sees pixels as times, and how it is read."""

import dataclasses
import math
from typing import Annotated, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int32, Key
from pydantic import Field

from djx.brain import (
    all_to_all,
    Currents,
    Exponential,
    FastSigmoid,
    interpolated,
    LIF,
    Network,
    NetworkState,
    Projection,
    run,
    SpikeTimes,
    with_delays,
)
from djx.run import Section


DT_MS = 1.0
PIXELS, CLASSES = 64, 10
TAU_MS, TAU_SYNAPSE_MS = 10.0, 5.0
PEAK = 0.25  # of a pulse's effect on the voltage, had it lasted, with these two
# Delays are learned faster than weights. In the middle of their range they move by 48
# steps where a weight changes by 1; in the source, of 25 steps as well, by 100. Of half
# of it, it and twice it, it is what errs least in folds of the training images.
FASTER = 8.0
Length = Annotated[int, Field(gt=0)]


class Code(Section):
    """How an image is shown; times are in ms, each of which is a step."""

    window_ms: Length = 24
    """A pixel fires once, the earlier the brighter it is: the brightest at once, a dark
    one after this time, which is never."""
    latest_ms: Annotated[int, Field(ge=4)] = 25
    """The largest delay that there may be; the least is a step."""
    tail_ms: Length = 11
    """After the last spike of the latest pixel has arrived."""

    @property
    def steps(self) -> int:
        """Of an image."""
        return self.window_ms + self.latest_ms + self.tail_ms


class Weights(eqx.Module):
    """All that is learned.

    Attributes:
        hidden: what a pixel's spike adds to a cell's voltage at the peak, in units of
            the threshold above rest.
        readout: of a cell's spike.
        drawn: delays at first, in steps, which are not learned; None without any.
        shift: of the logits of their places between the least and the latest, over
            `FASTER`; None where they stay.
    """

    hidden: Float[Array, "pixels cells"]
    readout: Float[Array, "cells classes"]
    drawn: Int32[Array, "pixels cells"] | None
    shift: Float[Array, "pixels cells"] | None

    def __init__(
        self,
        cells: int,
        delays: Literal["none", "fixed", "learnt"],
        code: Code,
        *,
        key: Key[Array, ""],
    ):
        """Random ones.

        Args:
            cells: how many.
            delays: of the edges to them.
            code: says how late they may be.
            key: of them.
        """
        one, two, three = jr.split(key, 3)
        shape = PIXELS, cells
        # Of some 32 pixels that fire a few at a time raise the voltage together.
        self.hidden = 2 * jr.normal(one, shape) / math.sqrt(PIXELS)
        self.readout = 2 * jr.normal(two, (cells, CLASSES)) / math.sqrt(cells)
        self.drawn = self.shift = None
        if delays != "none":
            # Neither end, where the logits are infinite.
            drawn = jr.randint(three, shape, 2, code.latest_ms)
            self.drawn = drawn.astype(jnp.int32)
        if delays == "learnt":
            self.shift = jnp.zeros(shape)

    def delays(self, code: Code) -> Float[Array, "pixels cells"]:
        """Of the edges, in steps that need not be whole.

        Args:
            code: says how late they may be.

        Returns:
            From 1 to the latest.
        """
        if self.drawn is None:
            return jnp.ones_like(self.hidden)
        drawn = self.drawn.astype(self.hidden.dtype)
        if self.shift is None:
            return drawn
        span = code.latest_ms - 1
        part = (drawn - 1) / span
        logit = jnp.log(part / (1 - part)) + FASTER * self.shift
        return 1 + span * jax.nn.sigmoid(logit)


def network_of(weights: Weights, code: Code, image: Float[Array, " pixels"]) -> Network:
    """The network that sees an image.

    Args:
        weights: of its edges.
        code: how the image is shown.
        image: in [0, 1].

    Returns:
        It, without its state.
    """
    cells = weights.hidden.shape[1]
    cell = LIF(c_pf=100.0, g_leak_ns=10.0, refractory_ms=2.0)
    height_mv = cell.threshold_mv - cell.e_leak_mv
    pa = height_mv * cell.g_leak_ns / PEAK * weights.hidden.reshape(-1)
    never = -1.0
    times_ms = jnp.where(image > 0, code.window_ms * (1 - image), never)
    edges = all_to_all(PIXELS, cells)
    parts = [(edges, pa)]
    if weights.drawn is not None:
        late = with_delays(edges, 1, latest=code.latest_ms)
        if weights.shift is None:
            drawn = dataclasses.replace(late, delays=weights.drawn.reshape(-1))
            parts = [(drawn, pa)]
        else:
            parts = interpolated(late, pa, weights.delays(code).reshape(-1), "edge")
    projections = {
        f"part {number}": Projection(
            connectivity, of_edges, "currents", source="pixels", weights_per="edge"
        )
        for number, (connectivity, of_edges) in enumerate(parts)
    }
    return Network(
        cell,
        cells,
        {"currents": Currents(Exponential(TAU_SYNAPSE_MS))},
        projections,
        DT_MS,
        {"pixels": SpikeTimes(times_ms, dt_ms=DT_MS)},
        # A spike's effect on its own cell is left out, as Zenke & Vogels 2021 advise.
        surrogate=FastSigmoid(2.0, 0.3, through_reset=False),
    )


class Readout(eqx.Module):
    """A monitor: leaky sums of spikes, and their integrals.

    Attributes:
        weights: of a spike in the end, if it is not forgotten before all is over.
        trace: the leaky sum of each class at this step.
        logits: its integral so far.
        spikes: of each cell so far.
    """

    weights: Float[Array, "cells classes"]
    trace: Float[Array, " classes"]
    logits: Float[Array, " classes"]
    spikes: Float[Array, " cells"]

    @classmethod
    def of(cls, weights: Float[Array, "cells classes"]) -> "Readout":
        """Before any step.

        Args:
            weights: of a spike.

        Returns:
            The monitor.
        """
        none = jnp.zeros_like(weights)
        return cls(weights, none[0], none[0], none[:, 0])

    def see(self, spiked, step, state: NetworkState) -> "Readout":
        """After a step.

        Args:
            spiked: who; not looked at, as it has no derivatives.
            step: its number; not looked at.
            state: of the network, whose spikes have derivatives.

        Returns:
            The monitor.
        """
        assert state.sent is not None
        spikes, kept = state.sent.spikes, math.exp(-DT_MS / TAU_MS)
        trace = kept * self.trace + (1 - kept) * (spikes @ self.weights)
        return Readout(self.weights, trace, self.logits + trace, self.spikes + spikes)


def answers(
    weights: Weights, code: Code, images: Float[Array, "batch pixels"]
) -> Readout:
    """What the network says of many images.

    Args:
        weights: of its edges.
        code: how images are shown.
        images: in [0, 1].

    Returns:
        Of each image.
    """

    def one(image):
        network = network_of(weights, code, image)
        seen = Readout.of(weights.readout)
        # Of so few steps what a gradient needs has room in memory.
        state, steps = network.init(), code.steps
        return run(network, state, steps, seen, segment=steps)[1]

    return jax.vmap(one)(images)


class Course(NamedTuple):
    """An image, step by step."""

    spiked: Bool[Array, "steps cells"]
    v_mv: Float[Array, "steps cells"]
    trace: Float[Array, "steps classes"]


def course(weights: Weights, code: Code, image: Float[Array, " pixels"]) -> Course:
    """What happens as an image is shown.

    Args:
        weights: of the edges.
        code: how it is shown.
        image: in [0, 1].

    Returns:
        It, step by step.
    """
    network = network_of(weights, code, image)

    def one(carry, _):
        state, seen = carry
        state, spiked = network.step(state)
        seen = seen.see(spiked, state.step, state)
        return (state, seen), Course(spiked, state.cells.v_mv, seen.trace)

    start = network.init(), Readout.of(weights.readout)
    return jax.lax.scan(one, start, None, length=code.steps)[1]
