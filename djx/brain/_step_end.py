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

from ..core import varying_alike
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
    fixed = [cell.threshold_mv, cell.reset_mv, cell.refractory_ms]
    own = any(jnp.ndim(one) for one in fixed)
    if own:
        fixed = [jnp.broadcast_to(one, cells.v_mv.shape) for one in fixed]
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
    v_mv, left_ms, inlet, spiked = _end(_How(kind, longest, own, dt_ms))(
        cells.v_mv,
        state.cells.refractory_ms,
        inlet,
        *[jnp.asarray(one, dtype) for one in (*fixed, kept, weights)],
        *edges,
    )
    flowed = {} if ending.synapse is None else {ending.synapse: inlet}
    return cells._replace(v_mv=v_mv, refractory_ms=left_ms), flowed, spiked


class _How(NamedTuple):
    """What is static; lanes are those of one batch, `batched` says of which arrays."""

    weights: str
    longest: int
    own: bool  # whether each cell has its own threshold, reset and refractory time
    dt_ms: float
    lanes: int | None = None
    batched: tuple[bool, ...] = (False,) * 10


def _end(how: _How):
    """The function of arrays, with its rules for batches and derivatives."""
    plain = ft.partial(_plain, how)
    if how.lanes is not None:
        plain = _over_lanes(plain, how.batched, how.lanes)

    @jax.custom_jvp
    @jax.custom_batching.custom_vmap
    def end(*arrays):
        # In a program of several devices all of them differ if one does.
        arrays = varying_alike(arrays, arrays)
        alike = {array.dtype for array in arrays[:3]}
        if len(alike) > 1 or not alike <= {*_native.DTYPES} or how.lanes == 0:
            return plain(*arrays)
        return jax.lax.platform_dependent(
            *arrays, cpu=ft.partial(_in_one_pass, how), default=plain
        )

    def of_batch(size, batched, *arrays):
        if how.lanes is not None:
            # A batch of batches: `push` takes all its lanes at once.
            results = _over_lanes(plain, batched, size)(*arrays)
        else:
            changing = [
                array if has_it else jnp.broadcast_to(array, (size, *array.shape))
                for array, has_it in zip(arrays[:3], batched, strict=False)
            ]
            whole = how._replace(lanes=size, batched=(True,) * 3 + (*batched[3:],))
            results = _end(whole)(*changing, *arrays[3:])
        return results, (True,) * len(results)

    end.fun.def_vmap(of_batch)  # pyright: ignore
    end.defjvp(lambda primals, tangents: jax.jvp(plain, primals, tangents))
    return end


def _over_lanes(function, batched, size: int):
    axes = [0 if has_it else None for has_it in batched]
    return jax.vmap(function, axes, axis_size=size)


def _in_one_pass(how: _How, v_mv, refractory_ms, inlet, *others):
    same = [jax.typeof(array) for array in (v_mv, refractory_ms, inlet)]
    call = jax.ffi.ffi_call(
        "djx_step_end",
        (*same, same[0].update(dtype=np.dtype(bool))),
        input_output_aliases={place: place for place in range(3)},
    )
    return call(
        v_mv,
        refractory_ms,
        inlet,
        *others,
        steps_a_ms=np.float64(1 / how.dt_ms),
        dt_ms=np.float64(how.dt_ms),
        weights=np.int64(("none", "one", "sender", "edge").index(how.weights)),
        own=np.int64(how.own),
        lanes=np.int64(1 if how.lanes is None else how.lanes),
        batched=np.array(how.batched, np.int64),
    )


def _plain(
    how: _How,
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
    left_ms = one_less(whole_steps(refractory_ms, how.dt_ms)) * how.dt_ms
    spiked = (v_mv - threshold_mv >= 0) & (left_ms <= 0)
    inlet = scaled(inlet, kept) if len(inlet) else inlet
    if how.weights != "none":
        edges = Connectivity(targets, rows, inlet.size, how.longest)
        per = None if how.weights == "one" else how.weights
        spikes = spiked.astype(inlet.dtype)
        inlet = push(edges, spikes, weights, per=per, into=inlet)
    return (
        jnp.where(spiked, reset_mv, v_mv),
        jnp.where(spiked, lasts_ms, left_ms),
        inlet,
        spiked,
    )
