"""An equilibrium layer in JAX: djx, optimistix and JAXopt."""

# Peers come with the bench extra only.
# pyright: reportMissingImports=false, reportArgumentType=false

from collections.abc import Callable

import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx


def image(z, W, x):
    """The layer that z is a fixed point of; of one row or of many."""
    return jnp.tanh(z @ W.T + x)


def djx_layer(solver: str, tolerance: float) -> Callable:
    """Every row with its own stop; the adjoint as precise as the solution."""
    from djx.implicit import fixed_point, Gradient

    # Iterations aim at a tenth of what counts as failed.
    gradient = Gradient(tolerance=10 * tolerance)

    def one(W, x):
        start = jnp.zeros_like(x)
        return fixed_point(
            lambda z: image(z, W, x),
            start,
            solver=solver,
            gradient=gradient,
            tolerance=tolerance,
        ).value

    return jax.vmap(one, (None, 0))


def optimistix_layer(linear: lx.AbstractLinearSolver, tolerance: float) -> Callable:
    """Fixed-point iteration of every row, and a linear solver for the adjoint."""
    solver = optx.FixedPointIteration(rtol=tolerance, atol=tolerance)

    def one(W, x):
        return optx.fixed_point(
            lambda z, args: image(z, *args),
            solver,
            jnp.zeros_like(x),
            (W, x),
            adjoint=optx.ImplicitAdjoint(linear_solver=linear),
            max_steps=1000,
        ).value

    return jax.vmap(one, (None, 0))


def jaxopt_layer(tolerance: float) -> Callable:
    """The whole batch as one, with JAXopt's conjugate gradients for the adjoint."""
    import jaxopt

    def layer(W, x):
        solver = jaxopt.FixedPointIteration(image, tol=tolerance, maxiter=1000)
        return solver.run(jnp.zeros_like(x), W, x).params

    return layer


def limit_layer(tolerance: float) -> Callable:
    """Plain iteration of the whole batch, forward and for the adjoint."""

    def iterate(step, z):
        def more(carry):
            z, before = carry
            size = jnp.max(jnp.linalg.norm(z, axis=1))
            return jnp.max(jnp.linalg.norm(z - before, axis=1)) > tolerance * size

        return jax.lax.while_loop(more, lambda c: (step(c[0]), c[0]), (step(z), z))[0]

    @jax.custom_vjp
    def layer(W, x):
        return iterate(lambda z: image(z, W, x), jnp.zeros_like(x))

    def forward(W, x):
        z = layer(W, x)
        return z, (W, x, z)

    def backward(kept, cotangent):
        W, x, z = kept
        _, pull = jax.vjp(image, z, W, x)
        u = iterate(lambda u: pull(u)[0] + cotangent, cotangent)
        return pull(u)[1:]

    layer.defvjp(forward, backward)
    return layer
