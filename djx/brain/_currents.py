"""Currents from outside a network, and other numbers that change with time."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from ._inputs import checked_dt, Input, of
from ._randomness import normals


class WhiteNoise(Input):
    """A current without memory: of <I(t) I(t')> = sigma^2 delta(t - t').

    A step has sigma / sqrt(dt) times a normal number. Of a membrane without threshold,
    C v' = -g_L v + I, the standard deviation is sigma / (g_L sqrt(2 tau)), with tau =
    C / g_L. Held through steps that the membrane integrates exactly, it makes it
    smaller by (dt / tau)^2 / 24, relatively: 10^-6 at 0.1 and 20 ms.

    Attributes:
        sigma_pa_sqrt_ms: square root of the intensity, one number or one for each cell.
        mean_pa: of the current, one number or one for each cell.
        dt_ms: length of a step.
        stream: a number of its own; equal ones draw alike.
    """

    sigma_pa_sqrt_ms: Float[Array, "..."] | float
    mean_pa: Float[Array, "..."] | float = 0.0
    dt_ms: float = eqx.field(static=True, kw_only=True)
    stream: int = eqx.field(static=True, kw_only=True)

    def __check_init__(self):
        checked_dt(self.dt_ms)

    def by_cell(self):
        """Intensity and mean."""
        return {"sigma_pa_sqrt_ms": self.sigma_pa_sqrt_ms, "mean_pa": self.mean_pa}

    @classmethod
    def of_membrane(cls, sd_mv, c_pf, g_leak_ns, mean_pa=0.0, *, dt_ms, stream):
        """The noise that gives a membrane a standard deviation, exactly at this dt.

        With a = exp(-dt / tau), v goes to a v + (1 - a) I / g_L, so that its variance
        is that of I / g_L times (1 - a) / (1 + a) = tanh(dt / (2 tau)).

        Args:
            sd_mv: of the voltage, with neither threshold nor other inputs.
            c_pf: capacitance.
            g_leak_ns: leak.
            mean_pa: of the current.
            dt_ms: length of a step.
            stream: a number of its own.

        Returns:
            The input.
        """
        kept = jnp.tanh(dt_ms * g_leak_ns / (2 * c_pf))
        sigma = sd_mv * g_leak_ns * jnp.sqrt(dt_ms / kept)
        return cls(sigma, mean_pa, dt_ms=dt_ms, stream=stream)

    def sample(self, state, step, seed, cells):
        """The current, pA."""
        drawn = normals(seed, step, self.stream, cells)
        scale_pa = of(self.sigma_pa_sqrt_ms, cells) / np.sqrt(self.dt_ms)
        return state, of(self.mean_pa, cells) + scale_pa * drawn


class OrnsteinUhlenbeckState(NamedTuple):
    """Distance from the mean, in standard deviations, and whether it has begun."""

    excess: Float[Array, " cells"]
    begun: Bool[Array, ""]


class OrnsteinUhlenbeck(Input):
    """A current whose autocovariance is sigma^2 exp(-|t - t'| / tau).

    It is stationary from the first step on. Steps are exact (Gillespie 1996).

    Attributes:
        mean_pa: one number or one for each cell.
        sigma_pa: standard deviation; one number or one for each cell.
        tau_ms: of the memory; one number or one for each cell.
        dt_ms: length of a step.
        stream: a number of its own; equal ones draw alike.
    """

    mean_pa: Float[Array, "..."] | float
    sigma_pa: Float[Array, "..."] | float
    tau_ms: Float[Array, "..."] | float
    dt_ms: float = eqx.field(static=True, kw_only=True)
    stream: int = eqx.field(static=True, kw_only=True)

    def __check_init__(self):
        checked_dt(self.dt_ms)

    def by_cell(self):
        """All of the process."""
        return {n: getattr(self, n) for n in ("mean_pa", "sigma_pa", "tau_ms")}

    def init(self, count):
        """Before its first number is drawn."""
        return OrnsteinUhlenbeckState(jnp.zeros(count), jnp.zeros((), bool))

    def sample(self, state, step, seed, cells):
        """The current, pA."""
        steps = self.dt_ms / of(self.tau_ms, cells)
        kept = jnp.where(state.begun, jnp.exp(-steps), 0)
        new = jnp.where(state.begun, jnp.sqrt(-jnp.expm1(-2 * steps)), 1)
        drawn = normals(seed, step, self.stream, cells)
        excess = kept * state.excess + new * drawn
        value = of(self.mean_pa, cells) + of(self.sigma_pa, cells) * excess
        return OrnsteinUhlenbeckState(excess, jnp.ones((), bool)), value


class Steps(Input):
    """What stays the same for a while: a current in pA, or a rate in Hz.

    Attributes:
        values: [pieces] for all cells or [pieces, cells].
        starts: steps at which each piece begins, ascending; 0 before the first.
        dt_ms: length of a step.
    """

    values: Float[Array, "..."]
    starts: Int32[Array, " pieces"]
    dt_ms: float = eqx.field(static=True)

    def __init__(self, values, starts_ms, *, dt_ms):
        """Pieces of time.

        Args:
            values: [pieces] for all cells or [pieces, cells].
            starts_ms: when each begins, ascending, rounded to whole steps; before the
                first there is 0.
            dt_ms: length of a step.

        Raises:
            ValueError: where there are not as many starts as values, or they descend.
        """
        self.dt_ms, self.values = checked_dt(dt_ms), jnp.asarray(values, float)
        starts_ms = np.asarray(starts_ms, float)
        if starts_ms.ndim != 1 or self.values.shape[:1] != starts_ms.shape:
            raise ValueError(
                f"starts_ms: one for each of the pieces, not {starts_ms.shape} for "
                f"values of {self.values.shape}"
            )
        if np.any(np.diff(starts_ms) < 0):
            raise ValueError("starts_ms: have to ascend")
        self.starts = jnp.asarray(np.round(starts_ms / dt_ms), jnp.int32)

    def sample(self, state, step, seed, cells):
        """The value of the piece."""
        piece = jnp.sum(self.starts <= step) - 1
        value = of(self.values[jnp.maximum(piece, 0)], cells)
        value = jnp.where(piece < 0, 0, value)
        return state, jnp.broadcast_to(value, cells.shape)

    def by_cell(self):
        """Values, where cells have their own."""
        return {"values": self.values if self.values.ndim == 2 else None}


class RedrawnState(NamedTuple):
    """The number of the last draw, and what was drawn: it need not be drawn again."""

    number: Int32[Array, ""]
    drawn: Float[Array, " cells"]


class Redrawn(Input):
    """A normal number that is drawn anew from time to time: a current in pA or a rate.

    As the stimulus of Wang 2002: mean 40 (1 +- c) Hz, SD 4 Hz, anew each 50 ms.

    Attributes:
        mean: one number or one for each cell.
        sd: standard deviation; one number or one for each cell.
        group: cells of the same number draw alike; each its own if None.
        every: steps between draws.
        first: step of the first draw; 0 before.
        until: step from which it is 0 again.
        dt_ms: length of a step.
        stream: a number of its own; equal ones draw alike.
    """

    mean: Float[Array, "..."]
    sd: Float[Array, "..."]
    group: Int32[Array, "..."] | None
    every: int = eqx.field(static=True)
    first: int = eqx.field(static=True)
    until: int = eqx.field(static=True)
    dt_ms: float = eqx.field(static=True)
    stream: int = eqx.field(static=True)

    def __init__(
        self,
        mean,
        sd,
        every_ms,
        *,
        dt_ms,
        stream,
        group=None,
        from_ms=0.0,
        until_ms=None,
    ):
        """Draws of a distribution.

        Args:
            mean: one number or one for each cell.
            sd: standard deviation; one number or one for each cell.
            every_ms: between draws; rounded to whole steps, as all times.
            dt_ms: length of a step.
            stream: a number of its own; equal ones draw alike.
            group: whole numbers, one for each cell: those of the same draw alike. Each
                its own if None.
            from_ms: of the first draw; before it there is 0.
            until_ms: from then on there is 0 again; never if None.

        Raises:
            ValueError: where draws are nearer to one another than steps.
        """
        self.dt_ms, self.stream = checked_dt(dt_ms), stream
        self.mean, self.sd = jnp.asarray(mean, float), jnp.asarray(sd, float)
        self.group = None if group is None else jnp.asarray(group, jnp.int32)
        self.every, self.first = round(every_ms / dt_ms), round(from_ms / dt_ms)
        self.until = 2**31 - 1 if until_ms is None else round(until_ms / dt_ms)
        if self.every < 1:
            raise ValueError(f"every_ms={every_ms}: has to be a step or more")

    def by_cell(self):
        """All of the draw."""
        return {"mean": self.mean, "sd": self.sd, "group": self.group}

    def init(self, count):
        """Before the first draw, whose number is 0."""
        return RedrawnState(jnp.asarray(-1, jnp.int32), jnp.zeros(count))

    def sample(self, state, step, seed, cells):
        """The last draw."""
        number = jnp.maximum(step - self.first, 0) // self.every
        who = cells if self.group is None else of(self.group, cells)
        drawn = jax.lax.cond(
            number == state.number,
            lambda: state.drawn,
            lambda: normals(seed, number, self.stream, who),
        )
        state = RedrawnState(number.astype(jnp.int32), drawn)
        value = of(self.mean, cells) + of(self.sd, cells) * drawn
        there = (step >= self.first) & (step < self.until)
        return state, jnp.where(there, value, 0)
