"""How a step ends, in one pass over the cells: who fires, resets, decay, and push.

XLA computes the end of a step anew for each of its results, and copies what `push`
changes; in C++ it is a pass over the cells, and what they send is added at once where
one delay of a step is all that keeps it. Bits are those of the single operations.
"""

import functools as ft
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from . import _native
from ._by_kind import scaled
from ._cell import Cell, one_less, whole_steps
from ._connectivity import Connectivity
from ._integrate_and_fire import Resetting
from ._kinetics import Exponential
from ._procedural import Procedural
from ._projection import Projection
from ._push import push
from ._synapse import Synapse
from ._synapses import KineticSynapse


OF_CELLS = ("margin_mv", "reset")
OF_ALL_CELLS = ("may_fire", "spiked", "integrate", "steps_after")


class Ending(NamedTuple):
    """What one pass does besides thresholds and resets.

    Attributes:
        synapse: which decays in it; None where none decays as it can.
        projection: whose spikes are added in it; None where there is none of the kind.
    """

    synapse: str | None
    projection: str | None


def one_pass(network: Any, others: Collection[str] = ()) -> Ending | None:
    """What can be done in the pass that ends a step.

    Args:
        network: a `Network`.
        others: synapses at which something else arrives.

    Returns:
        It; None where cells are of another kind, or no spike is sent in C++.
    """
    usual = _is_usual(network.cell, Resetting, OF_CELLS)
    usual = usual and _is_usual(network.cell, Cell, OF_ALL_CELLS)
    if not usual or network.surrogate is not None or network.axis is not None:
        return None
    sent = [p for p in network.projections.values() if _in_native_code(p)]
    if not sent or not _native.available():
        return None
    decays = [name for name, synapse in network.synapses.items() if _decays(synapse)]
    taken = {*others}
    for name, projection in network.projections.items():
        # What comes first at a synapse is added first.
        first = projection.onto not in taken
        taken.add(projection.onto)
        if first and projection.onto in decays and _is_plain(projection):
            return Ending(projection.onto, name)
    return Ending(decays[0] if decays else None, None)


def _is_usual(thing: Any, base: type, methods: tuple[str, ...]) -> bool:
    """Whether methods are those of a class, and not of one that is made of it."""
    return isinstance(thing, base) and all(
        getattr(type(thing), name) is getattr(base, name) for name in methods
    )


def _in_native_code(projection: Projection) -> bool:
    edges = projection.connectivity
    known = isinstance(edges, (Connectivity, Procedural)) and edges.edges > 0
    return known and projection.backend in (None, "native")


def _is_plain(projection: Projection) -> bool:
    return (
        _in_native_code(projection)
        and type(projection.connectivity) is Connectivity
        and projection.connectivity.delays is None
        and projection.delay == 1
        and projection.source is None
        and projection.release is None
        and projection.learning is None
    )


def _decays(synapse: Synapse) -> bool:
    same = ("flow", "inlet", "refilled")
    return _is_usual(synapse, KineticSynapse, same) and _is_usual(
        synapse.kinetics,  # pyright: ignore
        Exponential,
        same,
    )


def ended(
    network: Any, ending: Ending, state: Any, cells: Any
) -> tuple[Any, dict[str, Any], Bool[Array, " cells"]]:
    """The end of a step.

    Args:
        network: a `Network`.
        ending: what `one_pass` has found for it.
        state: at the step's start.
        cells: after integration.

    Returns:
        Cells and synapses, where they are done with, at the step's end; and who fired.
    """
    cell, dt_ms = network.cell, network.dt_ms
    own = [cell.threshold_mv, cell.reset_mv, cell.refractory_ms]
    if any(jnp.ndim(one) for one in own):
        own = [jnp.broadcast_to(one, cells.v_mv.shape) for one in own]
    dtype, none = cells.v_mv.dtype, jnp.zeros(0, jnp.int32)
    inlet, kept = jnp.zeros((0, network.cells), dtype), jnp.zeros(0, dtype)
    if ending.synapse is not None:
        inlet = state.synapses[ending.synapse]
        decay_ms = network.synapses[ending.synapse].kinetics.decay_ms
        kept = jnp.exp(-dt_ms / decay_ms)
    kind, longest, weights, edges = "none", 0, 0.0, (none, none)
    if ending.projection is not None:
        projection = network.projections[ending.projection]
        given, weights = projection.connectivity, projection.weights
        kind = given.kind_of(jnp.shape(weights), projection.weights_per)
        longest, edges = given.longest, (given.rows, given.targets)
    v_mv, left_ms, inlet, spiked = _end(kind, longest, dt_ms)(
        cells.v_mv,
        state.cells.refractory_ms,
        inlet,
        *[jnp.asarray(one, dtype) for one in (*own, kept, weights)],
        *edges,
    )
    flowed = {} if ending.synapse is None else {ending.synapse: inlet}
    return cells._replace(v_mv=v_mv, refractory_ms=left_ms), flowed, spiked


def _end(kind: str, longest: int, dt_ms: float):
    """The function of arrays, with its rules for batches and derivatives."""
    plain = ft.partial(_plain, kind, longest, dt_ms)

    @jax.custom_jvp
    @jax.custom_batching.custom_vmap
    def end(*arrays):
        alike = {array.dtype for array in arrays[:3]}
        if len(alike) > 1 or not alike <= {*_native.DTYPES}:
            return plain(*arrays)
        return jax.lax.platform_dependent(
            *arrays, cpu=ft.partial(_in_one_pass, kind, dt_ms), default=plain
        )

    def of_batch(size, batched, *arrays):
        axes = [0 if is_batched else None for is_batched in batched]
        # `push` takes all lanes at once.
        results = jax.vmap(plain, axes, axis_size=size)(*arrays)
        return results, (True,) * len(results)

    end.fun.def_vmap(of_batch)  # pyright: ignore
    end.defjvp(lambda primals, tangents: jax.jvp(plain, primals, tangents))
    return end


def _in_one_pass(kind, dt_ms, v_mv, refractory_ms, inlet, *others):
    same = [jax.typeof(array) for array in (v_mv, refractory_ms, inlet)]
    call = jax.ffi.ffi_call(
        "djx_step_end",
        (*same, jax.ShapeDtypeStruct(v_mv.shape, bool)),
        input_output_aliases={place: place for place in range(3)},
    )
    return call(
        v_mv,
        refractory_ms,
        inlet,
        *others,
        steps_a_ms=np.float64(1 / dt_ms),
        dt_ms=np.float64(dt_ms),
        weights=np.int64(("none", "one", "sender", "edge").index(kind)),
    )


def _plain(
    kind: str,
    longest: int,
    dt_ms: float,
    v_mv: Float[Array, " cells"],
    refractory_ms: Float[Array, " cells"],
    inlet: Float[Array, "kinds cells"],
    threshold_mv: Float[Array, "..."],
    reset_mv: Float[Array, "..."],
    lasts_ms: Float[Array, "..."],
    kept: Float[Array, " kinds"],
    weights: Float[Array, "..."],
    rows: Int32[Array, " cells+1"],
    targets: Int32[Array, " edges"],
):
    """The same by single operations."""
    left_ms = one_less(whole_steps(refractory_ms, dt_ms)) * dt_ms
    spiked = (v_mv - threshold_mv >= 0) & (left_ms <= 0)
    inlet = scaled(inlet, kept) if len(inlet) else inlet
    if kind != "none":
        edges = Connectivity(targets, rows, inlet.size, longest)
        per = None if kind == "one" else kind
        spikes = spiked.astype(inlet.dtype)
        inlet = push(edges, spikes, weights, per=per, into=inlet)
    return (
        jnp.where(spiked, reset_mv, v_mv),
        jnp.where(spiked, lasts_ms, left_ms),
        inlet,
        spiked,
    )
