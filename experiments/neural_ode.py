"""Neural ODE classifier of handwritten digits, with the regularisers that speed it up.

Sources: Pal et al. 2021 (ERNODE, SRNODE), Pal et al. 2023 (local regularisation),
Ghosh et al. 2020 (STEER), Finlay et al. 2020 (kinetic energy), Kelly et al. 2020
(TayNODE). The data are scikit-learn's 1797 digits of 8 x 8 pixels.
"""

import functools as ft
from typing import Annotated, Any, cast

import diffrax
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
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
    trained_model,
)
from experiments import _neural_ode_figures as figures
from experiments._digits import digits, score
from experiments._neural_ode_regularisers import (
    Global,
    Kinetic,
    Local,
    Regulariser,
    Steer,
    Taylor,
    Vanilla,
)


class Model(Section):
    """The network and its solver."""

    width: Annotated[int, Field(gt=0)] = 100
    """Hidden units of the vector field."""
    tolerance: Annotated[float, Field(gt=0)] = 1.4e-8
    """Relative and absolute tolerance of the solver."""
    max_steps: Annotated[int, Field(gt=0)] = 256
    """Attempted steps after which a solve gives up."""


class Config(BaseConfig):
    """Neural ODE on digits."""

    model: Model = Model()
    regulariser: Regulariser = Vanilla(kind="none")


class Net(eqx.Module):
    """z = tanh(W1 [x; t] + b1), dx/dt = tanh(W2 [z; t] + b2); logits = W3 x(1) + b3."""

    hidden: eqx.nn.Linear
    field: eqx.nn.Linear
    head: eqx.nn.Linear

    def __init__(self, width: int, *, key):
        keys = jr.split(key, 3)
        self.hidden = eqx.nn.Linear(65, width, key=keys[0])
        self.field = eqx.nn.Linear(width + 1, 64, key=keys[1])
        self.head = eqx.nn.Linear(64, 10, key=keys[2])

    def velocity(self, t, x, args=None):
        """dx/dt of a batch; time is the last input of both layers."""
        z = x
        for layer in (self.hidden, self.field):
            weight, time_weight = layer.weight[:, :-1], layer.weight[:, -1]
            z = jnp.tanh(z @ weight.T + (t * time_weight + layer.bias))
        return z

    def logits(self, x):
        """Class scores of a batch."""
        return x @ self.head.weight.T + self.head.bias


SOLVER = diffrax.Tsit5()


def _velocity(t, x, net):
    return net.velocity(t, x)


TERM = diffrax.ODETerm(_velocity)


def solve(
    net: Net,
    x,
    model: Model,
    *,
    end: Any = 1.0,
    accumulators=None,
    integrands=None,
    saveat=None,
) -> Any:
    """Takes a batch from time 0 to `end`, as one system with shared steps.

    With integrands the states are pairs of the batch and the integrals so far.
    """
    terms, solver, tolerance = TERM, SOLVER, model.tolerance
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    if accumulators:
        solver = diffeq.AccumulatingSolver(SOLVER, accumulators)
    if integrands:
        terms, x = diffeq.with_integrals(TERM, x, integrands)
        controller = diffrax.PIDController(
            rtol=tolerance, atol=tolerance, norm=diffeq.state_norm()
        )
    return diffeq.diffeqsolve(
        terms,
        solver,
        t0=0.0,
        t1=end,
        dt0=None,
        y0=x,
        args=net,
        saveat=saveat or diffrax.SaveAt(t1=True, solver_state=bool(accumulators)),
        stepsize_controller=controller,
        # Room for every step that training meets: nothing is computed twice backwards.
        adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints=64),
        max_steps=model.max_steps,
        throw=False,  # a failed solve is a metric, not a crash of the other lanes
    )


def penalised_solve(net: Net, x, config: Config, *, key):
    """The training solve, its last state, and what its regulariser adds, unweighted."""
    model, regulariser, tolerance = (
        config.model,
        config.regulariser,
        config.model.tolerance,
    )
    match regulariser:
        case Global(kind="error"):
            extra = diffeq.ErrorIntegral(rtol=tolerance, atol=tolerance)
        case Global(kind="stiffness"):
            extra = diffeq.StiffnessIntegral(SOLVER)
        case Local(sampling="unbiased"):
            time = diffeq.sample_time(0.0, 1.0, key=key)
            extra = diffeq.UnbiasedSample(time, SOLVER)
        case Local():
            extra = diffeq.BiasedSample(key)
        case Kinetic():
            extra = diffeq.KineticEnergy(mean=True)
        case Taylor():
            extra = diffeq.TaylorDerivative(regulariser.order, mean=True)
        case Steer():
            end = diffeq.steer_end_time(1.0, regulariser.half_width, key=key)
            solution = solve(net, x, model, end=end)
            return solution, solution.ys[0], jnp.zeros(())
        case _:
            solution = solve(net, x, model)
            return solution, solution.ys[0], jnp.zeros(())
    if isinstance(regulariser, Kinetic | Taylor):
        solution = solve(net, x, model, integrands={"value": extra})
        states, integrals = solution.ys
        return solution, states[0], integrals["value"][0]
    solution = solve(net, x, model, accumulators={"value": extra})
    value = solution.solver_state[1]["value"]
    if isinstance(regulariser, Local):
        value = diffeq.local_penalty(
            TERM, SOLVER, value, net, rtol=tolerance, atol=tolerance
        )
    return solution, solution.ys[0], value


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    train, test = digits(config.train.precision)
    regulariser = config.regulariser

    def init(key):
        return Net(config.model.width, key=key)

    def loss(net, batch, step, key):
        x, labels = batch
        solution, end, penalty = penalised_solve(net, x, config, key=key)
        cross_entropy, accuracy = score(net.logits(end), labels)
        total = cross_entropy
        if isinstance(regulariser, Local | Global | Kinetic | Taylor):
            first, last = regulariser.weight
            done = step / config.train.steps
            total += penalty * _interpolate(first, last, done)
        return total, {
            "cross_entropy": cross_entropy,
            "accuracy": accuracy,
            "penalty": penalty,
        } | _statistics(solution)

    def evaluate(net, key):
        del key
        x, labels = map(jnp.asarray, test)
        solution = solve(net, x, config.model)
        cross_entropy, accuracy = score(net.logits(solution.ys[0]), labels)
        metrics = {"cross_entropy": cross_entropy, "accuracy": accuracy}
        return metrics | _statistics(solution)

    return supervised(
        init,
        loss,
        epoch_batches(train, config.train.batch),
        make_optimiser(config.train),
        evaluate=evaluate,
        report=ft.partial(_report, init=init, test=test),
        ema=config.train.ema,
        precision=config.train.precision,
    )


def _statistics(solution):
    count = diffeq.field_evaluations(solution, SOLVER)
    failed = solution.result != diffrax.RESULTS.successful
    return {"nfe": count, "failed": failed.astype(jnp.int32)}


def _interpolate(first, last, done):
    # Weights of zero stay zero: the logarithm must not see them.
    ratio = jnp.where(first > 0, last / jnp.where(first > 0, first, 1), 0)
    return first * jnp.where(ratio > 0, ratio, 1) ** done * (ratio > 0)


def _report(results: Results, report: Report, *, init: Any, test: Any) -> None:
    images, labels = test

    def paths(arm, steps: bool):
        """Steps, or states at 21 times, of the first seed's network on test images."""
        config = cast(Config, results.arms[arm].config)
        state = results.arms[arm].lane()
        saveat = (
            diffrax.SaveAt(t0=True, steps=True, fn=lambda t, y, args: t)
            if steps
            else diffrax.SaveAt(ts=jnp.linspace(0, 1, 21))
        )
        run = eqx.filter_jit(ft.partial(solve, model=config.model, saveat=saveat))
        return run(trained_model(init, state), images)

    figures.draw(results, report, paths, labels)
