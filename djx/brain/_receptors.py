"""Conductances that spikes open and time closes."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._drive import Drive, ohmic


class Receptors(eqx.Module):
    """Kinds of synapses that a spike opens at once and that close exponentially.

    The decay over a step is exact. (Benchmark 1 of Brette et al. 2007.)

    Attributes:
        decay_ms: time constants, one of each kind.
        reversal_mv: potentials at which their currents change sign.
    """

    decay_ms: Float[Array, " kinds"]
    reversal_mv: Float[Array, " kinds"]

    def __init__(self, decay_ms, reversal_mv):
        """Some kinds.

        Args:
            decay_ms: time constants, one of each kind.
            reversal_mv: potentials at which their currents change sign.

        Raises:
            ValueError: where the two are not equally many.
        """
        self.decay_ms = jnp.atleast_1d(jnp.asarray(decay_ms, float))
        self.reversal_mv = jnp.atleast_1d(jnp.asarray(reversal_mv, float))
        if self.decay_ms.shape != self.reversal_mv.shape or self.decay_ms.ndim != 1:
            raise ValueError(
                f"decay_ms and reversal_mv: one of each kind, not "
                f"{self.decay_ms.shape} and {self.reversal_mv.shape}"
            )

    @property
    def kinds(self) -> int:
        """How many there are."""
        return self.decay_ms.shape[0]

    def init(self, count: int) -> Float[Array, "kinds count"]:
        """All closed.

        Args:
            count: of cells.

        Returns:
            Conductances in nS.
        """
        return jnp.zeros((self.kinds, count), self.decay_ms.dtype)

    def drive(self, conductance_ns: Float[Array, "kinds count"]) -> Drive:
        """What flows through them.

        Args:
            conductance_ns: of every kind and cell.

        Returns:
            The sum over kinds.
        """
        total = Drive()
        for kind in range(self.kinds):
            total = total + ohmic(conductance_ns[kind], self.reversal_mv[kind])
        return total

    def closed(
        self, conductance_ns: Float[Array, "kinds count"], dt_ms: float
    ) -> Float[Array, "kinds count"]:
        """What is left after a step.

        Args:
            conductance_ns: of every kind and cell.
            dt_ms: length of the step.

        Returns:
            The conductances.
        """
        return conductance_ns * jnp.exp(-dt_ms / self.decay_ms)[:, None]
