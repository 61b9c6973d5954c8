"""The penalty of a multiclass support vector machine, by hypergradients.

Source: Blondel et al. 2022, section 4.1: three first-order solvers of the dual, each
differentiated implicitly and by unrolling its iterations. The dual variables are one
point of a simplex for each training sample.
"""

from typing import Annotated, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pydantic import Field

from djx.implicit import (
    fixed_point,
    Gradient,
    prox,
    proximal_argmin,
    Receipt,
    Solution,
)
from djx.implicit.descent import block_step, iterate, mirror_step, proximal_step
from djx.run import (
    Config as BaseConfig,
    Experiment,
    make_optimiser,
    Section,
    supervised,
)
from experiments import _hyperparameter_svm_figures as figures
from experiments._receipts import read_receipt


class Data(Section):
    """Gaussian classes; samples are split into training, validation and test."""

    samples: Annotated[int, Field(gt=0)] = 200
    """Of each of the three parts."""
    features: Annotated[int, Field(gt=0)] = 150
    classes: Annotated[int, Field(gt=1)] = 5
    distance: Annotated[float, Field(gt=0)] = 3.0
    """Of the classes' centres from the origin; the noise has unit variance."""


class Inner(Section):
    """How the dual is solved and its solution differentiated."""

    method: Literal["mirror", "projected", "block"] = "projected"
    """Mirror descent, projected gradient, block coordinate descent."""
    derivative: Literal["implicit", "unrolled"] = "implicit"
    steps: Annotated[int, Field(gt=0)] = 300
    """Iterations; of block coordinate descent, passes over all samples."""
    tolerance: Annotated[float, Field(gt=0)] = 1e-6
    """Of the optimality conditions, above which the inner solve counts as failed."""


class Config(BaseConfig):
    """Penalty of a support vector machine."""

    data: Data = Data()
    inner: Inner = Inner()


class Kernels(NamedTuple):
    """Inner products of samples with training samples, and one-hot labels."""

    train: np.ndarray
    train_labels: np.ndarray
    validation: np.ndarray
    validation_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def kernels(data: Data) -> Kernels:
    """The data, the same for every seed.

    Args:
        data: the table.

    Returns:
        Kernels `(samples, samples)` over the number of features, labels
        `(samples, classes)`.
    """
    random = np.random.default_rng(0)
    centres = random.standard_normal((data.classes, data.features))
    centres *= data.distance / np.linalg.norm(centres, axis=1, keepdims=True)
    parts, labels = [], []
    for _ in range(3):
        label = random.integers(0, data.classes, data.samples)
        noise = random.standard_normal((data.samples, data.features))
        parts.append(centres[label] + noise)
        labels.append(np.eye(data.classes)[label])
    found = []
    for part, label in zip(parts, labels, strict=True):
        found += [part @ parts[0].T / data.features, label]
    return Kernels(*found)


def dual(x, penalty, kernel, labels):
    """The dual: penalty / 2 |W|^2 + <x, labels>, W = X' (labels - x) / penalty.

    Args:
        x: dual variables `(samples, classes)`, rows on the simplex.
        penalty: of |W|^2 / 2.
        kernel: X X'.
        labels: one-hot.

    Returns:
        What is minimised.
    """
    rest = labels - x
    return jnp.vdot(rest, kernel @ rest) / (2 * penalty) + jnp.vdot(x, labels)


def _slope_of_row(x, i, penalty, kernel, labels):
    return labels[i] - kernel[i] @ (labels - x) / penalty


def _onto_simplex(x, step=None):
    del step
    return prox.simplex(x) if x.ndim == 1 else jax.vmap(prox.simplex)(x)


def solve(
    log_penalty: Any,
    given: Kernels,
    inner: Inner,
    *,
    gradient: Gradient | None = None,
    receipt: Receipt | None = None,
) -> Solution:
    """The dual variables, by the inner method.

    Whatever the method, a solution is a fixed point of the projected gradient step,
    and implicit derivatives are of that.

    Args:
        log_penalty: the logarithm of the penalty.
        given: the data.
        inner: the table.
        gradient: how to differentiate, instead of what `inner` says.
        receipt: of the backward solve.

    Returns:
        The solution; its value is `(samples, classes)`.
    """
    kernel, labels = jnp.asarray(given.train), jnp.asarray(given.train_labels)
    args = jnp.exp(log_penalty), kernel, labels
    # Lengths of steps need no derivative: where they lead does not depend on them.
    penalty = jax.lax.stop_gradient(args[0])
    largest = float(np.linalg.norm(given.train, 2))
    projected = proximal_step(dual, _onto_simplex, penalty / largest)
    match inner.method:
        case "projected":
            image = projected
        case "mirror":
            # Curvature in the 1-norm, in which the entropy is strongly convex.
            image = mirror_step(dual, penalty / float(np.max(np.abs(given.train))))
        case _:
            steps = penalty / jnp.diagonal(kernel)
            image = block_step(_slope_of_row, _onto_simplex, steps)
    shape = labels.shape

    def solver(function, start):
        del function
        x = iterate(inner.steps)(lambda x: image(x, *args), start.reshape(shape))
        return x.ravel()

    if gradient is None:
        gradient = Gradient(linear="gmres", tolerance=1e-3)
        if inner.derivative == "unrolled":
            gradient = Gradient(mode="unrolled")
    return fixed_point(
        projected,
        jnp.full(shape, 1 / shape[1], kernel.dtype),
        *args,
        solver=solver,
        gradient=gradient,
        receipt=receipt,
        tolerance=inner.tolerance,
    )


def validation_loss(x, log_penalty, given: Kernels):
    """Half the squared error of the validation scores, per sample."""
    weights = (given.train_labels - x) / jnp.exp(log_penalty)
    scores = given.validation @ weights
    return jnp.sum((scores - given.validation_labels) ** 2) / (2 * len(scores))


class Model(eqx.Module):
    """What is learned."""

    log_penalty: Float[Array, ""]


START = 3.0  # logarithm of the penalty
GRID = (0.0, 1.5, 3.0)  # where derivatives are compared


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    given, inner = kernels(config.data), config.inner

    def init(key):
        del key
        return Model(jnp.asarray(START))

    def loss(model, batch, step, key, probe):
        del batch, step, key
        found = solve(model.log_penalty, given, inner, receipt=probe)
        value = validation_loss(found.value, model.log_penalty, given)
        return value, {
            "failed": found.receipt.failed,
            "residual": found.receipt.residual,
        }

    def evaluate(model, key):
        del key
        exact = exact_solution(model.log_penalty, given)
        scores = given.test @ (given.train_labels - exact.value)
        hits = jnp.argmax(scores, -1) == jnp.argmax(given.test_labels, -1)
        error = jnp.mean(jnp.stack([gradient_error(at, given, inner) for at in GRID]))
        return {
            "validation_loss": validation_loss(exact.value, model.log_penalty, given),
            "accuracy": jnp.mean(hits.astype(scores.dtype)),
            "log_penalty": model.log_penalty,
            "gradient_error": error,
            "reference_failed": exact.receipt.failed,
        }

    return supervised(
        init,
        loss,
        lambda key, step: (),
        make_optimiser(config.train),
        evaluate=evaluate,
        report=figures.draw,
        precision=config.train.precision,
        probe=Receipt.zeros(),
        read_probe=read_receipt("backward"),
    )


def exact_solution(log_penalty, given: Kernels) -> Solution:
    """The dual variables to rounding, with exact derivatives."""
    labels = jnp.asarray(given.train_labels)
    return proximal_argmin(
        dual,
        _onto_simplex,
        jnp.full(labels.shape, 1 / labels.shape[1]),
        jnp.exp(log_penalty),
        jnp.asarray(given.train),
        labels,
        tolerance=1e-13,
        max_steps=20000,
        gradient=Gradient(linear="lu"),
    )


def gradient_error(log_penalty: float, given: Kernels, inner: Inner):
    """The hypergradient's error relative to the exact one, at a log penalty."""

    def outer(log_penalty, solver):
        x = solver(log_penalty).value
        return validation_loss(x, log_penalty, given)

    at = jnp.asarray(log_penalty)
    found = jax.grad(outer)(at, lambda at: solve(at, given, inner))
    exact = jax.grad(outer)(at, lambda at: exact_solution(at, given))
    return jnp.abs(found - exact) / jnp.abs(exact)
