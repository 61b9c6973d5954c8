"""What comes from outside a network: spikes, and what arrives at synapses."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Int32, UInt32

from ._randomness import (
    bernoulli_spikes,
    counted,
    inverted,
    most_counts,
    MOST_MEAN,
    MOST_TRACED,
    poisson_thresholds,
    words,
)


class Input(eqx.Module):
    """A number for every cell and step; a function of a seed where it is random.

    Its numbers depend on which cells a device holds as little as on how many those are:
    every cell has its own, by its number in the whole network. Arrays "of cells" are of
    all of them.

    Attributes:
        dt_ms: length of the network's steps.
    """

    dt_ms: eqx.AbstractVar[float]

    def init(self, count: int) -> Any:
        """What it remembers, before the first step.

        Args:
            count: of cells that a device holds.

        Returns:
            A pytree; None for nothing.
        """
        return None

    @abc.abstractmethod
    def sample(
        self,
        state: Any,
        step: Int[Array, ""],
        seed: UInt32[Array, ""],
        cells: Int32[Array, " cells"],
    ) -> tuple[Any, Float[Array, "..."]]:
        """The numbers of a step.

        Args:
            state: what it remembers.
            step: the step's number.
            seed: of the run.
            cells: numbers of those that a device holds.

        Returns:
            What it remembers then, and the numbers.
        """

    def check(self, dt_ms: float, cells: int) -> None:
        """Refuses a network that it was not made for.

        Args:
            dt_ms: the network's.
            cells: how many it has, on all devices.

        Raises:
            ValueError: where it was made for other steps, or for fewer or more cells.
        """
        if self.dt_ms != dt_ms:
            raise ValueError(
                f"dt_ms={self.dt_ms} of an input to a network of dt_ms={dt_ms}: make "
                "it with the network's"
            )
        for name, value in self.by_cell().items():
            if isinstance(value, Input):
                value.check(dt_ms, cells)
            elif value is not None and width(value) not in (1, cells):
                raise ValueError(
                    f"{name}: one for all or one for each of {cells} cells, not "
                    f"{width(value)}"
                )

    def by_cell(self) -> dict[str, Any]:
        """What there may be one of for each cell, on its last axis, by name."""
        return {}


class PoissonInput(Input):
    """Spikes of senders of its own for every cell, as they arrive at its synapses.

    They are as many in a step as in a Poisson process: none, one or several. A rate
    that is a number or a NumPy array is made to thresholds in whole numbers; of 1.6
    arrivals a step they cost a core about 1 ns a cell and step. One that is a JAX
    array, or another input (`Steps`, `Redrawn`), may be traced, mapped over and
    changed; where it changes from step to step, at about 4 ns. It has a derivative as
    well: that of the mean stands for that of the count, which is right in expectation
    for what depends on the counts linearly.

    Attributes:
        weights: what an arrival adds to a synapse: one number, one for each of its
            kinds, or [kinds, cells].
        onto: name of the synapse.
        dt_ms: length of a step.
        stream: a number of its own; equal ones draw alike.
        rate_hz: of a sender, where it may change.
        senders: of a cell, whose spikes add up.
        thresholds: of the counts of a step, where rates are fixed.
        which: of the thresholds' columns each cell has.
    """

    weights: Float[Array, "..."]
    onto: str = eqx.field(static=True)
    dt_ms: float = eqx.field(static=True)
    stream: int = eqx.field(static=True)
    rate_hz: Float[Array, "..."] | Input | None
    senders: Float[Array, "..."] | None
    thresholds: UInt32[Array, "most values"] | None
    which: Int32[Array, "..."] | None
    most: int = eqx.field(static=True)

    def __init__(
        self,
        rate_hz,
        weights,
        onto,
        *,
        dt_ms,
        stream,
        senders=1,
        highest_hz=None,
    ):
        """Trains of a rate.

        Args:
            rate_hz: of a sender: one number, one for each cell, or an input.
            weights: what an arrival adds to a synapse: one number, one for each of its
                kinds, or [kinds, cells].
            onto: name of the synapse.
            dt_ms: length of a step.
            stream: a number of its own; equal ones draw alike.
            senders: of a cell, all of that rate; one number or one for each cell.
            highest_hz: a rate that is traced, or an input, stays below; above it the
                highest counts are missing. The highest that is given, otherwise.

        Raises:
            ValueError: where a rate is none, or how high it may be is not known.
        """
        self.weights = jnp.asarray(weights, float)
        self.onto, self.dt_ms, self.stream = onto, checked_dt(dt_ms), stream
        self.rate_hz = self.senders = self.thresholds = self.which = None
        per_step = np.asarray(senders) * dt_ms / 1000
        if not isinstance(rate_hz, (jax.Array, Input)):
            means = _checked_means(np.asarray(rate_hz) * per_step, MOST_MEAN)
            means, which = np.unique(means, return_inverse=True)
            self.thresholds = jnp.asarray(poisson_thresholds(means))
            if np.ndim(rate_hz) or np.ndim(senders):
                self.which = jnp.asarray(which, jnp.int32)
            self.most = self.thresholds.shape[0]
            return
        if highest_hz is None:
            if isinstance(rate_hz, (Tracer, Input)):
                raise ValueError(
                    "highest_hz: has to be said of a rate that is traced or an input; "
                    "the work of a step grows with it"
                )
            highest_hz = float(jnp.max(rate_hz))
        self.rate_hz, self.senders = rate_hz, jnp.asarray(senders, float)
        highest = _checked_means(highest_hz * np.max(per_step), MOST_TRACED)
        self.most = most_counts(float(highest))

    def init(self, count):
        """What the rate remembers."""
        return self.rate_hz.init(count) if isinstance(self.rate_hz, Input) else None

    def by_cell(self):
        """Rates, senders and weights."""
        rates = self.rate_hz if self.thresholds is None else self.which
        weights = self.weights if self.weights.ndim == 2 else None
        return {"rate_hz": rates, "senders": self.senders, "weights": weights}

    def sample(self, state, step, seed, cells):
        """Arrivals by kind and cell, times their weights."""
        drawn = words(seed, step, self.stream, cells)
        if self.thresholds is not None:
            which = 0 if self.which is None else of(self.which, cells)
            rows = [row.at[which].get(mode="clip") for row in self.thresholds]
            arrivals = counted(drawn, rows).astype(self.weights.dtype)
        else:
            state, rate_hz = _now(self.rate_hz, state, step, seed, cells)
            mean = rate_hz * of(self.senders, cells) * (self.dt_ms / 1000)
            fixed = jax.lax.stop_gradient(mean)
            arrivals = _instead(inverted(drawn, fixed, self.most), mean)
        weights = self.weights
        if weights.ndim == 1:
            weights = weights[:, None]
        elif weights.ndim == 2 and width(weights) > 1:
            weights = of(weights, cells)
        return state, jnp.atleast_2d(weights * arrivals)


class PoissonSources(Input):
    """Spikes of senders outside, for a projection.

    Each fires at most once in a step, with a probability that makes its rate exact.
    Devices draw those of all senders, as each pushes them to cells of its own. A rate
    has a derivative: that of the probability stands for that of the spike.

    Attributes:
        rate_hz: one number, one for each sender, or an input.
        count: of senders.
        dt_ms: length of a step.
        stream: a number of its own; equal ones draw alike.
    """

    rate_hz: Float[Array, "..."] | Input
    count: int = eqx.field(static=True)
    dt_ms: float = eqx.field(static=True)
    stream: int = eqx.field(static=True)

    def __init__(self, count, rate_hz, *, dt_ms, stream):
        """Senders of a rate.

        Args:
            count: of senders.
            rate_hz: one number, one for each sender, or an input.
            dt_ms: length of a step.
            stream: a number of its own; equal ones draw alike.

        Raises:
            ValueError: where a rate is above one spike a step, or of other senders.
        """
        self.count, self.dt_ms, self.stream = count, checked_dt(dt_ms), stream
        if not isinstance(rate_hz, Input):
            rate_hz = jnp.asarray(rate_hz, float)
            if rate_hz.shape not in ((), (count,)):
                raise ValueError(
                    f"rate_hz: one for all or one for each of {count} senders, not "
                    f"{rate_hz.shape}"
                )
            if not isinstance(rate_hz, Tracer) and rate_hz.size:
                most = float(rate_hz.max()) * dt_ms / 1000
                if not (0 <= float(rate_hz.min()) and most <= 1):
                    raise ValueError(
                        f"rate_hz: {rate_hz.min()} to {rate_hz.max()} are not all from "
                        f"0 to one spike a step of {dt_ms} ms; take more senders"
                    )
        self.rate_hz = rate_hz

    def init(self, count):
        """What the rate remembers, of all senders."""
        rate = self.rate_hz
        return rate.init(self.count) if isinstance(rate, Input) else None

    def check(self, dt_ms, cells):
        """Refuses a network of other steps; cells may be as many as they like."""
        super().check(dt_ms, cells)
        if isinstance(self.rate_hz, Input):
            self.rate_hz.check(dt_ms, self.count)

    def sample(self, state, step, seed, cells):
        """One for each sender that fires; the numbers of cells do not matter."""
        senders = jnp.arange(self.count, dtype=jnp.int32)
        state, rate_hz = _now(self.rate_hz, state, step, seed, senders)
        chance = rate_hz * (self.dt_ms / 1000)
        fired = bernoulli_spikes(seed, chance, step, self.stream, senders)
        return state, _instead(fired, chance)


class SpikeTimes(Input):
    """Spikes of senders outside, at times that are given.

    A step looks at all times of all senders: meant for some tens of spikes each. Two in
    the same step are one.

    Attributes:
        steps: when each sender fires, in any order; negative ones are never.
        dt_ms: length of a step.
    """

    steps: Int32[Array, "most senders"]
    dt_ms: float = eqx.field(static=True)

    def __init__(self, times_ms, *, dt_ms):
        """Trains of spikes.

        Args:
            times_ms: of each sender, [senders, most] or one, [senders]; rounded to
                whole steps. What is negative or not finite is never.
            dt_ms: length of a step.

        Raises:
            ValueError: where times are not one or several of each sender.
        """
        self.dt_ms = checked_dt(dt_ms)
        times_ms = jnp.asarray(times_ms, float)
        if times_ms.ndim not in (1, 2):
            raise ValueError(f"times_ms: [senders, most], not {times_ms.shape}")
        steps = jnp.round(jnp.atleast_2d(times_ms.T) / dt_ms)
        there = (steps >= 0) & (steps < 2.0**31)
        self.steps = jnp.where(there, steps, -1).astype(jnp.int32)

    def sample(self, state, step, seed, cells):
        """One for each sender that fires; the numbers of cells do not matter."""
        return state, jnp.any(self.steps == step, 0).astype(float)


def of(values: Any, cells: Int32[Array, " cells"]) -> Any:
    """What these cells have, where there is one for each of all on the last axis.

    Args:
        values: one for all, or those of all cells.
        cells: numbers of some.

    Returns:
        One, or theirs.
    """
    if width(values) == 1:
        return jnp.reshape(values, jnp.shape(values)[:-1])
    if width(values) < cells.shape[0]:
        raise ValueError(
            f"{cells.shape[0]} cells of a network, and numbers for {width(values)}"
        )
    return jnp.asarray(values).at[..., cells].get(mode="promise_in_bounds")


def width(values: Any) -> int:
    """Of an array's last axis; 1 of a number."""
    return (jnp.shape(values) or (1,))[-1]


def checked_dt(dt_ms: float) -> float:
    """A step's length, if it is one."""
    if not isinstance(dt_ms, (int, float)) or not dt_ms > 0:
        raise ValueError(f"dt_ms={dt_ms}: has to be a number above 0")
    return dt_ms


def _checked_means(means, most):
    if not np.all((means >= 0) & (means <= most)):
        raise ValueError(
            f"rate_hz: {np.min(means):g} to {np.max(means):g} arrivals a step, not all "
            f"from 0 to {most:g}; of more, a current does as well"
        )
    return means


def _now(rate_hz, state, step, seed, cells):
    """A rate, none below 0, wherever it comes from."""
    if isinstance(rate_hz, Input):
        state, rate_hz = rate_hz.sample(state, step, seed, cells)
    else:
        rate_hz = of(rate_hz, cells)
    return state, jnp.where(rate_hz < 0, 0, rate_hz)


def _instead(drawn, mean):
    """What was drawn, with the derivative of its mean."""
    return drawn.astype(mean.dtype) + (mean - jax.lax.stop_gradient(mean))
