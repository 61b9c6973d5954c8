"""The same for JAXopt's line searches, bases, decorators, linear solves and loops."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
import optax

from .jaxopt_cases import (
    Case,
    descend,
    HESSIAN,
    image,
    jaxopt,
    objective,
    osqp,
    program,
    slope,
    START,
    THETA,
)


class _State(NamedTuple):
    error: Any


class _Descent(jaxopt.base.IterativeSolver):
    """A solver as users of JAXopt write them."""

    maxiter, tol, verbose, jit, unroll = 1000, 1e-13, False, True, False
    implicit_diff_solve = staticmethod(jaxopt.linear_solve.solve_lu)

    def init_state(self, init_params, theta):
        return _State(jnp.asarray(jnp.inf))

    def update(self, x, state, theta):
        new = x - 0.1 * slope(x, theta)
        return jaxopt.OptStep(new, _State(jnp.max(jnp.abs(new - x))))

    def optimality_fun(self, x, theta):
        return slope(x, theta)


def subclassed(theta, base):
    assert issubclass(_Descent, base)
    return _Descent().run(START, theta).params


def multipliers(theta, kind):
    found = osqp(theta, jaxopt.OSQP, tol=1e-11, maxiter=20000)
    assert isinstance(found, kind)
    return tuple(found)


def optimum(theta, qp, kind):
    found = qp(*program(theta)).value
    assert isinstance(found, kind)
    return found.x, found.equality, found.inequality


def searched(theta, entry, **options):
    """One step down the gradient from START, of the length that is found."""
    first = jnp.asarray(START)
    search = entry(objective, maxiter=30, max_stepsize=1.0, **options)
    value_and_gradient = jax.value_and_grad(objective)(first, theta)
    _, state = search.run(1.0, first, *value_and_gradient, fun_args=(theta,))
    return state.params


def searched_by_optax(theta, search, **options):
    return descend(optax.chain(optax.sgd(1.0), search(30, **options)), steps=1)(theta)


def picard(theta):
    return jax.lax.fori_loop(0, 200, lambda _, x: image(x, theta), jnp.asarray(START))


def residual(x, theta):
    return x - image(x, theta)


def decorated(theta, custom, function):
    def solve(start, theta):
        del start
        return picard(theta)

    return custom(function, solve=jaxopt.linear_solve.solve_lu)(solve)(START, theta)


def shifted(theta):
    return HESSIAN + jnp.diag(theta**2)


def linear(**options):
    def theirs(theta, solve):
        return solve(lambda u: shifted(theta) @ u, jnp.cos(theta), **options)

    return theirs


def by_lineax(*tags, **options):
    def ours(theta, linear_solve, method):
        operator = lx.MatrixLinearOperator(jnp.asarray(shifted(theta)), tags)
        how = method(**options)
        return linear_solve(operator, jnp.cos(theta), solver=how).value

    return ours


def by_normal_equations(theta, linear_solve, normal, method):
    operator = lx.MatrixLinearOperator(jnp.asarray(shifted(theta)))
    how = normal(method(**FINE))
    return linear_solve(operator, jnp.cos(theta), solver=how).value


def refined(theta, solve):
    """JAXopt's loses the derivatives of what the product closes over."""
    return solve(lambda u: HESSIAN @ u, jnp.cos(theta), tol=1e-14)


def by_newton(theta, root):
    return root(lambda x: HESSIAN @ x - jnp.cos(theta), START).value


def branched(theta, cond):
    return cond(theta[0] > 0, jnp.sin, jnp.cos, theta)


DIRECT = dict(solve=jaxopt.linear_solve.solve_lu)
FINE = dict(rtol=1e-15, atol=1e-15)
POSITIVE = lx.positive_semidefinite_tag
OTHERS = {
    "BacktrackingLineSearch": Case(
        functools.partial(searched, condition="armijo"),
        searched_by_optax,
        THETA,
        derivative="forward",
    ),
    "ZoomLineSearch": Case(
        searched,
        functools.partial(
            searched_by_optax, max_learning_rate=1.0, initial_guess_strategy="one"
        ),
        THETA,
        derivative="forward",
    ),
    "base.IterativeSolver": Case(
        subclassed, lambda t, attach: attach(slope, descend(optax.sgd(0.1)))(t), THETA
    ),
    "base.KKTSolution": Case(multipliers, optimum, THETA),
    "base.LinearOperator": Case(
        lambda t, kind: (kind(shifted(t)).matvec(t), kind(shifted(t)).rmatvec(t)),
        lambda t, kind: (kind(shifted(t)).mv(t), kind(shifted(t)).transpose().mv(t)),
        THETA,
    ),
    "cond.cond": Case(branched, branched, THETA),
    "implicit_diff.custom_fixed_point": Case(
        lambda t, custom: decorated(t, custom, image),
        lambda t, attach: attach(residual, picard)(t),
        THETA,
    ),
    "implicit_diff.custom_root": Case(
        lambda t, custom: decorated(t, custom, residual),
        lambda t, attach: attach(residual, picard)(t),
        THETA,
    ),
    "implicit_diff.root_jvp": Case(
        lambda t, push: push(residual, picard(t), (t,), (jnp.cos(t),), **DIRECT),
        lambda t, attach, jvp: jvp(attach(residual, picard), (t,), (jnp.cos(t),))[1],
        THETA,
        derivative="none",
    ),
    "implicit_diff.root_vjp": Case(
        lambda t, pull: pull(residual, picard(t), (t,), jnp.cos(t), **DIRECT)[0],
        lambda t, attach, vjp: vjp(attach(residual, picard), t)[1](jnp.cos(t))[0],
        THETA,
        derivative="none",
    ),
    "linear_solve.solve_bicgstab": Case(linear(tol=1e-14), by_lineax(**FINE), THETA),
    "linear_solve.solve_cg": Case(
        linear(tol=1e-14), by_lineax(POSITIVE, **FINE), THETA
    ),
    "linear_solve.solve_cholesky": Case(linear(), by_lineax(POSITIVE), THETA),
    "linear_solve.solve_gmres": Case(linear(tol=1e-14), by_lineax(**FINE), THETA),
    "linear_solve.solve_inv": Case(linear(), by_lineax(), THETA),
    "linear_solve.solve_iterative_refinement": Case(refined, by_newton, THETA),
    "linear_solve.solve_lu": Case(linear(), by_lineax(), THETA),
    "linear_solve.solve_normal_cg": Case(linear(tol=1e-15), by_normal_equations, THETA),
    "linear_solve.solve_qr": Case(linear(), by_lineax(), THETA),
    "loop.while_loop": Case(
        lambda t, loop: loop(
            lambda x: jnp.sum(x) < 10, lambda x: 1.5 * x, t**2, 50, jit=True
        ),
        lambda t, loop: loop(lambda x: jnp.sum(x) < 10, lambda x: 1.5 * x, t**2),
        THETA / 10,
        derivative="forward",
    ),
}
