"""Spiking networks that learn to count cues and to remember the majority.

Source: Bellec et al. 2020, figure 3, with the numbers of the tutorial in their code. Of
half of the cells each spike raises the threshold for seconds: there the memory is.
Gradients are those of backpropagation through all steps of a trial.
"""

import functools as ft
from typing import Annotated, Any, cast

import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from pydantic import Field

from djx.run import (
    Config as BaseConfig,
    Experiment,
    make_optimiser,
    Report,
    Results,
    Section,
    supervised,
    Traced,
    trained_model,
)
from experiments import _evidence_accumulation_figures as figures
from experiments._evidence_accumulation_answers import answers, course, exchanged
from experiments._evidence_accumulation_network import network_of, Weights
from experiments._evidence_accumulation_task import Task, Trial, trial


class Model(Section):
    """The recurrent network, every cell of which is connected to every other."""

    plain: Annotated[int, Field(ge=0)] = 50
    """Cells whose threshold stays."""
    adaptive: Annotated[int, Field(gt=0)] = 50
    """Cells whose threshold rises with each spike."""
    adaptation: Annotated[float, Field(ge=0), Traced()] = 1.7
    """The source's factor of how much it rises; at 0 they are plain cells, too."""
    damping: Annotated[float, Field(gt=0)] = 0.3
    """Height of the surrogate slope, which is as wide as the threshold is high."""


class Config(BaseConfig):
    """Evidence accumulation."""

    task: Task = Task()
    model: Model = Model()
    target_hz: Annotated[float, Field(ge=0)] = 10.0
    """Of each cell, in the mean over trials: what the regulariser asks for."""
    rounds: Annotated[int, Field(gt=0)] = 16
    """Batches of new trials in an evaluation."""


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    task, model = config.task, config.model

    def init(key):
        return Weights(task.inputs, model.plain + model.adaptive, key=key)

    def data(key, step):
        return trials(config, key=jr.fold_in(key, step))

    def loss(weights, given, step, key):
        del step, key
        seen = answers(_network(weights, config), weights, task, given)
        entropy = jnp.mean(seen.entropy) / task.recall_ms
        rates_hz = 1000 / task.steps * jnp.mean(seen.spikes, 0)
        # The source's, in kHz.
        restless = jnp.sum((rates_hz / 1000 - config.target_hz / 1000) ** 2)
        error = jnp.mean(seen.is_right != given.right)
        told = {"error": error, "entropy": entropy, "rate_hz": jnp.mean(rates_hz)}
        return entropy + restless, told

    def evaluate(weights, key):
        network = _network(weights, config)

        def one(key):
            given = trials(config, key=key)
            seen = exchanged(network, weights, task, given)
            own, after = seen.is_right
            return {
                "error": jnp.mean(own != given.right),
                "exchanged_error": jnp.mean(after != jnp.roll(given.right, 1)),
                "rate_hz": 1000 / task.steps * jnp.mean(seen.spikes[0]),
            }

        found = jax.lax.map(one, jr.split(key, config.rounds))
        return jax.tree.map(jnp.mean, found)

    plain = supervised(
        init,
        loss,
        data,
        optax.chain(_norm(), make_optimiser(config.train)),
        evaluate=evaluate,
        report=ft.partial(_report, init=init),
        ema=config.train.ema,
        precision=config.train.precision,
    )

    def step(state, index, key):
        new, metrics = plain.step(state, index, key)
        return new, {**metrics, "gradient_norm": new.optimiser[0]}

    return plain._replace(step=step)


def trials(config: Config, *, key: Any) -> Trial:
    """A batch of them."""
    keys = jr.split(key, config.train.batch)
    return jax.vmap(lambda key: trial(config.task, key=key))(keys)


def _network(weights: Weights, config: Config):
    model = config.model
    return network_of(weights, model.plain, model.adaptation, model.damping)


def _norm() -> optax.GradientTransformation:
    """Changes nothing, and keeps the gradient's norm."""

    def update(updates, state, params=None):
        del state, params
        return updates, optax.global_norm(updates)

    return optax.GradientTransformation(lambda params: jnp.zeros(()), update)


def _report(results: Results, report: Report, *, init: Any) -> None:
    first = cast(Config, next(iter(results.arms.values())).config)

    @ft.partial(jax.jit, static_argnums=0)
    def tell(model, weights, adaptation):
        model = model.model_copy(update={"adaptation": adaptation})
        config = first.model_copy(update={"model": model})
        network = _network(weights, config)

        def answered(key):
            given = trials(config, key=key)
            seen = exchanged(network, weights, config.task, given)
            return given.excess, seen.is_right[0]

        found = jax.lax.map(answered, jr.split(jr.key(1), config.rounds))
        excess, is_right = (x.reshape(-1) for x in found)
        happened = course(network, weights, config.task, one)
        return figures.Shown(happened, excess, is_right)

    shown = {}
    with jax.enable_x64(first.train.precision == "float64"):
        one = trial(first.task, key=jr.key(0))
        for name, arm in results.arms.items():
            model = cast(Config, arm.config).model
            weights = trained_model(init, arm.lane())
            fixed = model.model_copy(update={"adaptation": 0.0})
            shown[name] = jax.device_get(tell(fixed, weights, model.adaptation))
        inputs = jax.device_get(one.spikes)
    figures.draw(results, report, first.task, inputs, shown)
