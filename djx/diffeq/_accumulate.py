import abc
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
from jaxtyping import PyTree


Scalar = Any  # a float, or an array of one: what diffrax hands its solvers


class Step(NamedTuple):
    """One attempted step of a solver, as its accumulators see it."""

    t0: Scalar
    t1: Scalar
    y0: PyTree
    y1: PyTree
    y_error: PyTree | None
    dense_info: dict[str, Any]


class AbstractAccumulator(eqx.Module):
    """A running quantity over the accepted steps of a solve."""

    needs_gradient: ClassVar[bool] = True
    """Whether its value is of no use without a gradient; see `check_adjoint`."""

    @abc.abstractmethod
    def init(self, y0: PyTree) -> PyTree:
        """The value before the first step."""

    @abc.abstractmethod
    def update(self, value: PyTree, step: Step) -> PyTree:
        """The value after one more accepted step."""


class AccumulatingSolver(diffrax.AbstractAdaptiveSolver):
    """Wraps an embedded solver and carries accumulators along its accepted steps.

    The running values live in the solver state: the integration loop keeps that for
    accepted steps only, so a rejected attempt leaves no trace. Read them from
    `solution.solver_state[1]` of a solve with `SaveAt(..., solver_state=True)`.
    `RecursiveCheckpointAdjoint` and `DirectAdjoint` differentiate them.
    `BacksolveAdjoint` and `ImplicitAdjoint` do not; with those use only the
    accumulators that need no gradient: the samplers of the local regulariser.
    """

    solver: diffrax.AbstractAdaptiveSolver
    accumulators: PyTree

    @property
    def term_structure(self):
        return self.solver.term_structure

    @property
    def interpolation_cls(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.interpolation_cls

    @property
    def term_compatible_contr_kwargs(self):
        return self.solver.term_compatible_contr_kwargs

    def order(self, terms):
        return self.solver.order(terms)

    def strong_order(self, terms):
        return self.solver.strong_order(terms)

    def error_order(self, terms):
        return self.solver.error_order(terms)

    def init(self, terms, t0, t1, y0, args):
        inner = self.solver.init(terms, t0, t1, y0, args)
        return inner, _map(lambda acc: acc.init(y0), self.accumulators)

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        inner, values = solver_state
        y1, y_error, dense_info, inner, result = self.solver.step(
            terms, t0, t1, y0, args, inner, made_jump
        )
        step = Step(t0, t1, y0, y1, y_error, dense_info)
        values = _map(lambda acc, v: acc.update(v, step), self.accumulators, values)
        return y1, y_error, dense_info, (inner, values), result


def check_adjoint(
    solver: diffrax.AbstractSolver, adjoint: diffrax.AbstractAdjoint
) -> None:
    """Refuses an adjoint under which accumulated values would carry no gradient.

    `BacksolveAdjoint` and `ImplicitAdjoint` differentiate the solution alone: a
    regulariser that is summed over the steps would silently do nothing.

    Args:
        solver: of the solve, wrapped or not.
        adjoint: of the solve.

    Raises:
        ValueError: where an accumulator needs a gradient that the adjoint cannot give.
    """
    refused = (diffrax.BacksolveAdjoint, diffrax.ImplicitAdjoint)
    inner: Any = solver
    while inner is not None and isinstance(adjoint, refused):
        # diffrax.HalfSolver passes for an instance of what it wraps: ask for the field.
        if isinstance(inner, AccumulatingSolver) and hasattr(inner, "accumulators"):
            found = jax.tree.leaves(inner.accumulators, is_leaf=_is_accumulator)
            names = {type(a).__name__ for a in found if a.needs_gradient}
            if names:
                raise ValueError(
                    f"{type(adjoint).__name__} does not differentiate what a solver "
                    f"accumulates: {', '.join(sorted(names))} would have no gradient; "
                    "use adjoint=diffrax.RecursiveCheckpointAdjoint() or "
                    "diffrax.DirectAdjoint()"
                )
        inner = getattr(inner, "solver", None)


def _is_accumulator(x):
    return isinstance(x, AbstractAccumulator)


def _map(fn, accumulators, *rest):
    return jax.tree.map(fn, accumulators, *rest, is_leaf=_is_accumulator)
