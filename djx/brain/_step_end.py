"""How a step ends, in one pass over the cells: who fires, resets, decay, and push.

XLA computes the end of a step anew for each of its results, and copies what `push`
changes; in C++ it is a pass over the cells, and what they send is added at once. Bits
are those of the single operations.
"""

import functools as ft
from collections.abc import Collection
from typing import Any

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
from ._projection import Projection
from ._push import push
from ._synapse import Synapse
from ._synapses import KineticSynapse


OF_CELLS = ("margin_mv", "reset")
OF_ALL_CELLS = ("may_fire", "spiked", "integrate", "steps_after")


def pushed_at_once(network: Any, others: Collection[str] = ()) -> str | None:
    """The projection whose spikes can be added in the pass that ends the step.

    Args:
        network: a `Network`.
        others: synapses at which something else arrives.

    Returns:
        Its name; None where there is none, or no library in C++.
    """
    usual = _is_usual(network.cell, Resetting, OF_CELLS)
    usual = usual and _is_usual(network.cell, Cell, OF_ALL_CELLS)
    if not usual or network.surrogate is not None or network.axis is not None:
        return None
    taken = {*others}
    for name, projection in network.projections.items():
        # What comes first at a synapse is added first.
        first = projection.onto not in taken
        taken.add(projection.onto)
        synapse = network.synapses[projection.onto]
        if first and _is_plain(projection) and _decays(synapse):
            return name if _native.available() else None
    return None


def _is_usual(thing: Any, base: type, methods: tuple[str, ...]) -> bool:
    """Whether methods are those of a class, and not of one that is made of it."""
    return isinstance(thing, base) and all(
        getattr(type(thing), name) is getattr(base, name) for name in methods
    )


def _is_plain(projection: Projection) -> bool:
    edges = projection.connectivity
    return (
        type(edges) is Connectivity
        and edges.delays is None
        and edges.edges > 0
        and projection.delay == 1
        and projection.source is None
        and projection.release is None
        and projection.learning is None
        and projection.backend in (None, "native")
    )


def _decays(synapse: Synapse) -> bool:
    same = ("flow", "inlet", "refilled")
    return _is_usual(synapse, KineticSynapse, same) and _is_usual(
        synapse.kinetics,  # pyright: ignore
        Exponential,
        same,
    )


def ended(
    cell: Any,
    cells: Any,
    refractory_ms: Float[Array, " cells"],
    synapse: Any,
    inlet: Float[Array, "kinds cells"],
    projection: Projection,
    dt_ms: float,
) -> tuple[Any, Float[Array, "kinds cells"], Bool[Array, " cells"]]:
    """The end of a step.

    Args:
        cell: the model of all, for which, as for what follows, `pushed_at_once` has
            found that this is how a step ends.
        cells: after integration.
        refractory_ms: before it.
        synapse: which decays, and at which spikes arrive.
        inlet: its state at the step's start.
        projection: that spikes take.
        dt_ms: the step's length.

    Returns:
        Cells and inlet at the step's end, and who fired.
    """
    edges, dtype = projection.connectivity, inlet.dtype
    own = [cell.threshold_mv, cell.reset_mv, cell.refractory_ms]
    if any(jnp.ndim(one) for one in own):
        own = [jnp.broadcast_to(one, cells.v_mv.shape) for one in own]
    kind = edges.kind_of(jnp.shape(projection.weights), projection.weights_per)
    kept = jnp.exp(-dt_ms / synapse.kinetics.decay_ms)
    v_mv, refractory_ms, inlet, spiked = _end(kind, edges.longest, dt_ms)(  # pyright: ignore
        cells.v_mv,
        refractory_ms,
        inlet,
        *[jnp.asarray(one, dtype) for one in (*own, kept, projection.weights)],
        edges.rows,  # pyright: ignore
        edges.targets,  # pyright: ignore
    )
    return cells._replace(v_mv=v_mv, refractory_ms=refractory_ms), inlet, spiked


def _end(kind: str, longest: int, dt_ms: float):
    """The function of arrays, with its rules for batches and derivatives."""
    plain = ft.partial(_plain, kind, longest, dt_ms)

    @jax.custom_jvp
    @jax.custom_batching.custom_vmap
    def end(*arrays):
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
        weights=np.int64(("one", "sender", "edge").index(kind)),
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
    edges = Connectivity(targets, rows, inlet.size, longest)
    per = None if kind == "one" else kind
    inlet = scaled(inlet, kept)
    inlet = push(edges, spiked.astype(inlet.dtype), weights, per=per, into=inlet)
    return (
        jnp.where(spiked, reset_mv, v_mv),
        jnp.where(spiked, lasts_ms, left_ms),
        inlet,
        spiked,
    )
