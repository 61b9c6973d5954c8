"""Small systems that the solver's tests share."""

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx

from djx import diffeq


def field(t, y, args):
    """A forced tanh network of three units."""
    matrix, force = args
    return jnp.tanh(matrix @ y) + jnp.sin(t) * force


def start():
    """Initial state and arguments, float64 under x64."""
    matrix = 2 * jax.random.normal(jax.random.key(0), (3, 3))
    return jnp.array([1.0, 2.0, -1.0]), (matrix, jnp.ones(3))


TERM = diffrax.ODETerm(field)
PID = diffrax.PIDController(rtol=1e-6, atol=1e-6)


def solve(library=diffeq.diffeqsolve, *, y0=None, args=None, t0=0.0, t1=3.0, **options):
    """One solve of the system by djx (the default) or by diffrax's own function."""
    state, arguments = start()
    options = {
        "dt0": 0.1,
        "stepsize_controller": PID,
        "max_steps": 256,
        "saveat": diffrax.SaveAt(t1=True),
    } | options
    return library(
        TERM,
        options.pop("solver", diffrax.Tsit5()),
        t0,
        t1,
        y0=state if y0 is None else y0,
        args=arguments if args is None else args,
        **options,
    )


def stochastic(noise, path):
    """Two coupled equations with diagonal or with general noise of two dimensions."""

    def drift(t, y, a):
        return -a * y + jnp.sin(y[::-1])

    def diagonal(t, y, a):
        return lx.DiagonalLinearOperator(0.3 * jnp.cos(y) + 0.1 * a)

    def general(t, y, a):
        return 0.2 * a * jnp.outer(jnp.sin(y), jnp.array([1.0, 2.0]))

    diffusion = {"diagonal": diagonal, "general": general}[noise]
    return diffrax.MultiTerm(
        diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, path)
    )
