"""Spikes to their targets: work for those that fired, in both directions."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..core import bind, varying_alike
from ._backends import NAMES
from ._buffered import over_rows as over_rows
from ._connectivity import Connectivity
from ._contraction import Contraction
from ._procedural import Drawn, Procedural
from ._stored import Stored


def push(
    connectivity: Connectivity | Procedural,
    spikes: Float[Array, " senders"],
    weights: Float[Array, "..."] | float = 1.0,
    active: Bool[Array, " senders"] | None = None,
    per: str | None = None,
    into: Float[Array, "..."] | None = None,
    step: Int[Array, ""] | int | None = None,
    backend: str | None = None,
    clears: bool = False,
) -> Float[Array, "..."]:
    """What arrives: of each edge whose sender fired, its weight times the spike.

    Terms are added in the order of edges on CPUs. Senders that did not fire cost
    nothing, nor do those that are neither active nor fired in the gradient. A gradient
    by weights of edges adds an array of as many, most of it zeros.

    Args:
        connectivity: who is connected to whom. Where edges have delays, receivers are
            a ring: a row for each of some steps to come.
        spikes: of senders; mostly zeros, usually ones else.
        weights: one for all edges, one a sender or one an edge.
        active: senders whose spike could change, where a surrogate's slope is not zero;
            others' slopes are taken for zero. All if None.
        per: "sender" or "edge", where weights are as many as both.
        into: what it is added to, and whose dtype and shape the result has; zeros if
            None. Receivers may have several axes in it, in their order. In a loop it
            is changed where it is.
        step: its number, where edges have delays: an edge of delay d adds at row
            (step + d) mod the ring's rows. 0 if None.
        backend: the way to compute it, a name that `backend` returns; the one that
            suits the machine if None.
        clears: whether what is in the ring's row of this step, which has arrived, is
            forgotten first.

    Returns:
        A number for every receiver, in a row for every step of the ring if edges have
        delays.

    Raises:
        ValueError: where spikes, weights or what they are added to are not as many as
            they should be, weights could be of senders as well as of edges, or there is
            no such back-end.
    """
    count = connectivity.senders
    if spikes.shape != (count,):
        raise ValueError(f"spikes: one for each of {count} senders, not {spikes.shape}")
    if backend not in (None, *NAMES):
        raise ValueError(f"backend={backend!r}: has to be one of {', '.join(NAMES)}")
    kind = connectivity.kind_of(jnp.shape(weights), per)
    dtype = jnp.result_type(spikes, weights, float) if into is None else into.dtype
    mask = jnp.ones(count, bool)
    if active is not None:
        mask, spikes = (
            active != 0,
            jnp.where(active, spikes, jax.lax.stop_gradient(spikes)),
        )
    spikes = spikes.astype(dtype)
    given = {"senders": spikes}
    if kind == "edge":
        given["weights"] = jnp.asarray(weights, dtype)
    elif not isinstance(weights, float) or weights != 1:
        # The slope by a weight asks for what is brought back to all that fired.
        mask = mask | (spikes != 0)
        given["senders"] = spikes * jnp.asarray(weights, dtype)
    source, arrays = _source_of(connectivity, into, step)
    if clears and (into is None or "step" not in arrays):
        raise ValueError("clears: a ring's row; give one as `into`, and edges delays")
    like = None
    if into is not None:
        fits = into.size == math.prod(source.reach)
        if not (fits and jnp.issubdtype(into.dtype, jnp.floating)):
            raise ValueError(
                f"into: floats of {source.reach}, as receivers are, not "
                f"{into.dtype} of {into.shape}"
            )
        like = None if into.shape == source.reach else into.shape
        given["into"] = into
    whole = {**given, "mask": mask, **arrays}
    what = Contraction(
        source,
        weighted=kind == "edge",
        adds=into is not None,
        backend=backend,
        like=like,
        clears=clears,
    )
    return bind(what, *[varying_alike(whole[name], whole) for name in what.names])[0]


def _source_of(connectivity, into, step):
    """What is static of a connectivity, and its arrays."""
    if isinstance(connectivity, Procedural):
        kind, cells = connectivity.kind, connectivity.cells
        source = Drawn(
            connectivity.senders,
            cells,
            connectivity.receivers,
            connectivity.probability,
            connectivity.seed,
            kind is not None,
        )
        return source, source.arrays(None if kind is None else _int32(kind) * cells)
    arrays = {"rows": connectivity.rows, "targets": connectivity.targets}
    depth = None
    if connectivity.delays is not None:
        depth = connectivity.latest + 1
        if into is not None:
            least, depth = depth, into.shape[0]
            if depth < least:
                raise ValueError(
                    f"into: {depth} rows, fewer than the latest delay "
                    f"{connectivity.latest} + 1"
                )
        arrays["delays"] = connectivity.delays
        arrays["step"] = 0 if step is None else step
    sizes = connectivity.senders, connectivity.receivers, connectivity.edges
    arrays = {name: _int32(array) for name, array in arrays.items()}
    return Stored(*sizes, connectivity.longest, depth), arrays


def _int32(numbers):
    return jnp.asarray(numbers, jnp.int32)
