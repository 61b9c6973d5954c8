"""A dictionary learned for the classifier that reads its sparse codes.

Sources: Mairal, Bach and Ponce 2012 (task-driven dictionary learning), Blondel et al.
2022 (section 4.3). The data are scikit-learn's 569 cases of breast cancer.
"""

import functools as ft
from typing import Annotated, cast, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from pydantic import Field

from djx import implicit
from djx.run import (
    Config as BaseConfig,
    epoch_batches,
    Experiment,
    make_optimiser,
    Report,
    Results,
    Section,
    supervised,
    Traced,
    trained_model,
)
from experiments import _dictionary_learning_figures as figures
from experiments._dictionary_learning_codes import (
    area_under_curve,
    best_classifier,
    Codes,
    cross_entropy,
    encode,
    hypergradient_check,
    reconstruction,
    unit_atoms,
)
from experiments._dictionary_learning_data import (
    FEATURES,
    standardised,
    table,
    train_count,
)
from experiments._receipts import read_receipt


NotNegative = Annotated[float, Field(ge=0), Traced()]


class Dictionary(Section):
    """Atoms of length 1, and the penalties of codes."""

    atoms: Annotated[int, Field(gt=0)] = 10
    l1: NotNegative = 0.3
    """Weight of a code's absolute values."""
    l2: NotNegative = 0.1
    """Weight of half its squares."""
    alone: Annotated[float, Field(ge=0, le=1), Traced()] = 0.25
    """Fraction of training in which the dictionary only learns to reconstruct."""


class Config(BaseConfig):
    """Dictionary learning on breast cancer."""

    method: Literal["task_driven", "unsupervised", "raw", "pca"] = "task_driven"
    """What the classifier reads: codes of a dictionary that learns from its loss, or
    from reconstruction alone; standardised features; or principal components."""
    dictionary: Dictionary = Dictionary()
    ridge: NotNegative = 1e-3
    """Of the classifier's weights."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    checked: Annotated[int, Field(gt=0)] = 64
    """Training rows on which the hypergradient is compared with differences."""


class Model(eqx.Module):
    """A split, a dictionary and a classifier."""

    order: Int[Array, " cases"]
    """The training part comes first."""
    atoms: Float[Array, "atoms features"] | None
    """Before they are scaled to length 1."""
    weights: Float[Array, " inputs"]
    offset: Float[Array, ""]


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    count = train_count(config.test_fraction)
    through = config.method == "task_driven"

    def loss(model, batch, step, key, probe=None):
        del key
        data, labels = standardised(model.order, count)
        rows, labels = data[batch], labels[batch]
        inputs, codes = features(config, model, data, rows, receipt=probe)
        total = config.ridge * jnp.sum(model.weights**2) / 2
        metrics = {}
        if codes is not None:
            fixed = jax.lax.stop_gradient(codes.value)
            error = reconstruction(unit_atoms(model.atoms), rows, fixed)
            if through:
                alone = step < config.dictionary.alone * config.train.steps
                inputs = jnp.where(alone, fixed, inputs)
                total += jnp.where(alone, error, 0)
            else:
                inputs = fixed
                total += error
            metrics["unconverged"] = jnp.sum(~codes.converged)
            metrics["reconstruction"] = error
        entropy = jnp.mean(cross_entropy(inputs @ model.weights + model.offset, labels))
        return total + entropy, metrics | {"cross_entropy": entropy}

    def evaluate(model, key):
        data, labels = standardised(model.order, count)
        inputs, codes = features(config, model, data, data)
        scores = inputs @ model.weights + model.offset
        refitted = best_classifier(inputs[:count], labels[:count], config.ridge)
        again = inputs @ refitted[0] + refitted[1]

        def accuracy(scores):
            return jnp.mean((scores[count:] > 0) == (labels[count:] > 0.5))

        metrics = {
            "accuracy": accuracy(scores),
            "refit_accuracy": accuracy(again),
            "auc": area_under_curve(scores[count:], labels[count:]),
            "cross_entropy": jnp.mean(cross_entropy(scores, labels)[count:]),
        }
        if codes is not None:
            error = reconstruction(unit_atoms(model.atoms), data, codes.value)
            metrics["nonzeros"] = jnp.mean(jnp.sum(codes.value != 0, 1).astype(float))
            metrics["reconstruction"] = error
            metrics["unconverged"] = jnp.sum(~codes.converged)
        if through:
            found = hypergradient_check(
                model.atoms,
                jr.normal(key, model.atoms.shape),
                data[: config.checked],
                labels[: config.checked],
                (model.weights, model.offset),
                config.dictionary.l1,
                config.dictionary.l2,
            )
            metrics["hypergradient_error"] = found.error
            metrics["support_moved"] = found.moved
        return metrics

    return supervised(
        ft.partial(start, config),
        loss,
        epoch_batches(np.arange(count), config.train.batch),
        make_optimiser(config.train),
        evaluate=evaluate,
        report=_report,
        ema=config.train.ema,
        precision=config.train.precision,
        probe=implicit.Receipt.zeros() if through else None,
        read_probe=read_receipt(
            "solve", ("failed", "residual", "condition", "error", "kinks")
        ),
    )


def start(config: Config, key: PRNGKeyArray) -> Model:
    """A seed's split, atoms that are cases of its training part, and no classifier."""
    count = train_count(config.test_fraction)
    size = FEATURES if config.method == "raw" else config.dictionary.atoms
    of_split, of_atoms = jr.split(key)
    order = jr.permutation(of_split, len(table()[1]))
    atoms = None
    if config.method in ("task_driven", "unsupervised"):
        chosen = jr.choice(of_atoms, count, (size,), replace=False)
        atoms = unit_atoms(standardised(order, count)[0][chosen])
    return Model(order, atoms, jnp.zeros(size), jnp.zeros(()))


def features(
    config: Config,
    model: Model,
    data: Float[Array, "cases features"],
    rows: Float[Array, "rows features"],
    receipt: implicit.Receipt | None = None,
) -> tuple[Float[Array, "rows inputs"], Codes | None]:
    """What an arm's classifier reads.

    Args:
        config: of the arm.
        model: of one lane.
        data: all cases, the training part first.
        rows: those that are asked for.
        receipt: of the backward solves of codes.

    Returns:
        The inputs, and the codes that they are, if they are.
    """
    if model.atoms is not None:
        penalties = config.dictionary
        codes = encode(
            unit_atoms(model.atoms), rows, penalties.l1, penalties.l2, receipt=receipt
        )
        return codes.value, codes
    if config.method == "raw":
        return rows, None
    known = data[: train_count(config.test_fraction)]
    _, vectors = jnp.linalg.eigh(known.T @ known)
    return rows @ vectors[:, -config.dictionary.atoms :], None


def _report(results: Results, report: Report) -> None:
    def first(arm: str):
        """The first seed's unit atoms, weights, codes of all cases, and labels."""
        config = cast(Config, results.arms[arm].config)
        state = results.arms[arm].lane()
        model = trained_model(ft.partial(start, config), state)
        data, labels = standardised(model.order, train_count(config.test_fraction))
        codes = eqx.filter_jit(ft.partial(features, config))(model, data, data)[0]
        return unit_atoms(model.atoms), model.weights, codes, labels

    figures.draw(results, report, first)
