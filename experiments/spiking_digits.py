"""Digits told by spikes: fixed against learnt delays, and against a perceptron.

Each pixel fires once, the earlier the brighter it is. Weights and delays are learned by
surrogate gradients through all steps, delays as Hammouamri et al. 2023 do: what arrives
between two steps arrives at both in part.
"""

import functools as ft
from typing import Annotated, Any, cast, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from djx.run import (
    Config as BaseConfig,
    epoch_batches,
    Experiment,
    make_optimiser,
    Report,
    Results,
    Section,
    supervised,
    trained_model,
)
from experiments import _spiking_digits_figures as figures
from experiments._digits import digits, score
from experiments._spiking_digits_network import (
    answers,
    CLASSES,
    Code,
    course,
    PIXELS,
    Weights,
)


class Model(Section):
    """One hidden layer."""

    kind: Literal["perceptron", "spiking"] = "spiking"
    """A perceptron's cells rectify; it sees intensities."""
    cells: Annotated[int, Field(gt=0)] = 100
    """Of the hidden layer."""
    delays: Literal["none", "fixed", "learnt"] = "learnt"
    """Of spikes on their way to it; both kinds begin with the same whole steps."""


class Config(BaseConfig):
    """Spiking classifier of digits."""

    code: Code = Code()
    model: Model = Model()


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    train, test = digits(config.train.precision)
    init = ft.partial(model_of, config)

    def loss(model, batch, step, key):
        del step, key
        images, labels = batch
        logits, told = told_by(model, config, images)
        entropy, accuracy = score(logits, labels)
        return entropy, {"accuracy": accuracy, **told}

    def evaluate(model, key):
        del key
        images, labels = map(jnp.asarray, test)
        logits, told = told_by(model, config, images)
        entropy, accuracy = score(logits, labels)
        if isinstance(model, Weights) and model.drawn is not None:
            moved = jnp.abs(model.delays(config.code) - model.drawn)
            told["moved_ms"] = jnp.mean(moved)
        return {"accuracy": accuracy, "cross_entropy": entropy, **told}

    return supervised(
        init,
        loss,
        epoch_batches(train, config.train.batch),
        make_optimiser(config.train),
        evaluate=evaluate,
        report=_report,
        ema=config.train.ema,
        precision=config.train.precision,
    )


def model_of(config: Config, key: Any) -> Any:
    """The weights of an arm before training."""
    model = config.model
    if model.kind == "perceptron":
        return eqx.nn.MLP(PIXELS, CLASSES, model.cells, 1, key=key)
    return Weights(model.cells, model.delays, config.code, key=key)


def told_by(model: Any, config: Config, images: Any) -> tuple[Any, dict[str, Any]]:
    """What a model says of images.

    Args:
        model: of either kind.
        config: the arm's.
        images: in [0, 1], `(batch, 64)`.

    Returns:
        Logits, and the hidden layer's spikes an image where there are any.
    """
    if not isinstance(model, Weights):
        return jax.vmap(model)(images), {}
    seen = answers(model, config.code, images)
    return seen.logits, {"spikes": jnp.mean(jnp.sum(seen.spikes, -1))}


_course = jax.jit(course, static_argnums=1)


def _report(results: Results, report: Report) -> None:
    shown = {}
    for name, arm in results.arms.items():
        config = cast(Config, arm.config)
        weights = trained_model(ft.partial(model_of, config), arm.lane())
        if not isinstance(weights, Weights):
            continue
        image = digits(config.train.precision)[1][0][0]
        drawn = weights.drawn
        shown[name] = figures.Shown(
            config.code,
            image,
            jax.device_get(_course(weights, config.code, image)),
            None if drawn is None else np.asarray(drawn, float),
            np.asarray(weights.delays(config.code), float),
            np.asarray(weights.hidden),
        )
    figures.draw(results, report, shown)
