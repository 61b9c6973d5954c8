"""An instrument from its recordings: keys that were never heard, from f0 and loudness.

Source: Engel et al. 2020, "DDSP: Differentiable digital signal processing", sections
4.1 (the autoencoder) and 5.1 (its fidelity, Table 1).
"""

import functools as ft
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import jax.random as jr
from pydantic import Field

from djx.core.errors import ConfigError, Fault
from djx.dsp import LoudnessLoss, SpectralLoss
from djx.run import (
    Config as BaseConfig,
    Experiment,
    make_optimiser,
    Report,
    Results,
    supervised,
    trained_model,
)
from experiments import _ddsp_autoencoder_figures as figures
from experiments._ddsp_autoencoder_model import Autoencoder, Model
from experiments._ddsp_autoencoder_pitch import pitch_divergence
from experiments._ddsp_autoencoder_scores import mean_scores, nearest_keys
from experiments._recordings import Examples, Notes, notes
from experiments._recordings_config import Recordings


class Config(BaseConfig):
    """Resynthesis of an instrument's notes."""

    data: Recordings = Recordings()
    model: Model = Model()
    window_seconds: Annotated[float, Field(gt=0)] = 1.0
    """Of the cuts that a step learns from."""
    gain_db: Annotated[float, Field(ge=0)] = 0.0
    """Cuts are made louder or softer by up to so much, and their loudness with them."""
    loudness_weight: Annotated[float, Field(ge=0)] = 0.0
    """Of the distance of loudness in dB, beside the multi-scale spectral loss."""
    pitch_sounds: Annotated[int, Field(gt=0)] = 64
    """Sounds of known pitch in a step, where the model has a pitch encoder."""
    split: Literal["held_out", "extrapolation"] = "held_out"
    """What is evaluated: keys between those that were learned from, or above them."""


def initial_model(config: Config, key: Any) -> Any:
    """The model of an arm before training.

    Args:
        config: the arm's.
        key: of the weights.

    Returns:
        The model; of the arm that learns nothing, a number.
    """
    if config.model.synthesiser == "nearest":
        return jnp.zeros(())
    return Autoencoder(config.model, config.data, key=key)


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    recorded = notes(config.data)
    train, targets = recorded.part("train"), recorded.part(config.split)
    _check(config, recorded, train, targets)
    hop, rate = config.data.hop, config.data.sample_rate
    spectral, loudness = SpectralLoss(), LoudnessLoss(rate)
    window = round(config.window_seconds * rate / hop)
    init = ft.partial(initial_model, config)

    def data(key, step):
        note, place, level = jr.split(jr.fold_in(key, step), 3)
        count, frames = train.f0_hz.shape
        chosen = jr.randint(note, (config.train.batch,), 0, count)
        first = jr.randint(place, chosen.shape, 0, frames - window + 1)
        gain_db = jr.uniform(
            level, chosen.shape, minval=-config.gain_db, maxval=config.gain_db
        )

        def cut(chosen, first, gain_db):
            def of(array, scale):
                return jax.lax.dynamic_slice(
                    jnp.asarray(array), (chosen, first * scale), (1, window * scale)
                )[0]

            louder = of(train.loudness_db, 1) + gain_db
            return (
                of(train.f0_hz, 1),
                louder,
                of(train.audio, hop) * 10 ** (gain_db / 20),
            )

        return jax.vmap(cut)(chosen, first, gain_db)

    def loss(model, batch, step, key):
        del step
        if config.model.synthesiser == "nearest":
            nothing = jnp.zeros(())
            return model * 0.0, {"spectral": nothing, "loudness": nothing}
        keys = jr.split(key, config.train.batch)

        def one(f0_hz, loudness_db, audio, key):
            sound = model(f0_hz, loudness_db, audio, key=key)
            return spectral(sound, audio), loudness(sound, audio)

        f0_hz, loudness_db, audio = batch
        told = jax.vmap(one)(f0_hz, loudness_db, audio, keys)
        by_spectra, by_loudness = map(jnp.mean, told)
        total = by_spectra + config.loudness_weight * by_loudness
        metrics = {"spectral": by_spectra, "loudness": by_loudness}
        if model.pitch is not None:
            own = jr.fold_in(key, 1)
            metrics["pitch"] = pitch_divergence(
                model.pitch, config.pitch_sounds, key=own
            )
            total += metrics["pitch"]
        return total, metrics

    def evaluate(model, key):
        return mean_scores(rendered(config, model, targets, key), targets, config.data)

    return supervised(
        init,
        loss,
        data,
        make_optimiser(config.train),
        evaluate=evaluate,
        report=_report,
        ema=config.train.ema,
        precision=config.train.precision,
    )


def rendered(config: Config, model: Any, targets: Examples, key: Any):
    """Notes as the arm plays them.

    Args:
        config: the arm's.
        model: the arm's.
        targets: the recordings whose pitch and loudness it is given.
        key: of the noise.

    Returns:
        `(notes, samples)`.
    """
    if config.model.synthesiser == "nearest":
        return jnp.asarray(nearest_keys(config.data, targets))

    def one(given):
        index, f0_hz, loudness_db, audio = given
        return model(f0_hz, loudness_db, audio, key=jr.fold_in(key, index))

    parts = (targets.f0_hz, targets.loudness_db, targets.audio)
    numbers = jnp.arange(len(targets.key))
    return jax.lax.map(one, (numbers, *map(jnp.asarray, parts)))


def _check(config: Config, recorded: Notes, train: Examples, targets: Examples) -> None:
    seconds = recorded.examples.audio.shape[1] / config.data.sample_rate
    if config.window_seconds > seconds:
        message = f"{config.window_seconds} is longer than the {seconds} of a sound"
        raise ConfigError([Fault("config", "window_seconds", message)])
    for name, part in (("train", train), (config.split, targets)):
        if not len(part.key):
            message = f"its {len(recorded.split)} sounds leave none for {name}"
            raise ConfigError([Fault("config", "data.source", message)])
    if config.model.synthesiser == "nearest" and (targets.key < 0).any():
        message = "'nearest' needs keys, which files have not; leave the arm out"
        raise ConfigError([Fault("config", "model.synthesiser", message)])
    if config.model.synthesiser != "nearest":
        frames = jax.ShapeDtypeStruct((4,), jnp.float32)
        samples = jax.ShapeDtypeStruct((4 * config.data.hop,), jnp.float32)

        def whole(f0_hz, loudness_db, audio):
            key = jr.key(0)
            model = initial_model(config, key)
            return model(f0_hz, loudness_db, audio, key=key)

        try:
            out = jax.eval_shape(whole, frames, frames, samples)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError([Fault("config", "model", reason)]) from None
        if out.shape != samples.shape:
            message = f"4 frames make {out.shape}, not {samples.shape} samples"
            raise ConfigError([Fault("config", "model", message)])


def _report(results: Results, report: Report) -> None:
    first = next(iter(results.arms.values())).config
    assert isinstance(first, Config)
    recorded = notes(first.data)
    targets = recorded.part(first.split)
    sounds = {}
    for name, arm in results.arms.items():
        config = arm.config
        assert isinstance(config, Config)
        model = trained_model(ft.partial(initial_model, config), arm.lane())
        play = jax.jit(ft.partial(rendered, config, targets=targets))
        sounds[name] = play(model, key=jr.key(0))
    figures.draw(report, results.values, sounds, targets, first.data)
