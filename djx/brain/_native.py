"""The sum in C++, where a library of it is there or can be built.

A library fits the headers of one jaxlib. `pip install` builds it next to this file if
it finds those headers and a compiler; whoever comes without one, or with another
jaxlib, builds it when spikes are first pushed, in the user's cache folder. So an
install never fails, needs no jaxlib of its own, and an upgrade leaves nothing stale.
"""

import ctypes
import functools
import math
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import platformdirs
from jaxtyping import Array

from ..core import varying_alike
from ._contraction import Contraction
from ._native_build import build, library, Unbuilt


HANDLERS = ("djx_push_stored", "djx_push_drawn", "djx_step_end")
FACTORS = ("into", "senders", "weights", "receivers", "mask")
OPERANDS = 9  # with up to four of the source
DTYPES = (np.dtype("float32"), np.dtype("float64"))


def native_note() -> str:
    """Which way spikes take on CPUs, and why, in a line.

    The library is built where it can be and is not yet. `DJX_NATIVE=0` does without
    it; `DJX_CACHE_DIR` moves the cache folder (empty: none is used).

    Returns:
        The line.
    """
    return _loaded()[1]


def available() -> bool:
    """Whether the library is there; it is built if it can be."""
    return _loaded()[0]


@functools.cache
def _loaded() -> tuple[bool, str]:
    try:
        path = _found(Path(jax.ffi.include_dir()))
        handlers = ctypes.CDLL(str(path))
        for name in HANDLERS:
            capsule = jax.ffi.pycapsule(getattr(handlers, name))
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except (Unbuilt, OSError, AttributeError, RuntimeError, ValueError) as fault:
        reason = (str(fault) or type(fault).__name__).splitlines()[0]
        return False, f"loops in XLA: {reason}"
    return True, f"native: {path}"


def _found(include: Path) -> Path:
    if os.environ.get("DJX_NATIVE") == "0":
        raise Unbuilt("DJX_NATIVE is 0")
    name = library(include)
    chosen = os.environ.get("DJX_CACHE_DIR", platformdirs.user_cache_dir("djx"))
    cache = Path(chosen) / "native" if chosen else None
    for folder in (Path(__file__).parent, cache):
        if folder and (folder / name).exists():
            return folder / name
    if jax.default_backend() != "cpu":
        raise Unbuilt("not built yet, and this process computes elsewhere")
    if cache is None:
        raise Unbuilt("not installed, and DJX_CACHE_DIR is empty")
    return build(cache, include)


def contract(what: Contraction, given: dict[str, Array]) -> Array:
    """The sum; its terms are added in the order of edges.

    Args:
        what: the sum.
        given: its arrays.

    Returns:
        The result, where what is added to was.
    """
    start = given["into"] if what.adds else what.start(given)  # which it may clear
    used = {*what.factors, "into", *what.source.names}
    used |= {"mask"} if what.by == "senders" else set()
    names = (*FACTORS, *what.source.names)
    arrays = [_or_none(n, {**given, "into": start}, used) for n in names]
    arrays += [jnp.zeros(0, jnp.int32)] * (OPERANDS - len(names))
    axes = np.zeros((len(what.lanes), 1 + OPERANDS), np.int64)
    axes[:, 0] = [lane.size for lane in what.lanes]
    for place, (name, array) in enumerate(zip(names, arrays, strict=False), 1):
        axes[:, place] = _apart(what, name, array)
    handler, sizes = what.source.native
    call = jax.ffi.ffi_call(handler, jax.typeof(start), input_output_aliases={0: 0})
    return call(
        *varying_alike(arrays, start),
        by=np.int64(("receivers", "senders", "weights").index(what.by)),
        axes=axes.reshape(-1),
        senders=np.int64(what.source.senders),
        clears=np.int64(what.clears),
        **{name: np.int64(size) for name, size in sizes.items()},
    )


def _or_none(name, given, used):
    if name in used:
        return given[name]
    return jnp.zeros(0, bool if name == "mask" else given["into"].dtype)


def _apart(what, name, array):
    """How far apart an array's lanes are along each axis."""
    has, apart = what.axes_of(name), []
    step = math.prod(array.shape[sum(has) :])
    for lane, has_it in zip(reversed(what.lanes), reversed(has), strict=True):
        apart.insert(0, step if has_it and array.size else 0)
        step *= lane.size if has_it else 1
    return apart
