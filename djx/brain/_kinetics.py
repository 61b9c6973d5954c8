"""How what a spike opens comes and goes: linear equations, solved exactly."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._by_kind import scaled
from ._divided import divided_exp
from ._stepping import exprel


class Kinetics(eqx.Module):
    """The course of a synapse's strength, be it a conductance in nS or a current in pA.

    It is linear: each spike adds its weight to one variable, the inlet, and between
    spikes all follow `field`.
    """

    @property
    @abc.abstractmethod
    def kinds(self) -> int:
        """How many there are."""

    @abc.abstractmethod
    def init(self, count: int) -> Any:
        """Nothing, for so many cells: arrays of `(kinds, count)`."""

    @abc.abstractmethod
    def strength(self, state: Any) -> Float[Array, "kinds count"]:
        """What is open, or flows, at this moment."""

    @abc.abstractmethod
    def lasting(
        self,
        state: Any,
        dt_ms: Float[Array, ""] | float,
        tau_ms: Float[Array, "..."] | float | None = None,
    ) -> Float[Array, "kinds count"]:
        """The constant strength that at a step's end has had the same effect.

        Args:
            state: at the step's start.
            dt_ms: its length.
            tau_ms: over which the effect is forgotten: the integral over the step is
                weighted by e^((t - dt) / tau). None is for never: it is the mean.

        Returns:
            Of every kind and cell.
        """

    @abc.abstractmethod
    def field(self, state: Any) -> Any:
        """Slopes a ms between spikes."""

    @abc.abstractmethod
    def flow(self, state: Any, dt_ms: Float[Array, ""] | float) -> Any:
        """The state after a time without spikes."""

    @abc.abstractmethod
    def inlet(self, state: Any) -> Float[Array, "kinds count"]:
        """The variable to which weights are added."""

    @abc.abstractmethod
    def refilled(self, state: Any, inlet: Float[Array, "kinds count"]) -> Any:
        """The state with that variable replaced."""


class _Direct(Kinetics):
    """The inlet is all there is."""

    def strength(self, state):
        """The state."""
        return state

    def inlet(self, state):
        """The state."""
        return state

    def refilled(self, state, inlet):
        """What is given."""
        return inlet


class Instantaneous(_Direct):
    """What arrives acts over the next step, and is gone.

    For synapses whose course is the sender's, as that of `NMDAGating`.
    """

    kinds: int = eqx.field(static=True, default=1)  # pyright: ignore

    def init(self, count):
        """Nothing."""
        return jnp.zeros((self.kinds, count))

    def lasting(self, state, dt_ms, tau_ms=None):
        """It does not change over a step."""
        return state

    def field(self, state):
        """It does not change over a step."""
        return jnp.zeros_like(state)

    def flow(self, state, dt_ms):
        """Nothing is left."""
        return jnp.zeros_like(state)


class Exponential(_Direct):
    """Sets in at once and decays: s' = -s / tau.

    Attributes:
        decay_ms: time constants, one of each kind.
    """

    decay_ms: Float[Array, " kinds"]

    def __init__(self, decay_ms):
        """Some kinds.

        Args:
            decay_ms: time constants, one of each kind.
        """
        (self.decay_ms,) = of_kinds(decay_ms=decay_ms)

    @property
    def kinds(self) -> int:
        """How many there are."""
        return self.decay_ms.shape[0]

    def init(self, count):
        """Nothing."""
        return jnp.zeros((self.kinds, count), self.decay_ms.dtype)

    def lasting(self, state, dt_ms, tau_ms=None):
        """A multiple of what is there."""
        forgotten = _forgotten(dt_ms, tau_ms)
        decayed = -dt_ms / self.decay_ms[:, None]
        return state * (divided_exp(forgotten, decayed) / exprel(forgotten))

    def field(self, state):
        """Decay."""
        return -state / self.decay_ms[:, None]

    def flow(self, state, dt_ms):
        """Decay."""
        return scaled(state, jnp.exp(-dt_ms / self.decay_ms))


class Opening(NamedTuple):
    """What is yet to open, and what is open."""

    waiting: Float[Array, "kinds count"]
    open: Float[Array, "kinds count"]


class _InSeries(Kinetics):
    """h' = -h / rise, s' = -s / decay + c h: spikes add to h, s is the strength.

    One spike of weight 1 has a peak of 1, after a time t* = u rise / (1 - e^-u) where
    u = log(decay / rise): there s' is 0, so that c = e^(t* / rise) / decay. All of it
    has limits where the time constants are the same, and is computed through them.
    """

    rise_ms: eqx.AbstractVar[Float[Array, " kinds"]]
    decay_ms: eqx.AbstractVar[Float[Array, " kinds"]]

    @property
    def kinds(self) -> int:
        """How many there are."""
        return self.decay_ms.shape[0]

    def init(self, count):
        """Nothing."""
        none = jnp.zeros((self.kinds, count), self.decay_ms.dtype)
        return Opening(none, none)

    def strength(self, state):
        """What is open."""
        return state.open

    def lasting(self, state, dt_ms, tau_ms=None):
        """By what is open, and by what opens within the step."""
        rise, decay, gain = self._constants()
        forgotten = _forgotten(dt_ms, tau_ms)
        steps = -dt_ms / decay, -dt_ms / rise
        at_once = divided_exp(forgotten, steps[0])
        later = gain * dt_ms * divided_exp(forgotten, *steps)
        return (state.open * at_once + state.waiting * later) / exprel(forgotten)

    def field(self, state):
        """The two equations."""
        rise, decay, gain = self._constants()
        return Opening(-state.waiting / rise, gain * state.waiting - state.open / decay)

    def flow(self, state, dt_ms):
        """What waits opens, what is open closes."""
        rise, decay, gain = self._constants()
        kept, left = -dt_ms / decay, -dt_ms / rise
        opened = gain * dt_ms * divided_exp(kept, left) * state.waiting
        return Opening(
            state.waiting * jnp.exp(left), state.open * jnp.exp(kept) + opened
        )

    def inlet(self, state):
        """What is yet to open."""
        return state.waiting

    def refilled(self, state, inlet):
        """With more that is yet to open."""
        return state._replace(waiting=inlet)

    def _constants(self):
        rise, decay = self.rise_ms, self.decay_ms
        gain = jnp.exp(1 / exprel(jnp.log(rise / decay))) / decay
        return rise[:, None], decay[:, None], gain[:, None]


class Alpha(_InSeries):
    """A spike of weight 1 gives t / tau e^(1 - t / tau), which is 1 after tau.

    Attributes:
        tau_ms: time constants, one of each kind.
    """

    tau_ms: Float[Array, " kinds"]

    def __init__(self, tau_ms):
        """Some kinds.

        Args:
            tau_ms: time constants, one of each kind.
        """
        (self.tau_ms,) = of_kinds(tau_ms=tau_ms)

    @property
    def rise_ms(self):  # pyright: ignore
        """The only time constant."""
        return self.tau_ms

    @property
    def decay_ms(self):  # pyright: ignore
        """The only time constant."""
        return self.tau_ms


class DualExponential(_InSeries):
    """A spike of weight 1 gives a multiple of e^(-t / decay) - e^(-t / rise), peak 1.

    Where the two are the same it is `Alpha`; which of them is longer does not matter.

    Attributes:
        rise_ms: time constants, one of each kind.
        decay_ms: likewise.
    """

    rise_ms: Float[Array, " kinds"]
    decay_ms: Float[Array, " kinds"]

    def __init__(self, rise_ms, decay_ms):
        """Some kinds.

        Args:
            rise_ms: time constants, one of each kind.
            decay_ms: likewise.

        Raises:
            ValueError: where the two are not equally many.
        """
        self.rise_ms, self.decay_ms = of_kinds(rise_ms=rise_ms, decay_ms=decay_ms)


def of_kinds(**numbers) -> list[Float[Array, " kinds"]]:
    """Lists of numbers, one of each kind.

    Args:
        **numbers: lists, or one number each, by their names.

    Returns:
        Arrays.

    Raises:
        ValueError: where they are not equally many.
    """
    arrays = [jnp.atleast_1d(jnp.asarray(x, float)) for x in numbers.values()]
    shapes = [a.shape for a in arrays]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1:
        raise ValueError(
            f"{' and '.join(numbers)}: one of each kind, not "
            f"{' and '.join(map(str, shapes))}"
        )
    return arrays


def _forgotten(dt_ms, tau_ms):
    return 0.0 if tau_ms is None else -dt_ms / tau_ms
