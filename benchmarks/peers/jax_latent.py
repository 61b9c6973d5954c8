"""A latent SDE's training step in JAX: any `diffeqsolve`, and a scan as the limit."""

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import optax
from jax import lax

from ..diffeq_problems import EVERY, LATENT, latent_sde, SDE_STEP, SDE_STEPS
from .jax_ode import waiting


DRAWS = 8  # whose mean loss says that contestants with other noise do the same


def softplus_mlp(layers, x):
    """A network on the last axis."""
    for weight, bias in layers[:-1]:
        x = jax.nn.softplus(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def diffusion(layers, z):
    """One small network for each channel of `z`, between 0 and 1."""
    (first, shift), (second, bias) = layers["diffusion"]
    hidden = jax.nn.softplus(z[..., None] * first + shift)
    return jax.nn.sigmoid((hidden * second).sum(-1) + bias)


def drift_and_rate(layers, z, context, scale):
    """The posterior's drift, and how fast it departs from the prior, in nats."""
    up = softplus_mlp(layers["posterior"], jnp.concatenate([z, context], -1))
    apart = (up - softplus_mlp(layers["prior"], z)) / scale
    return up, jnp.sum(apart**2, -1) / 2


def misfit(layers, zs, observations):
    """The negative log likelihood of unit variance, less its constant."""
    return jnp.sum((softplus_mlp(layers["decoder"], zs) - observations) ** 2) / 2


def solved_loss(diffeqsolve: Callable, noise: Callable) -> Callable:
    """The negative evidence bound by a solve of each series.

    The divergence from the prior is a fifth channel of the state, without noise.
    """
    end = SDE_STEPS * SDE_STEP
    times = jnp.arange(EVERY, SDE_STEPS + 1, EVERY) * SDE_STEP
    path_of = noise(end, SDE_STEP)

    def drift(t, y, args):
        layers, context = args
        z = y[:LATENT]
        up, rate = drift_and_rate(layers, z, context, diffusion(layers, z))
        return jnp.concatenate([up, rate[None]])

    def spread(t, y, args):
        scale = diffusion(args[0], y[:LATENT])
        return lx.DiagonalLinearOperator(jnp.concatenate([scale, jnp.zeros(1)]))

    def bound(layers, start, context, observations, key, number):
        driven = diffrax.ControlTerm(spread, path_of((LATENT + 1,), key, number))
        solution = diffeqsolve(
            diffrax.MultiTerm(diffrax.ODETerm(drift), driven),
            diffrax.Euler(),
            t0=0.0,
            t1=end,
            dt0=SDE_STEP,
            y0=jnp.concatenate([start, jnp.zeros(1)]),
            args=(layers, context),
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.ConstantStepSize(),
        )
        ys = solution.ys
        return misfit(layers, ys[:, :LATENT], observations) + ys[-1, LATENT]

    def loss(layers, given, key):
        data = given["starts"], given["contexts"], given["observations"]
        over = jax.vmap(bound, (None, 0, 0, 0, None, 0))
        return over(layers, *data, key, jnp.arange(len(data[0]))).mean()

    return loss


def scanned_loss(layers, given, key):
    """The same loss by a scan over the batch, with normals drawn all at once."""
    batch = given["starts"].shape[0]
    noise = SDE_STEP**0.5 * jr.normal(key, (SDE_STEPS, batch, LATENT))

    def step(state, increment):
        z, divergence = state
        scale = diffusion(layers, z)
        up, rate = drift_and_rate(layers, z, given["contexts"], scale)
        z = z + SDE_STEP * up + scale * increment
        return (z, divergence + SDE_STEP * rate), z

    state = given["starts"], jnp.zeros(batch)
    (_, divergence), zs = lax.scan(step, state, noise)
    zs = jnp.swapaxes(zs[EVERY - 1 :: EVERY], 0, 1)
    return (misfit(layers, zs, given["observations"]) + divergence.sum()) / batch


def latent(loss: Callable, batch: int, hidden: int):
    """`make` of the loss's value and gradient."""

    def make():
        layers, given = jax.tree.map(jnp.asarray, latent_sde(batch, hidden))
        step = jax.jit(jax.value_and_grad(loss))

        def read(result):
            keys = jr.split(jr.key(1), DRAWS)
            losses = [float(step(layers, given, key)[0]) for key in keys]
            gradient = float(optax.global_norm(result[1]))
            return {"loss": float(np.mean(losses)), "gradient": gradient}

        return waiting(step, layers, given, jr.key(0)), read

    return make
