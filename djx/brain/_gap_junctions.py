"""Electrical coupling of cells."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from ._connectivity import Connectivity
from ._drive import Drive
from ._incoming import senders_of


class GapJunctions(eqx.Module):
    """Currents between cells by their difference in voltage, as much in as out.

    I_i = sum_j g_ij (v_j - v_i), with the same g for both ends. Over a step the
    neighbours' voltages are those at its start.

    Attributes:
        conductance_ns: one for all junctions, or one for each.
        junctions: of every cell, after which come numbers that are no junction's.
        neighbours: at their other ends.
        count: how many junctions there are.
    """

    conductance_ns: Float[Array, "..."]
    junctions: Int32[Array, "cells most"]
    neighbours: Int32[Array, "cells most"]
    count: int = eqx.field(static=True)

    def __init__(
        self,
        connectivity: Connectivity,
        conductance_ns: Float[Array, "..."] | float,
    ):
        """Some junctions.

        Args:
            connectivity: of cells with themselves; an edge is one junction, in both
                directions, so that each is told once. Its delays have no meaning.
            conductance_ns: nS, one for all junctions, or one for each edge.

        Raises:
            ValueError: where senders and receivers are not the same cells, or
                conductances not as many as edges.
        """
        cells, edges = connectivity.senders, connectivity.edges
        if connectivity.receivers != cells:
            raise ValueError(
                f"connectivity: {cells} senders and {connectivity.receivers} receivers "
                "have to be the same cells"
            )
        self.conductance_ns = jnp.asarray(conductance_ns, float)
        if self.conductance_ns.shape not in ((), (edges,)):
            raise ValueError(
                f"conductance_ns: one, or {edges} of edges, not "
                f"{self.conductance_ns.shape}"
            )
        self.count = edges
        ends = np.stack([senders_of(connectivity), np.asarray(connectivity.targets)])
        # Every junction twice, by the cell at either end.
        own, other = ends.reshape(-1), ends[::-1].reshape(-1)
        order = np.argsort(own, kind="stable")
        degrees = np.bincount(own, minlength=cells)
        place = np.arange(2 * edges) - np.repeat(np.cumsum(degrees) - degrees, degrees)
        shape = cells, int(np.max(degrees, initial=0))
        junctions, neighbours = np.full(shape, edges), np.full(shape, cells)
        junctions[own[order], place] = order % max(edges, 1)
        neighbours[own[order], place] = other[order]
        self.junctions = jnp.asarray(junctions, jnp.int32)
        self.neighbours = jnp.asarray(neighbours, jnp.int32)

    def drive(self, v_mv: Float[Array, " cells"]) -> Drive:
        """What flows into the cells.

        Args:
            v_mv: their voltages.

        Returns:
            The sum over their junctions.
        """
        each = self.conductance_ns
        if each.ndim:
            each = each.at[self.junctions].get(mode="fill", fill_value=0)
        else:
            each = jnp.where(self.junctions < self.count, each, 0)
        other_mv = v_mv.at[self.neighbours].get(mode="fill", fill_value=0)
        return Drive(jnp.sum(each * other_mv, 1), jnp.sum(each, 1))
