"""An MLP 8-64-64-1: a step so small that whatever surrounds it shows."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from djx.run import Config as BaseConfig, Experiment, make_optimiser, supervised


class Config(BaseConfig):
    """Regression on batches drawn inside the step."""


def make_model(key):
    """The network."""
    return eqx.nn.MLP(8, 1, 64, 2, key=key)


def mean_loss(model, batch):
    """Mean squared error."""
    x, y = batch
    return jnp.mean((jax.vmap(model)(x)[:, 0] - y) ** 2)


def numpy_batch(random, size):
    """A batch as a loop in Python would draw it."""
    x = random.standard_normal((size, 8), "float32")
    return x, x.sum(1)


def build(config: Config) -> Experiment:
    """The experiment of one arm."""

    def loss(model, batch, step, key):
        del step, key
        return mean_loss(model, batch), {}

    def data(key, step):
        x = jr.normal(jr.fold_in(key, step), (config.train.batch, 8))
        return x, x.sum(1)

    def evaluate(model, key):
        x = jr.normal(key, (256, 8))
        return {"error": mean_loss(model, (x, x.sum(1)))}

    return supervised(
        make_model, loss, data, make_optimiser(config.train), evaluate=evaluate
    )
