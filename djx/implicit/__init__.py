"""Solutions defined implicitly: minima and roots, and their derivatives.

Names are imported on first use. JAXopt itself is imported by the first solve.
"""

from importlib import import_module
from typing import Any, TYPE_CHECKING


if TYPE_CHECKING:
    from djx.implicit import jaxopt
    from djx.implicit.jaxopt import minimise, Minimum, Root, root

__all__ = ["Minimum", "Root", "jaxopt", "minimise", "root"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    adapter = import_module(f"{__name__}.jaxopt")
    return adapter if name == "jaxopt" else getattr(adapter, name)


def __dir__() -> list[str]:
    return sorted(__all__)
