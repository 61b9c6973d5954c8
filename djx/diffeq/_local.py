from typing import Any, ClassVar, NamedTuple

import diffrax
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ._accumulate import AbstractAccumulator, Step
from ._estimates import scaled_error


class Bracket(NamedTuple):
    """A start for the one extra step: where, when and how far."""

    t: Float[Array, ""]
    h: Float[Array, ""]
    y: PyTree[Float[Array, "..."]]
    count: Int[Array, ""]


def sample_time(
    t0: float | Array, t1: float | Array, *, key: PRNGKeyArray
) -> Float[Array, ""]:
    """Draws the time of the unbiased local regulariser, uniform over [t0, t1).

    Args:
        t0: start of the solve.
        t1: end of the solve.
        key: source of the draw.

    Returns:
        A time.
    """
    return t0 + (t1 - t0) * jr.uniform(key, (), jnp.result_type(float))


class UnbiasedSample(AbstractAccumulator):
    """Keeps the accepted step that brackets a time drawn beforehand.

    Algorithm 1 of Pal et al. 2023, with their initial-step heuristic replaced by the
    accepted step itself: at the heuristic's step the scaled error is about 1e-7 and
    the regulariser has no effect. The state at the time is interpolated by the
    solver's own dense output.
    """

    needs_gradient: ClassVar[bool] = False

    time: Float[Array, ""]
    solver: diffrax.AbstractAdaptiveSolver

    def init(self, y0):
        return _empty_bracket(y0)

    def update(self, value, step):
        step = lax.stop_gradient(step)
        low, high = jnp.minimum(step.t0, step.t1), jnp.maximum(step.t0, step.t1)
        inside = (low <= self.time) & (self.time < high)
        interpolation = self.solver.interpolation_cls(
            t0=step.t0, t1=step.t1, **step.dense_info
        )
        found = Bracket(
            jnp.asarray(self.time, value.t.dtype),
            step.t1 - step.t0,
            interpolation.evaluate(self.time),
            value.count + 1,
        )
        return _choose(inside, found, value._replace(count=value.count + 1))


class BiasedSample(AbstractAccumulator):
    """Keeps one accepted step's start, each equally likely: reservoir sampling.

    Algorithm 2 of Pal et al. 2023 draws among the stored steps; replacing the kept
    one by the j-th with probability 1/j draws from the same distribution without
    storing them. More steps fall where the solver struggles, hence "biased".
    """

    needs_gradient: ClassVar[bool] = False

    key: PRNGKeyArray

    def init(self, y0):
        return _empty_bracket(y0)

    def update(self, value, step):
        step = lax.stop_gradient(step)
        count = value.count + 1
        draw = jr.uniform(jr.fold_in(self.key, count), (), value.h.dtype)
        found = Bracket(
            jnp.asarray(step.t0, value.t.dtype), step.t1 - step.t0, step.y0, count
        )
        return _choose(draw * count < 1, found, value._replace(count=count))


def local_penalty(
    terms: diffrax.AbstractTerm,
    solver: diffrax.AbstractAdaptiveSolver,
    bracket: Bracket,
    args: Any = None,
    *,
    rtol: float | Array,
    atol: float | Array,
) -> Float[Array, ""]:
    """The local regulariser: the scaled error of one step, times its length.

    Equation 5 of Pal et al. 2023. The gradient reaches the parameters through this
    one step only: the start, the time and the length are constants, so it can be
    added beside any adjoint at the memory of a single step.

    Args:
        terms: the differential equation, as in `diffrax.diffeqsolve`.
        solver: the solver of the solve (not its accumulating wrapper).
        bracket: a value left by `UnbiasedSample` or `BiasedSample`.
        args: passed on to the vector field.
        rtol: relative tolerance of the solve.
        atol: absolute tolerance of the solve.

    Returns:
        A scalar; zero where the solve made no step.
    """
    t, h, y, _ = lax.stop_gradient(bracket)
    state = solver.init(terms, t, t + h, y, args)
    y1, y_error, dense_info, _, _ = solver.step(
        terms, t, t + h, y, args, state, made_jump=False
    )
    step = Step(t, t + h, y, y1, y_error, dense_info)
    return scaled_error(step, rtol=rtol, atol=atol) * jnp.abs(h)


def _empty_bracket(y0: PyTree) -> Bracket:
    zero = jnp.zeros((), jnp.result_type(*jax.tree.leaves(y0)))
    return Bracket(zero, zero, lax.stop_gradient(y0), jnp.asarray(0))


def _choose(take: Bool[Array, ""], new: Bracket, old: Bracket) -> Bracket:
    return jax.tree.map(lambda a, b: jnp.where(take, a, b), new, old)
