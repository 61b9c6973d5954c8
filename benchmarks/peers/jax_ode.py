"""The neural ODE in JAX: any `diffeqsolve` of diffrax's signature, and the limits."""

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import optax
from jax import lax

from djx.diffeq import field_evaluations

from ..diffeq_problems import cubic_spiral, mlp_layers, TIMES, TOLERANCE


SIZES, SEED = (2, 64, 64, 2), 2
STEPS = 100
LITTLE = 1e-3  # what a limit adds of each evaluation, so that none can be left out


def mlp(layers, x):
    """A tanh network on the last axis."""
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def waiting(call: Callable, *args):
    """A call that waits for its result."""
    return lambda: jax.block_until_ready(call(*args))


def _on_device(layers):
    return jax.tree.map(jnp.asarray, layers)


def training_step(diffeqsolve: Callable, batch: int):
    """The jitted value and gradient of the fit to the spiral, and its arguments."""
    starts, paths = map(jnp.asarray, cubic_spiral(batch))
    solver = diffrax.Tsit5()

    def loss(layers):
        solution = diffeqsolve(
            diffrax.ODETerm(lambda t, y, layers: mlp(layers, y)),
            solver,
            t0=TIMES[0],
            t1=TIMES[-1],
            dt0=None,
            y0=starts,
            args=layers,
            saveat=diffrax.SaveAt(ts=jnp.asarray(TIMES, jnp.float32)),
            stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
        )
        counted = {
            "accepted": solution.stats["num_accepted_steps"],
            "rejected": solution.stats["num_rejected_steps"],
            "evaluations": field_evaluations(solution, solver),
        }
        return jnp.mean((solution.ys - paths) ** 2), counted

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return step, _on_device(mlp_layers(SIZES, SEED))


def neural_ode(diffeqsolve: Callable, batch: int, counts: dict[str, int]):
    """`make` of a training step, which writes down its counts."""

    def make():
        step, layers = training_step(diffeqsolve, batch)

        def read(result):
            (loss, counted), gradient = result
            counts.update({name: int(count) for name, count in counted.items()})
            told = {"loss": float(loss), "gradient": float(optax.global_norm(gradient))}
            return told | counts

        return waiting(step, layers), read

    return make


def six_each(layers, start, steps: int, recomputed: bool):
    """Six evaluations a step, and nothing else.

    The backward pass finds what it needs stored, or computes each step again, which is
    quicker where what is stored leaves the caches.
    """

    def evaluate(y, _):
        return y + LITTLE * mlp(layers, y), None

    if not recomputed:
        return lax.scan(evaluate, start, length=6 * steps)[0]

    @jax.checkpoint
    def step(y, _):
        for _ in range(6):
            y, _ = evaluate(y, None)
        return y, None

    return lax.scan(step, start, length=steps)[0]


def neural_ode_limit(batch: int, counts: dict[str, int], recomputed: bool):
    """`make` of as many network evaluations as a solve's steps.

    Those of accepted steps are differentiated. To be set up after the solve that
    counts.
    """

    def make():
        accepted, rejected = counts["accepted"], counts["rejected"]
        starts = jnp.asarray(cubic_spiral(batch)[0])

        def loss(layers):
            wasted = six_each(layers, starts, rejected, recomputed)
            ends = six_each(layers, lax.stop_gradient(wasted), accepted, recomputed)
            return jnp.mean(ends**2)

        step = jax.jit(jax.value_and_grad(loss))
        told = {"evaluations": 6 * (accepted + rejected)}
        layers = _on_device(mlp_layers(SIZES, SEED))
        return waiting(step, layers), lambda result: told

    return make


def fixed_steps(diffeqsolve: Callable, differentiate: bool):
    """The jitted sum of squares after 100 fixed steps of Tsit5, or also its gradient.

    The network is 2-32-32-2, the batch 1.
    """
    start = jnp.asarray(cubic_spiral(1)[0])

    def loss(layers):
        solution = diffeqsolve(
            diffrax.ODETerm(lambda t, y, layers: mlp(layers, y)),
            diffrax.Tsit5(),
            t0=0.0,
            t1=1.0,
            dt0=1 / STEPS,
            y0=start,
            args=layers,
            stepsize_controller=diffrax.ConstantStepSize(),
        )
        return jnp.sum(solution.ys**2), solution.stats["num_steps"]

    call = jax.value_and_grad(loss, has_aux=True) if differentiate else loss
    return jax.jit(call), _on_device(mlp_layers((2, 32, 32, 2), SEED))


def fixed(diffeqsolve: Callable, differentiate: bool):
    """`make` of 100 fixed steps."""

    def make():
        call, layers = fixed_steps(diffeqsolve, differentiate)

        def read(result):
            value, *gradient = result if differentiate else (result,)
            told = {"loss": float(value[0]), "steps": int(value[1])}
            if gradient:
                told["gradient"] = float(optax.global_norm(gradient))
            return told

        return waiting(call, layers), read

    return make


def fixed_limit(differentiate: bool, recomputed: bool):
    """`make` of the network evaluations of 100 steps."""

    def make():
        start = jnp.asarray(cubic_spiral(1)[0])

        def loss(layers):
            return jnp.sum(six_each(layers, start, STEPS, recomputed) ** 2)

        call = jax.jit(jax.value_and_grad(loss) if differentiate else loss)
        layers = _on_device(mlp_layers((2, 32, 32, 2), SEED))
        return waiting(call, layers), lambda result: {"steps": STEPS}

    return make
