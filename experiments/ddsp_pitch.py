"""The frequency of a sound by gradient, from anywhere: what a loss must be for that.

Sources: Engel et al. 2020 (the spectral loss; its gradient by frequency is known not to
lead anywhere but from nearby), Hayes et al. 2023 (sinusoidal frequency estimation by
gradient descent), Torres et al. 2024 (spectral optimal transport).
"""

import functools as ft
from collections.abc import Callable
from typing import Annotated, Any, cast, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float
from pydantic import Field

from djx.dsp import Harmonic, SpectralLoss, SpectralTransport
from djx.run import (
    Config as BaseConfig,
    Experiment,
    make_optimiser,
    Report,
    Results,
    Section,
    supervised,
    trained_model,
)
from experiments import _ddsp_pitch_figures as figures


RATE, HOP = 16000, 64
SAMPLES = 1024
Waves = Float[Array, "starts 1024"]


class Sound(Section):
    """What is heard: 64 ms at 16 kHz."""

    starts: Annotated[int, Field(gt=0)] = 128
    """Sounds, each with a frequency of its own and a start of its own."""
    harmonics: Annotated[int, Field(gt=0)] = 1
    """Of known amplitudes, 1 / h."""
    noise_db: float | None = None
    """Level of white noise in the target, below the sound; none if absent."""
    low: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Least frequency, as a part of half the sample rate; starts and targets alike."""
    high: Annotated[float, Field(gt=0, lt=0.9)] = 0.85
    """Greatest frequency, of the highest harmonic."""


class Config(BaseConfig):
    """Frequency by gradient."""

    sound: Sound = Sound()
    loss: Literal["transport", "spectral", "waveform"] = "transport"
    """transport: 1-Wasserstein of power spectra; spectral: multi-scale; waveform: mean
    square of the difference."""
    floor: Annotated[float, Field(ge=0)] = 0.0
    """Of transport: what is below so many times the median power counts as noise."""


class Pitches(eqx.Module):
    """Where the searches are, and where they should be, in radians a sample."""

    found: Float[Array, " starts"]
    target: Float[Array, " starts"]


def sounds(omega: Float[Array, " starts"], harmonics: int) -> Waves:
    """Stacks of harmonics of constant frequency, by the oscillator of `djx.dsp`.

    Args:
        omega: fundamental frequencies, in radians a sample.
        harmonics: how many.

    Returns:
        Their samples, `(starts, 1024)`.
    """
    frames = SAMPLES // HOP
    amplitudes = 1 / jnp.arange(1.0, harmonics + 1)

    def one(omega):
        f0_hz = jnp.full(frames, omega * RATE / (2 * jnp.pi))
        held = jnp.broadcast_to(amplitudes, (frames, harmonics))
        return Harmonic(RATE, HOP)(f0_hz, held)

    return jax.vmap(one)(omega)


def distances(
    kind: str, floor: float = 0.0
) -> Callable[[Waves, Waves], Float[Array, " starts"]]:
    """A loss of every sound.

    Args:
        kind: as in the config.
        floor: as in the config.

    Returns:
        A function of sounds and targets.
    """
    match kind:
        case "transport":
            return jax.vmap(SpectralTransport(SAMPLES, SAMPLES, floor))
        case "spectral":
            return jax.vmap(SpectralLoss(fft_sizes=(1024, 512, 256, 128, 64)))
    return lambda audio, target: jnp.mean((audio - target) ** 2, 1)


def noisy(clean: Waves, white: Waves, level_db: float | None) -> Waves:
    """Sounds with noise of a level below each.

    Args:
        clean: the sounds.
        white: noise of variance 1.
        level_db: ratio of powers; no noise if None.

    Returns:
        The sum.
    """
    if level_db is None:
        return clean
    power = jnp.mean(clean**2, 1, keepdims=True) * 10 ** (-level_db / 10)
    return clean + jnp.sqrt(power) * white


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    sound = config.sound
    distance = distances(config.loss, config.floor)
    shape = (sound.starts, SAMPLES)

    def init(key):
        first, second = jr.split(key)
        bounds = jnp.pi * sound.low, jnp.pi * sound.high / sound.harmonics
        draw = ft.partial(
            jr.uniform, shape=shape[:1], minval=bounds[0], maxval=bounds[1]
        )
        return Pitches(draw(first), draw(second))

    def data(key, step):
        return jr.normal(key, shape)  # the same at every step: one recording

    def loss(model, white, step, key):
        del step, key
        target = jax.lax.stop_gradient(sounds(model.target, sound.harmonics))
        heard = noisy(target, white, sound.noise_db)
        value = distance(sounds(model.found, sound.harmonics), heard)
        return jnp.mean(value), measures(model)

    def evaluate(model, key):
        del key
        return measures(model)

    return supervised(
        init,
        loss,
        data,
        make_optimiser(config.train),
        evaluate=evaluate,
        report=ft.partial(_report, init=init),
        ema=config.train.ema,
        precision=config.train.precision,
    )


def measures(model: Pitches) -> dict[str, Array]:
    """How many searches ended where they should, and how far off they are."""
    gap = jnp.abs(model.found - model.target)
    relative = gap / jnp.abs(model.target)
    return {
        "within_1_percent": jnp.mean((relative < 0.01).astype(gap.dtype)),
        "within_0_01_rad": jnp.mean((gap < 0.01).astype(gap.dtype)),
        "median_error": jnp.median(relative),
    }


def _report(results: Results, report: Report, *, init: Any) -> None:
    models = {
        name: trained_model(init, arm.lane()) for name, arm in results.arms.items()
    }
    sound = cast(Config, next(iter(results.arms.values())).config).sound
    render = ft.partial(sounds, harmonics=sound.harmonics)
    landscape = {
        kind: distances(kind) for kind in ("transport", "spectral", "waveform")
    }
    bounds = sound.low, sound.high / sound.harmonics
    figures.draw(report, models, render, landscape, bounds, RATE)
