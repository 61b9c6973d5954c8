"""What spikes open in cells: conductances and currents."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._by_kind import summed
from ._cell import Cell
from ._drive import Drive
from ._kinetics import Kinetics, of_kinds
from ._synapse import Synapse


class KineticSynapse(Synapse):
    """Some kinetics, and what they do to a cell: its `drive` is all it has of its own.

    Attributes:
        kinetics: how they open and close.
    """

    kinetics: eqx.AbstractVar[Kinetics]

    @property
    def kinds(self) -> int:
        """Those of the kinetics."""
        return self.kinetics.kinds

    def init(self, count):
        """Nothing is open."""
        return self.kinetics.init(count)

    def field(self, state):
        """Slopes a ms between spikes."""
        return self.kinetics.field(state)

    def flow(self, state, dt_ms):
        """As the kinetics do."""
        return self.kinetics.flow(state, dt_ms)

    def inlet(self, state):
        """That of the kinetics."""
        return self.kinetics.inlet(state)

    def refilled(self, state, inlet):
        """As the kinetics do."""
        return self.kinetics.refilled(state, inlet)


class Conductances(KineticSynapse):
    """Spikes open channels: their weights are in nS.

    Over a step they are as open as at its start.

    Attributes:
        kinetics: how they open and close.
        reversal_mv: potentials at which their currents change sign, one of each kind.
    """

    kinetics: Kinetics
    reversal_mv: Float[Array, " kinds"]

    def __init__(self, kinetics: Kinetics, reversal_mv):
        """Some kinds.

        Args:
            kinetics: how they open and close.
            reversal_mv: potentials at which their currents change sign, one of each
                kind.

        Raises:
            ValueError: where they are not as many as the kinetics' kinds.
        """
        self.kinetics = kinetics
        self.reversal_mv = reversal_of(kinetics, reversal_mv)

    def drive(self, state, v_mv, dt_ms, tau_ms=None):
        """What flows through them."""
        return through(self.kinetics.strength(state), self.reversal_mv)


class Currents(KineticSynapse):
    """Spikes let currents flow, whatever the voltage: their weights are in pA.

    Over a step a constant current stands for one that changes, such that the voltage
    over a linear leak is exact at the step's end (Rotter & Diesmann 1999); for other
    cells it is the mean.

    Attributes:
        kinetics: their course.
    """

    kinetics: Kinetics

    def drive(self, state, v_mv, dt_ms, tau_ms=None):
        """What flows, over the step."""
        return Drive(jnp.sum(self.kinetics.lasting(state, dt_ms, tau_ms), 0))


def synaptic_term(
    cell: Cell,
    synapse: KineticSynapse,
    drive_of_t: Callable[[Any], Drive] | None = None,
):
    """Cells with their synapses between spikes as an equation for diffrax.

    It is what a network steps along, for `djx.diffeq.diffeqsolve`. Neither threshold
    nor refractoriness are in it; spikes arrive between two solutions, by `refilled`.

    Args:
        cell: which; its parameters may be differentiated by.
        synapse: which; likewise.
        drive_of_t: what flows in besides at a time in ms; nothing if None.

    Returns:
        A `diffrax.ODETerm`, whose state is the pair of the cell's and the synapse's.
    """
    import diffrax

    return diffrax.ODETerm(_FieldOfBoth(cell, synapse, drive_of_t))


class _FieldOfBoth(eqx.Module):
    cell: Cell
    synapse: KineticSynapse
    drive_of_t: Callable[[Any], Drive] | None

    def __call__(self, t, y, args):
        cells, opened = y
        total = self.synapse.drive(opened, cells.v_mv, 0.0)
        if self.drive_of_t is not None:
            total = total + self.drive_of_t(t)
        slopes = jax.tree.map(
            lambda x, slope: jnp.zeros_like(x) if slope is None else slope,
            cells,
            self.cell.field(cells, total),
            is_leaf=lambda x: x is None,
        )
        return slopes, self.synapse.field(opened)


def reversal_of(kinetics: Kinetics, reversal_mv) -> Float[Array, " kinds"]:
    """Reversal potentials, one of each kind.

    Args:
        kinetics: whose kinds.
        reversal_mv: a list, or one number.

    Returns:
        An array.

    Raises:
        ValueError: where they are not as many as the kinetics' kinds.
    """
    (reversal_mv,) = of_kinds(reversal_mv=reversal_mv)
    if reversal_mv.shape != (kinetics.kinds,):
        raise ValueError(
            f"reversal_mv: one of each of {kinetics.kinds} kinds, not "
            f"{reversal_mv.shape[0]}"
        )
    return reversal_mv


def through(
    conductance_ns: Float[Array, "kinds count"], reversal_mv: Float[Array, " kinds"]
) -> Drive:
    """What flows through open channels of several kinds.

    Args:
        conductance_ns: of every kind and cell.
        reversal_mv: of every kind.

    Returns:
        The sum over kinds.
    """
    total = summed(conductance_ns, jnp.ones_like(reversal_mv))
    return Drive(summed(conductance_ns, reversal_mv), total)
