"""Integrals along a solution, carried as extra channels of its state."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optimistix as optx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ._norm import quick


Field = Callable[[Any, PyTree, Any], PyTree]
Integrand = Callable[[Field, PyTree, Any, PyTree, Any], Any]
"""(field, its value here, t, y, args) to a scalar."""


class KineticEnergy(eqx.Module):
    """The squared speed |f(t, y)|^2, at no further evaluation (RNODE).

    Finlay et al. 2020. Summed over every element of y; with `mean=True` divided by
    their number, so that for y of shape (batch, dimension) it is the batch mean of
    |f|^2 / dimension. Their code has half of that mean: halve the weight.
    """

    mean: bool = eqx.field(static=True, default=False, kw_only=True)

    def __call__(self, field, value, t, y, args):
        return _square(value, self.mean)


class JacobianFrobenius(eqx.Module):
    """|e^T df/dy|^2 for a probe e: one pull-back an evaluation (RNODE).

    Finlay et al. 2020, after Hutchinson: over probes with unit covariance the
    expectation is the squared Frobenius norm of the Jacobian. Draw the probe once a
    solve, by `hutchinson_probe`: the integrand has to be smooth in time. With
    `mean=True` it is divided by the number of elements of y, as in their code.
    """

    probe: PyTree[Array]
    mean: bool = eqx.field(static=True, default=False, kw_only=True)

    def __call__(self, field, value, t, y, args):
        if _shapes(self.probe) != _shapes(y):
            raise ValueError(
                f"the probe has shapes {_shapes(self.probe)}, the state has "
                f"{_shapes(y)}; draw it by hutchinson_probe(y0, key=key)"
            )
        _, pull_back = jax.vjp(lambda y: field(t, y, args), y)
        probe = jax.tree.map(lambda e, v: e.astype(v.dtype), self.probe, value)
        (row,) = pull_back(probe)
        return _square(row, self.mean)


class TaylorDerivative(eqx.Module):
    """|d^K y / dt^K|^2 along the solution, K the order (TayNODE).

    Kelly et al. 2020, whose R_K is its integral; time is differentiated too, and order
    1 is `KineticEnergy`. With `mean=True` it is divided by the number of elements of
    y, as in their code.

    Forward-mode derivatives along the flow are nested. Under jit their common parts
    merge, to about K evaluations of the field, as by Taylor-mode differentiation; the
    gradient of orders above 3 costs up to 2^K. `jax.experimental.jet` is not used: it
    multiplies matrices by constant zeros, which jaxlib 0.10.2 fuses with sums into
    wrong numbers on CPUs, and it lacks rules for loops and for look-ups in controls.
    """

    order: int = eqx.field(static=True)
    mean: bool = eqx.field(static=True, default=False, kw_only=True)

    def __check_init__(self):
        if not isinstance(self.order, int) or self.order < 1:
            raise ValueError(
                f"the order of a derivative is a whole number from 1, not {self.order}"
            )

    def __call__(self, field, value, t, y, args):
        if self.order == 1:
            return _square(value, self.mean)
        derivative = lambda t, y: field(t, y, args)  # noqa: E731
        for _ in range(self.order - 1):
            derivative = _along_the_flow(derivative, field, args)
        t = jnp.asarray(t, jnp.result_type(t, float))
        return _square(derivative(t, y), self.mean)


def hutchinson_probe(
    y0: PyTree[Array],
    *,
    key: PRNGKeyArray,
    distribution: Literal["rademacher", "normal"] = "rademacher",
) -> PyTree[Array]:
    """Draws a random direction of zero mean and unit covariance, shaped as a state.

    Args:
        y0: a state.
        key: source of the draw.
        distribution: "rademacher" (signs; the smaller variance) or "normal".

    Returns:
        The probe, in the state's types.

    Raises:
        ValueError: for another distribution.
    """
    draws = {"rademacher": jr.rademacher, "normal": jr.normal}
    if distribution not in draws:
        raise ValueError(f"a probe is 'rademacher' or 'normal', not {distribution!r}")
    leaves, structure = jax.tree.flatten(y0)
    keys = jr.split(key, len(leaves))
    return structure.unflatten(
        draws[distribution](k, jnp.shape(leaf), jnp.result_type(leaf, float))
        for k, leaf in zip(keys, leaves, strict=True)
    )


def with_integrals(
    terms: diffrax.AbstractTerm, y0: PyTree, integrands: Mapping[str, Integrand]
) -> tuple[diffrax.AbstractTerm, PyTree]:
    """Adds integrals along the solution to a differential equation.

    The state becomes `(y, totals)`: `totals[name]` is the integral so far over time
    of `integrands[name](field, value, t, y, args)`, where `field(t, y, args)` is dy/dt
    and `value` is its value there, which the solver needs anyway. Being state, the
    integrals have gradients under every adjoint. Steps remain those of y alone with
    `diffrax.PIDController(norm=state_norm())`.

    The field is that of the ODE; for a CDE that of `term.to_ode()`, while the solver
    goes on taking increments of the control; for an SDE the drift.

    Args:
        terms: an `ODETerm`, a `ControlTerm` whose control has a derivative, or a
            `MultiTerm` of one `ODETerm` and any `ControlTerm`s. An `ODETerm` stays one.
        y0: the initial state.
        integrands: scalar functions by name, such as `KineticEnergy()`.

    Returns:
        The terms and the initial state with the integrals.

    Raises:
        ValueError: where there is no drift to act on.
    """
    integrands = dict(integrands)
    kind = jnp.finfo(jnp.result_type(*jax.tree.leaves(y0), float)).dtype
    state = (y0, {name: jnp.zeros((), kind) for name in integrands})
    if isinstance(terms, diffrax.ODETerm):
        return _ode(terms, integrands), state
    if isinstance(terms, diffrax.ControlTerm):
        if isinstance(terms.control, diffrax.AbstractBrownianPath):
            raise ValueError(
                "integrals act on a drift, and this equation has noise alone; give "
                "diffrax.MultiTerm(diffrax.ODETerm(drift), diffusion)"
            )
        return _ControlledWithIntegrals(terms, integrands), state
    parts = terms.terms if isinstance(terms, diffrax.MultiTerm) else (terms,)
    known = all(
        isinstance(p, diffrax.ODETerm) or type(p) is diffrax.ControlTerm for p in parts
    )
    if not known or sum(isinstance(p, diffrax.ODETerm) for p in parts) != 1:
        names = ", ".join(type(p).__name__ for p in parts)
        raise ValueError(
            "integrals need an ODETerm, a ControlTerm, or a MultiTerm of exactly one "
            f"ODETerm (the drift) and ControlTerms; this equation has {names}"
        )
    parts = [
        _ode(p, integrands)
        if isinstance(p, diffrax.ODETerm)
        else _Padded(p.vector_field, p.control, tuple(integrands), kind)
        for p in parts
    ]
    return diffrax.MultiTerm(*parts), state


def state_norm(
    norm: Callable[[PyTree], Any] = optx.rms_norm,
) -> Callable[[PyTree], Float[Array, ""]]:
    """A norm for step size control that does not see the integrals.

    Args:
        norm: of the state y.

    Returns:
        A norm of `(y, totals)`, for `diffrax.PIDController(norm=...)`.
    """
    return _StateNorm(norm)


class _StateNorm(eqx.Module):
    # A module, not a lambda: two of them are equal, and compile once.
    norm: Callable[[PyTree], Any]

    def __call__(self, state):
        return quick(self.norm)(state[0])


class _FieldWithIntegrals(eqx.Module):
    term: diffrax.ODETerm
    integrands: dict[str, Integrand]

    def __call__(self, t, state, args):
        y, totals = state
        field = self.term.vf
        value = field(t, y, args)
        return value, _rates(self.integrands, totals, field, value, t, y, args)


class _ControlledWithIntegrals(diffrax.AbstractTerm):
    term: diffrax.ControlTerm
    integrands: dict[str, Integrand]

    def vf(self, t, y, args):
        y, totals = y
        value = self.term.vf(t, y, args)
        slope = self.term.prod(value, self.term.control.derivative(t))
        field = self.term.to_ode().vf
        return value, _rates(self.integrands, totals, field, slope, t, y, args)

    def contr(self, t0, t1, **kwargs):
        return self.term.contr(t0, t1, **kwargs), t1 - t0

    def prod(self, vf, control):
        rates = {name: rate * control[1] for name, rate in vf[1].items()}
        return self.term.prod(vf[0], control[0]), rates


class _Padded(diffrax.ControlTerm):
    """A diffusion term of an equation whose drift has integrals: they feel no noise."""

    names: tuple[str, ...] = eqx.field(static=True)
    kind: Any = eqx.field(static=True)

    def __init__(self, vector_field, control, names, kind):
        super().__init__(vector_field, control)
        self.names, self.kind = names, kind

    def vf(self, t, y, args):
        return super().vf(t, y[0], args)

    def prod(self, vf, control):
        zeros = {name: jnp.zeros((), self.kind) for name in self.names}
        return super().prod(vf, control), zeros


def _ode(term: diffrax.ODETerm, integrands: dict) -> diffrax.ODETerm:
    return diffrax.ODETerm(_FieldWithIntegrals(term, integrands))


def _rates(integrands: dict, totals: dict, *at: Any) -> dict:
    rates = {name: jnp.asarray(fn(*at)) for name, fn in integrands.items()}
    for name, rate in rates.items():
        if rate.shape != ():
            raise ValueError(
                f"integrand {name!r} has shape {rate.shape}; it must be a scalar"
            )
    return {name: rate.astype(totals[name].dtype) for name, rate in rates.items()}


def _along_the_flow(function, field, args):
    """d/dt of function(t, y) where dy/dt = field."""

    def slope(t, y):
        tangents = (jnp.ones_like(t), field(t, y, args))
        return jax.jvp(function, (t, y), tangents)[1]

    return slope


def _square(tree: PyTree, mean: bool) -> Float[Array, ""]:
    leaves = jax.tree.leaves(tree)
    squares = [jnp.sum(jnp.real(leaf * jnp.conj(leaf))) for leaf in leaves]
    count = sum(leaf.size for leaf in leaves) if mean else 1
    return sum(squares[1:], squares[0]) / count


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.shape, tree)
