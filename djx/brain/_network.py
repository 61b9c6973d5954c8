"""Cells that push spikes at one another, step by step."""

import functools as ft
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._connectivity import Connectivity
from ._drive import Drive
from ._push import push
from ._receptors import Receptors
from ._surrogate import Surrogate


class NetworkState(NamedTuple):
    """All that a network is at one time."""

    cells: Any
    conductance_ns: Float[Array, "kinds cells"]
    under_way: Any
    """Spikes that have not arrived, by the step in which they do, as a ring; None where
    all arrive at once."""
    step: Int[Array, ""]
    """How many there were."""


class Sent(NamedTuple):
    """What cells send at a step."""

    spikes: Float[Array, " cells"]
    active: Bool[Array, " cells"]
    """Whose spike has a slope."""


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
        weights_per: "sender" or "edge", where weights are as many as both.
        surrogate: a spike's slope by the voltage; None where nobody differentiates.
    """

    cell: Any
    receptors: Receptors
    connectivity: Connectivity
    weights_ns: Float[Array, "..."]
    dt_ms: float = eqx.field(static=True)
    delay: int = eqx.field(static=True, default=1)
    surrogate: Surrogate | None = None
    weights_per: str | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        cells, receivers = self.connectivity.senders, self.connectivity.receivers
        if receivers != self.receptors.kinds * cells:
            raise ValueError(
                f"connectivity: {cells} cells with {self.receptors.kinds} kinds of "
                f"receptors are {self.receptors.kinds * cells} receivers, not "
                f"{receivers}"
            )
        if not isinstance(self.dt_ms, (int, float)) or not self.dt_ms > 0:
            raise ValueError(f"dt_ms={self.dt_ms}: has to be a number above 0")
        self.connectivity.kind_of(jnp.shape(self.weights_ns), self.weights_per)
        if self.delay < 1:
            raise ValueError(f"delay={self.delay}: has to be a step or more")

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.connectivity.senders

    def init(self) -> NetworkState:
        """Cells at rest, synapses closed, no spike under way."""
        cells = self.cells
        open_ns, under_way = self.receptors.init(cells), None
        if self.delay > 1:
            late = self.delay - 1, cells
            under_way = Sent(jnp.zeros(late, open_ns.dtype), jnp.zeros(late, bool))
        start = jnp.zeros((), jnp.int32)
        return NetworkState(self.cell.init(cells), open_ns, under_way, start)

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
        cells, spiked, sent = self._fired(state.cells, total)
        open_ns = self.receptors.closed(state.conductance_ns, self.dt_ms)
        arriving, under_way = sent, state.under_way
        if under_way is not None:
            place = state.step % (self.delay - 1)
            arriving = jax.tree.map(lambda ring: ring[place], under_way)
            under_way = jax.tree.map(
                lambda ring, new: ring.at[place].set(new), under_way, sent
            )
        weights = jnp.asarray(self.weights_ns, open_ns.dtype)
        spikes = arriving.spikes.astype(open_ns.dtype)
        arrived = push(
            self.connectivity, spikes, weights, arriving.active, self.weights_per
        )
        open_ns = open_ns + arrived.reshape(open_ns.shape)
        return NetworkState(cells, open_ns, under_way, state.step + 1), spiked

    def _fired(self, cells, drive):
        if self.surrogate is None:
            cells, spiked = self.cell.step(cells, drive, self.dt_ms)
            spikes = spiked.astype(cells.v_mv.dtype)
            return cells, spiked, Sent(spikes, jnp.zeros_like(spiked))
        cells = self.cell.integrate(cells, drive, self.dt_ms)
        margin_mv, may_fire = self.cell.margin_mv(cells), self.cell.may_fire(cells)
        spikes = self.surrogate.spikes(margin_mv, may_fire)
        spiked = spikes > 0
        active = may_fire & self.surrogate.active(margin_mv)
        after = self.cell.reset(cells, spiked)
        if self.surrogate.through_reset:
            # What a spike would change, times its slope; its value is there already.
            none = spikes - jax.lax.stop_gradient(spikes)
            changed = self.cell.reset(cells, jnp.ones_like(spiked))
            waiting_ms = after.refractory_ms  # has no slope, and may be infinite
            after = jax.tree.map(
                lambda a, old, new: a + none * jax.lax.stop_gradient(new - old),
                after,
                cells,
                changed,
            )._replace(refractory_ms=waiting_ms)
        return after, spiked, Sent(spikes, active)


def run(
    network: Network,
    state: NetworkState,
    steps: int,
    monitors: Any = (),
    *,
    segment: int | None = None,
    **inputs: Any,
) -> tuple[NetworkState, Any]:
    """Many steps, of which monitors keep what they want to know.

    Args:
        network: which.
        state: before.
        steps: how many.
        monitors: a pytree of monitors, which have a method `see(spiked, step)`.
        segment: steps between states that are kept for a gradient; the square root of
            all if None. It has no influence on any result.
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

    return _checkpointed(one, (state, monitors), steps, segment)


def _checkpointed(one, carry, steps: int, segment: int | None):
    """A scan whose gradient keeps a state a segment, and those of one segment."""
    segment = max(1, min(segment or math.isqrt(max(steps - 1, 0)) + 1, max(steps, 1)))

    def scanned(carry, length):
        return jax.lax.scan(one, carry, None, length=length)[0]

    @ft.partial(jax.checkpoint, prevent_cse=False)
    def of_segment(carry, _):
        return scanned(carry, segment), None

    whole, rest = divmod(steps, segment)
    carry = jax.lax.scan(of_segment, carry, None, length=whole)[0]
    return scanned(carry, rest) if rest else carry


def _is_monitor(node: Any) -> bool:
    return hasattr(node, "see")
