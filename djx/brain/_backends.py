"""Which way spikes take to their targets, on which device."""

import functools as ft
import importlib
import importlib.util
import math

import jax
from jaxtyping import Array

from . import _buffered, _dense, _native, _serial
from ._contraction import as_of_source, Contraction


PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
NAMES = ("native", "serial", "buffered", "dense", "pallas")


def backend(
    senders: int,
    receivers: int,
    edges: int,
    longest: int,
    platform: str,
    native: bool = False,
    pallas: bool = False,
    lanes: int = 1,
) -> str:
    """The way that suits a connectivity and a device.

    On CPUs "native" and "serial" give the same bits in all derivatives, and so do
    "buffered" and "pallas" by receivers. With "dense" the order of sums is the
    device's own.

    Args:
        senders: how many.
        receivers: how many; with delays as many for every row of the ring.
        edges: how many.
        longest: edges of the longest row.
        platform: "cpu", "cuda", "rocm" or "tpu".
        native: whether a library in C++ is there.
        pallas: whether a kernel for GPUs is there.
        lanes: of a batch.

    Returns:
        "native": C++; "serial": edge by edge, in loops that XLA compiles for CPUs as
        C++ would be; "buffered": rows of those that fired, some at once; "dense": a
        product with a matrix; "pallas": a kernel for GPUs.
    """
    if platform == "cpu":
        return "native" if native else "serial"
    if platform == "cuda" and pallas and edges:
        return "pallas"
    # Lanes share the making of a matrix. Not measured: no TPU was at hand.
    small = senders * receivers <= 2**22 and senders * longest <= 2**18
    return "dense" if platform == "tpu" and small and lanes >= 8 else "buffered"


def contracted(what: Contraction, given: dict[str, Array]) -> Array:
    """A sum by the way that it names, or that suits the platform it is compiled for.

    Args:
        what: the sum.
        given: its arrays.

    Returns:
        The result.

    Raises:
        ValueError: where what it names is not there.
    """
    ways = {platform: _way(what, given, platform) for platform in PLATFORMS}
    function = {name: ft.partial(_contract(name), what) for name in {*ways.values()}}
    if len(function) == 1:
        return function[ways["cpu"]](given)
    # What is compiled for another machine must not name this one's library.
    return jax.lax.platform_dependent(
        given, **{platform: function[name] for platform, name in ways.items()}
    )


def _way(what, given, platform):
    source, name = what.source, what.backend
    if name and (name != "native" or platform == "cpu"):
        if name == "native" and not _native.available():
            raise ValueError(f"backend='native': {_native.native_note()}; leave it out")
        return name
    dtype = given[what.factors[0]].dtype
    return backend(
        source.senders,
        math.prod(source.reach),
        source.edges,
        source.longest,
        platform,
        platform == "cpu" and dtype in _native.DTYPES and _native.available(),
        importlib.util.find_spec(f"{__package__}._pallas") is not None,
        math.prod(lane.size for lane in what.lanes),
    )


def _contract(name):
    if name == "native":
        return _native.contract
    if name == "pallas":
        way = importlib.import_module("._pallas", __package__)
    else:
        way = {"serial": _serial, "buffered": _buffered, "dense": _dense}[name]
    return ft.partial(as_of_source, way.contract)
