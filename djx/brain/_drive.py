"""What flows into cells, from outside or through synapses."""

from typing import NamedTuple

from jaxtyping import Array, Float


class Drive(NamedTuple):
    """A current that depends on the voltage by a straight line.

    Every linear synapse and every injected current is one; so is their sum. The sign
    is that of what raises the voltage.

    Attributes:
        current_pa: what flows in at 0 mV, pA.
        conductance_ns: by how much less flows in for each mV, nS.
    """

    current_pa: Float[Array, "..."] | float = 0.0
    conductance_ns: Float[Array, "..."] | float = 0.0

    def at(self, v_mv: Float[Array, "..."] | float) -> Float[Array, "..."] | float:
        """The current at a voltage.

        Args:
            v_mv: mV.

        Returns:
            pA.
        """
        return self.current_pa - self.conductance_ns * v_mv

    def __add__(self, other: "Drive") -> "Drive":  # pyright: ignore
        """Both at once: not one tuple after the other."""
        if not isinstance(other, Drive):
            return NotImplemented
        return Drive(
            self.current_pa + other.current_pa,
            self.conductance_ns + other.conductance_ns,
        )


def ohmic(
    conductance_ns: Float[Array, "..."] | float,
    reversal_mv: Float[Array, "..."] | float,
) -> Drive:
    """What flows through open channels.

    Args:
        conductance_ns: of all of them, nS.
        reversal_mv: voltage at which nothing flows, mV.

    Returns:
        The drive `conductance_ns * (reversal_mv - v_mv)`.
    """
    return Drive(conductance_ns * reversal_mv, conductance_ns)
