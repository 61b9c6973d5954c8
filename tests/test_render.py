"""Control files, MIDI files, and a trained instrument that plays them."""

import dataclasses
import re

import mido
import numpy as np
import pytest
import scipy.io.wavfile

from djx.core.errors import ConfigError
from djx.dsp import loudness_db, yin
from djx.run import load, run
from experiments import render as command
from experiments._control_files import Played, played, read_midi, read_score


FRAME = 0.004
SMOKE = "configs/ddsp_autoencoder/smoke.toml"


def write_midi(path, notes, tempo=500000):
    """Notes of (start, length, key, velocity), in beats of half a second."""
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=tempo, time=0))
    events = []
    for start, length, key, velocity in notes:
        events.append((start, "note_on", key, velocity))
        events.append((start + length, "note_off", key, 0))
    now = 0
    for time, kind, key, velocity in sorted(events, key=lambda e: (e[0], e[1])):
        ticks = round(480 * time)
        track.append(mido.Message(kind, note=key, velocity=velocity, time=ticks - now))
        now = ticks
    file.save(path)


def test_csv_is_linear_between_its_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,loudness_db,f0_hz\n0,-60,220\n1,-20,440\n")
    score = read_score(path, 0.25, 0.0)
    np.testing.assert_allclose(score.f0_hz, 220 * 2 ** np.asarray([0, 0.25, 0.5, 0.75]))
    np.testing.assert_allclose(score.loudness_db, [-60, -50, -40, -30])


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.csv", "time,f0_hz\n0,1\n1,1\n", "no column 'loudness_db'"),
        ("a.csv", "time,f0_hz,loudness_db\n0,1,0\n0,1,0\n", "times do not rise"),
        ("a.csv", "time,f0_hz,loudness_db\n0,1,0\n1,0,0\n", "has to be positive"),
        ("a.csv", "time,f0_hz,loudness_db\n0,1,0\n1,x,0\n", "could not convert"),
        ("a.csv", "time,f0_hz,loudness_db\n0,nan,0\n1,1,0\n", "lines of numbers"),
        ("a.csv", "", "no column 'time'"),
        ("a.mid", "no", "is no MIDI file"),
        ("a.txt", "", "neither .csv nor .mid"),
        (None, "", "no such file"),
    ],
)
def test_refusals_are_one_line(tmp_path, name, text, words):
    path = tmp_path / (name or "b.csv")
    if name:
        path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_score(path, FRAME, 0.0)
    assert "\n" not in str(caught.value)


def test_midi_notes_have_their_seconds(tmp_path):
    path = tmp_path / "a.mid"
    write_midi(path, [(0, 1, 60, 127), (1, 2, 64, 1), (3, 1, 64, 90)], tempo=1000000)
    found = read_midi(path)
    assert found == [Played(0, 1, 60, 127), Played(1, 3, 64, 1), Played(3, 4, 64, 90)]
    write_midi(tmp_path / "empty.mid", [])
    with pytest.raises(ConfigError, match="no notes"):
        read_midi(tmp_path / "empty.mid")


def test_one_voice_plays_the_newest_note():
    notes = [Played(0.0, 1.0, 57, 127), Played(0.5, 0.8, 69, 64)]
    score = played(notes, FRAME, -10.0)
    at = lambda seconds: round(seconds / FRAME)  # noqa: E731
    np.testing.assert_allclose(score.f0_hz[at(0.4)], 220, rtol=1e-6)
    np.testing.assert_allclose(score.f0_hz[at(0.6)], 440, rtol=1e-6)
    np.testing.assert_allclose(score.loudness_db[at(0.4)], -10)
    np.testing.assert_allclose(score.loudness_db[at(0.6)], -10 - 24 * 63 / 126)
    assert score.loudness_db[-1] <= -70


@pytest.fixture(scope="module")
def instrument(tmp_path_factory):
    out = tmp_path_factory.mktemp("instrument")
    spec = load(SMOKE, "train.steps=2", "train.eval_every=2", "model.room=none")
    # The other arm is not needed, as in a run that was stopped.
    spec = dataclasses.replace(spec, arms={"ddsp": spec.arms["ddsp"]}, claims={})
    run(spec, out, progress=False)
    return out


def test_a_trained_instrument_plays_midi(instrument, tmp_path, capsys):
    write_midi(tmp_path / "tune.mid", [(0, 1, 45, 100), (1, 1, 57, 100)])
    wav = tmp_path / "tune.wav"
    assert command.main([str(instrument), str(tmp_path / "tune.mid"), str(wav)]) == 0
    assert "s of sound" in capsys.readouterr().out
    rate, samples = scipy.io.wavfile.read(wav)
    assert rate == 16000 and samples.dtype == np.int16
    assert 2.0 < len(samples) / rate < 2.3
    sound = (samples / 32768).astype(np.float32)
    pitch, loud = yin(sound, rate), loudness_db(sound, rate)
    for seconds, hz in ((0.25, 110.0), (0.9, 220.0)):
        frame = round(seconds / FRAME)
        np.testing.assert_allclose(pitch.f0_hz[frame], hz, rtol=5e-3)
        assert loud[frame] > -60
    # After the last note there is silence, though the network knows none.
    assert loud[-20] < loud[round(0.9 / FRAME)] - 30


def test_blocks_give_the_bits_of_other_blocks_and_nearly_the_whole(instrument):
    model, config = command._instrument(instrument, None, None)
    frames = 60
    inputs = {
        "f0_hz": np.linspace(200, 300, frames, dtype=np.float32),
        "loudness_db": np.full(frames, -20, np.float32),
    }
    first, _ = command.streamed(model.voice, inputs, config.data.hop, block=50)
    second, _ = command.streamed(model.voice, inputs, config.data.hop, block=7)
    np.testing.assert_array_equal(first, second)
    import jax

    whole = model.voice(inputs, key=jax.random.key(0))
    np.testing.assert_allclose(first, whole, atol=1e-4)


@pytest.mark.parametrize(
    "extra, words",
    [
        (["--arm", "dsp"], "no instrument 'dsp'.*'ddsp'"),
        (["--seed", "7"], "ddsp has the seeds 0, not 7"),
    ],
)
def test_what_is_not_there_is_named(instrument, tmp_path, capsys, extra, words):
    (tmp_path / "a.csv").write_text("time,f0_hz,loudness_db\n0,220,-20\n1,220,-20\n")
    arguments = [str(instrument), str(tmp_path / "a.csv"), str(tmp_path / "a.wav")]
    assert command.main([*arguments, *extra]) == 2
    told = capsys.readouterr().err
    assert re.search(words, told) and told.count("\n") == 1
    assert command.main([str(tmp_path), *arguments[1:]]) == 2
