"""Solutions defined implicitly, and derivatives that say when they are wrong.

Names load when they are first asked for.
"""

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING


if _TYPE_CHECKING:
    from djx.implicit import descent as descent, jaxopt as jaxopt, prox as prox

    from ._argmin import argmin as argmin, least_squares as least_squares
    from ._attach import attach as attach
    from ._certificate import (
        Certificate as Certificate,
        value_and_grad as value_and_grad,
    )
    from ._deq import (
        DEQ as DEQ,
        jacobian_penalty as jacobian_penalty,
        SpectralLinear as SpectralLinear,
    )
    from ._fixed_point import fixed_point as fixed_point
    from ._gradient import Gradient as Gradient
    from ._proximal import proximal_argmin as proximal_argmin
    from ._qp import Optimum as Optimum, qp as qp
    from ._receipt import Receipt as Receipt
    from ._root import root as root
    from ._solution import RESULTS as RESULTS, Solution as Solution

_WHERE = {
    "Certificate": "_certificate",
    "DEQ": "_deq",
    "Gradient": "_gradient",
    "Optimum": "_qp",
    "RESULTS": "_solution",
    "Receipt": "_receipt",
    "Solution": "_solution",
    "SpectralLinear": "_deq",
    "argmin": "_argmin",
    "attach": "_attach",
    "fixed_point": "_fixed_point",
    "jacobian_penalty": "_deq",
    "least_squares": "_argmin",
    "proximal_argmin": "_proximal",
    "qp": "_qp",
    "root": "_root",
    "value_and_grad": "_certificate",
}

__all__ = [*_WHERE, "descent", "jaxopt", "prox"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name in ("descent", "jaxopt", "prox"):
        return _importlib.import_module(f".{name}", __name__)
    if name in _WHERE:
        return getattr(_importlib.import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
