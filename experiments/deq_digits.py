"""A deep equilibrium classifier of the digits: exact against approximate gradients.

Sources: Bai et al. 2019 (deep equilibrium models), Fung et al. 2022 (Jacobian-free
backpropagation), Geng et al. 2021 (phantom gradients), Bai et al. 2021 (Jacobian
regularisation).
"""

from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float
from pydantic import Field

from djx.implicit import (
    DEQ,
    Gradient as ImplicitGradient,
    jacobian_penalty,
    Receipt,
    SpectralLinear,
)
from djx.run import (
    Config as BaseConfig,
    epoch_batches,
    Experiment,
    make_optimiser,
    Section,
    supervised,
)
from experiments import _deq_digits_figures as figures
from experiments._digits import digits, score
from experiments._receipts import read_receipt


class Model(Section):
    """The layer z = tanh(W z + U x + b) and how its equilibrium is found."""

    width: Annotated[int, Field(gt=0)] = 64
    limit: Annotated[float, Field(gt=0)] = 0.95
    """Of the spectral norm of W; below 1 there is one equilibrium, and plain iteration
    finds it."""
    equilibrium: bool = True
    """If not, z = tanh(U x + b): a network with one hidden layer."""
    solver: Literal["anderson", "picard", "broyden"] = "anderson"
    tolerance: Annotated[float, Field(gt=0)] = 1e-5
    """Of the equilibrium, relative to |z|."""
    max_steps: Annotated[int, Field(gt=0)] = 200


class Gradient(Section):
    """How the equilibrium is differentiated."""

    mode: Literal["exact", "jacobian_free", "phantom", "neumann"] = "exact"
    steps: Annotated[int, Field(gt=0)] = 5
    """Terms of the phantom and the Neumann series."""
    damping: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Of the phantom series."""


class Config(BaseConfig):
    """Equilibrium classifier of digits."""

    model: Model = Model()
    gradient: Gradient = Gradient()
    jacobian_penalty: Annotated[float, Field(ge=0)] = 0.0
    """Weight of |dcell/dz|^2 / width."""


class Cell(eqx.Module):
    """tanh(W z + U x + b) for one image."""

    hidden: SpectralLinear
    given: eqx.nn.Linear

    def __call__(self, z: Float[Array, " width"], x: Float[Array, " 64"]):
        """The next z."""
        return jnp.tanh(self.hidden(z) + self.given(x))


class Net(eqx.Module):
    """An equilibrium, or one hidden layer, and a linear classifier."""

    cell: Cell
    head: eqx.nn.Linear

    def __init__(self, model: Model, *, key):
        keys = jr.split(key, 3)
        hidden = SpectralLinear(model.width, model.width, model.limit, key=keys[0])
        given = eqx.nn.Linear(64, model.width, use_bias=False, key=keys[1])
        self.cell = Cell(hidden, given)
        self.head = eqx.nn.Linear(model.width, 10, key=keys[2])


def forward(net: Net, x, config: Config, *, gradient=None, receipt=None):
    """Class scores of a batch, its states, and the solutions they come from.

    Args:
        net: the network.
        x: images `(batch, 64)`.
        config: the arm's.
        gradient: how to differentiate, instead of what the config says.
        receipt: of the backward solves.

    Returns:
        Scores `(batch, 10)`, states `(batch, width)`, and a `Solution` of the batch or
        None.
    """
    model, how = config.model, config.gradient
    start = jnp.zeros((len(x), model.width), x.dtype)
    if not model.equilibrium:
        states = jax.vmap(net.cell)(start, x)
        return jax.vmap(net.head)(states), states, None
    if gradient is None:
        gradient = ImplicitGradient(
            how.mode,
            # By iteration, as is usual: a factor would cost more at this width.
            linear="fixed_point",
            steps=how.steps,
            damping=how.damping,
            tolerance=1e-3,
        )
    # Scaled once for all images, not in every evaluation of every one.
    weight, bias = net.cell.hidden.scaled(), net.cell.hidden.bias

    def cell(z, x):
        return jnp.tanh(weight @ z + bias + net.cell.given(x))

    layer = DEQ(cell, gradient, model.solver, model.tolerance, model.max_steps)

    def one(x, z):
        return layer(x, z, receipt=receipt)

    found = jax.vmap(one)(x, start)
    return jax.vmap(net.head)(found.value), found.value, found


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    train, test = digits(config.train.precision)

    def init(key):
        return Net(config.model, key=key)

    def loss(net, batch, step, key, probe):
        del step
        x, labels = batch
        scores, states, found = forward(net, x, config, receipt=probe)
        total, accuracy = score(scores, labels)
        metrics = {"accuracy": accuracy, "cross_entropy": total} | statistics(found)
        if config.model.equilibrium and config.jacobian_penalty:
            keys = jr.split(key, len(x))
            penalties = jax.vmap(
                lambda z, x, key: jacobian_penalty(net.cell, z, x, key=key)
            )(states, x, keys)
            total += config.jacobian_penalty * jnp.mean(penalties)
        return total, metrics

    def evaluate(net, key):
        del key
        images, labels = map(jnp.asarray, test)
        scores, _, found = forward(net, images, config)
        entropy, accuracy = score(scores, labels)
        error, cosine = gradient_error(net, tuple(a[:64] for a in train), config)
        metrics = {"accuracy": accuracy, "cross_entropy": entropy}
        errors = {"gradient_error": error, "gradient_cosine": cosine}
        return metrics | errors | statistics(found)

    return supervised(
        init,
        loss,
        epoch_batches(train, config.train.batch),
        make_optimiser(config.train),
        evaluate=evaluate,
        report=figures.draw,
        ema=config.train.ema,
        precision=config.train.precision,
        probe=Receipt.zeros(),
        read_probe=read_receipt("backward"),
    )


def gradient_error(net: Net, batch: Any, config: Config) -> tuple[Array, Array]:
    """How far the arm's gradient of a batch is from the exact one.

    Args:
        net: the network.
        batch: images and labels.
        config: the arm's.

    Returns:
        The difference relative to the exact gradient's norm, and the cosine between the
        two: a positive one still goes downhill.
    """

    def of(config, gradient=None):
        def entropy(net):
            x, labels = map(jnp.asarray, batch)
            return score(forward(net, x, config, gradient=gradient)[0], labels)[0]

        leaves = jax.tree.leaves(eqx.filter_grad(entropy)(net))
        return jnp.concatenate([leaf.ravel() for leaf in leaves])

    model = config.model.model_copy(update={"tolerance": 1e-6, "max_steps": 1000})
    tight = config.model_copy(update={"model": model})
    exact = of(tight, ImplicitGradient(linear="lu"))
    found = of(config)
    size = jnp.linalg.norm(exact)
    cosine = jnp.dot(found, exact) / (size * jnp.linalg.norm(found))
    return jnp.linalg.norm(found - exact) / size, cosine


def statistics(found: Any) -> dict[str, Array]:
    """Evaluations of the layer, the rate of contraction, and failures."""
    if found is None:
        return {
            "evaluations": jnp.ones(()),
            "rate": jnp.zeros(()),
            "failed": jnp.zeros(()),
        }
    return {
        "evaluations": jnp.mean(found.stats["iterations"].astype(float)),
        "rate": jnp.mean(found.stats["rate"]),
        "failed": jnp.sum(found.receipt.failed),
    }
