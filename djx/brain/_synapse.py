"""What a connection is made of: what is sent, what it sets off, what it learns."""

import abc
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
from jaxtyping import Array, Bool, Float

from ._connectivity import Connectivity
from ._drive import Drive


State: TypeAlias = Any
"""A pytree of arrays."""


class Synapse(eqx.Module):
    """What arriving spikes set off in cells; of one kind, or of several.

    Several kinds are in one object where they are of one model: their arrays have a row
    for each.
    """

    @property
    @abc.abstractmethod
    def kinds(self) -> int:
        """How many there are."""

    @abc.abstractmethod
    def init(self, count: int) -> State:
        """Long after the last spike.

        Args:
            count: of cells.

        Returns:
            A pytree of arrays of `(kinds, count)`.
        """

    @abc.abstractmethod
    def drive(
        self,
        state: State,
        v_mv: Float[Array, " count"],
        dt_ms: Float[Array, ""] | float,
        tau_ms: Float[Array, "..."] | float | None = None,
    ) -> Drive:
        """What flows into the cells over the coming step.

        Args:
            state: at the step's start.
            v_mv: the cells' voltages there.
            dt_ms: the step's length; 0 is for what flows in at that moment.
            tau_ms: the cells' membrane time constant where their leak is a straight
                line, else None.

        Returns:
            The sum over kinds.
        """

    @abc.abstractmethod
    def flow(self, state: State, dt_ms: Float[Array, ""] | float) -> State:
        """A step without spikes, exactly.

        Args:
            state: at the step's start.
            dt_ms: its length.

        Returns:
            The state at its end.
        """

    @abc.abstractmethod
    def inlet(self, state: State) -> Float[Array, "kinds count"]:
        """The variable to which the weights of arriving spikes are added.

        Args:
            state: of the cells.

        Returns:
            That one.
        """

    @abc.abstractmethod
    def refilled(self, state: State, inlet: Float[Array, "kinds count"]) -> State:
        """The state with that variable replaced.

        Args:
            state: before.
            inlet: after spikes arrived.

        Returns:
            The state after.
        """


class Release(eqx.Module):
    """How much a sender sends, by the spikes it has sent: one state a sender."""

    continuous: ClassVar[bool] = False  # whether senders send at every step

    @abc.abstractmethod
    def init(self, senders: int) -> State:
        """Long after the last spike.

        Args:
            senders: how many.

        Returns:
            A pytree of arrays, a number for each sender.
        """

    @abc.abstractmethod
    def step(
        self,
        state: State,
        spikes: Float[Array, " senders"],
        dt_ms: Float[Array, ""] | float,
    ) -> tuple[State, Float[Array, " senders"]]:
        """A step without spikes, then the spikes at its end.

        Args:
            state: at the step's start.
            spikes: of senders, zeros and ones; may carry a surrogate's slope.
            dt_ms: the step's length.

        Returns:
            The state after the spikes; and amplitudes, by which weights are multiplied
            on their way.
        """


class Learning(eqx.Module):
    """Weights that spikes change, one an edge."""

    @abc.abstractmethod
    def init(
        self, connectivity: Connectivity, weights: Float[Array, " edges"]
    ) -> State:
        """Before any spike.

        Args:
            connectivity: who is connected to whom.
            weights: to start from.

        Returns:
            A pytree of arrays.
        """

    @abc.abstractmethod
    def weights(self, state: State) -> Float[Array, " edges"]:
        """What they are by now.

        Args:
            state: of all edges.

        Returns:
            The weights.
        """

    @abc.abstractmethod
    def step(
        self,
        state: State,
        connectivity: Connectivity,
        sender_spikes: Float[Array, " senders"] | Bool[Array, " senders"],
        cell_spikes: Float[Array, " cells"] | Bool[Array, " cells"],
        dt_ms: Float[Array, ""] | float,
    ) -> State:
        """A step without spikes, then the spikes at its end.

        Args:
            state: at the step's start.
            connectivity: who is connected to whom.
            sender_spikes: that reach their synapses at the step's end; where the
                connectivity has delays of edges, that set off to them.
            cell_spikes: of the cells at the other side, at the step's end.
            dt_ms: the step's length.

        Returns:
            The state after the spikes.
        """
