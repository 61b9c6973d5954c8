"""What JAXopt's entry points compute, and what their successors on the page do.

A case runs the very objects that its row names: `theirs(theta, entry)` gets JAXopt's,
`ours(theta, *successors)` what stands under "now", in that order. JAXopt's own backward
solve is inexact unless it is told otherwise: here by LU, or by conjugate gradients to
rounding.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from djx.implicit import jaxopt as adapter


jaxopt = adapter.load()
MODULES = {
    name: importlib.import_module(f"jaxopt.{name}")
    for _, name, _ in pkgutil.iter_modules(jaxopt.__path__)
    if name not in ("_src", "version")
}


class Case(NamedTuple):
    """A function of theta, computed twice."""

    theirs: Callable[..., Any]
    ours: Callable[..., Any]
    at: Any
    """theta."""
    tolerance: float = 1e-7
    """Of values and derivatives, relative and absolute."""
    derivative: Literal["reverse", "forward", "none"] = "reverse"
    """The mode; "none" where the entry itself returns one."""
    jit: bool = True
    needs: str | None = None
    """A package that not every environment has."""


_rng = np.random.default_rng(0)
HALF = _rng.normal(size=(4, 4))
HESSIAN = HALF @ HALF.T / 4 + np.eye(4)
WEIGHTS = 0.3 * _rng.normal(size=(4, 4))
ROWS, LEVELS = _rng.normal(size=(2, 4)), _rng.normal(size=2)
THETA = np.array([1.0, -2.0, 0.5, 3.0])
START = np.zeros(4)
LU = dict(implicit_diff_solve=jaxopt.linear_solve.solve_lu)
CG = dict(
    implicit_diff_solve=functools.partial(
        jaxopt.linear_solve.solve_normal_cg, tol=1e-15, maxiter=2000
    )
)


def objective(x, theta):
    return x @ HESSIAN @ x / 2 + jnp.sum(jnp.cosh(x)) - theta @ x


def slope(x, theta):
    return jax.grad(objective)(x, theta)


def image(x, theta):
    return jnp.tanh(WEIGHTS @ x) + theta


def equation(x, theta):
    return x + jnp.tanh(WEIGHTS @ x) - theta


def residuals(x, theta):
    return jnp.concatenate([HALF @ x - theta, 0.1 * jnp.sin(x)])


def descend(transform, function=objective, steps=400):
    """An optax loop, as attach and solvers of one's own take it."""

    def run(theta):
        def body(_, carry):
            x, state = carry
            value, gradient = jax.value_and_grad(function)(x, theta)
            moves, state = transform.update(
                gradient,
                state,
                x,
                value=value,
                grad=gradient,
                value_fn=lambda x: function(x, theta),
            )
            return optax.apply_updates(x, moves), state

        first = jnp.asarray(START), transform.init(jnp.asarray(START))
        return jax.lax.fori_loop(0, steps, body, first)[0]

    return run


def program(theta):
    """A quadratic program with data that all depend on theta."""
    inside = jnp.array([0.3, -0.2, 0.1, 0.4])
    Q = HESSIAN + jnp.diag(theta**2) / 10
    A, G = ROWS * theta, jnp.concatenate([jnp.eye(4), -jnp.eye(4)]) + theta / 50
    return Q, -3 * theta, A, A @ inside, G, G @ inside + 0.3


def split(theta):
    Q, q, A, b, G, h = program(theta)
    return dict(params_obj=(Q, q), params_eq=(A, b), params_ineq=(G, h))


def osqp(theta, entry, **options):
    return entry(**CG, **options).run(None, **split(theta)).params
