"""Notes of which everything is known."""

import numpy as np
import scipy.signal

from experiments import _recordings_made as made
from experiments._recordings import notes, Recordings
from experiments._recordings_made import made_notes


def test_made_notes_are_what_their_controls_say(monkeypatch):
    """Against a sum of sines in float64; without breath, which is not one."""
    quiet = {name: v._replace(noise=0.0) for name, v in made.VOICES.items()}
    monkeypatch.setattr(made, "VOICES", quiet)
    voices, keys = ["bowed", "reed", "plucked"], [50, 62, 74.5]
    found = made_notes(voices, keys, frames=64, seed=3)
    for audio, f0_hz, amplitudes in zip(found.audio, *found.controls[:2], strict=True):
        t = np.arange(63 * 64) / 64  # in frames; the last one's controls are held
        at = [np.interp(t, np.arange(64), a) for a in amplitudes.T.astype(float)]
        f = f0_hz.astype(float)
        # The integral of a straight line from frame to frame.
        whole = np.concatenate([[0], np.cumsum((f[1:] + f[:-1]) / 2)])
        n = np.floor(t).astype(int)
        phase = whole[n] + f[n] * (t - n) + (f[n + 1] - f[n]) * (t - n) ** 2 / 2
        h = np.arange(1, 41)[:, None]
        heard = np.where(h * f.max() < 7000, at, 0)  # below the fade to Nyquist
        clean = np.sum(heard * np.sin(2 * np.pi * h * phase * 64 / 16000), 0)
        low = scipy.signal.firwin(255, 6000, fs=16000)
        gap = np.convolve(audio[: len(t)] - clean, low, "valid")
        assert np.sqrt(np.mean(gap**2)) < 1e-3 * np.sqrt(np.mean(clean**2))
    level = np.sqrt(np.mean(found.audio.astype(float) ** 2, 1))
    np.testing.assert_allclose(level, 0.1, rtol=1e-5)


def test_a_room_is_added_and_notes_do_not_depend_on_each_other():
    voices, keys = ["reed", "bowed", "reed"], [60, 62, 64]
    dry = made_notes(voices, keys, frames=64)
    wet = made_notes(voices, keys, frames=64, reverb_seconds=0.1)
    assert wet.impulse.shape == (1600,) and wet.impulse[0] == 0
    for one, other in zip(dry.audio.astype(float), wet.audio, strict=True):
        expected = one + scipy.signal.fftconvolve(one, wet.impulse)[: len(one)]
        np.testing.assert_allclose(other, expected, atol=1e-5)
    alone = made_notes(voices[:1], keys[:1], frames=64)
    np.testing.assert_array_equal(alone.audio[0], dry.audio[0])


def test_made_notes_are_split_by_key_and_their_pitch_is_found():
    source = {"kind": "made", "keys": 7, "lowest_key": 60, "instruments": ["reed"]}
    short = {"seconds": 0.256, "least_hz": 200.0}
    config = Recordings.model_validate({"source": source} | short)
    found = notes(config)
    assert found.part("train").key.tolist() == [60, 60, 64, 64, 66, 66, 70, 70]
    assert found.part("held_out").key.tolist() == [62, 62, 68, 68]
    periodic = found.examples.aperiodicity < 0.1
    assert found.controls is not None and periodic.mean() > 0.9
    cents = 1200 * np.log2(found.examples.f0_hz / found.controls.f0_hz)
    assert np.median(np.abs(cents[periodic])) < 2
