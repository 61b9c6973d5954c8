"""JAXopt's solvers, forward only.

JAXopt is no longer maintained, and its derivatives are silently wrong where its inner
linear solves do not converge: what it finds gets its derivatives from djx. It serves as
an oracle and a baseline besides, and this is the only module that imports it.
"""

import difflib
import warnings
from collections.abc import Callable
from typing import Any

from jaxtyping import Array


_MINIMISERS = (
    "BFGS",
    "GradientDescent",
    "LBFGS",
    "NonlinearCG",
)
_LEAST_SQUARES = ("GaussNewton", "LevenbergMarquardt")
_ROOTS = ("Broyden",)
_FIXED_POINTS = ("AndersonAcceleration", "FixedPointIteration")


def solver(name: str, **options: Any) -> Callable[[Callable, Array], Array]:
    """A solver for `argmin`, `least_squares`, `root` or `fixed_point`.

    Args:
        name: of a class of JAXopt that takes one function: "LBFGS", "BFGS",
            "NonlinearCG", "GradientDescent"; "GaussNewton", "LevenbergMarquardt";
            "Broyden"; "AndersonAcceleration", "FixedPointIteration".
        **options: of that class, `tol` and `maxiter` for example.

    Returns:
        A function of (function, start) that returns the solution.

    Raises:
        ValueError: if the name is unknown.
    """
    known = (*_MINIMISERS, *_LEAST_SQUARES, *_ROOTS, *_FIXED_POINTS)
    if name not in known:
        close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"Unknown solver {name!r}: choose from {', '.join(map(repr, known))}.{hint}"
        )

    def run(function, start):
        kind = getattr(load(), name)
        keywords: dict[str, Any] = {"implicit_diff": False} | options
        return kind(function, **keywords).run(start).params

    return run


def load() -> Any:
    """JAXopt itself, without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import jaxopt
    return jaxopt
