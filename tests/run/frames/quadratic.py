"""Noisy gradient descent on a quadratic: every step has a closed form."""

from typing import Annotated

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from pydantic import Field

from djx.run import (
    Config as BaseConfig,
    Experiment,
    make_optimiser,
    supervised,
    Traced,
    TracedFloat,
)


TRACES: list[str] = []


class Config(BaseConfig):
    size: int = 3
    target: TracedFloat = 1.0
    noise: Annotated[float, Field(ge=0), Traced()] = 0.1


class Point(eqx.Module):
    position: jnp.ndarray
    name: str = eqx.field(static=True, default="point")


def build(config: Config) -> Experiment:
    def init(key):
        return Point(jr.normal(key, (config.size,)))

    def loss(point, batch, step, key):
        TRACES.append("step")
        pull = config.target + config.noise * jr.normal(key, (config.size,))
        value = jnp.mean((point.position - pull + 0 * batch.mean()) ** 2)
        return value, {"distance": jnp.max(jnp.abs(point.position - config.target))}

    def data(key, step):
        return jr.normal(jr.fold_in(key, step), (config.train.batch,))

    def evaluate(point, key):
        TRACES.append("evaluate")
        gap = jnp.abs(point.position - config.target)
        return {
            "distance": jnp.max(gap),
            "noisy": jnp.max(gap) + jr.normal(key),
            "gaps": gap,
        }

    return supervised(
        init,
        loss,
        data,
        make_optimiser(config.train),
        evaluate=evaluate,
        ema=config.train.ema,
        precision=config.train.precision,
    )
