"""Plasticity by the times of spikes: work for edges of those that fired."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ._edge_changes import changed, Factors, Wiring
from ._incoming import Incoming
from ._synapse import Learning


class STDPState(NamedTuple):
    """Weights, and what is remembered of spikes.

    Attributes:
        weights: of edges.
        senders: traces of their spikes.
        cells: likewise.
        under_way: where edges have delays, for each of the last steps in a row, by how
            much a sender's spike weakens and its first trace; else None.
        step: how many there were.
    """

    weights: Float[Array, " edges"]
    senders: tuple[Float[Array, " senders"], ...]
    cells: tuple[Float[Array, " cells"], ...]
    under_way: tuple[Float[Array, " latest*senders"], ...] | None
    step: Int[Array, ""]


class SpikeTiming(Learning):
    """Weights that a sender's spike lowers and a cell's spike raises.

    At the end of a step come first the spikes that arrive from senders, then those of
    cells: of two in the same step the sender's was before the cell's. Each counts every
    earlier one of the other side, by traces that decay. An edge with a delay of its own
    sees a sender's spike when it arrives.

    A step costs a look at senders (those of all steps whose spikes may be under way,
    where edges have delays) and cells, and work for the edges of those that
    fired. A derivative costs a look at all edges.

    Attributes:
        incoming: edges by cell.
        least: lowest weight.
        most: highest weight.
        mu_minus: power by which what is above the lowest weight, as a share of the
            whole range, scales what weakens: 0 is additive, 1 multiplicative
            (Guetig et al. 2003).
        mu_plus: power by which what is below the highest weight scales what
            strengthens.
    """

    incoming: eqx.AbstractVar[Incoming]
    least: eqx.AbstractVar[float]
    most: eqx.AbstractVar[float]
    mu_minus: eqx.AbstractVar[float]
    mu_plus: eqx.AbstractVar[float]

    @property
    @abc.abstractmethod
    def taus_ms(self) -> tuple[tuple, tuple]:
        """Time constants of the traces of senders and of cells."""

    @abc.abstractmethod
    def amplitudes(self, senders: tuple, cells: tuple) -> tuple[Any, Any]:
        """What a spike of each sender and cell does, per trace of the other side.

        Args:
            senders: traces, just before the spikes.
            cells: likewise.

        Returns:
            By how much a sender's spike weakens, and a cell's strengthens.
        """

    def __check_init__(self):
        for name in ("mu_minus", "mu_plus"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: has to be 0 or more")
        known = _known(self.least, self.most)
        if known is None:
            return
        least, most = known
        if not least < most:
            raise ValueError(f"least={least}: has to be less than most={most}")
        if (self.mu_minus or self.mu_plus) and np.isinf(most - least):
            raise ValueError(f"most={most}: powers mu of the range need a finite one")

    def init(self, connectivity, weights):
        """Weights as they are given; no spike remembered."""
        known = _known(self.least, self.most, weights)
        weights = jnp.asarray(weights, jnp.result_type(weights, jnp.float32))
        incoming = self.incoming
        if (
            weights.shape != (connectivity.edges,)
            or incoming.senders.shape != weights.shape
            or (incoming.by_arrival is None) != (connectivity.delays is None)
        ):
            raise ValueError(
                f"weights: {connectivity.edges} of edges, of which incoming has "
                f"{incoming.senders.shape[0]}, not {weights.shape}; make it by "
                "Incoming.of the same connectivity"
            )
        if known is not None and weights.size:
            # In the weights' precision, where 0.1 is not more than 0.1.
            least, most, given = (x.astype(weights.dtype) for x in known)
            if not (least <= given.min() and given.max() <= most):
                raise ValueError(
                    f"weights: {given.min()} to {given.max()} are not all from "
                    f"least={least} to most={most}"
                )
        of_senders, of_cells = self.taus_ms
        none = jnp.zeros(connectivity.senders, weights.dtype)
        silent = jnp.zeros(incoming.cells, weights.dtype)
        under_way = None
        if incoming.by_arrival is not None:
            # Flat, as XLA would copy what it has to reshape.
            ring = jnp.zeros(connectivity.latest * connectivity.senders, weights.dtype)
            under_way = ring, ring
        return STDPState(
            weights,
            (none,) * len(of_senders),
            (silent,) * len(of_cells),
            under_way,
            jnp.zeros((), jnp.int32),
        )

    def weights(self, state):
        """What they are by now."""
        return state.weights

    def step(self, state, connectivity, sender_spikes, cell_spikes, dt_ms):
        """Traces decay; spikes of senders weaken, those of cells strengthen."""
        dtype = state.weights.dtype
        sent, fired = (jnp.asarray(s, dtype) for s in (sender_spikes, cell_spikes))
        senders, cells = (
            tuple(
                (x * jnp.exp(-dt_ms / tau)).astype(dtype)
                for x, tau in zip(traces, taus, strict=True)
            )
            for traces, taus in zip(
                (state.senders, state.cells), self.taus_ms, strict=True
            )
        )
        down, up = self.amplitudes(senders, cells)
        weakens = (sent * down).astype(dtype)
        senders = tuple(x + sent for x in senders)
        reached, under_way = senders[0], state.under_way
        if under_way is not None:
            place = state.step % connectivity.latest * connectivity.senders
            weakens, reached = under_way = tuple(
                jax.lax.dynamic_update_slice(ring, new, (place,))
                for ring, new in zip(under_way, (weakens, reached), strict=True)
            )
        weights = changed(
            (self.mu_minus, self.mu_plus),
            state.weights,
            Factors(weakens, cells[0], reached, (fired * up).astype(dtype)),
            (jnp.asarray(self.least, dtype), jnp.asarray(self.most, dtype)),
            Wiring(connectivity, self.incoming, state.step),
        )
        cells = tuple(x + fired for x in cells)
        return STDPState(weights, senders, cells, under_way, state.step + 1)


def _known(*numbers):
    """On the host; None where a transformation hides one of them."""
    if any(isinstance(n, Tracer) for n in numbers):
        return None
    return [np.asarray(n) for n in numbers]
