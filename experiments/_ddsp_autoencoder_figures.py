"""The pictures, sounds and table of the autoencoder."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from djx.dsp import loudness_db
from djx.run import Report
from experiments._ddsp_autoencoder_scores import pitch_of
from experiments._recordings import Examples, PERIODIC
from experiments._recordings_config import Recordings


SHOWN = 3  # notes
PAPER = ["Engel et al. 2020, NSynth, 7 M parameters", "0.07", "0.02", "0.003", "-"]


def draw(
    report: Report,
    values: Mapping[str, Mapping[str, np.ndarray]],
    sounds: Mapping[str, Any],
    targets: Examples,
    data: Recordings,
) -> None:
    """Adds the table, spectrograms, pitch and loudness, and what is heard.

    Args:
        report: where to.
        values: by arm and metric, over seeds.
        sounds: of the first seed, by arm, `(notes, samples)`.
        targets: the recordings.
        data: the config's.
    """
    import matplotlib.pyplot as plt

    names = ("loudness_l1", "f0_l1", "f0_outliers", "spectral")
    rows = [
        [arm, *(float(np.mean(values[arm][name])) for name in names)] for arm in values
    ]
    report.table(
        ["", "loudness L1", "F0 L1 (semitones)", "F0 outliers", "spectral distance"],
        [*rows, PAPER],
        "Means over notes and seeds; loudness in dB. The paper's row is of other data "
        "(NSynth, a thousand instruments, F0 by CREPE, loudness on its own scale): "
        "beside it, not against it. These notes are of one bank: an attack and a loop.",
    )
    heard = {"recording": np.asarray(targets.audio)} | {
        name: np.asarray(sound) for name, sound in sounds.items()
    }
    shown = np.unique(np.linspace(0, len(targets.key) - 1, SHOWN).astype(int))
    figure, panels = plt.subplots(
        len(shown),
        len(heard),
        figsize=(2.6 * len(heard), 2.1 * len(shown)),
        layout="constrained",
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    for row, note in zip(panels, shown, strict=True):
        for panel, (name, audio) in zip(row, heard.items(), strict=True):
            # Silence has no decibels: a floor far below what is drawn.
            panel.specgram(
                audio[note] + 1e-9,
                NFFT=1024,
                noverlap=768,
                Fs=data.sample_rate / 1000,
                vmin=-130,
                vmax=-30,
            )
            panel.set_title(f"{name}, key {targets.key[note]}", fontsize="small")
    for panel in panels[:, 0]:
        panel.set_ylabel("kHz")
    report.figure(figure, "Spectrograms over time in ms, -130 to -30 dB.")

    note = shown[-1]
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(7, 4.4), layout="constrained", sharex=True
    )
    seconds = np.arange(targets.f0_hz.shape[1]) * data.hop / data.sample_rate
    for name, audio in heard.items():
        sound = jnp.asarray(audio[note])
        pitch = pitch_of(sound, data)
        there = np.asarray(pitch.aperiodicity) < PERIODIC
        above.plot(seconds, np.where(there, pitch.f0_hz, np.nan), label=name)
        loudness = loudness_db(sound, data.sample_rate, hop=data.hop)
        below.plot(seconds, loudness, label=name)
    above.set(ylabel="f0 (Hz)")
    below.set(ylabel="loudness (dB)", xlabel="seconds", ylim=(-90, 0))
    above.legend(frameon=False, fontsize="small")
    report.figure(
        figure, f"Pitch, where there is one, and loudness of key {targets.key[note]}."
    )
    for note in shown:
        for name, audio in heard.items():
            caption = f"key {targets.key[note]}: {name}"
            report.audio(3 * audio[note], data.sample_rate, caption)
