"""Spikes on GPUs, by kernels that JAX's Pallas makes."""

import functools as ft
import math

import jax
import jax.extend as jex
from jax.interpreters import mlir
from jaxtyping import Array

from . import _buffered
from ._contraction import Contraction, over_lanes
from ._pallas_kernels import Kernels
from ._stored import Stored


MOST = 2**27  # edges, of all lanes, that there are lists for
LANES = 2**16 - 1  # that a grid may have


def contract(
    what: Contraction,
    given: dict[str, Array],
    ordered: bool = True,
    interpret: bool = False,
) -> Array:
    """The sum, of which terms by receivers are added in the order of edges.

    Lists need 8 bytes for every edge, of which only those of events are touched.

    Args:
        what: the sum.
        given: its arrays.
        ordered: whether the order matters. If not, terms are added as they come, by one
            kernel without lists; where all that arrives at a receiver in one step is
            the same number, the bits are the same too.
        interpret: whether XLA does what the kernels would, on any device.

    Returns:
        The result.
    """
    if not isinstance(what.source, Stored):
        return _buffered.contract(what, given)
    lanes = math.prod(lane.size for lane in what.lanes)
    summed = any("result" not in lane.of for lane in what.lanes)
    many = lanes > LANES or lanes * what.source.edges > MOST
    if what.lanes and (summed or many):
        one = ft.partial(contract, ordered=ordered, interpret=interpret)
        return over_lanes(one, what, given)
    arrays = what.start(given), *[given[name] for name in what.names]
    if interpret:
        return _computed(*arrays, what=what, ordered=ordered, interpret=True)
    return contract_p.bind(*arrays, what=what, ordered=ordered)


def _computed(start, *arrays, what, ordered, interpret=False):
    given = dict(zip(what.names, arrays, strict=True))
    mask = "mask" if what.by == "senders" else "senders"
    used = {*what.factors, mask, *what.source.names}
    flat = {name: array.reshape(-1) for name, array in given.items() if name in used}
    kernels, out = Kernels(what, flat, mask, interpret), start.reshape(-1)
    if what.by == "receivers":
        out = kernels.in_order(out) if ordered else kernels.as_they_come(out)
    else:
        out = kernels.row_by_row(out)
    return out.reshape(start.shape)


def _refused(*arrays, what, ordered):
    del arrays, ordered
    raise ValueError(
        f"backend={what.backend!r}: kernels for GPUs, in a program for another device; "
        "leave it out"
    )


_kernels = mlir.lower_fun(_computed, multiple_results=False)


def _for_nvidia(context, *arrays, **options):
    # JAX 0.11 asks which GPU there is, refuses names that it does not know, and any
    # where there is none; it wants to know about floats of 8 bits, of which none is
    # here. So all have a name that it knows, but those of a mesh, which is what it is.
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        known = jax.sharding.AbstractDevice("NVIDIA H100", None, "gpu")
        mesh = mesh.update(abstract_device=known)
    with jax.sharding.use_abstract_mesh(mesh):
        return _kernels(context, *arrays, **options)


contract_p = jex.core.Primitive("djx_brain_pallas")
contract_p.def_abstract_eval(lambda start, *arrays, what, ordered: start)
mlir.register_lowering(contract_p, mlir.lower_fun(_refused, multiple_results=False))
mlir.register_lowering(contract_p, _for_nvidia, platform="cuda")
mlir.register_lowering(contract_p, _kernels, platform="rocm")
