from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import safe_rms
from ._accumulate import AbstractAccumulator, Step


def scaled_error(
    step: Step,
    *,
    rtol: float | Array,
    atol: float | Array,
    norm: Callable[[PyTree], Any] = safe_rms,
) -> Float[Array, ""]:
    """The error estimate of one step, relative to the tolerance: the acceptance test.

    Equation 9 of Pal et al. 2021 in the form that their code (and every controller)
    uses, `rms(error / (atol + rtol max(|y0|, |y1|)))`. It depends on the pair:
    diffrax's Dopri5 uses Shampine's embedding, whose estimate is 2/3 of SciPy's.

    Args:
        step: the step, with an error estimate.
        rtol: relative tolerance.
        atol: absolute tolerance, in the units of y.
        norm: of the ratio, shaped as y; `state_norm(djx.core.safe_rms)` leaves
            integrals out.

    Returns:
        A scalar: at most one for a step that the controller accepts.

    Raises:
        ValueError: where the solver has no embedded error estimate.
    """
    if step.y_error is None:
        raise ValueError(
            "this solver has no embedded error estimate; use one that has, such as "
            "diffrax.Tsit5, Dopri5 or Bosh3"
        )

    def ratio(error, y0, y1):
        return error / (atol + rtol * jnp.maximum(jnp.abs(y0), jnp.abs(y1)))

    return norm(jax.tree.map(ratio, step.y_error, step.y0, step.y1))


def stiffness_estimate(
    step: Step,
    solver: diffrax.AbstractERK,
    norm: Callable[[PyTree], Any] = safe_rms,
) -> Float[Array, ""]:
    """Shampine's estimate of the size of the Jacobian's leading eigenvalue.

    `|f(g_s) - f(g_{s-1})| / |g_s - g_{s-1}|` for the last two stages, which a pair
    with c_{s-1} = c_s = 1 evaluates at the same time (equation 10 of Pal et al. 2021;
    Hairer and Wanner 1996, section IV.2). It costs no evaluation, and for `y' = a y`
    it is |a| whatever the step, up to rounding: where the last two stages agree to many
    digits (a step far below what the tolerance allows), their differences keep few.

    Args:
        step: a step of `solver`.
        solver: an explicit first-same-as-last pair, such as `diffrax.Tsit5()`.
        norm: of what is shaped as y, as in `scaled_error`.

    Returns:
        A scalar, in inverse units of time.

    Raises:
        ValueError: where the solver's last two stages are not at the same time.
    """
    tableau = solver.tableau
    if not (
        isinstance(tableau, diffrax.ButcherTableau)
        and tableau.fsal
        and tableau.c[-1] == tableau.c[-2] == 1
    ):
        raise ValueError(
            f"{type(solver).__name__} has no two stages at the end of the step, which "
            "the stiffness estimate needs; use diffrax.Tsit5 or diffrax.Dopri5"
        )
    # y1 and the stage before it share y0: their gap is summed from the increments, so
    # that y0's rounding does not enter.
    before_last = np.append(tableau.a_lower[-2], 0.0)
    weights = np.append(tableau.a_lower[-1] - before_last, 0.0)

    def stage_gap(k):
        return jnp.tensordot(jnp.asarray(weights, k.dtype), k, axes=1)

    increments = step.dense_info["k"]  # h f at each stage
    field_gap = jax.tree.map(lambda k: k[-1] - k[-2], increments)
    state_gap = jax.tree.map(stage_gap, increments)
    return norm(field_gap) / (norm(state_gap) * jnp.abs(step.t1 - step.t0))


class ErrorIntegral(AbstractAccumulator):
    """R_E: the scaled error of each accepted step times its length, summed.

    Equation 11 of Pal et al. 2021 (ERNODE). Differentiate it with a
    discretise-then-optimise adjoint; step lengths are constants there, as in the paper.
    """

    rtol: float | Array
    atol: float | Array
    norm: Callable[[PyTree], Any] = eqx.field(static=True, default=safe_rms)

    def init(self, y0):
        return _zero(y0)

    def update(self, value, step):
        error = scaled_error(step, rtol=self.rtol, atol=self.atol, norm=self.norm)
        return value + error * jnp.abs(step.t1 - step.t0)


class StiffnessIntegral(AbstractAccumulator):
    """R_S: the stiffness estimate of each accepted step times its length, summed.

    Equation 12 of Pal et al. 2021 (SRNODE).
    """

    solver: diffrax.AbstractERK
    norm: Callable[[PyTree], Any] = eqx.field(static=True, default=safe_rms)

    def init(self, y0):
        return _zero(y0)

    def update(self, value, step):
        estimate = stiffness_estimate(step, self.solver, self.norm)
        return value + estimate * jnp.abs(step.t1 - step.t0)


def _zero(y0: PyTree) -> Float[Array, ""]:
    return jnp.zeros((), jnp.result_type(*jax.tree.leaves(y0)))
