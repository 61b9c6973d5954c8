"""Neural ODE fitted to planar oscillators, against a residual network of its size.

Sources: Chen et al. 2018 (neural ODEs; the cubic spiral is from the demonstration in
their code) and the neural ODE example of diffrax (the oscillator, the growing horizon).
"""

import functools as ft
from typing import Annotated, Any, cast, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from pydantic import Field

from djx import diffeq
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
from experiments import _neural_ode_spiral_figures as figures
from experiments._neural_ode_spiral_data import FIELDS, Paths, paths


Fraction = Annotated[float, Field(gt=0, le=1), Traced()]


class Data(Section):
    """Noise-free paths, all sampled at the same times."""

    system: Literal["cubic_spiral", "oscillator"] = "cubic_spiral"
    """cubic_spiral: y' = A y^3, starts of radius 1 to 2; oscillator: y1' = g(y2),
    y2' = -g(y1) with g(y) = y / (1 + y), starts within -0.6 to 1."""
    end: Annotated[float, Field(gt=0)] = 1.5
    """Time of the last sample; held-out paths go on to twice that."""
    samples: Annotated[int, Field(gt=1)] = 31
    """Samples of a training path, the start included."""
    paths: Annotated[int, Field(gt=0)] = 256
    """Training paths; a quarter as many further ones are held out."""


class Model(Section):
    """The vector field, a multilayer perceptron, and how it is integrated."""

    integrator: Literal["tsit5", "euler"] = "tsit5"
    """tsit5: adaptive; euler: one step per sample, which is a residual network."""
    width: Annotated[int, Field(gt=0)] = 64
    depth: Annotated[int, Field(gt=0)] = 2
    """Hidden layers."""
    activation: Literal["silu", "softplus", "tanh"] = "silu"
    tolerance: Annotated[float, Field(gt=0)] = 1e-3
    """Relative and absolute tolerance of training and prediction."""


class Horizon(Section):
    """How much of each path the loss sees; training on all of it is start = 1."""

    start: Fraction = 0.1
    """Fraction of the path at the first step."""
    grown: Fraction = 0.6
    """Fraction of training after which the loss sees all of it; linear until then."""


class Config(BaseConfig):
    """Neural ODE on a planar oscillator."""

    data: Data = Data()
    model: Model = Model()
    horizon: Horizon = Horizon()


FINE = 1e-5  # tolerance at which the learned field itself is judged


def solve(
    net: eqx.nn.MLP,
    starts: Any,
    times: Any,
    end: Any,
    step: float,
    model: Model,
) -> Any:
    """All paths as one system, at times that are held at `end` beyond it.

    Args:
        net: the field.
        starts: states at time zero, `(paths, 2)`.
        times: where to sample, in ascending order, `(times,)`.
        end: of the solve; may be traced.
        step: spacing of the training samples: the Euler step, the first adaptive one.
        model: the table.

    Returns:
        A diffrax solution; samples have shape `(times, paths, 2)`.
    """
    adaptive = model.integrator == "tsit5"
    controller = diffrax.PIDController(rtol=model.tolerance, atol=model.tolerance)
    return diffeq.diffeqsolve(
        diffrax.ODETerm(_field),
        diffrax.Tsit5() if adaptive else diffrax.Euler(),
        0.0,
        end,
        step,
        starts,
        net,
        saveat=diffrax.SaveAt(ts=jnp.minimum(times, end)),
        stepsize_controller=controller if adaptive else diffrax.ConstantStepSize(),
        max_steps=512,
        throw=False,  # a failed solve is a metric, not a crash of the other lanes
    )


def _field(t, y, net):
    return jax.vmap(net)(y)


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    data, model = config.data, config.model
    known = _known(config)
    times, step = known.times[: data.samples], data.end / (data.samples - 1)

    def init(key):
        activation = getattr(jax.nn, model.activation)
        return eqx.nn.MLP(2, 2, model.width, model.depth, activation, key=key)

    def loss(net, batch, index, key):
        del key
        grown = jnp.minimum(index / (config.horizon.grown * config.train.steps), 1.0)
        end = data.end * (config.horizon.start + (1 - config.horizon.start) * grown)
        truth = jnp.moveaxis(batch, 1, 0)
        solution = solve(net, truth[0], times, end, step, model)
        seen = (times <= end * (1 + 1e-5)).astype(truth.dtype)
        error = jnp.mean((solution.ys - truth) ** 2, (1, 2))
        return jnp.sum(seen * error) / jnp.sum(seen), statistics(solution, model)

    def evaluate(net, key):
        del key
        truth = jnp.asarray(known.held_out)
        solution = solve(net, truth[0], known.times, 2 * data.end, step, model)
        within, beyond = _errors(solution, truth, data.samples)
        exact = model.model_copy(update={"integrator": "tsit5", "tolerance": FINE})
        fine = solve(net, truth[0], known.times, 2 * data.end, step, exact)
        difference = _field(0, truth.reshape(-1, 2), net) - _slopes(known, data)
        return {
            "mse": within,
            "extrapolation": beyond,
            "fine_mse": _errors(fine, truth, data.samples)[0],
            "field_error": _rms(difference) / _rms(_slopes(known, data)),
        } | statistics(solution, model)

    return supervised(
        init,
        loss,
        epoch_batches(
            np.moveaxis(known.train[: data.samples], 0, 1), config.train.batch
        ),
        make_optimiser(config.train),
        evaluate=evaluate,
        report=ft.partial(_report, init=init),
        ema=config.train.ema,
        precision=config.train.precision,
    )


def statistics(solution: Any, model: Model) -> dict[str, Array]:
    """Field evaluations of a solve, and whether it gave up."""
    if model.integrator == "euler":
        count = solution.stats["num_steps"]
    else:
        count = diffeq.field_evaluations(solution, diffrax.Tsit5())
    failed = solution.result != diffrax.RESULTS.successful
    return {"nfe": count, "failed": failed.astype(jnp.int32)}


def _known(config: Config) -> Paths:
    data = config.data
    return paths(
        data.system, data.end, data.samples, data.paths, config.train.precision
    )


def _errors(solution, truth, samples: int):
    error = jnp.mean((solution.ys - truth) ** 2, (1, 2))
    return jnp.mean(error[:samples]), jnp.mean(error[samples:])


def _slopes(known: Paths, data: Data) -> np.ndarray:
    return FIELDS[data.system](known.held_out.reshape(-1, 2))


def _rms(x):
    return jnp.sqrt(jnp.mean(x**2))


def _report(results: Results, report: Report, *, init: Any) -> None:
    first = cast(Config, next(iter(results.arms.values())).config)
    known = _known(first)
    step = first.data.end / (first.data.samples - 1)

    def predictions(arm: str):
        """The first seed's paths from six held-out starts."""
        config = cast(Config, results.arms[arm].config)
        net = trained_model(init, results.arms[arm].lane())
        starts, end = known.held_out[0, :6], 2 * first.data.end
        run = eqx.filter_jit(ft.partial(solve, model=config.model))
        return run(net, starts, known.times, end, step).ys

    figures.draw(results, report, known, first.data.end, predictions)
