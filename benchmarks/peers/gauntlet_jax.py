"""The gauntlet run by optimistix and JAXopt."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import functools

import jax
import jax.numpy as jnp
import optimistix as optx

from djx.implicit import jaxopt as adapter

from ..implicit_gauntlet import Answer
from ..implicit_gauntlet_cases import Case
from .gauntlet_problems import answered


def by_optimistix(case: Case, throw: bool = True) -> Answer | None:
    """BFGS, Newton, Levenberg-Marquardt, fixed-point iteration; implicit adjoint."""
    fine = dict(rtol=1e-8, atol=1e-8)
    more, steps = case.data, {}
    match case.kind:
        case "minimum" if more["steps"]:
            call, method = optx.minimise, optx.GradientDescent(more["rate"], **fine)
            steps = dict(max_steps=more["steps"])
        case "minimum":
            call, method = optx.minimise, optx.BFGS(**fine)
            steps = {} if not more["max_steps"] else dict(max_steps=more["max_steps"])
        case "root":
            call, method = optx.root_find, optx.Newton(**fine)
        case "squares":
            call, method = optx.least_squares, optx.LevenbergMarquardt(**fine)
        case "fixed_point":
            call, method = optx.fixed_point, optx.FixedPointIteration(**fine)
            steps = {} if not more["steps"] else dict(max_steps=more["steps"])
        case "lasso":
            call, method = optx.fixed_point, optx.FixedPointIteration(**fine)
        case _:
            return None

    def solve(function, theta, data):
        of = function
        if case.kind == "lasso":

            def of(x, theta):
                ahead = x - jax.grad(function)(x, theta) / 2
                return jnp.sign(ahead) * jax.nn.relu(jnp.abs(ahead) - 0.5)

        found = call(of, method, data["start"], theta, throw=throw, **steps)
        return found.value, found.result != optx.RESULTS.successful

    return answered(case, solve, "status")


def by_jaxopt(case: Case, **fine) -> Answer | None:
    """The solver of each kind that its documentation shows first."""
    jaxopt = adapter.load()
    more = case.data
    match case.kind:
        case "minimum" if more["steps"]:
            make = functools.partial(
                jaxopt.GradientDescent, stepsize=more["rate"], acceleration=False
            )
            fine = fine | {"maxiter": more["steps"]}
        case "minimum":
            make = jaxopt.LBFGS
            fine = fine | ({"maxiter": more["max_steps"]} if more["max_steps"] else {})
        case "root":
            make = jaxopt.Broyden
        case "squares":
            make = jaxopt.LevenbergMarquardt
        case "fixed_point":
            make = jaxopt.FixedPointIteration
            fine = fine | ({"maxiter": more["steps"]} if more["steps"] else {})
        case "lasso":
            make = functools.partial(
                jaxopt.ProximalGradient, prox=jaxopt.prox.prox_lasso
            )
        case "program":
            return _osqp(case, jaxopt.OSQP(**fine))

    def solve(function, theta, data):
        if case.kind == "lasso":
            solver = make(function, **fine)
            x, state = solver.run(data["start"], 1.0, theta)
        else:
            solver = make(function, **fine)
            x, state = solver.run(data["start"], theta)
        return x, ~(state.error <= solver.tol)

    return answered(case, solve, "state.error")


SOLVED = 1  # of JAXopt's BoxOSQP, which OSQP runs


def _osqp(case: Case, solver) -> Answer:
    from .gauntlet_programs import differentiated

    def layer(Q, q, A, b, G, h):
        equal = (A, b) if A.shape[0] else None
        found, state = solver.run(
            params_obj=(Q, q), params_eq=equal, params_ineq=(G, h)
        )
        return found.primal, state.status != SOLVED

    return differentiated(case, layer, "status")


LIBRARIES = {
    "optimistix": by_optimistix,
    "optimistix, throw=False": functools.partial(by_optimistix, throw=False),
    "JAXopt": by_jaxopt,
    "JAXopt, tight": functools.partial(by_jaxopt, tol=1e-10, maxiter=5000),
}
