"""A neural ODE with the field 2-64-64-2, fitted to a linear spiral.

A batch is solved as one system, with steps that all its trajectories share.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from djx.run import Config as BaseConfig, Experiment, make_optimiser, supervised


TIMES = np.linspace(0.0, 2.0, 20, dtype=np.float32)
TOLERANCE = 1e-3


class Config(BaseConfig):
    """Trajectories of dx/dt = [[-0.1, 2], [-2, -0.1]] x from random starts."""


def make_model(key):
    """The vector field."""
    return eqx.nn.MLP(2, 2, 64, 2, activation=jax.nn.tanh, key=key)


def solve(field, starts):
    """Trajectories `(20, batch, 2)` from starting points `(batch, 2)`."""
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, x, field: jax.vmap(field)(x)),
        diffrax.Tsit5(),
        t0=TIMES[0],
        t1=TIMES[-1],
        dt0=None,
        y0=starts,
        args=field,
        saveat=diffrax.SaveAt(ts=jnp.asarray(TIMES)),
        stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
        max_steps=256,
        throw=False,  # a failed solve must not stop the other lanes
    ).ys


def mean_loss(field, batch):
    """Mean squared distance from the spiral."""
    starts, paths = batch
    return jnp.mean((solve(field, starts) - paths) ** 2)


def _spiral(starts, xp):
    angle, radius = 2 * TIMES, np.exp(-0.1 * TIMES)
    cos, sin = radius * np.cos(angle), radius * np.sin(angle)
    x, y = starts[:, 0], starts[:, 1]
    along = [cos[:, None] * x + sin[:, None] * y, cos[:, None] * y - sin[:, None] * x]
    return xp.stack(along, -1)


def numpy_batch(random, size):
    """A batch as a loop in Python would draw it."""
    starts = random.standard_normal((size, 2), "float32")
    return starts, _spiral(starts, np)


def build(config: Config) -> Experiment:
    """The experiment of one arm."""

    def loss(field, batch, step, key):
        del step, key
        return mean_loss(field, batch), {}

    def data(key, step):
        starts = jr.normal(jr.fold_in(key, step), (config.train.batch, 2))
        return starts, _spiral(starts, jnp)

    def evaluate(field, key):
        starts = jr.normal(key, (256, 2))
        return {"error": mean_loss(field, (starts, _spiral(starts, jnp)))}

    return supervised(
        make_model, loss, data, make_optimiser(config.train), evaluate=evaluate
    )
