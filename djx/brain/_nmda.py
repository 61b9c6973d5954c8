"""NMDA receptors: blocked by magnesium, and saturated by what is released."""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._kinetics import DualExponential, Kinetics
from ._stepping import exponential_euler, exprel
from ._synapse import Release
from ._synapses import KineticSynapse, reversal_of, through


class NMDA(KineticSynapse):
    """Conductances that magnesium blocks, by the voltage at the step's start.

    Attributes:
        kinetics: how they open and close; spikes' weights are in nS.
        reversal_mv: potentials at which their currents change sign, one of each kind.
        magnesium_mm: its concentration, mM.
    """

    kinetics: Kinetics
    reversal_mv: Float[Array, " kinds"]
    magnesium_mm: Float[Array, ""] | float

    def __init__(
        self,
        kinetics: Kinetics | None = None,
        reversal_mv=0.0,
        magnesium_mm: Float[Array, ""] | float = 1.0,
    ):
        """Some kinds.

        Args:
            kinetics: how they open and close. If None they rise over 2 ms and decay
                over 100, as in Wang 2002, but do not saturate. For the paper's own,
                which do, take `Instantaneous()`, and `NMDAGating` for the projection.
            reversal_mv: potentials at which their currents change sign, one of each
                kind.
            magnesium_mm: its concentration, mM.

        Raises:
            ValueError: where reversal potentials are not as many as the kinetics'
                kinds.
        """
        self.kinetics = DualExponential(2.0, 100.0) if kinetics is None else kinetics
        self.reversal_mv = reversal_of(self.kinetics, reversal_mv)
        self.magnesium_mm = magnesium_mm

    def drive(self, state, v_mv, dt_ms, tau_ms=None):
        """What flows through those that are not blocked."""
        passing = magnesium_block(v_mv, self.magnesium_mm)
        return through(self.kinetics.strength(state) * passing, self.reversal_mv)


def magnesium_block(
    v_mv: Float[Array, "..."] | float, magnesium_mm: Float[Array, ""] | float = 1.0
) -> Float[Array, "..."]:
    """The share of NMDA receptors that magnesium leaves open.

    1 / (1 + [Mg] e^(-0.062 v) / 3.57), Jahr & Stevens 1990.

    Args:
        v_mv: mV.
        magnesium_mm: its concentration, mM.

    Returns:
        From 0 to 1.
    """
    # Cut below -1290 mV, where slopes would be no numbers.
    blocked = jnp.exp(jnp.minimum(-0.062 * jnp.asarray(v_mv), 80.0)) / 3.57
    return 1 / (1 + magnesium_mm * blocked)


class Gates(NamedTuple):
    """Transmitter, and the share of its receptors that are open, of every sender."""

    x: Float[Array, " senders"]
    s: Float[Array, " senders"]


class NMDAGating(Release):
    """NMDA receptors as their sender's spikes open them, up to all (Wang 2002).

    x' = -x / rise, to which a spike adds 1; s' = -s / decay + alpha x (1 - s). What a
    sender sends is s, at every step: all senders push, not only those that fire. It
    belongs to a synapse of `Instantaneous` kinetics.

    x is exact; s solves its equation with the mean of x over the step, which is of
    second order.

    Attributes:
        rise_ms: time constant of x.
        decay_ms: time constant of s.
        alpha_per_ms: rate at which transmitter opens receptors.
    """

    continuous: ClassVar[bool] = True
    rise_ms: Float[Array, "..."] | float = 2.0
    decay_ms: Float[Array, "..."] | float = 100.0
    alpha_per_ms: Float[Array, "..."] | float = 0.5

    def init(self, senders):
        """No transmitter, no receptor open."""
        return Gates(jnp.zeros(senders, float), jnp.zeros(senders, float))

    def field(self, state: Gates) -> Gates:
        """The two equations; slopes a ms between spikes."""
        x, s = state
        opening = self.alpha_per_ms * x * (1 - s)
        return Gates(-x / self.rise_ms, opening - s / self.decay_ms)

    def step(self, state, spikes, dt_ms):
        """The equations' step; then spikes add transmitter."""
        over_the_step = -jnp.asarray(dt_ms / self.rise_ms, state.x.dtype)
        mean = state.x * exprel(over_the_step)
        s = exponential_euler(lambda s: self.field(Gates(mean, s)).s, state.s, dt_ms)
        return Gates(state.x * jnp.exp(over_the_step) + spikes, s), s
