"""Notes of which everything is known, by the synthesisers of `djx.dsp`."""

import functools as ft
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from djx.dsp import (
    decaying_noise,
    FilteredNoise,
    FrequencyFilter,
    Harmonic,
    reverberated,
)
from experiments._recordings_sounds import LEVEL


HARMONICS, BANDS = 40, 65
WET = 0.3  # gain of a room's response, which has energy 1 before


class Voice(NamedTuple):
    """What makes an instrument."""

    formants: tuple[tuple[float, float, float], ...]
    """Centre and width in Hz, and gain above 1; they do not move with the key."""
    slope: float = 1.0
    """Harmonic h has h^-slope of the first's amplitude where the note is loudest."""
    softer: float = 0.7
    """What is added to the slope per 20 dB less: soft notes are dull."""
    even: float = 1.0
    """Gain of even harmonics."""
    vibrato_cents: float = 0.0
    attack_seconds: float = 0.05
    decay_seconds: float | None = None
    """Time in which the first harmonic falls by 60 dB; others fall faster. None for a
    note that is held and swells."""
    noise: float = 0.02
    """Amplitude of the noise at 0 Hz, beside 1 of the first harmonic."""


VOICES = {
    "bowed": Voice(((500, 200, 3), (1200, 500, 2), (2800, 900, 2)), vibrato_cents=15),
    "reed": Voice(((1500, 600, 2.5),), 0.8, even=0.15, noise=0.06),
    "plucked": Voice(
        ((400, 300, 2),), 1.4, attack_seconds=0.004, decay_seconds=3.0, noise=0.005
    ),
}


class Controls(NamedTuple):
    """What synthesisers are given, frame by frame."""

    f0_hz: np.ndarray
    """`(notes, frames)`."""
    amplitudes: np.ndarray
    """Of harmonics, `(notes, frames, 40)`."""
    magnitudes: np.ndarray
    """Of the noise's filter, `(notes, frames, 65)`."""


class MadeNotes(NamedTuple):
    """Notes, and what they were made from."""

    audio: np.ndarray
    """`(notes, samples)`."""
    controls: Controls
    impulse: np.ndarray
    """Of the room, which is heard on top, `(taps,)`; empty without one."""


def made_notes(
    voices: Sequence[str],
    keys: Sequence[float],
    *,
    sample_rate: int = 16000,
    hop: int = 64,
    frames: int = 1000,
    reverb_seconds: float | None = None,
    seed: int = 0,
) -> MadeNotes:
    """Notes with formants, vibrato, swells or decays, and breath.

    Args:
        voices: each note's, out of `VOICES`.
        keys: each note's, in MIDI.
        sample_rate: in Hz.
        hop: samples in a frame.
        frames: of every note.
        reverb_seconds: time in which the room's response falls by 60 dB; None for none.
        seed: of vibrato, swells, noise and room; a note depends on nothing else but its
            own voice, key and place in the list.

    Returns:
        The notes, at the level that recordings get before the room is added.
    """
    rows = []
    for index, (voice, key) in enumerate(zip(voices, keys, strict=True)):
        random = np.random.default_rng([seed, index])
        rows.append(_controls(VOICES[voice], key, sample_rate, hop, frames, random))
    root = jax.random.key(seed)
    impulse = jnp.zeros(0)
    if reverb_seconds is not None:
        white = jax.random.normal(root, (round(reverb_seconds * sample_rate),))
        impulse = WET * decaying_noise(white, reverb_seconds, sample_rate)
    sounds, scaled = [], []
    for index, own in enumerate(rows):
        key = jax.random.fold_in(root, index)
        dry, gain = jax.device_get(_dry(*own, key, sample_rate, hop))
        sounds.append(jax.jit(reverberated)(dry, impulse) if impulse.size else dry)
        scaled.append((own.f0_hz, gain * own.amplitudes, gain * own.magnitudes))
    f0_hz, amplitudes, magnitudes = map(np.stack, zip(*scaled, strict=True))
    controls = Controls(f0_hz, amplitudes, magnitudes)
    return MadeNotes(np.stack(sounds), controls, np.asarray(impulse))


@ft.partial(jax.jit, static_argnums=(4, 5))
def _dry(f0_hz, amplitudes, magnitudes, key, sample_rate, hop):
    """A note at the common level, and by how much it was scaled."""
    breath = FilteredNoise(FrequencyFilter(hop, BANDS))(magnitudes, key=key)
    audio = Harmonic(sample_rate, hop)(f0_hz, amplitudes) + breath
    gain = LEVEL / jnp.sqrt(jnp.mean(audio**2))
    return gain * audio, gain


def _controls(
    voice: Voice, key: float, sample_rate: int, hop: int, frames: int, random
) -> Controls:
    t = np.arange(frames) * (hop / sample_rate)
    rate, phase = random.uniform(5, 6.5), random.uniform(0, 2 * np.pi, 2)
    vibrato = np.sin(2 * np.pi * rate * t + phase[0]) * np.minimum(t / 0.5, 1)
    f0_hz = 440 * 2 ** ((key - 69 + voice.vibrato_cents / 100 * vibrato) / 12)
    h = np.arange(1, HARMONICS + 1)
    heard_hz = f0_hz[:, None] * h
    swell = random.uniform(0.25, 1)  # in Hz
    below_db = -10 * (1 - np.cos(2 * np.pi * swell * t + phase[1]))
    falls_db = np.zeros((frames, 1))
    if voice.decay_seconds is not None:
        below_db = np.full(frames, random.uniform(-20, 0))
        falls_db = -60 * np.outer(t, 1 + (h - 1) / 8) / voice.decay_seconds
    level = 10 ** (below_db / 20) * (1 - np.exp(-t / voice.attack_seconds))
    shape = h ** -(voice.slope - voice.softer * below_db[:, None] / 20)
    shape *= np.where(h % 2 == 0, voice.even, 1) * 10 ** (falls_db / 20)
    shape *= 1 + sum(
        gain * np.exp(-(((heard_hz - centre) / width) ** 2))
        for centre, width, gain in voice.formants
    )
    bands_hz = np.linspace(0, sample_rate / 2, BANDS)
    breath = voice.noise / (1 + bands_hz / 2000) * 10 ** (falls_db[:, :1] / 20)
    found = Controls(f0_hz, level[:, None] * shape, level[:, None] * breath)
    return Controls(*(np.asarray(array, np.float32) for array in found))
