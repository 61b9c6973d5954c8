"""Cells that push spikes at one another, step by step."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._connectivity import Connectivity
from ._drive import Drive
from ._push import push
from ._receptors import Receptors


class NetworkState(NamedTuple):
    """All that a network is at one time."""

    cells: Any
    conductance_ns: Float[Array, "kinds cells"]
    under_way: Bool[Array, "late cells"] | None
    """Spikes that have not arrived, by the step in which they do, as a ring; None where
    all arrive at once."""
    step: Int[Array, ""]
    """How many there were."""


class Network(eqx.Module):
    """One population, and who in it is connected to whom.

    Several populations are ranges of one: their parameters are arrays, and an edge goes
    to receptor k of cell i as receiver k * cells + i. A spike of step n acts from step
    n + delay on.

    Attributes:
        cell: the model of all cells.
        receptors: kinds of synapses of every cell.
        connectivity: from cells to receptors of cells.
        weights_ns: what a spike opens: for all edges, of a sender or of an edge.
        dt_ms: length of a step.
        delay: of all spikes, in steps.
    """

    cell: Any
    receptors: Receptors
    connectivity: Connectivity
    weights_ns: Float[Array, "..."]
    dt_ms: float = eqx.field(static=True)
    delay: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        cells, receivers = self.connectivity.senders, self.connectivity.receivers
        if receivers != self.receptors.kinds * cells:
            raise ValueError(
                f"connectivity: {cells} cells with {self.receptors.kinds} kinds of "
                f"receptors are {self.receptors.kinds * cells} receivers, not "
                f"{receivers}"
            )
        if self.delay < 1:
            raise ValueError(f"delay={self.delay}: has to be a step or more")

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.connectivity.senders

    def init(self) -> NetworkState:
        """Cells at rest, synapses closed, no spike under way."""
        cells = self.cells
        return NetworkState(
            self.cell.init(cells),
            self.receptors.init(cells),
            jnp.zeros((self.delay - 1, cells), bool) if self.delay > 1 else None,
            jnp.zeros((), jnp.int32),
        )

    def step(
        self,
        state: NetworkState,
        drive: Drive | None = None,
        current_pa: Float[Array, "..."] | float = 0.0,
    ) -> tuple[NetworkState, Bool[Array, " cells"]]:
        """One step.

        Cells move with the conductances as they are; those close; cells above their
        threshold spike and are reset; spikes that arrive open synapses.

        Args:
            state: before.
            drive: what flows into the cells besides.
            current_pa: of every cell, besides.

        Returns:
            The state after it, and who spiked.
        """
        total = self.receptors.drive(state.conductance_ns) + Drive(current_pa)
        if drive is not None:
            total = total + drive
        cells, spiked = self.cell.step(state.cells, total, self.dt_ms)
        open_ns = self.receptors.closed(state.conductance_ns, self.dt_ms)
        arriving, under_way = spiked, state.under_way
        if under_way is not None:
            place = state.step % (self.delay - 1)
            arriving = under_way[place]
            under_way = under_way.at[place].set(spiked)
        dtype = open_ns.dtype
        weights = jnp.asarray(self.weights_ns, dtype)
        arrived = push(self.connectivity, arriving.astype(dtype), weights)
        open_ns = open_ns + arrived.reshape(open_ns.shape)
        return NetworkState(cells, open_ns, under_way, state.step + 1), spiked


def run(
    network: Network,
    state: NetworkState,
    steps: int,
    monitors: Any = (),
    **inputs: Any,
) -> tuple[NetworkState, Any]:
    """Many steps, of which monitors keep what they want to know.

    Args:
        network: which.
        state: before.
        steps: how many.
        monitors: a pytree of monitors, which have a method `see(spiked, step)`.
        **inputs: of every step, as `Network.step` takes them.

    Returns:
        The state after them, and the monitors.
    """

    def one(carry, _):
        state, monitors = carry
        number = state.step
        state, spiked = network.step(state, **inputs)
        seen = jax.tree.map(
            lambda m: m.see(spiked, number), monitors, is_leaf=_is_monitor
        )
        return (state, seen), None

    return jax.lax.scan(one, (state, monitors), None, length=steps)[0]


def _is_monitor(node: Any) -> bool:
    return hasattr(node, "see")
