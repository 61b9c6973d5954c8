"""A random walk that writes its own step: state with keys, integers and arrays."""

import jax.numpy as jnp
import jax.random as jr

from djx.run import Config as BaseConfig, Experiment, TracedFloat


class Config(BaseConfig):
    drift: TracedFloat = 0.0


def build(config: Config) -> Experiment:
    def init(key):
        return {"x": jnp.zeros(2), "n": jnp.array(0), "key": key}

    def step(state, index, key):
        own = jr.fold_in(state["key"], index)
        noise = jr.normal(key, (2,)) + jr.normal(own, (2,))
        x = state["x"] + config.drift + noise
        new = {"x": x, "n": state["n"] + 1, "key": state["key"]}
        return new, {"x0": x[0], "n": new["n"]}

    return Experiment(init, step)
