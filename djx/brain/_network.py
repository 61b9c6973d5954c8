"""Cells that push spikes at one another, step by step."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from ._cell import Cell
from ._drive import Drive
from ._gap_junctions import GapJunctions
from ._inputs import Input
from ._projection import Projection, ProjectionState, Sent
from ._step_end import ended, Ending, one_pass
from ._stepping import exponential_euler
from ._surrogate import Surrogate
from ._synapse import Synapse


class NetworkState(NamedTuple):
    """All that a network is at one time.

    Attributes:
        cells: of the cell's model.
        synapses: by name.
        projections: by name.
        inputs: by name.
        sent: by the cells in the last step, with derivatives; None without a surrogate.
        step: how many there were.
        seed: of all that is random.
    """

    cells: Any
    synapses: dict[str, Any]
    projections: dict[str, ProjectionState]
    inputs: dict[str, Any]
    sent: Sent | None
    step: Int[Array, ""]
    seed: UInt32[Array, ""]


class Network(eqx.Module):
    """Cells of one model, their synapses, and who is connected to whom.

    Several populations are ranges of one: their parameters are arrays.

    Attributes:
        cell: the model of all cells.
        cells: how many there are; under `shard_map`, on this device.
        synapses: of every cell, by name.
        projections: by name, each onto one synapse.
        dt_ms: length of a step.
        inputs: by name: the spikes of a projection's source, what arrives at the
            synapse `onto` that an input names, or else a current in pA.
        surrogate: a spike's slope by the voltage; None where nobody differentiates.
        gap_junctions: between cells.
        method: of integration.
        axis: of a mesh, over whose devices the cells are divided.
    """

    cell: Cell
    cells: int = eqx.field(static=True)
    synapses: dict[str, Synapse]
    projections: dict[str, Projection]
    dt_ms: float = eqx.field(static=True)
    inputs: dict[str, Input] = eqx.field(default_factory=dict)
    surrogate: Surrogate | None = None
    gap_junctions: GapJunctions | None = None
    method: Callable = eqx.field(static=True, default=exponential_euler)
    axis: str | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if not isinstance(self.dt_ms, (int, float)) or not self.dt_ms > 0:
            raise ValueError(f"dt_ms={self.dt_ms}: has to be a number above 0")
        for name, projection in self.projections.items():
            _check(self, f"projections[{name!r}]", projection)
        streams = [n for given in self.inputs.values() for n in _streams(given)]
        if len({*streams}) < len(streams):
            raise ValueError(
                f"inputs: streams {sorted(streams)}; equal ones would draw alike"
            )
        for name, given in self.inputs.items():
            if self.axis is None:
                given.check(self.dt_ms, self.cells)
            onto = getattr(given, "onto", None)
            if onto is not None and onto not in self.synapses:
                raise ValueError(
                    f"inputs[{name!r}]: onto {onto!r}, which is none of the synapses "
                    f"{sorted(self.synapses)}"
                )

    @property
    def numbers(self) -> Int[Array, " cells"]:
        """Of the cells here, among those of all devices."""
        own = jnp.arange(self.cells, dtype=jnp.int32)
        if self.axis is None:
            return own
        return own + self.cells * jax.lax.axis_index(self.axis)

    def init(self, key: Key[Array, ""] | None = None) -> NetworkState:
        """Cells at rest, synapses closed, no spike under way.

        Args:
            key: of all that is random; the same numbers each time if None.

        Returns:
            The state.
        """
        cells = self.cell.init(self.cells)
        dtype, sent = cells.v_mv.dtype, None
        if self.surrogate is not None:
            sent = Sent(jnp.zeros(self.cells, dtype), jnp.zeros(self.cells, bool))
        return NetworkState(
            cells,
            {name: s.init(self.cells) for name, s in self.synapses.items()},
            {name: p.init(self.cells, dtype) for name, p in self.projections.items()},
            {name: i.init(self.cells) for name, i in self.inputs.items()},
            sent,
            jnp.zeros((), jnp.int32),
            jnp.uint32(0) if key is None else jr.bits(key, (), jnp.uint32),
        )

    def step(
        self,
        state: NetworkState,
        drive: Drive | None = None,
        current_pa: Float[Array, "..."] | float = 0.0,
        spikes: Mapping[str, Float[Array, " senders"]] | None = None,
    ) -> tuple[NetworkState, Bool[Array, " cells"]]:
        """One step.

        Cells move with the synapses as they are; those go on; cells above their
        threshold spike and are reset; spikes that arrive are added to the synapses.

        Args:
            state: before.
            drive: what flows into the cells besides.
            current_pa: of every cell, besides.
            spikes: of senders outside, by the name of their source.

        Returns:
            The state after it, and who spiked.
        """
        outside, arrivals, noise_pa, inputs = dict(spikes or {}), {}, 0.0, {}
        for name, given in self.inputs.items():
            inputs[name], value = given.sample(
                state.inputs[name], state.step, state.seed, self.numbers
            )
            onto = getattr(given, "onto", None)
            if onto is not None:
                arrivals[name] = onto, value
            elif any(p.source == name for p in self.projections.values()):
                outside[name] = value
            else:
                noise_pa = noise_pa + value
        total = Drive(current_pa + noise_pa)
        if drive is not None:
            total = total + drive
        v_mv, tau_ms = state.cells.v_mv, self.cell.tau_ms
        for name, synapse in self.synapses.items():
            now = state.synapses[name]
            total = total + synapse.drive(now, v_mv, self.dt_ms, tau_ms)
        if self.gap_junctions is not None:
            total = total + self.gap_junctions.drive(v_mv)
        ending = one_pass(self, [onto for onto, _ in arrivals.values()])
        cells, spiked, sent, flowed = self._fired(state, total, ending)
        synapses = {
            name: s.flow(state.synapses[name], self.dt_ms)
            for name, s in self.synapses.items()
            if name not in flowed
        } | flowed
        inlets = {name: s.inlet(synapses[name]) for name, s in self.synapses.items()}
        for onto, value in arrivals.values():
            inlets[onto] = inlets[onto] + value
        everyone, projections = self._gathered(sent), {}
        for name, projection in self.projections.items():
            if ending is not None and name == ending.projection:
                projections[name] = state.projections[name]
                continue
            leaving = everyone
            if projection.source is not None:
                leaving = _from_outside(name, projection, outside)
            projections[name], inlets[projection.onto] = projection.step(
                state.projections[name],
                leaving,
                sent.spikes,
                inlets[projection.onto],
                state.step,
                self.dt_ms,
            )
        synapses = {
            name: s.refilled(synapses[name], inlets[name])
            for name, s in self.synapses.items()
        }
        kept = None if self.surrogate is None else sent
        new = NetworkState(
            cells, synapses, projections, inputs, kept, state.step + 1, state.seed
        )
        return new, spiked

    def _gathered(self, sent: Sent) -> Sent:
        """Of the cells of all devices."""
        if self.axis is None:
            return sent
        if self.surrogate is None:  # a bit for each cell
            bits = jnp.packbits(sent.spikes != 0)
            every = jax.lax.all_gather(bits, self.axis, to="invarying")
            spiked = jnp.unpackbits(every, axis=1, count=self.cells).reshape(-1)
            spikes = spiked.astype(sent.spikes.dtype)
            return Sent(spikes, jnp.zeros(spikes.shape, bool))
        return jax.tree.map(
            lambda a: jax.lax.all_gather(a, self.axis, tiled=True, to="invarying"),
            sent,
        )

    def _fired(self, state: NetworkState, total: Drive, ending: Ending | None):
        """Cells, who fired, what is sent; and synapses that are done with already."""
        if self.surrogate is None:
            flowed = {}
            cells = self.cell.integrate(state.cells, total, self.dt_ms, self.method)
            if ending is not None:
                cells, flowed, spiked = ended(self, ending, state, cells)
            else:
                spiked = self.cell.spiked(cells)
                cells = self.cell.reset(cells, spiked)
            spikes = spiked.astype(cells.v_mv.dtype)
            return cells, spiked, Sent(spikes, jnp.zeros_like(spiked)), flowed
        # A gradient computes it again, rather than keep all that it was made of.
        fired = eqx.filter_checkpoint(self._fired_softly, prevent_cse=False)
        return *fired(state.cells, total, self.surrogate), {}

    def _fired_softly(self, cells, drive, surrogate):
        cells = self.cell.integrate(cells, drive, self.dt_ms, self.method)
        margin_mv, may_fire = self.cell.margin_mv(cells), self.cell.may_fire(cells)
        spikes = surrogate.spikes(margin_mv, may_fire)
        spiked = spikes > 0
        active = may_fire & surrogate.active(margin_mv)
        after = self.cell.reset(cells, spiked)
        if surrogate.through_reset:
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


def _from_outside(name, projection, outside) -> Sent:
    if projection.source not in outside:
        raise ValueError(
            f"projections[{name!r}]: no spikes of its source {projection.source!r}; "
            "name an input so, or give `spikes`"
        )
    spikes = jnp.asarray(outside[projection.source])
    senders = projection.connectivity.senders
    if spikes.shape != (senders,):
        raise ValueError(
            f"spikes[{projection.source!r}]: one for each of {senders} senders, not "
            f"{spikes.shape}"
        )
    spikes = spikes.astype(jnp.result_type(spikes, jnp.float32))
    return Sent(spikes, jnp.ones(spikes.shape, bool))


def _streams(given: Input) -> list[int]:
    rate = getattr(given, "rate_hz", None)
    own = [given.stream] if hasattr(given, "stream") else []  # pyright: ignore
    return own + (_streams(rate) if isinstance(rate, Input) else [])


def _check(network: Network, place: str, projection: Projection) -> None:
    if projection.onto not in network.synapses:
        raise ValueError(
            f"{place}: onto {projection.onto!r}, which is none of the synapses "
            f"{sorted(network.synapses)}"
        )
    kinds = network.synapses[projection.onto].kinds
    senders, receivers = (
        projection.connectivity.senders,
        projection.connectivity.receivers,
    )
    if receivers != kinds * network.cells:
        raise ValueError(
            f"{place}: {network.cells} cells with {kinds} kinds of receptors are "
            f"{kinds * network.cells} receivers, not {receivers}"
        )
    if projection.source is None and network.axis is None and senders != network.cells:
        raise ValueError(
            f"{place}: {senders} senders, but {network.cells} cells; name the source "
            "of those outside"
        )
