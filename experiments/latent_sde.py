"""Latent SDE of the stochastic Lorenz system, against a latent ODE.

Source: Li et al. 2020, "Scalable gradients for stochastic differential equations",
section 5 (the evidence bound) and 7.2 (the Lorenz data). A recurrent encoder reads the
observations backwards and steers the posterior's drift; prior and posterior share the
diffusion, so that the divergence of paths is the integral of |u|^2 / 2 with
u = (posterior drift - prior drift) / diffusion.
"""

import functools as ft
from typing import Annotated, Any, cast, Literal, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float
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
from experiments import _latent_sde_figures as figures
from experiments._latent_sde_data import END, lorenz, Series


class Data(Section):
    """The series."""

    train: Annotated[int, Field(gt=0)] = 1024
    """Series to learn from."""
    test: Annotated[int, Field(gt=0)] = 2048
    """Series held out: their moments are what samples of the prior should have."""
    scored: Annotated[int, Field(gt=0)] = 128
    """How many of them the bound is computed for."""
    observations: Annotated[int, Field(gt=0)] = 40
    """Times observed after the start, up to time 2."""
    noise: Annotated[float, Field(gt=0)] = 0.1
    """Standard deviation of the observation noise, relative to the spread."""


class Model(Section):
    """The networks and the grid."""

    kind: Literal["sde", "ode"] = "sde"
    """ode: the same without diffusion and without steering: only the start is random"""
    latent: Annotated[int, Field(gt=0)] = 4
    """Dimensions of the latent state."""
    width: Annotated[int, Field(gt=0)] = 48
    """Hidden units of the drifts."""
    context: Annotated[int, Field(gt=0)] = 24
    """Units of the encoder."""
    substeps: Annotated[int, Field(gt=0)] = 2
    """Solver steps from one observation to the next."""
    scale: Literal["learned", "fixed"] = "learned"
    """Of the likelihood; fixed: at the noise of the data, as in the source. A model
    that cannot follow the paths is then far off by any measure of likelihood, so that
    arms compare only where each has its own best scale."""


class Config(BaseConfig):
    """Latent SDE on Lorenz paths."""

    data: Data = Data()
    model: Model = Model()
    anneal: Annotated[int, Field(gt=0)] = 200
    """Steps over which the divergence gets its full weight."""
    importance: Annotated[int, Field(gt=0)] = 16
    """Paths per series of the held-out bound."""


class Net(eqx.Module):
    """Encoder, prior, posterior, diffusion and decoder."""

    cell: eqx.nn.GRUCell
    start: eqx.nn.Linear
    posterior: eqx.nn.MLP
    prior: eqx.nn.MLP
    spread: eqx.nn.MLP
    decoder: eqx.nn.Linear
    prior_mean: Array
    prior_scale: Array
    log_scale: Array

    def __init__(self, model: Model, *, key):
        keys = jr.split(key, 6)
        size, width, context = model.latent, model.width, model.context
        self.cell = eqx.nn.GRUCell(3, context, key=keys[0])
        self.start = eqx.nn.Linear(context, 2 * size, key=keys[1])
        both = size + context
        make = ft.partial(eqx.nn.MLP, activation=jax.nn.softplus)
        self.posterior = make(both, size, width, 2, key=keys[2])
        self.prior = make(size, size, width, 2, key=keys[3])
        # One small network for every dimension: the noise is diagonal.
        self.spread = eqx.filter_vmap(lambda k: make(1, 1, 8, 1, key=k))(
            jr.split(keys[4], size)
        )
        self.decoder = eqx.nn.Linear(size, 3, key=keys[5])
        self.prior_mean, self.prior_scale = jnp.zeros(size), jnp.zeros(size)
        self.log_scale = jnp.log(0.5)

    def contexts(self, series: Float[Array, "times 3"]):
        """The encoder's state at each observation: it and all later ones are read."""

        def read(state, x):
            state = self.cell(x, state)
            return state, state

        state = jnp.zeros(self.cell.hidden_size, series.dtype)
        return jax.lax.scan(read, state, series, reverse=True)[1]

    def diffusion(self, z):
        """The diagonal noise, between 0 and 1, each entry of its own dimension."""
        values = eqx.filter_vmap(lambda net, x: net(x[None])[0])(self.spread, z)
        return 0.02 + jax.nn.sigmoid(values)


class Draw(NamedTuple):
    """One path and the logarithms that weigh it."""

    decoded: Float[Array, "times 3"]
    divergence: Float[Array, ""]
    """Of the posterior path from the prior, in nats."""
    log_weight: Float[Array, ""]
    """Logarithm of prior over posterior density of the path."""


def draw(net: Net, config: Config, series: Any, times: Any, *, key: Any) -> Draw:
    """Draws a path from the posterior of one series, or from the prior.

    Args:
        net: the networks.
        config: the run's.
        series: observations, `(times, 3)`; None for the prior.
        times: when, shape (times,); the first is 0.
        key: source of the start and the noise.

    Returns:
        The path.
    """
    model, size = config.model, config.model.latent
    start_key, noise_key = jr.split(key)
    contexts = None if series is None else net.contexts(series)
    mean, scale = net.prior_mean, jnp.exp(net.prior_scale)
    if contexts is None:
        own_mean, own_scale = mean, scale
    else:
        own_mean, raw = jnp.split(net.start(contexts[0]), 2)
        own_scale = jax.nn.softplus(raw) + 1e-3
    noise = jr.normal(start_key, (size,))
    z0 = own_mean + own_scale * noise
    ratio = jnp.log(own_scale / scale)
    apart = ((z0 - mean) / scale) ** 2 - noise**2
    log_weight = -jnp.sum(apart) / 2 + jnp.sum(ratio)
    divergence = (own_scale**2 + (own_mean - mean) ** 2) / scale**2 - 1
    divergence = jnp.sum(divergence) / 2 - jnp.sum(ratio)
    steered = model.kind == "sde"

    def parts(t, y, net):
        z = y[:size]
        prior = net.prior(z)
        if contexts is None or not steered:
            return z, prior, jnp.zeros_like(z)
        ahead = jnp.floor(t / END * config.data.observations + 1e-3).astype(int) + 1
        context = contexts[jnp.minimum(ahead, contexts.shape[0] - 1)]
        drift = net.posterior(jnp.concatenate([z, context]))
        return z, drift, (drift - prior) / net.diffusion(z)

    def drift(t, y, net):
        _, own, gap = parts(t, y, net)
        return jnp.concatenate([own, jnp.sum(gap**2)[None] / 2, jnp.zeros(1)])

    def diffusion(t, y, net):
        z, _, gap = parts(t, y, net)
        rows = [jnp.diag(net.diffusion(z)), jnp.zeros((1, size)), -gap[None]]
        return jnp.concatenate(rows)

    terms, solver = diffrax.ODETerm(drift), diffrax.Heun()
    if model.kind == "sde":
        path = diffeq.BulkBrownianPath((size,), noise_key)
        terms = diffrax.MultiTerm(terms, diffrax.ControlTerm(diffusion, path))
        solver = diffrax.Euler()
    steps = config.data.observations * model.substeps
    solution = diffeq.diffeqsolve(
        terms,
        solver,
        0.0,
        END,
        END / steps,
        jnp.concatenate([z0, jnp.zeros(2)]),
        net,
        saveat=diffrax.SaveAt(ts=times),
        max_steps=steps,
        throw=False,
    )
    ys: Any = solution.ys
    path_divergence, martingale = ys[-1, size], ys[-1, size + 1]
    return Draw(
        jax.vmap(net.decoder)(ys[:, :size]),
        divergence + path_divergence,
        log_weight - path_divergence + martingale,
    )


def observation_scale(net: Net, config: Config) -> Any:
    """The standard deviation of an observation given the path."""
    learned = config.model.scale == "learned"
    return jnp.exp(net.log_scale) if learned else config.data.noise


def log_likelihood(decoded: Any, series: Any, scale: Any) -> Float[Array, ""]:
    """Of all observed values of one series, in nats."""
    z = (series - decoded) / scale
    return jnp.sum(-(z**2) / 2 - jnp.log(scale) - jnp.log(2 * jnp.pi) / 2)


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    data = config.data
    known = lorenz(data.observations, data.train, data.test, data.noise)
    values = known.train[0].size

    def init(key):
        return Net(config.model, key=key)

    def loss(net, batch, step, key):
        def one(series, key):
            path = draw(net, config, series, known.times, key=key)
            fit = log_likelihood(path.decoded, series, observation_scale(net, config))
            return fit, path.divergence

        fit, divergence = jax.vmap(one)(batch, jr.split(key, len(batch)))
        weight = jnp.minimum(1.0, (step + 1) / config.anneal)
        total = jnp.mean(weight * divergence - fit) / values
        return total, {"fit": fit.mean() / values, "divergence": divergence.mean()}

    def evaluate(net, key):
        test, scored = jnp.asarray(known.test), jnp.asarray(known.test[: data.scored])
        bound_key, sample_key = jr.split(key)

        def one(series, key):
            def weigh(key):
                path = draw(net, config, series, known.times, key=key)
                fit = log_likelihood(
                    path.decoded, series, observation_scale(net, config)
                )
                return fit + path.log_weight, path.divergence - fit

            weights, losses = jax.vmap(weigh)(jr.split(key, config.importance))
            bound = jax.nn.logsumexp(weights) - jnp.log(config.importance)
            return bound, -losses.mean()

        bounds, evidence = jax.vmap(one)(scored, jr.split(bound_key, len(scored)))
        samples = prior_samples(net, config, len(test), known, key=sample_key)
        return {
            "bound": bounds.mean() / values,
            "elbo": evidence.mean() / values,
            "scale": jnp.asarray(observation_scale(net, config)),
        } | moment_errors(samples, test)

    return supervised(
        init,
        loss,
        epoch_batches(known.train, config.train.batch),
        make_optimiser(config.train),
        evaluate=evaluate,
        report=ft.partial(_report, init=init, known=known),
        ema=config.train.ema,
        precision=config.train.precision,
    )


def prior_samples(net: Net, config: Config, count: int, known: Series, *, key: Any):
    """Observed paths of the model alone, `(count, times, 3)`."""

    def one(key):
        path_key, noise_key = jr.split(key)
        decoded = draw(net, config, None, known.times, key=path_key).decoded
        return decoded + observation_scale(net, config) * jr.normal(
            noise_key, decoded.shape
        )

    return jax.vmap(one)(jr.split(key, count))


def moment_errors(samples: Any, data: Any) -> dict[str, Array]:
    """Root mean square errors over time of the mean and of the standard deviation."""
    mean = samples.mean(0) - data.mean(0)
    spread = samples.std(0) - data.std(0)
    scale = jnp.sqrt(jnp.mean(data.var(0)))
    return {
        "mean_error": jnp.sqrt(jnp.mean(mean**2)) / scale,
        "spread_error": jnp.sqrt(jnp.mean(spread**2)) / scale,
    }


def _report(results: Results, report: Report, *, init: Any, known: Series) -> None:
    def paths(arm: str):
        """Posterior draws of four held-out series, and prior samples; first seed."""
        config = cast(Config, results.arms[arm].config)
        net = trained_model(init, results.arms[arm].lane())

        @eqx.filter_jit
        def run(net):
            def one(series, key):
                draws = jax.vmap(
                    lambda k: draw(net, config, series, known.times, key=k).decoded
                )
                return draws(jr.split(key, 20))

            test = jnp.asarray(known.test[:4])
            posterior = jax.vmap(one)(test, jr.split(jr.key(0), 4))
            prior = prior_samples(net, config, 256, known, key=jr.key(1))
            return posterior, prior

        return run(net)

    figures.draw(results, report, known, paths)
