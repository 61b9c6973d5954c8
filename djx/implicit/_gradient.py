"""How the derivative of a solution is computed."""

import dataclasses
import math
from typing import Any, get_args, Literal


Mode = Literal[
    "exact",
    "gauss_newton",
    "truncated",
    "neumann",
    "jacobian_free",
    "phantom",
    "unrolled",
]
Linear = Literal["auto", "cholesky", "lu", "eigh", "svd", "cg", "gmres", "fixed_point"]
Certify = Literal["off", "correct"]
Failure = Literal["report", "zero", "nan", "raise"]


@dataclasses.dataclass(frozen=True)
class Gradient:
    """How the derivative of a solution is computed, and what happens if that fails.

    The solution x of F(x, theta) = 0 has dx = -A^-1 B dtheta with A = dF/dx and
    B = dF/dtheta. Modes differ in what stands for A^-1; for a fixed point of T, A is
    I - J with J = dT/dx.

    Attributes:
        mode: "exact": A^-1. "gauss_newton": of least squares, A without the second
            derivatives of the residuals. "truncated": `steps` iterations of the Krylov
            method. "neumann": the first `steps` terms of sum J^k. "jacobian_free": the
            first term (Fung et al. 2022); after a Newton-like step, one-step
            differentiation (Bolte et al. 2023). "phantom": `steps` terms of the series
            damped by `damping` (Geng et al. 2021). "unrolled": the
            iterations of a caller's solver are differentiated; djx' own solvers and
            optimistix' keep nothing that could be. Second derivatives take the first
            for exact, whatever the mode but this.
        linear: the method for systems with A. "auto": by the tags of A and its size,
            and with the factor of the forward solve where that has one. "eigh" (of a
            symmetric A) and "svd" give the solution of least norm where A is singular.
        steps: of "truncated", "neumann" and "phantom".
        damping: of "phantom", in (0, 1].
        ridge: is added to the diagonal of A. Biases the derivative by at most
            ridge |A^-1|^2 |v|.
        tolerance: relative error of the adjoint above which a solve counts as failed,
            and relative residual at which iterative methods stop; the square root of
            the rounding unit if None.
        max_steps: of iterative methods.
        refinements: of direct solves, each with one product more.
        on_failure: "report" leaves numbers as they came out; "zero" and "nan" put that
            in the failed lanes; "raise" stops the program (as one for all lanes).
        certify: "correct" adds one Newton step to the solution before it is used, so
            that the derivative is right to second order in the solution's error (Ye et
            al. 2024); `value_and_grad` estimates that error.
    """

    mode: Mode = "exact"
    linear: Linear = "auto"
    steps: int = 10
    damping: float = 0.5
    ridge: float = 0.0
    tolerance: float | None = None
    max_steps: int = 1000
    refinements: int = 1
    on_failure: Failure = "report"
    certify: Certify = "off"

    def __post_init__(self):
        for name, known in (
            ("mode", Mode),
            ("linear", Linear),
            ("on_failure", Failure),
            ("certify", Certify),
        ):
            _choice(name, getattr(self, name), get_args(known))
        for name, least in (("steps", 1), ("max_steps", 1), ("refinements", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"Gradient({name}=...) is a whole number from {least}, "
                    f"not {value!r}"
                )
        if self.mode == "unrolled" and self.certify == "correct":
            raise ValueError(
                'Gradient(mode="unrolled", certify="correct"): a corrected solution '
                "has no iterations to differentiate; choose one of the two"
            )
        if not 0 < self.damping <= 1:
            raise ValueError(f"Gradient(damping=...) is in (0, 1], not {self.damping}")
        if not (self.ridge >= 0 and math.isfinite(self.ridge)):
            raise ValueError(f"Gradient(ridge=...) is from 0 on, not {self.ridge}")
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ValueError(
                f"Gradient(tolerance=...) is in (0, 1), not {self.tolerance}"
            )


def implicit_only(gradient: Gradient) -> None:
    """Refuses "unrolled", for solvers whose iterations cannot be differentiated.

    Raises:
        ValueError: if that is the mode.
    """
    if gradient.mode == "unrolled":
        raise ValueError(
            'Gradient(mode="unrolled") differentiates the iterations of a solver of '
            "your own: pass solver=, a function of (function, start), or use attach"
        )


def _choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value in known:
        return
    from ..core.errors import did_you_mean

    choices = ", ".join(map(repr, known))
    raise ValueError(
        f"Gradient({name}={value!r}): choose from {choices}{did_you_mean(value, known)}"
    )
