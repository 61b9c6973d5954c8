"""Edges along which spikes travel, and what becomes of them on the way."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._connectivity import Connectivity
from ._populations import Populations
from ._push import push


class Sent(NamedTuple):
    """What senders send at a step.

    Attributes:
        spikes: zeros and ones, which may have derivatives.
        active: whose spike has one.
    """

    spikes: Float[Array, " senders"]
    active: Bool[Array, " senders"]


class ProjectionState(NamedTuple):
    """What is on the way, and what plasticity remembers; None where there is none.

    Attributes:
        under_way: where all edges have one delay, the spikes that have not arrived, a
            row for each step; where edges have delays of their own, what arrives at
            receivers in the steps to come.
        release: of senders.
        learning: of edges.
    """

    under_way: Any
    release: Any
    learning: Any


class Projection(eqx.Module):
    """From cells, or senders outside, to one synapse of every cell.

    An edge leads to kind k of cell i as receiver k * cells + i. A spike of step n acts
    from step n + delay on.

    Attributes:
        connectivity: who is connected to whom; its delays are those of edges.
        weights: what a spike adds to the synapse's inlet: for all edges, of a sender,
            of an edge or of a pair of populations; where they are learned, those at
            first.
        onto: name of the synapse.
        delay: of all edges, in steps, where they have none of their own.
        source: name of the input that sends; the network's cells if None.
        release: what becomes of a sender's spike before it leaves (a `Release`).
        learning: what becomes of the weights (a `Learning`).
        weights_per: "sender" or "edge", where weights are as many as both.
        detached: whether no derivative passes through its spikes.
        backend: of `push`; None for the one that suits the machine.
    """

    connectivity: Connectivity | Populations
    weights: Float[Array, "..."]
    onto: str = eqx.field(static=True)
    delay: int = eqx.field(static=True, default=1)
    source: str | None = eqx.field(static=True, default=None)
    release: Any = None
    learning: Any = None
    weights_per: str | None = eqx.field(static=True, default=None)
    detached: bool = eqx.field(static=True, default=False)
    backend: str | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        self.connectivity.kind_of(jnp.shape(self.weights), self.weights_per)
        if not isinstance(self.delay, int) or self.delay < 1:
            raise ValueError(f"delay={self.delay}: has to be a step or more")
        if self.delay > 1 and self.late:
            raise ValueError(
                f"delay={self.delay}: edges have delays of their own; leave it out"
            )
        if self.learning is not None and isinstance(self.connectivity, Populations):
            raise ValueError("learning: populations have no weights of edges")
        if self.learning is not None and getattr(self.release, "continuous", False):
            raise ValueError(
                "learning: goes by spikes; the release sends at every step"
            )

    @property
    def late(self) -> bool:
        """Whether edges have delays of their own."""
        return self.connectivity.delays is not None

    def init(self, cells: int, dtype: Any) -> ProjectionState:
        """Nothing under way.

        Args:
            cells: to which it leads.
            dtype: of spikes.

        Returns:
            The state.
        """
        senders, under_way = self.connectivity.senders, None
        if self.late:
            depth = self.connectivity.latest + 1  # pyright: ignore
            receivers = self.connectivity.receivers
            under_way = jnp.zeros((depth, receivers // max(cells, 1), cells), dtype)
        elif self.delay > 1:
            some = self.delay - 1, senders
            under_way = Sent(jnp.zeros(some, dtype), jnp.zeros(some, bool))
        release = None if self.release is None else self.release.init(senders)
        learning = None
        if self.learning is not None:
            edges = self.connectivity.edges
            weights = jnp.broadcast_to(self.of_edges(self.weights), (edges,))
            learning = self.learning.init(self.connectivity, weights)
        return ProjectionState(under_way, release, learning)

    def of_edges(self, weights: Float[Array, "..."]) -> Float[Array, "..."]:
        """Weights of senders as weights of edges; others as they are."""
        weights = jnp.asarray(weights)
        if self.connectivity.kind_of(weights.shape, self.weights_per) == "sender":
            return weights[self.connectivity.sender_of_edges()]  # pyright: ignore
        return weights

    def step(
        self,
        state: ProjectionState,
        sent: Sent,
        spiked: Float[Array, " cells"],
        inlet: Float[Array, "kinds cells"],
        step: Int[Array, ""],
        dt_ms: float,
    ) -> tuple[ProjectionState, Float[Array, "kinds cells"]]:
        """What arrives at the end of a step is added.

        Args:
            state: before.
            sent: by its senders, in this step.
            spiked: who among the cells it leads to; plasticity asks.
            inlet: of the synapse.
            step: its number.
            dt_ms: its length.

        Returns:
            The state after it, and the inlet.
        """
        if self.detached:
            sent = jax.lax.stop_gradient(sent)
        under_way, release, learning = state
        if self.release is not None:
            spikes, active = sent
            release, spikes = self.release.step(release, spikes, dt_ms)
            # A sender that released something has a slope by what it is made of.
            sent = Sent(spikes, active | (spikes != 0))
        if under_way is not None and not self.late:
            place = step % (self.delay - 1)
            leaving = sent
            sent = jax.tree.map(
                lambda ring: jax.lax.dynamic_index_in_dim(ring, place, 0, False),
                under_way,
            )
            under_way = jax.tree.map(
                lambda ring, new: jax.lax.dynamic_update_index_in_dim(
                    ring, new, place, 0
                ),
                under_way,
                leaving,
            )
        weights, per = self.weights, self.weights_per
        if self.learning is not None:
            weights, per = self.learning.weights(learning), "edge"
        weights = jnp.asarray(weights, inlet.dtype)
        spikes = sent.spikes.astype(inlet.dtype)
        if isinstance(self.connectivity, Populations):
            flat = self.connectivity.pushed(spikes, weights, inlet.reshape(-1))
            inlet = flat.reshape(inlet.shape)
            return ProjectionState(under_way, release, learning), inlet
        given = self.connectivity, spikes, weights, sent.active, per
        if self.late and under_way is not None:
            # Nothing is reshaped, for else XLA copies the ring.
            depth, late = under_way.shape[0], {"step": step, "clears": True}
            under_way = push(*given, into=under_way, backend=self.backend, **late)
            inlet = inlet + jax.lax.dynamic_index_in_dim(
                under_way, (step + 1) % depth, 0, keepdims=False
            )
        else:
            inlet = push(*given, into=inlet, backend=self.backend)
        if self.learning is not None:
            # It goes by spikes, not by what they release.
            arrived = spikes
            if self.release is not None:
                arrived = (spikes != 0).astype(spikes.dtype)
            arrived = _after(arrived, inlet)
            learning = self.learning.step(
                learning, self.connectivity, arrived, spiked, dt_ms
            )
        return ProjectionState(under_way, release, learning), inlet


def _after(numbers, others):
    """The numbers; but XLA does not know that nothing of the others is in them.

    So it knows that what the others are made of is read before it is changed, and does
    not copy it.
    """
    if not others.size:
        return numbers
    word = jax.lax.bitcast_convert_type(
        others.reshape(-1)[0].astype(jnp.float32), jnp.uint32
    )
    none = jax.lax.stop_gradient((word >> 16) >> 16)
    return numbers + none.astype(numbers.dtype)
