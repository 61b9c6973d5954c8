"""What is read of a bank is what was written into it."""

import numpy as np
import pytest

from djx.core.errors import ConfigError
from experiments import _soundfont
from experiments._soundfont import find_bank, read_bank
from tests.sf2 import (
    COARSE_TUNE,
    FINE_TUNE,
    INSTRUMENT,
    LEFT,
    MODES,
    MONO,
    RIGHT,
    ROOT,
    SAMPLE,
    write_bank,
)


PCM = [np.arange(100 * i, 100 * i + 60, dtype=np.int16) for i in range(4)]


def _sample(index, *, key=60, cents=0, kind=MONO, loop=(10, 50), rate=22050):
    return (b"S%d" % index, PCM[index], rate, loop, key, cents, kind)


def _read(path, samples, zones, presets=None):
    presets = presets or [(b"One", 0, 0, [[(INSTRUMENT, 0)]])]
    return read_bank(write_bank(path / "bank.sf2", samples, [zones], presets)).presets


def test_samples_rates_and_names_are_those_of_the_file(tmp_path):
    samples = [_sample(0, rate=22050), _sample(1, rate=44100)]
    found = _read(tmp_path, samples, [[(SAMPLE, 1)], [(SAMPLE, 0)]])["One"]
    assert [(r.name, r.sample_rate) for r in found] == [("S1", 44100), ("S0", 22050)]
    np.testing.assert_array_equal(found[0].pcm, PCM[1])
    np.testing.assert_array_equal(found[0].audio, PCM[1] / 32768.0)
    assert found[0].audio.dtype == np.float32 and found[0].loop is None


@pytest.mark.parametrize(
    ("zone", "sample", "key"),
    [
        ([], {"key": 64}, 64),
        ([(ROOT, 71)], {"key": 64}, 71),
        ([(ROOT, -1)], {"key": 64}, 64),
        ([], {"key": 255}, 60),
        # A player raises by these cents: what was recorded lies as much lower.
        ([], {"cents": 30}, 59.7),
        ([(FINE_TUNE, -20)], {"cents": 5}, 60.15),
        ([(COARSE_TUNE, 2), (FINE_TUNE, 50)], {}, 57.5),
    ],
)
def test_keys(tmp_path, zone, sample, key):
    (found,) = _read(tmp_path, [_sample(0, **sample)], [[*zone, (SAMPLE, 0)]])["One"]
    assert found.key == pytest.approx(key)


def test_a_first_zone_without_a_sample_holds_for_all(tmp_path):
    zones = [
        [(MODES, 1), (ROOT, 50)],
        [(SAMPLE, 0)],
        [(ROOT, 55), (SAMPLE, 1)],
        [(ROOT, 90)],  # plays nothing and is not the first: it counts for nothing
        [(MODES, 0), (SAMPLE, 2)],
    ]
    found = _read(tmp_path, [_sample(i) for i in range(3)], zones)["One"]
    assert [r.key for r in found] == [50, 55, 50]
    assert [r.loop for r in found] == [(10, 50), (10, 50), None]


def test_addresses_move_by_their_generators(tmp_path):
    # A coarse step is 32768 samples.
    moved = [(0, 4), (1, -6), (2, 3 - 32768), (45, 1), (3, -5)]
    (found,) = _read(tmp_path, [_sample(0)], [[(MODES, 3), *moved, (SAMPLE, 0)]])["One"]
    np.testing.assert_array_equal(found.pcm, PCM[0][4:-6])
    assert found.loop == (10 + 3 - 4, 50 - 5 - 4)


@pytest.mark.parametrize("loop", [(50, 10), (20, 20), (10, 61)])
def test_a_loop_that_cannot_be_is_none(tmp_path, loop):
    (found,) = _read(tmp_path, [_sample(0, loop=loop)], [[(MODES, 1), (SAMPLE, 0)]])[
        "One"
    ]
    assert found.loop is None


def test_of_a_stereo_pair_the_left_channel_is_taken(tmp_path):
    samples = [_sample(0, key=60, kind=RIGHT), _sample(1, key=60, kind=LEFT)]
    samples += [_sample(2, key=64, kind=RIGHT), _sample(3, key=60)]
    found = _read(tmp_path, samples, [[(SAMPLE, i)] for i in range(4)])["One"]
    assert [r.name for r in found] == ["S1", "S2", "S3"]  # S2 has no partner


def test_presets_gather_instruments_and_the_first_of_a_name_counts(tmp_path):
    zones = [[[(SAMPLE, 0)], [(SAMPLE, 0)]], [[(SAMPLE, 1)]], [[(SAMPLE, 2)]]]
    both = [[(43, 0)], [(INSTRUMENT, 0)], [(INSTRUMENT, 1)], [(INSTRUMENT, 0)]]
    presets = [(b"Twice", 9, 1, [[(INSTRUMENT, 2)]]), (b"Both", 3, 0, both)]
    presets += [(b"Twice", 7, 0, [[(INSTRUMENT, 1)]])]
    samples = [_sample(i) for i in range(3)]
    path = write_bank(tmp_path / "bank.sf2", samples, zones, presets)
    names = {k: [r.name for r in v] for k, v in read_bank(path).presets.items()}
    assert names == {"Both": ["S0", "S1"], "Twice": ["S1"]}


def test_what_is_no_bank_is_said_in_one_line(tmp_path):
    samples, zones = [_sample(0)], [[(SAMPLE, 0)]]
    presets = [(b"One", 0, 0, [[(INSTRUMENT, 0)]])]
    whole = write_bank(tmp_path / "a.sf2", samples, [zones], presets).read_bytes()
    odd = {"empty": b"", "text": b"hello, " * 9, "cut": whole[:-60], "half": whole[:99]}
    for name, content in odd.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match="no SoundFont 2 bank") as told:
            read_bank(tmp_path / name)
        assert name in str(told.value) and "\n" not in str(told.value)
    packed = write_bank(
        tmp_path / "b.sf2", [_sample(0, kind=MONO | 0x10)], [zones], presets
    )
    with pytest.raises(ConfigError, match="compressed"):
        read_bank(packed)


def test_a_missing_bank_is_said_in_one_line_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(_soundfont, "_PLACES", (tmp_path / "none.sf2",))
    monkeypatch.setattr(_soundfont.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as told:
        find_bank()
    text = str(told.value)
    assert "apt-get install fluid-soundfont-gm" in text and "\n" not in text
    assert "pip install pretty_midi" in text and "data.source.file" in text
    with pytest.raises(ConfigError, match="mine.sf2: no such file"):
        find_bank(str(tmp_path / "mine.sf2"))
    own = tmp_path / "own.sf2"
    own.touch()
    assert find_bank(str(own)) == own


def test_debians_bank_has_the_notes_that_are_counted_on():
    place = _soundfont._PLACES[0]
    if not place.is_file():
        pytest.skip("no fluid-soundfont-gm here")
    presets = read_bank(place).presets
    for name, keys in {
        "Tenor Sax": 15,
        "Violin": 14,
        "Cello": 18,
        "Strings": 17,
    }.items():
        assert len({round(r.key) for r in presets[name]}) == keys
        assert all(r.loop for r in presets[name])
