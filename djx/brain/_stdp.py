"""Spike-timing-dependent plasticity, of pairs and of triplets."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ._incoming import Incoming
from ._spike_timing import SpikeTiming


class PairSTDP(SpikeTiming):
    """Pairs of spikes (Song, Miller & Abbott 2000; all pairs count).

    A pair whose cell fires by d after the sender's spike arrived adds A+ e^(-d / tau+)
    where d is 0 or more, and takes A- e^(d / tau-) where it is less.

    Attributes:
        incoming: edges by cell.
        a_plus: A+, in the weights' unit.
        a_minus: A-, likewise, positive.
        tau_plus_ms: over which a sender's spike is remembered.
        tau_minus_ms: over which a cell's spike is remembered.
        least: lowest weight.
        most: highest weight.
        mu_minus: as of `SpikeTiming`.
        mu_plus: likewise.
    """

    incoming: Incoming
    a_plus: Float[Array, ""] | float
    a_minus: Float[Array, ""] | float
    tau_plus_ms: Float[Array, ""] | float = 20.0
    tau_minus_ms: Float[Array, ""] | float = 20.0
    least: Float[Array, ""] | float = 0.0
    most: Float[Array, ""] | float = np.inf
    mu_minus: float = eqx.field(static=True, default=0.0)
    mu_plus: float = eqx.field(static=True, default=0.0)

    @property
    def taus_ms(self):
        """One trace of each side."""
        return (self.tau_plus_ms,), (self.tau_minus_ms,)

    def amplitudes(self, senders, cells):
        """The same for every spike."""
        return self.a_minus, self.a_plus


class TripletSTDP(SpikeTiming):
    """Pairs and triplets of spikes, all of them (Pfister & Gerstner 2006, eqs. 3, 4).

    A sender's spike takes o1 (A2- + A3- r2), a cell's adds r1 (A2+ + A3+ o2). r1 and r2
    are traces of the sender's spikes over tau+ and tau_x, o1 and o2 those of the cell's
    over tau- and tau_y; r2 and o2 are without the spike itself.

    Attributes:
        incoming: edges by cell.
        a2_plus: A2+, in the weights' unit.
        a3_plus: A3+, likewise.
        a2_minus: A2-, likewise, positive.
        a3_minus: A3-, likewise, positive.
        tau_x_ms: of r2.
        tau_y_ms: of o2.
        tau_plus_ms: of r1; the paper's by default.
        tau_minus_ms: of o1; the paper's by default.
        least: lowest weight.
        most: highest weight.
        mu_minus: as of `SpikeTiming`.
        mu_plus: likewise.
    """

    incoming: Incoming
    a2_plus: Float[Array, ""] | float
    a3_plus: Float[Array, ""] | float
    a2_minus: Float[Array, ""] | float
    a3_minus: Float[Array, ""] | float
    tau_x_ms: Float[Array, ""] | float
    tau_y_ms: Float[Array, ""] | float
    tau_plus_ms: Float[Array, ""] | float = 16.8
    tau_minus_ms: Float[Array, ""] | float = 33.7
    least: Float[Array, ""] | float = 0.0
    most: Float[Array, ""] | float = np.inf
    mu_minus: float = eqx.field(static=True, default=0.0)
    mu_plus: float = eqx.field(static=True, default=0.0)

    @classmethod
    def visual_cortex(
        cls, incoming: Incoming, unit: float = 1.0, **options: Any
    ) -> "TripletSTDP":
        """The full all-to-all model of the paper's table 3.

        Args:
            incoming: edges by cell.
            unit: the weight that is the paper's 1.
            **options: bounds and powers.

        Returns:
            The rule.
        """
        return cls(
            incoming,
            a2_plus=5e-10 * unit,
            a3_plus=6.2e-3 * unit,
            a2_minus=7e-3 * unit,
            a3_minus=2.3e-4 * unit,
            tau_x_ms=101.0,
            tau_y_ms=125.0,
            **options,
        )

    @classmethod
    def hippocampus(
        cls, incoming: Incoming, unit: float = 1.0, **options: Any
    ) -> "TripletSTDP":
        """The full all-to-all model of the paper's table 4.

        Args:
            incoming: edges by cell.
            unit: the weight that is the paper's 1.
            **options: bounds and powers.

        Returns:
            The rule.
        """
        return cls(
            incoming,
            a2_plus=6.1e-3 * unit,
            a3_plus=6.7e-3 * unit,
            a2_minus=1.6e-3 * unit,
            a3_minus=1.4e-3 * unit,
            tau_x_ms=946.0,
            tau_y_ms=27.0,
            **options,
        )

    @property
    def taus_ms(self):
        """Two traces of each side."""
        return (
            (self.tau_plus_ms, self.tau_x_ms),
            (self.tau_minus_ms, self.tau_y_ms),
        )

    def amplitudes(self, senders, cells):
        """By the slower traces."""
        return (
            self.a2_minus + self.a3_minus * senders[1],
            self.a2_plus + self.a3_plus * cells[1],
        )
