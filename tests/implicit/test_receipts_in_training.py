"""Receipts of backward solves among the metrics of a training run."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from djx.implicit import Gradient, Receipt, root
from djx.run import supervised


class Model(eqx.Module):
    theta: jax.Array


def experiment_of():
    """Learns theta such that the root of x + x^3 = theta is 1; x = 0 is singular."""

    def loss(model, batch, step, key, probe):
        def one(target, receipt):
            # At the third step the equation has no slope at its root.
            slope = jnp.where(step == 2, 0.0, 1.0)
            solution = root(
                lambda x: slope * (x + x**3 - target * model.theta),
                0.5,
                gradient=Gradient(on_failure="zero"),
                receipt=receipt,
            )
            return (solution.value - target) ** 2

        return jnp.mean(jax.vmap(one, in_axes=(0, None))(batch, probe)), {}

    return supervised(
        lambda key: Model(jnp.asarray(0.3)),
        loss,
        lambda key, step: jnp.ones(4) + 0 * jr.normal(key, (4,)),
        optax.sgd(0.05),
        probe=Receipt.zeros(),
        read_probe=lambda told: {
            f"backward_{name}": value for name, value in told.mean().items()
        },
    )


def test_every_step_says_how_its_backward_solves_went():
    experiment = experiment_of()
    state = experiment.init(jr.key(0))
    step = jax.jit(experiment.step)
    told = []
    for index in range(4):
        state, metrics = step(state, jnp.asarray(index), jr.key(1))
        told.append(metrics)
    solves = [float(m["backward_solves"]) for m in told]
    failed = [float(m["backward_failed"]) for m in told]
    assert solves == [4.0] * 4 and failed == [0.0, 0.0, 4.0, 0.0]
    assert told[0]["backward_residual"] < 1e-5
    np.testing.assert_array_less(told[1]["loss"], told[0]["loss"])
