"""Conductances that spikes open at once and time closes."""

from jaxtyping import Array, Float

from ._kinetics import Exponential, of_kinds
from ._synapses import Conductances


class Receptors(Conductances):
    """Kinds of synapses that a spike opens at once and that close exponentially.

    The decay over a step is exact. (Benchmark 1 of Brette et al. 2007.)

    Attributes:
        kinetics: their decay.
        reversal_mv: potentials at which their currents change sign, one of each kind.
    """

    def __init__(self, decay_ms, reversal_mv):
        """Some kinds.

        Args:
            decay_ms: time constants, one of each kind.
            reversal_mv: potentials at which their currents change sign, one of each
                kind.

        Raises:
            ValueError: where the two are not equally many.
        """
        of_kinds(decay_ms=decay_ms, reversal_mv=reversal_mv)
        super().__init__(Exponential(decay_ms), reversal_mv)

    @property
    def decay_ms(self) -> Float[Array, " kinds"]:
        """Time constants, one of each kind."""
        return self.kinetics.decay_ms  # pyright: ignore


def ampa(decay_ms=2.0, reversal_mv=0.0) -> Receptors:
    """AMPA receptors, which a spike of weight 1 opens by 1 nS at once.

    Args:
        decay_ms: time constant; the default is that of Wang 2002.
        reversal_mv: likewise.

    Returns:
        The synapse.
    """
    return Receptors(decay_ms, reversal_mv)


def gaba(decay_ms=5.0, reversal_mv=-70.0) -> Receptors:
    """GABA-A receptors, which a spike of weight 1 opens by 1 nS at once.

    Args:
        decay_ms: time constant; the default is that of Wang 2002.
        reversal_mv: likewise.

    Returns:
        The synapse.
    """
    return Receptors(decay_ms, reversal_mv)
