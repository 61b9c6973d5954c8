"""Shared networks, flax modules as Equinox modules, and weight interchange.

Names are imported on first use, so that `import djx.nn` does not import Flax.
"""

from importlib import import_module
from typing import Any, TYPE_CHECKING


if TYPE_CHECKING:
    from djx.nn import linen, nnx, recurrent, weights
    from djx.nn.linen import from_linen, LinenModule
    from djx.nn.nnx import from_nnx, NNXModule
    from djx.nn.recurrent import GRU
    from djx.nn.weights import flatten, from_bytes, to_bytes, unflatten, WeightError

__all__ = [
    "GRU",
    "LinenModule",
    "NNXModule",
    "WeightError",
    "flatten",
    "from_bytes",
    "from_linen",
    "from_nnx",
    "linen",
    "nnx",
    "recurrent",
    "to_bytes",
    "unflatten",
    "weights",
]

_HOME = {
    "GRU": "recurrent",
    "LinenModule": "linen",
    "from_linen": "linen",
    "NNXModule": "nnx",
    "from_nnx": "nnx",
    "WeightError": "weights",
    "flatten": "weights",
    "from_bytes": "weights",
    "to_bytes": "weights",
    "unflatten": "weights",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _HOME:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
