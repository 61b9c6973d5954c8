"""One network over several devices, each with a block of its cells."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec as P
from jaxtyping import Array

from ._blocks import split
from ._connectivity import Connectivity
from ._network import Network, NetworkState
from ._projection import Projection, Sent
from ._run import run


OPTIONS = ("each", "segment", "damp", "truncate")  # of `run`, that are no inputs


class Divided(eqx.Module):
    """A network whose cells, with all edges that lead to them, are on several devices.

    Each step the devices tell one another who fired, a bit for each cell. What comes
    out has the bits of one device: every receiver's sum has the same order.

    Attributes:
        network: that of one device, without what belongs to edges.
        edges: that, with a leading axis of devices: by projection targets, rows, and
            delays and weights where edges have their own.
        whole: how many cells there are on all.
        parts: devices.
    """

    network: Network
    edges: dict[str, dict[str, Array]]
    whole: int = eqx.field(static=True)
    parts: int = eqx.field(static=True)

    def run(
        self,
        mesh: Mesh,
        state: NetworkState,
        steps: int,
        monitors: Any = (),
        **inputs: Any,
    ) -> tuple[NetworkState, Any]:
        """As `run`, with the state and the monitors of the whole network.

        What belongs to cells, in the state, in monitors and in inputs, has an axis of
        cells at the end.

        Args:
            mesh: with as many devices along the axis as there are parts.
            state: before.
            steps: how many.
            monitors: those that remember something of every cell.
            **inputs: as `run` takes them.

        Returns:
            The state after them, and the monitors.

        Raises:
            ValueError: where the mesh has not as many devices.
        """
        axis = self.network.axis
        if axis is None or mesh.shape.get(axis) != self.parts:
            raise ValueError(
                f"mesh: {self.parts} devices along {axis!r}, not {dict(mesh.shape)}"
            )
        options = {k: v for k, v in inputs.items() if k in OPTIONS}
        changing = {k: v for k, v in inputs.items() if k not in OPTIONS}
        of_cells = monitors, changing, options.pop("each", None)
        shared, static = eqx.partition(self.network, eqx.is_array)
        # Senders are those of all devices, and inputs draw by cells' numbers.
        of_all = _everywhere((shared.inputs, shared.projections))
        shared_specs = eqx.tree_at(
            lambda n: (n.inputs, n.projections), self._cut(shared), of_all
        )
        state_specs = self._state_specs(state)
        cells_specs = self._cut(of_cells)
        edges_specs = jax.tree.map(lambda _: P(axis), self.edges)

        def local(shared, edges, state, of_cells):
            network = _with_edges(eqx.combine(shared, static), edges)
            monitors, changing, each = of_cells
            return run(
                network, state, steps, monitors, each=each, **options, **changing
            )

        return jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(shared_specs, edges_specs, state_specs, cells_specs),
            out_specs=(state_specs, cells_specs[0]),
        )(shared, self.edges, state, of_cells)

    def _cut(self, tree: Any) -> Any:
        """Along the last axis, where it is that of cells."""

        def spec(leaf):
            shape = jnp.shape(leaf)
            if shape and shape[-1] == self.whole:
                return P(*[None] * (len(shape) - 1), self.network.axis)
            return P()

        return jax.tree.map(spec, tree)

    def _state_specs(self, state: NetworkState) -> NetworkState:
        projections = {
            name: one._replace(
                # Spikes on the way are those of all senders.
                under_way=self._cut(one.under_way)
                if not isinstance(one.under_way, Sent)
                else _everywhere(one.under_way),
                release=_everywhere(one.release),
            )
            for name, one in state.projections.items()
        }
        sources = {p.source for p in self.network.projections.values()}
        inputs = {
            name: _everywhere(one) if name in sources else self._cut(one)
            for name, one in state.inputs.items()
        }
        rest = state._replace(projections={}, inputs={})
        return self._cut(rest)._replace(projections=projections, inputs=inputs)


def divided(network: Network, parts: int, axis: str = "cells") -> Divided:
    """A network for so many devices.

    Parameters that are as many as cells are taken for theirs.

    Args:
        network: which.
        parts: how many.
        axis: of the mesh, over which its cells are divided.

    Returns:
        The network in parts.

    Raises:
        ValueError: where cells cannot be shared out evenly, a projection learns, or
            there are gap junctions.
    """
    if parts < 1 or network.cells % parts:
        raise ValueError(
            f"parts={parts}: has to divide {network.cells} cells; add some that do "
            "nothing"
        )
    if network.gap_junctions is not None:
        raise ValueError("gap_junctions: only a whole network can have them")
    of_edges, projections = {}, {}
    for name, projection in network.projections.items():
        if projection.learning is not None:
            raise ValueError(
                f"projections[{name!r}]: only that of a whole network can learn"
            )
        if not isinstance(projection.connectivity, Connectivity):
            raise ValueError(
                f"projections[{name!r}]: only edges that are stored can be divided"
            )
        of_edges[name], projections[name] = _in_parts(
            projection, parts, network.synapses[projection.onto].kinds
        )
    local = dataclasses.replace(
        network, cells=network.cells // parts, axis=axis, projections=projections
    )
    # What a device has of the edges comes later.
    blank = eqx.tree_at(
        lambda n: _edge_arrays(n, of_edges), local, replace_fn=lambda _: None
    )
    return Divided(blank, of_edges, network.cells, parts)


def _in_parts(projection: Projection, parts: int, kinds: int):
    """What belongs to edges, by part; and the first part's projection."""
    weights = jnp.asarray(projection.weights)
    kind = projection.connectivity.kind_of(weights.shape, projection.weights_per)
    found = split(projection.connectivity, parts, kinds)  # pyright: ignore
    arrays = {"targets": found.connectivity.targets, "rows": found.connectivity.rows}
    if found.connectivity.delays is not None:
        arrays["delays"] = found.connectivity.delays
    if kind == "edge":
        arrays["weights"] = found.of_edges(weights)
    first = {name: array[0] for name, array in arrays.items()}
    weights = first.pop("weights", weights)
    return arrays, dataclasses.replace(
        projection,
        connectivity=dataclasses.replace(found.connectivity, **first),
        weights=weights,
        weights_per=None if kind == "one" else kind,
    )


def _edge_arrays(network: Network, of_edges: dict[str, dict[str, Any]]) -> list[Any]:
    found = []
    for name, arrays in of_edges.items():
        projection = network.projections[name]
        for which in arrays:
            owner = projection if which == "weights" else projection.connectivity
            found.append(getattr(owner, which))
    return found


def _with_edges(network: Network, of_edges: dict[str, dict[str, Array]]) -> Network:
    """On one device, where the leading axis has one element."""
    arrays = [a[0] for each in of_edges.values() for a in each.values()]
    return eqx.tree_at(
        lambda n: _edge_arrays(n, of_edges),
        network,
        arrays,
        is_leaf=lambda x: x is None,
    )


def _everywhere(tree: Any) -> Any:
    return jax.tree.map(lambda _: P(), tree)
