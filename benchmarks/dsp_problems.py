"""What the synthesisers' races render, and what exactly comes out."""

from typing import NamedTuple

import numpy as np


RATE, HOP, FRAMES, BATCH = 16000, 64, 1000, 16
BANDS = 65
SIZES = (2048, 1024, 512, 256, 128, 64)


class Controls(NamedTuple):
    """Of harmonics: frames of a batch."""

    f0_hz: np.ndarray
    amplitudes: np.ndarray
    weights: np.ndarray
    """Of the samples, in a loss that is linear in them."""


def harmonic_controls(harmonics: int) -> Controls:
    """Vibrato around different notes, and amplitudes that fall with the harmonic.

    Every harmonic stays below half the sample rate, where synthesisers differ.
    """
    rng = np.random.default_rng(0)
    t = np.arange(FRAMES) * HOP / RATE
    f0 = rng.uniform(40, 70, (BATCH, 1)) * (1 + 0.02 * np.sin(2 * np.pi * 5 * t))
    fall = rng.uniform(size=(BATCH, FRAMES, harmonics)) / np.arange(1, harmonics + 1)
    amplitudes = fall / fall.sum(-1, keepdims=True)
    weights = rng.normal(size=(BATCH, FRAMES * HOP))
    return Controls(*(a.astype(np.float32) for a in (f0, amplitudes, weights)))


def exact_harmonics(controls: Controls, rows: int = 1) -> np.ndarray:
    """The first sounds, in float64 and with the phase summed in rational steps."""
    f0, amplitudes = (np.asarray(c[:rows], np.float64) for c in controls[:2])
    f0 = np.concatenate([f0, f0[:, -1:]], 1)
    amplitudes = np.concatenate([amplitudes, amplitudes[:, -1:]], 1)
    w = np.arange(HOP) / HOP
    steps = f0[:, :-1, None] * (1 - w) + f0[:, 1:, None] * w
    steps = steps.reshape(rows, -1) / RATE
    phase = np.cumsum(steps, 1) - steps
    out = np.zeros_like(phase)
    for h in range(amplitudes.shape[2]):
        a = amplitudes[:, :, h]
        mixed = a[:, :-1, None] * (1 - w) + a[:, 1:, None] * w
        out += mixed.reshape(rows, -1) * np.sin(2 * np.pi * ((h + 1) * phase % 1))
    return out


def noise_controls() -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes of filters, and weights of the samples."""
    rng = np.random.default_rng(1)
    magnitudes = rng.uniform(size=(BATCH, FRAMES, BANDS)).astype(np.float32)
    return magnitudes, rng.normal(size=(BATCH, FRAMES * HOP)).astype(np.float32)


def sound_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Sounds to be compared."""
    pair = np.random.default_rng(2).normal(size=(2, BATCH, FRAMES * HOP))
    return pair[0].astype(np.float32), pair[1].astype(np.float32)


def room() -> np.ndarray:
    """A second of an impulse response."""
    noise = np.random.default_rng(3).normal(size=RATE)
    falling = noise * np.exp(-np.log(1000) * np.arange(RATE) / (0.5 * RATE))
    return (falling / np.linalg.norm(falling)).astype(np.float32)


def solo_features() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pitch, loudness, and sounds to be matched."""
    f0_hz, amplitudes, _ = harmonic_controls(8)
    rng = np.random.default_rng(4)
    loudness = rng.uniform(-60, -20, (BATCH, 1)) + np.zeros((BATCH, FRAMES))
    # Two octaves up: something that the instrument can match.
    controls = Controls(4 * f0_hz, amplitudes, f0_hz)
    audio = exact_harmonics(controls, rows=BATCH)
    return controls.f0_hz, loudness.astype(np.float32), (0.1 * audio).astype(np.float32)
