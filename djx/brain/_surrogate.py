"""Spikes that can be differentiated: a step, and a slope that is not its own."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Surrogate(eqx.Module):
    """A slope around the threshold, in place of the step's.

    Attributes:
        width_mv: unit of the distance from the threshold.
        height: at the threshold, in spikes per width; less than 1 damps what flows back
            through many steps (Bellec et al. 2018 take 0.3).
        through_reset: whether what a spike does to its own cell has a slope as well.
    """

    width_mv: eqx.AbstractVar[float]
    height: eqx.AbstractVar[float]
    through_reset: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def shape(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The slope by how many widths the voltage is above the threshold; 1 at 0."""

    def slope(self, margin_mv: Float[Array, "..."]) -> Float[Array, "..."]:
        """What stands for the derivative of a spike by the voltage.

        Args:
            margin_mv: voltage less threshold.

        Returns:
            Per mV.
        """
        return self.height / self.width_mv * self.shape(margin_mv / self.width_mv)

    def active(self, margin_mv: Float[Array, "..."]) -> Bool[Array, "..."]:
        """Whose slope is not zero: others cost nothing on the way back.

        Args:
            margin_mv: voltage less threshold.

        Returns:
            Who.
        """
        return self.slope(margin_mv) != 0

    def spikes(
        self, margin_mv: Float[Array, "..."], may_fire: Bool[Array, "..."]
    ) -> Float[Array, "..."]:
        """One at the threshold and above it, with that slope.

        Args:
            margin_mv: voltage less threshold.
            may_fire: who is not refractory.

        Returns:
            Zeros and ones.
        """
        return jnp.where(may_fire, _stepped(self, jnp.asarray(margin_mv)), 0)


@jax.custom_jvp
def _stepped(surrogate, margin_mv):
    return jnp.where(margin_mv >= 0, jnp.ones_like(margin_mv), 0)


@_stepped.defjvp
def _stepped_jvp(primals, tangents):
    surrogate, margin_mv = primals[0], jnp.asarray(primals[1])
    value = _stepped(surrogate, margin_mv)
    return value, surrogate.slope(margin_mv) * tangents[1]


class Triangle(Surrogate):
    """Falls by straight lines and is zero from one width on (Bellec et al. 2018).

    On the way back only cells that near to their threshold take part.
    """

    width_mv: float = 1.0
    height: float = 1.0
    through_reset: bool = eqx.field(static=True, default=True)

    def shape(self, x):
        """1 - |x|, or 0."""
        return jnp.maximum(1 - jnp.abs(x), 0)


class FastSigmoid(Surrogate):
    """The slope of x / (1 + |x|): a quarter at one width, never zero.

    Zenke & Ganguli 2018, "SuperSpike".
    """

    width_mv: float = 1.0
    height: float = 1.0
    through_reset: bool = eqx.field(static=True, default=True)

    def shape(self, x):
        """1 / (1 + |x|)^2."""
        return 1 / (1 + jnp.abs(x)) ** 2


class Logistic(Surrogate):
    """The slope of a logistic function, four times: 0.79 at one width."""

    width_mv: float = 1.0
    height: float = 1.0
    through_reset: bool = eqx.field(static=True, default=True)

    def shape(self, x):
        """1 / cosh(x / 2)^2."""
        return 4 * jax.nn.sigmoid(x) * jax.nn.sigmoid(-x)
