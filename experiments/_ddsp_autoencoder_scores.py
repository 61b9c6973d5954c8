"""How near a rendered note is to the recorded one, and what a sampler would play."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.signal import resample_poly

from djx.dsp import loudness_db, Pitch, SpectralLoss, yin
from experiments._recordings import Examples, notes, PERIODIC
from experiments._recordings_config import Recordings


def scores(
    audio: Float[Array, " samples"], note: Examples, data: Recordings
) -> dict[str, Array]:
    """Distances of one note from its recording (as Engel et al. 2020, Table 1).

    Args:
        audio: what was rendered.
        note: the recording, without a leading axis.
        data: the config's.

    Returns:
        `loudness_l1` in dB; `f0_l1` in semitones over the frames where both have a
        pitch; `f0_outliers`, the share of the recording's pitched frames in which the
        rendering has none; and `spectral`, the multi-scale distance.
    """
    loudness = loudness_db(audio, data.sample_rate, hop=data.hop)
    pitch = pitch_of(audio, data)
    there = note.aperiodicity < PERIODIC
    both = there & (pitch.aperiodicity < PERIODIC)
    semitones = jnp.abs(12 * jnp.log2(pitch.f0_hz / note.f0_hz))
    return {
        "loudness_l1": jnp.mean(jnp.abs(loudness - note.loudness_db)),
        "f0_l1": _mean(semitones, both),
        "f0_outliers": 1 - _mean(both.astype(float), there),
        "spectral": SpectralLoss()(audio, jnp.asarray(note.audio)),
    }


def pitch_of(audio: Float[Array, " samples"], data: Recordings) -> Pitch:
    """Pitch as that of the recordings was found: at twice their rate.

    Whole samples are coarse beside the periods of high notes with many harmonics.

    Args:
        audio: what was rendered.
        data: the config's.

    Returns:
        At every frame.
    """
    return yin(
        twice(audio),
        2 * data.sample_rate,
        hop=2 * data.hop,
        least_hz=data.least_hz,
        greatest_hz=data.greatest_hz,
    )


def twice(audio: Float[Array, " samples"]) -> Float[Array, " 2*samples"]:
    """A sound at twice the sample rate, by its Fourier series."""
    samples = audio.shape[0]
    return 2 * jnp.fft.irfft(jnp.fft.rfft(audio), 2 * samples)


def _mean(values, where):
    count = jnp.sum(where)
    total = jnp.sum(jnp.where(where, values, 0))
    return jnp.where(count > 0, total / jnp.maximum(count, 1), 0)


def mean_scores(
    rendered: Float[Array, "notes samples"], targets: Examples, data: Recordings
) -> dict[str, Array]:
    """The mean over notes, one after the other.

    Args:
        rendered: the notes.
        targets: their recordings.
        data: the config's.

    Returns:
        As `scores`.
    """

    def one(pair: Any):
        audio, target = pair
        return scores(audio, target, data)

    told = jax.lax.map(one, (rendered, jax.tree.map(jnp.asarray, targets)))
    return {name: jnp.mean(values) for name, values in told.items()}


def nearest_keys(data: Recordings, targets: Examples) -> np.ndarray:
    """What a sampler plays: the recording of the nearest key, faster or slower.

    Args:
        data: the config's.
        targets: notes of which only key, instrument and length are read.

    Returns:
        `(notes, samples)`.
    """
    samples = targets.audio.shape[1]
    # An octave up takes twice as many samples of the recording and its loop.
    longer = data.model_copy(update={"seconds": 2 * data.seconds})
    source = notes(longer).part("train")
    out = np.zeros((len(targets.key), samples), np.float32)
    for row, (key, instrument) in enumerate(
        zip(targets.key, targets.instrument, strict=True)
    ):
        gaps = np.abs(source.key - int(key)) + 1000 * (source.instrument != instrument)
        best = int(np.argmin(gaps))
        ratio = 2 ** ((int(key) - int(source.key[best])) / 12)
        # By a rational ratio within a twentieth of a cent.
        played = resample_poly(source.audio[best], 10000, round(10000 * ratio))
        played = played[:samples]
        out[row, : len(played)] = played
    return out
