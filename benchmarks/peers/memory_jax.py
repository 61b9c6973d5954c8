"""Ridge regression by inner iterations of a given number, whose memory is compared."""

# Peers come with the bench extra only.
# pyright: reportMissingImports=false, reportArgumentType=false

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optimistix as optx

from djx.implicit import argmin, fixed_point, Gradient
from djx.implicit.descent import iterate

from .fit_jax import ridge


RATE = 5e-4  # below 2 / the largest curvature


def _descend(steps: int) -> Callable:
    def solver(objective, start):
        return iterate(steps)(lambda w: w - RATE * jax.grad(objective)(w), start)

    return solver


def _djx_argmin(mode: str) -> Callable:
    def of_steps(steps):
        def layer(log_d, X, y):
            return argmin(
                ridge,
                jnp.zeros_like(log_d),
                log_d,
                X,
                y,
                solver=_descend(steps),
                gradient=Gradient(mode=mode),  # pyright: ignore[reportArgumentType]
            ).value

        return layer

    return of_steps


def _djx_newton(steps):
    def layer(log_d, X, y):
        start = jnp.zeros_like(log_d)
        return argmin(ridge, start, log_d, X, y, max_steps=steps).value

    return layer


def _djx_fixed_point(steps):
    def image(w, log_d, X, y):
        return w - RATE * jax.grad(ridge)(w, log_d, X, y)

    def layer(log_d, X, y):
        start = jnp.zeros_like(log_d)
        return fixed_point(image, start, log_d, X, y, max_steps=steps).value

    return layer


def _optimistix(adjoint) -> Callable:
    def of_steps(steps):
        def layer(log_d, X, y):
            return optx.minimise(
                lambda w, args: ridge(w, *args),
                optx.GradientDescent(RATE, 1e-6, 1e-6),
                jnp.zeros_like(log_d),
                (log_d, X, y),
                max_steps=steps,
                adjoint=adjoint,
                throw=False,
            ).value

        return layer

    return of_steps


def _jaxopt(steps):
    import jaxopt

    def layer(log_d, X, y):
        solver = jaxopt.GradientDescent(
            ridge, stepsize=RATE, maxiter=steps, tol=0.0, implicit_diff=False
        )
        return solver.run(jnp.zeros_like(log_d), log_d, X, y).params

    return layer


LAYERS = {
    "djx argmin, Newton": _djx_newton,
    "djx argmin, a caller's descent": _djx_argmin("exact"),
    "djx fixed point": _djx_fixed_point,
    "djx argmin, the descent unrolled": _djx_argmin("unrolled"),
    "optimistix, implicit": _optimistix(optx.ImplicitAdjoint()),
    "optimistix, checkpointed": _optimistix(optx.RecursiveCheckpointAdjoint()),
    "JAXopt, unrolled": _jaxopt,
}
