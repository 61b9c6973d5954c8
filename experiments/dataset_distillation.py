"""Dataset distillation: ten images that teach a classifier the digits.

Sources: Wang et al. 2018 (the task), Blondel et al. 2022, section 4.2 (implicit
derivatives for it). The inner problem is a multiclass logistic regression trained on
the distilled images until it has converged; the outer loss is that classifier's on real
images.
"""

import functools as ft
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float
from pydantic import Field

from djx.implicit import argmin, Gradient, Receipt, Solution, value_and_grad
from djx.implicit.descent import iterate
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
from experiments import _dataset_distillation_figures as figures
from experiments._digits import digits
from experiments._receipts import read_receipt


CLASSES, PIXELS = 10, 64

Weights = Float[Array, "64 10"]


class Inner(Section):
    """How the classifier is trained, and that training differentiated."""

    penalty: Annotated[float, Field(gt=0)] = 1e-2
    """Of |W|^2 / 2, beside the mean cross entropy."""
    derivative: Literal["implicit", "unrolled"] = "implicit"
    """implicit: train to convergence, from the last step's classifier on; unrolled:
    differentiate `steps` steps of gradient descent from zero."""
    steps: Annotated[int, Field(gt=0)] = 100
    step_size: Annotated[float, Field(gt=0)] = 1.0
    tolerance: Annotated[float, Field(gt=0)] = 1e-4
    """Length of the last step relative to |W| (implicit)."""


class Images(Section):
    """The distilled set."""

    each: Annotated[int, Field(gt=0)] = 1
    """Images of every class."""
    start: Literal["noise", "real"] = "noise"
    trained: bool = True
    """Whether they are trained; if not, they stay as they started."""


class Config(BaseConfig):
    """Distillation of the digits."""

    inner: Inner = Inner()
    images: Images = Images()


class Distilled(eqx.Module):
    """Images, and what they show."""

    images: Float[Array, "count 64"]
    labels: Any


def cross_entropy(weights: Weights, images: Array, labels: Array) -> Float[Array, ""]:
    """The mean over images of a linear classifier's."""
    scores = images @ weights
    return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()


def objective(weights: Weights, images: Array, labels: Array, penalty: float):
    """What the classifier minimises."""
    return cross_entropy(weights, images, labels) + penalty * jnp.sum(weights**2) / 2


def classifier(
    distilled: Distilled,
    inner: Inner,
    guess: Weights,
    *,
    gradient: Gradient | None = None,
    receipt: Receipt | None = None,
) -> Solution:
    """The classifier that the distilled images teach.

    Args:
        distilled: the images.
        inner: how.
        guess: where to start.
        gradient: how to differentiate, instead of what `inner` says.
        receipt: of the backward solve.

    Returns:
        The solution; its value is `(64, 10)`.
    """

    def descend(function, start):
        slope = jax.grad(function)
        along = iterate(inner.steps)
        return along(lambda w: w - inner.step_size * slope(w), jnp.zeros_like(start))

    implicit = inner.derivative == "implicit"
    how = Gradient(tolerance=0.1) if implicit else Gradient(mode="unrolled")

    return argmin(
        objective,
        guess,
        distilled.images,
        distilled.labels,
        inner.penalty,
        solver=None if implicit else descend,
        rtol=inner.tolerance,
        gradient=gradient or how,
        receipt=receipt,
    )


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    train, test = digits(config.train.precision)
    inner = config.inner
    labels = jnp.tile(jnp.arange(CLASSES), config.images.each)
    data = epoch_batches(train, config.train.batch)
    if config.train.batch == len(train[0]):  # all of it: no need to shuffle
        data = lambda key, step: jax.tree.map(jnp.asarray, train)  # noqa: E731

    def init(key):
        if config.images.start == "real":
            return Distilled(_of_each_class(train, config.images.each, key), labels)
        return Distilled(0.1 * jr.normal(key, (labels.size, PIXELS)), labels)

    def first(distilled):
        return jnp.zeros((PIXELS, CLASSES), distilled.images.dtype)

    def loss(distilled, batch, step, key, probe, memory):
        del step, key
        if not config.images.trained:
            distilled = jax.lax.stop_gradient(distilled)
        found = classifier(distilled, inner, memory, receipt=probe)
        value = cross_entropy(found.value, *batch)
        metrics = {
            "inner_iterations": jnp.asarray(found.stats["iterations"]),
            "inner_failed": found.receipt.failed,
        }
        return value, (metrics, found.value)

    def evaluate(distilled, key):
        """Of a classifier trained from zero to convergence, whatever the arm."""
        del key
        exact = Inner(penalty=inner.penalty, tolerance=1e-7)
        start = first(distilled)
        found = classifier(distilled, exact, start)
        images, answers = map(jnp.asarray, test)
        right = jnp.argmax(images @ found.value, -1) == answers
        # On images that were not trained on: there the gradient does not vanish.
        error, norm = gradient_error(distilled, inner, exact, start, test)
        return {
            "accuracy": jnp.mean(right.astype(start.dtype)),
            "loss": cross_entropy(found.value, *map(jnp.asarray, train)),
            "gradient_error": error,
            "gradient_norm": norm,
            "failed": found.receipt.failed,
        }

    return supervised(
        init,
        loss,
        data,
        make_optimiser(config.train),
        evaluate=evaluate,
        report=ft.partial(_report, init=init),
        ema=config.train.ema,
        precision=config.train.precision,
        probe=Receipt.zeros(),
        read_probe=read_receipt("backward"),
        memory=first,
    )


def gradient_error(
    distilled: Distilled, inner: Inner, exact: Inner, start: Weights, real: Any
) -> tuple[Array, Array]:
    """How far the arm's hypergradient is from that of the converged classifier.

    Args:
        distilled: the images.
        inner: of the arm.
        exact: the same problem, solved to rounding.
        start: of the solve.
        real: images and labels of the outer loss.

    Returns:
        The error relative to the exact gradient's norm, and that norm.
    """

    def outer(images, how, gradient=None):
        there = Distilled(images, distilled.labels)
        found = classifier(there, how, start, gradient=gradient)
        return cross_entropy(found.value, *real)

    arms = jax.grad(lambda images: outer(images, inner))(distilled.images)
    certified = value_and_grad(ft.partial(outer, how=exact), certify="correct")
    _, truth, _ = certified(distilled.images)
    norm = jnp.linalg.norm(truth)
    return jnp.linalg.norm(arms - truth) / norm, norm


def _of_each_class(split, each: int, key) -> Array:
    """Random real images, in the order of the labels."""
    images, labels = map(jnp.asarray, split)
    order = jr.permutation(key, len(labels))
    first = [jnp.nonzero(labels[order] == c, size=each)[0] for c in range(CLASSES)]
    chosen = order[jnp.stack(first, 1).reshape(-1)]
    return images[chosen]


def _report(results: Results, report: Report, *, init: Any) -> None:
    models = {
        name: trained_model(init, arm.lane()) for name, arm in results.arms.items()
    }
    figures.draw(results, report, models)
