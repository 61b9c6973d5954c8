"""Neural SDE fitted to the moments of a noisy spiral, with regularisers of its cost.

Sources: Pal et al. 2021 (the equation, the network, the error and the stiffness
regulariser), Pal et al. 2023 (the local one). They solve with an adaptive
Runge-Kutta method for Ito equations; here it is Heun's method with its embedded Euler
step, which solves the Stratonovich form: the drift is corrected, so that the network
means the same Ito equation as theirs.
"""

import functools as ft
from typing import Annotated, Any, cast, Literal

import diffrax
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array
from pydantic import Field

from djx import diffeq
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
from experiments import _neural_sde_figures as figures
from experiments._neural_sde_data import END, spiral_moments, START
from experiments._neural_sde_model import (
    Accumulating,
    DriftStiffness,
    equation,
    Net,
    SOLVER,
)


Weight = Annotated[
    list[Annotated[float, Field(ge=0)]],
    Field(min_length=2, max_length=2),
    Traced(),
]


class Regulariser(Section):
    """What is added to the loss; weights of zero switch it off."""

    kind: Literal["error", "stiffness", "local"] = "error"
    """error, stiffness: estimates summed over the accepted steps, times their lengths
    (Pal et al. 2021); local: the error of one accepted step (Pal et al. 2023)."""
    weight: Weight = [0.0, 0.0]
    """At the first and the last step; exponential in between."""


class Model(Section):
    """The network and its solver."""

    width: Annotated[int, Field(gt=0)] = 50
    """Hidden units of the drift."""
    tolerance: Annotated[float, Field(gt=0)] = 1e-2
    """Relative and absolute tolerance of the solver, for all paths as one system."""
    finest: Annotated[int, Field(gt=0)] = 12
    """No step is shorter than 2 to the power of minus this, however large its error:
    the resolution of the Brownian paths."""


class Config(BaseConfig):
    """Neural SDE on the moments of a spiral. `train.batch` is paths per iteration."""

    model: Model = Model()
    regulariser: Regulariser = Regulariser()
    test_paths: Annotated[int, Field(gt=1)] = 1000
    """Paths whose moments are tested."""


def solve(net: Net, terms: Any, times: Any, paths: int, model: Model, extra=None):
    """All paths as one system with shared steps, at the given times.

    Args:
        net: the network.
        terms: the `equation`.
        times: where to sample, `(times,)`.
        paths: how many.
        model: the table.
        extra: an accumulator, whose value comes back beside the solution.

    Returns:
        The diffrax solution, with samples `(times, paths, 2)`, and that value.
    """
    solver, tolerance = SOLVER, model.tolerance
    if extra is not None:
        solver = Accumulating(SOLVER, {"value": extra})
    solution = diffeq.diffeqsolve(
        terms,
        solver,
        0.0,
        END,
        0.01,
        jnp.tile(jnp.asarray(START, times.dtype), (paths, 1)),
        net,
        saveat=diffrax.SaveAt(ts=times, solver_state=extra is not None),
        # Proportional control: the error of one step says little about the next one's.
        stepsize_controller=diffrax.PIDController(
            rtol=tolerance,
            atol=tolerance,
            pcoeff=0.1,
            icoeff=0.3,
            dtmin=2.0**-model.finest,
        ),
        adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints=256),
        max_steps=1024,
        throw=False,  # a failed solve is a metric, not a crash of the other lanes
    )
    value = jnp.zeros(())
    if extra is not None:
        value = cast(Any, solution.solver_state)[1]["value"]
    return solution, value


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    model, regulariser, paths = config.model, config.regulariser, config.train.batch
    tolerance = model.tolerance
    known = spiral_moments()

    def init(key):
        return Net(model.width, key=key)

    def loss(net, batch, step, key):
        del batch
        noise_key, sample_key = jr.split(key)
        terms = equation(paths, model.finest, key=noise_key)
        match regulariser.kind:
            case "error":
                extra = diffeq.ErrorIntegral(rtol=tolerance, atol=tolerance)
            case "stiffness":
                extra = DriftStiffness(net)
            case "local":
                extra = diffeq.BiasedSample(sample_key)
        times = jnp.asarray(known.times, jnp.result_type(float))
        solution, penalty = solve(net, terms, times, paths, model, extra)
        if regulariser.kind == "local":
            penalty = diffeq.local_penalty(
                terms, SOLVER, cast(Any, penalty), net, rtol=tolerance, atol=tolerance
            )
        first, last = regulariser.weight
        weight = _interpolate(first, last, step / config.train.steps)
        error = moment_error(solution.ys, known)
        metrics = {"mse": error, "penalty": penalty} | statistics(solution)
        return error + weight * penalty, metrics

    def evaluate(net, key):
        terms = equation(config.test_paths, model.finest, key=key)
        times = jnp.asarray(known.times, jnp.result_type(float))
        solution, _ = solve(net, terms, times, config.test_paths, model)
        return {"mse": moment_error(solution.ys, known)} | statistics(solution)

    return supervised(
        init,
        loss,
        lambda key, step: (),
        make_optimiser(config.train),
        evaluate=evaluate,
        report=ft.partial(_report, init=init, known=known),
        ema=config.train.ema,
        precision=config.train.precision,
    )


def moment_error(samples: Any, known: Any) -> Array:
    """Mean square error of the mean plus that of the variance, as in the source."""
    mean = jnp.mean(samples, 1) - known.mean
    variance = jnp.var(samples, 1, ddof=1) - known.variance
    return jnp.mean(mean**2) + jnp.mean(variance**2)


def statistics(solution: Any) -> dict[str, Array]:
    """Drift evaluations (the diffusion's are as many), and whether it gave up."""
    failed = solution.result != diffrax.RESULTS.successful
    return {
        "nfe": diffeq.field_evaluations(solution, SOLVER),
        "failed": failed.astype(jnp.int32),
    }


def _interpolate(first, last, done):
    # Weights of zero stay zero: the logarithm must not see them.
    ratio = jnp.where(first > 0, last / jnp.where(first > 0, first, 1), 0)
    return first * jnp.where(ratio > 0, ratio, 1) ** done * (ratio > 0)


def _report(results: Results, report: Report, *, init: Any, known: Any) -> None:
    def samples(arm: str):
        """Paths of the first seed's model at the times of the data."""
        config = cast(Config, results.arms[arm].config)
        net = trained_model(init, results.arms[arm].lane())
        times = jnp.asarray(known.times, jnp.result_type(float))

        @eqx.filter_jit
        def run(net):
            terms = equation(config.test_paths, config.model.finest, key=jr.key(0))
            return solve(net, terms, times, config.test_paths, config.model)[0].ys

        return run(net)

    figures.draw(results, report, known, samples)
