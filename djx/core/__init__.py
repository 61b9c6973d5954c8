"""What every other part stands on: keys, named leaves, digests, norms, operations.

Names load when they are first asked for: `djx.core.errors` needs no JAX.
"""

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING


if _TYPE_CHECKING:
    from ._close import close as close, without_repetition as without_repetition
    from ._digest import (
        combine_digests as combine_digests,
        leaf_digest as leaf_digest,
        tree_digest as tree_digest,
    )
    from ._keys import seed_keys as seed_keys, stream_key as stream_key
    from ._manual import (
        varying as varying,
        varying_alike as varying_alike,
        varying_axes as varying_axes,
    )
    from ._memory import give_memory_back as give_memory_back
    from ._norms import safe_rms as safe_rms
    from ._operation import (
        Bilinear as Bilinear,
        bind as bind,
        Operation as Operation,
    )
    from ._tree import leaf_names as leaf_names

_WHERE = {
    "Bilinear": "_operation",
    "Operation": "_operation",
    "bind": "_operation",
    "close": "_close",
    "combine_digests": "_digest",
    "give_memory_back": "_memory",
    "leaf_digest": "_digest",
    "leaf_names": "_tree",
    "safe_rms": "_norms",
    "seed_keys": "_keys",
    "stream_key": "_keys",
    "tree_digest": "_digest",
    "varying": "_manual",
    "varying_alike": "_manual",
    "varying_axes": "_manual",
    "without_repetition": "_close",
}

__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name in _WHERE:
        return getattr(_importlib.import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module 'djx.core' has no attribute {name!r}")
