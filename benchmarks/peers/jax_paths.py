"""SDE paths in JAX: the noise, a path whose every step is kept, reversible Heun."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import optax
from jax import lax

from djx import diffeq

from ..diffeq_problems import mlp_layers
from .jax_ode import mlp, waiting


STEPS, STEP, SCALE = 1000, 1 / 1024, 0.5  # times are exact in float32
STATE, BATCH = 4, 16  # of reversible Heun


def bulk(end: float, step: float):
    """Noise of djx: makes a path of shape, key and number."""
    del end, step
    return lambda shape, key, number: diffeq.BulkBrownianPath(shape, key, path=number)


def tree(end: float, step: float):
    """Noise of diffrax in the same signature, finer than a step."""

    def path_of(shape, key, number):
        key = jr.fold_in(key, number)
        return diffrax.VirtualBrownianTree(0.0, end, step / 2, shape, key)

    return path_of


def read_path(path):
    """Quadratic variation over time and squared scale: 1 up to chance."""
    grown = jnp.diff(path, axis=0)
    count, size = grown.shape
    variation = jnp.sum(grown**2) / (count * STEP * SCALE**2 * size)
    return {"variation": float(variation), "steps": count}


def saved_path(diffeqsolve: Callable, noise: Callable, size: int):
    """`make` of dX = -X dt + dW / 2 by Euler-Maruyama, every step kept."""
    end = STEPS * STEP
    path_of = noise(end, STEP)

    def spread(t, y, args):
        return lx.DiagonalLinearOperator(jnp.full(size, SCALE))

    @jax.jit
    def solve(key):
        drift = diffrax.ODETerm(lambda t, y, args: -y)
        driven = diffrax.ControlTerm(spread, path_of((size,), key, 0))
        return diffeqsolve(
            diffrax.MultiTerm(drift, driven),
            diffrax.Euler(),
            t0=0.0,
            t1=end,
            dt0=STEP,
            y0=jnp.zeros(size),
            saveat=diffrax.SaveAt(t0=True, steps=True),
            stepsize_controller=diffrax.ConstantStepSize(),
            max_steps=STEPS,
        ).ys

    return lambda: (waiting(solve, jr.key(0)), read_path)


def saved_path_limit(size: int):
    """`make` of the same steps in a scan over normals drawn all at once."""

    @jax.jit
    def solve(key):
        driven = SCALE * STEP**0.5 * jr.normal(key, (STEPS, size))

        def step(y, increment):
            y = y - STEP * y + increment
            return y, y

        start = jnp.zeros(size)
        return jnp.concatenate([start[None], lax.scan(step, start, driven)[1]])

    return lambda: (waiting(solve, jr.key(0)), read_path)


def reversible_gradient(diffeqsolve: Callable, noise: Callable, steps: int, adjoint):
    """The jitted gradient through so many steps of reversible Heun, and arguments.

    A batch of neural SDEs with networks 4-32-4 for drift and diagonal diffusion; the
    loss is the mean square of the end.
    """
    path_of = noise(steps * STEP, STEP)

    def spread(t, y, layers):
        return lx.DiagonalLinearOperator(jax.nn.sigmoid(mlp(layers["diffusion"], y)))

    def end_of(layers, start, key, number):
        drift = diffrax.ODETerm(lambda t, y, layers: mlp(layers["drift"], y))
        driven = diffrax.ControlTerm(spread, path_of((STATE,), key, number))
        solution = diffeqsolve(
            diffrax.MultiTerm(drift, driven),
            diffrax.ReversibleHeun(),
            t0=0.0,
            t1=steps * STEP,
            dt0=STEP,
            y0=start,
            args=layers,
            stepsize_controller=diffrax.ConstantStepSize(),
            adjoint=adjoint,
            max_steps=steps,
        )
        return solution.ys[-1]

    def loss(layers, starts, key):
        over = jax.vmap(end_of, (None, 0, None, 0))
        return jnp.mean(over(layers, starts, key, jnp.arange(BATCH)) ** 2)

    sizes = (STATE, 32, STATE)
    layers = {"drift": mlp_layers(sizes, 7), "diffusion": mlp_layers(sizes, 8)}
    layers = jax.tree.map(jnp.asarray, layers)
    starts = jr.normal(jr.key(9), (BATCH, STATE))
    return jax.jit(jax.value_and_grad(loss)), (layers, starts, jr.key(0))


def reversible(
    diffeqsolve: Callable,
    noise: Callable,
    adjoint,
    lengths: tuple[int, ...],
    timed: int,
):
    """`make` of the gradient at `timed` steps, and its memory at all `lengths`."""

    def make():
        memory, call = {}, None
        for steps in lengths:
            step, arguments = reversible_gradient(diffeqsolve, noise, steps, adjoint)
            compiled = step.lower(*arguments).compile()
            held: Any = compiled.memory_analysis()
            memory[f"KiB, {steps} steps"] = held.temp_size_in_bytes / 1024
            if steps == timed:
                call = waiting(compiled, *arguments)
        assert call is not None, "the timed length is one of the lengths"

        def read(result):
            loss, gradient = result
            told = {"loss": float(loss), "gradient": float(optax.global_norm(gradient))}
            return told | memory

        return call, read

    return make
