"""Short-term plasticity: what a spike releases depends on the spikes before."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._synapse import Release


class Resources(NamedTuple):
    """The share of what is there that a spike would use, and what is there, of all."""

    use: Float[Array, " senders"]
    available: Float[Array, " senders"]


class ShortTermPlasticity(Release):
    """Facilitation and depression (Tsodyks, Pawelzik & Markram 1998).

    Between spikes u' = -u / tau_f and R' = (1 - R) / tau_d, which a step solves
    exactly. A spike first raises u by U (1 - u), and then takes u R from R, with the
    new u: that is its amplitude. The first spike's is U; a weight is what a spike would
    do with all resources.

    Attributes:
        utilisation: U, from 0 to 1, of all senders or of each.
        tau_f_ms: time constant of facilitation; 0 is for none, u = U at every spike.
        tau_d_ms: time constant of recovery from depression; 0 is for none.
    """

    utilisation: Float[Array, "..."] | float
    tau_f_ms: Float[Array, "..."] | float
    tau_d_ms: Float[Array, "..."] | float

    def init(self, senders):
        """Nothing facilitated, all resources there."""
        return Resources(jnp.zeros(senders, float), jnp.ones(senders, float))

    def field(self, state: Resources) -> Resources:
        """The two equations; slopes a ms between spikes, for time constants above 0."""
        use, available = state
        return Resources(-use / self.tau_f_ms, (1 - available) / self.tau_d_ms)

    def step(self, state, spikes, dt_ms):
        """Resources recover; then spikes use them."""
        use = state.use * _left(dt_ms, self.tau_f_ms)
        lacking = (1 - state.available) * _left(dt_ms, self.tau_d_ms)
        available = 1 - lacking
        # All is linear in spikes, so that a surrogate's slope is that of a whole spike.
        more = self.utilisation * (1 - use)
        amplitudes = spikes * (use + more) * available
        return Resources(use + spikes * more, available - amplitudes), amplitudes


def _left(dt_ms, tau_ms):
    """The share that is left after a step; none where the time constant is 0."""
    tau_ms = jnp.asarray(tau_ms, float)
    lasting = tau_ms > 0
    return jnp.where(lasting, jnp.exp(-dt_ms / jnp.where(lasting, tau_ms, 1)), 0)
