"""Data of the DDSP experiments: notes of a bank and of files, splits, features."""

import numpy as np
import pytest
from pydantic import ValidationError

from djx.core.errors import ConfigError
from experiments import _recordings_features as kept
from experiments._recordings import in_octave, notes, Recordings, splits_of_keys
from experiments._recordings_features import features
from experiments._recordings_sounds import held, note, windows
from experiments._soundfont import Recording
from tests.sf2 import INSTRUMENT, MODES, MONO, SAMPLE, write_bank


RATE = 44100
PERIOD = 147  # samples of 300 Hz
SHORT = {"seconds": 0.256, "least_hz": 200.0}  # of the rest's time, most is compiling


def _sine(hz, samples, rate, size=9000):
    return np.rint(size * np.sin(2 * np.pi * hz / rate * np.arange(samples))).astype(
        "i2"
    )


def _hz(key):
    return 440 * 2 ** ((key - 69) / 12)


def _config(**source):
    return Recordings.model_validate({"source": source} | SHORT)


@pytest.mark.parametrize("loop", [(441, 441 + PERIOD), (500, 500 + 7 * PERIOD)])
def test_a_loop_of_whole_periods_goes_on_as_if_it_had_no_end(loop):
    pcm = _sine(300, 2000, RATE)
    recording = Recording("sine", 62.4, RATE, pcm, loop)
    endless = np.tile(pcm[:PERIOD], 40) / np.float32(32768)
    np.testing.assert_array_equal(held(recording, 5000), endless[:5000])
    # At another rate and level: the sine to its very end, but for the filter's edge.
    found = note(recording, 1600, 16000)[200:]
    expected = 0.1 * np.sqrt(2) * np.sin(2 * np.pi * 300 / 16000 * np.arange(200, 1600))
    np.testing.assert_allclose(found, expected, atol=3e-4)


def test_a_note_without_a_loop_ends_in_silence_and_keeps_its_level():
    random = np.random.default_rng(0)
    pcm = random.integers(-999, 999, 300).astype("i2")
    found = note(Recording("short", 60, 16000, pcm, None), 1000, 16000)
    np.testing.assert_allclose(np.sqrt(np.mean(found[:300] ** 2)), 0.1, rtol=1e-5)
    np.testing.assert_allclose(found[:300] / found[0], pcm / pcm[0], rtol=1e-5)
    assert found.shape == (1000,) and not found[300:].any()
    silent = Recording("silent", 60, 22050, np.zeros(99, "i2"), None)
    assert not note(silent, 400, 16000).any()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 14, 18, 21])
def test_held_out_keys_are_every_third_and_lie_between_keys_of_training(count):
    keys = np.repeat(40 + 3 * np.arange(count), 2)[::-1]
    found = splits_of_keys(keys, np.zeros(len(keys), int))
    parts = {name: set(keys[found == name].tolist()) for name in np.unique(found)}
    train, held_out = parts["train"], parts.get("held_out", set())
    top = parts.get("extrapolation", set())
    assert sum(map(len, parts.values())) == count  # no key is in two
    assert len(top) == round(count / 5)
    assert all(min(train) < key < max(train) for key in held_out)
    assert all(key > max(train) for key in top)
    order = sorted(train | held_out)
    assert held_out == {key for i, key in enumerate(order[:-1]) if i % 3 == 1}


def test_every_instrument_is_split_by_itself():
    keys, instrument = np.arange(20), np.arange(20) % 2
    found = splits_of_keys(keys, instrument)
    for each in (0, 1):
        own = instrument == each
        alone = splits_of_keys(keys[own], np.zeros(10, int))
        np.testing.assert_array_equal(found[own], alone)


def test_frames_an_octave_off_are_moved_and_others_left():
    pitch = np.asarray([[440.0, 220.0, 885.0, 1760.0, 600.0]], np.float32)
    found = in_octave(pitch, np.asarray([69.0]))
    np.testing.assert_allclose(found, [[440, 440, 442.5, 440, 600]], rtol=1e-6)


@pytest.fixture
def bank(tmp_path):
    """Sines at keys 60, 62, .., 76; the one of 64 is 80 cents sharp."""
    keys, samples, zones = range(60, 78, 2), [], [[(MODES, 1)]]
    for index, key in enumerate(keys):
        hz = _hz(key + (0.8 if key == 64 else 0))
        period = RATE / hz
        first, last = round(10 * period), round(50 * period)
        pcm = _sine(hz, last + 10, RATE)
        samples.append((b"K%d" % key, pcm, RATE, (first, last), key, 0, MONO))
        zones.append([(SAMPLE, index)])
    presets = [(b"Glass Flute", 0, 0, [[(INSTRUMENT, 0)]])]
    return str(write_bank(tmp_path / "bank.sf2", samples, [zones], presets))


def test_a_banks_notes_have_the_pitch_of_their_label_or_are_dropped(bank):
    config = _config(kind="bank", file=bank, instruments=["glass FLUTE"])
    found = notes(config)
    assert found is notes(config.model_copy()) and found.instruments == ("Glass Flute",)
    assert found.dropped == ("Glass Flute: K64: +80 cents off its label",)
    keys = [60, 62, 66, 68, 70, 72, 74, 76]
    assert found.examples.key.tolist() == keys
    assert found.names == tuple(f"K{key}" for key in keys)
    np.testing.assert_allclose(found.cents, 0, atol=2)
    assert found.part("extrapolation").key.tolist() == [74, 76]
    assert found.part("held_out").key.tolist() == [62, 70]
    train = found.part("train")
    assert train.key.tolist() == [60, 66, 68, 72]
    assert train.audio.shape == (4, 4096) and train.audio.dtype == np.float32
    assert train.f0_hz.shape == train.loudness_db.shape == (4, 64)
    with pytest.raises(ConfigError, match="did you mean 'Glass Flute'"):
        notes(_config(kind="bank", file=bank, instruments=["Glas Flute"]))


def test_features_are_kept_and_a_damaged_file_counts_as_none(monkeypatch, tmp_path):
    monkeypatch.setenv("DJX_CACHE_DIR", str(tmp_path))
    measured = []

    def count(sound, *settings):
        measured.append(settings)
        return tuple(np.full(8, sound.sum() + i, np.float32) for i in range(3))

    monkeypatch.setattr(kept, "_measure", count)
    audio = np.random.default_rng(0).standard_normal((2, 512)).astype(np.float32)
    first = features(audio, 16000)
    (file,) = (tmp_path / "features").iterdir()  # and nothing half written
    whole = file.read_bytes()

    def again(**settings):
        before = len(measured)
        found = features(audio, 16000, **settings)
        np.testing.assert_array_equal(found, first)
        return len(measured) - before

    assert again() == 0
    assert again(greatest_hz=900.0) == 2  # other settings, another file
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (b"", whole[:-40], whole[:99], flipped, b"x" * len(whole)):
        file.write_bytes(damaged)
        assert again() == 2 and again() == 0
    audio = audio * 2
    assert features(audio, 16000).f0_hz[0, 0] != first.f0_hz[0, 0]
    monkeypatch.setenv("DJX_CACHE_DIR", "")
    features(audio, 16000)
    features(2 * audio, 16000)
    assert len(list((tmp_path / "features").iterdir())) == 3
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("DJX_CACHE_DIR", str(blocked))
    features(audio, 16000)  # nowhere to keep it: not a reason to stop


def test_a_folder_of_files_comes_back_in_windows(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    samples, rate = 4096, 16000
    one = _sine(440, 3 * samples + 9, rate) / 32768
    (tmp_path / "below").mkdir()
    soundfile.write(tmp_path / "a.wav", one, rate, subtype="FLOAT")
    both = np.stack([one * 2, np.zeros_like(one)], 1)
    soundfile.write(tmp_path / "below" / "b.FLAC", both, rate, format="FLAC")
    soundfile.write(tmp_path / "c.wav", _sine(330, 4410, 44100), 44100)
    (tmp_path / "notes.txt").touch()
    found = notes(_config(kind="folder", path=str(tmp_path), hop_seconds=0.128))
    assert found.names == ("a.wav",) * 5 + ("below/b.FLAC",) * 5 + ("c.wav",)
    level = 0.1 / np.sqrt(np.mean(one**2))
    for at in (0, 3):
        expected = level * one[at * 2048 : at * 2048 + samples]
        np.testing.assert_allclose(found.examples.audio[at], expected, atol=1e-6)
        np.testing.assert_allclose(found.examples.audio[5 + at], expected, atol=1e-4)
    assert not found.examples.audio[10, 1600:].any()  # a tenth of a second is all
    assert found.split.tolist() == ["train"] * 5 + ["held_out"] * 5 + ["train"]
    assert found.examples.key.tolist() == [69] * 10 + [64]
    (tmp_path / "d.wav").write_bytes(b"no sound")
    with pytest.raises(ConfigError, match="d.wav: ") as told:
        notes(_config(kind="folder", path=str(tmp_path)))
    assert "\n" not in str(told.value)


def test_what_a_folder_or_a_config_lacks_is_said(tmp_path):
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        notes(_config(kind="folder", path="nowhere"))
    with pytest.raises(ConfigError, match="0 WAV or FLAC files; two or more"):
        notes(_config(kind="folder", path=str(tmp_path)))
    with pytest.raises(ValidationError, match="800 samples are no whole frames of hop"):
        Recordings.model_validate({"seconds": 0.05})
    cut = [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert windows(np.arange(10), 4, 3).tolist() == cut
