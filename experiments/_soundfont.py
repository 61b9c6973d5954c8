"""Recordings out of a SoundFont 2 bank, as they were made: nothing is synthesised.

Source: SoundFont Technical Specification 2.04 (Creative Technology 2006), sections 4
(RIFF), 7 (records), 8.1.2 (generators) and 9.4 (zones).
"""

import functools as ft
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from djx.core.errors import ConfigError, Fault


class Recording(NamedTuple):
    """One recorded note."""

    name: str
    key: float
    """MIDI key at which it sounds as it is: the root key, less the tuning."""
    sample_rate: int
    """In Hz."""
    pcm: np.ndarray
    """16-bit samples, a view of the file."""
    loop: tuple[int, int] | None
    """Samples that go on for ever, `[first, last)`; None where the note ends."""

    @property
    def audio(self) -> np.ndarray:
        """Samples as float32, in [-1, 1)."""
        return np.asarray(self.pcm, np.float32) / 32768


class Bank(NamedTuple):
    """What a file holds."""

    path: Path
    presets: dict[str, tuple[Recording, ...]]
    """Recordings by what a player would choose, such as "Violin"."""


_DEBIAN = Path("/usr/share/sounds/sf2")
_PLACES = (
    _DEBIAN / "FluidR3_GM.sf2",
    Path("/usr/share/soundfonts/FluidR3_GM.sf2"),
    _DEBIAN / "TimGM6mb.sf2",
)
_RIGHT, _LEFT, _COMPRESSED, _ROM = 2, 4, 0x10, 0x8000
# Numbers of generators: addresses as (fine, coarse) in steps of 1 and 32768 samples.
_START, _END, _LOOP_START, _LOOP_END = (0, 4), (1, 12), (2, 45), (3, 50)
_INSTRUMENT, _COARSE, _FINE, _SAMPLE, _MODES, _ROOT = 41, 51, 52, 53, 54, 58
_BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
_GENERATOR = np.dtype([("kind", "<u2"), ("amount", "<i2")])
_RECORDS = {
    b"phdr": np.dtype(
        [("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2")]
        + [("rest", "V12")]
    ),
    b"pbag": _BAG,
    b"pgen": _GENERATOR,
    b"inst": np.dtype([("name", "S20"), ("bag", "<u2")]),
    b"ibag": _BAG,
    b"igen": _GENERATOR,
    b"shdr": np.dtype(
        [("name", "S20"), ("start", "<u4"), ("end", "<u4"), ("loop_start", "<u4")]
        + [("loop_end", "<u4"), ("rate", "<u4"), ("key", "u1"), ("cents", "i1")]
        + [("link", "<u2"), ("type", "<u2")]
    ),
}


def find_bank(path: str | None = None) -> Path:
    """A bank that is there: the user's, Debian's, or that of the wheel `pretty_midi`.

    Args:
        path: the user's own; others are looked for only if None.

    Returns:
        Its path.

    Raises:
        ConfigError: where there is none; it says what to install.
    """
    if path is not None:
        if Path(path).expanduser().is_file():
            return Path(path).expanduser()
        raise _fault(f"{path}: no such file")
    places = list(_PLACES)
    wheel = importlib.util.find_spec("pretty_midi")  # importing it takes a second
    for folder in (wheel and wheel.submodule_search_locations) or ():
        places.append(Path(folder) / "TimGM6mb.sf2")
    for place in places:
        if place.is_file():
            return place
    raise _fault(
        "no SoundFont bank here: apt-get install fluid-soundfont-gm (150 MB), pip "
        "install pretty_midi (6 MB, single periods), or name an SF2 file of your own"
    )


@ft.lru_cache(maxsize=2)
def read_bank(path: Path) -> Bank:
    """Reads what presets there are and what recordings they play.

    A generator of an instrument's first zone holds for all of its zones (9.4). Of a
    stereo pair the left channel stands for both. What a preset adds to an instrument is
    for a player and left out, and so are envelopes and filters.

    Args:
        path: of an SF2 file.

    Returns:
        The presets; of several with one name, the first by bank and program.

    Raises:
        ConfigError: where the file is not an SF2 bank of 16-bit samples.
    """
    try:
        # Samples stay in the file until they are asked for; an empty file has no map.
        file = np.memmap(path, np.uint8, "r")
        if bytes(file[:4]) != b"RIFF" or bytes(file[8:12]) != b"sfbk":
            raise ValueError
        parts = dict(_chunks(file, 12, len(file)))
        table = {name: parts[name].view(kind) for name, kind in _RECORDS.items()}
        if np.any(table[b"shdr"]["type"] & _COMPRESSED):
            message = "its samples are compressed (SF3): name the SF2 that it is from"
            raise ConfigError([Fault(str(path), "", message)])
        return Bank(path, _presets(table, parts[b"smpl"].view("<i2")))
    except (IndexError, KeyError, ValueError):
        message = "no SoundFont 2 bank (RIFF sfbk), or a damaged one"
        raise ConfigError([Fault(str(path), "", message)]) from None


def _chunks(file: np.ndarray, at: int, end: int) -> Iterator[tuple[bytes, np.ndarray]]:
    """Name and content of every chunk, those in lists included."""
    while at + 8 <= end:
        name, size = bytes(file[at : at + 4]), int(file[at + 4 : at + 8].view("<u4")[0])
        if at + 8 + size > end:
            raise ValueError
        if name == b"LIST":
            yield from _chunks(file, at + 12, at + 8 + size)
        else:
            yield name, file[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _presets(table, pcm: np.ndarray) -> dict[str, tuple[Recording, ...]]:
    found: dict[str, tuple[Recording, ...]] = {}
    headers = table[b"phdr"][:-1]  # the last record of every kind marks the end
    for index in np.lexsort((headers["program"], headers["bank"])):
        zones = _zones(table[b"phdr"], table[b"pbag"], table[b"pgen"], index)
        instruments = dict.fromkeys(z[_INSTRUMENT] for z in zones if _INSTRUMENT in z)
        name = _text(headers["name"][index])
        if name not in found:
            found[name] = tuple(_recordings(table, pcm, instruments))
    return found


def _zones(headers, bags, generators, index) -> list[dict[int, int]]:
    """Generators of every zone of a preset or an instrument, the common ones filled in.

    A zone ends with what it plays; the first is common to all if it plays nothing.
    """
    found: list[dict[int, int]] = []
    common: dict[int, int] = {}
    first, last = headers["bag"][index], headers["bag"][index + 1]
    for bag in range(int(first), int(last)):
        part = generators[bags["generator"][bag] : bags["generator"][bag + 1]]
        own = {int(g["kind"]): int(g["amount"]) for g in part}
        if _INSTRUMENT in own or _SAMPLE in own:
            found.append(common | own)
        elif bag == first:
            common = own
    return found


def _recordings(table, pcm: np.ndarray, instruments) -> Iterator[Recording]:
    """Every sample of some instruments once, by the first zone that plays it."""
    zones: dict[int, dict[int, int]] = {}
    for index in instruments:
        for zone in _zones(table[b"inst"], table[b"ibag"], table[b"igen"], index):
            if _SAMPLE in zone:
                zones.setdefault(zone[_SAMPLE], zone)
    samples = table[b"shdr"][list(zones)]
    pairs = zip(samples, zones.values(), strict=True)
    found = [_recording(sample, zone, pcm) for sample, zone in pairs]
    # By keys: in FluidR3_GM the links from a channel to the other are all 0.
    left = {found[i].key for i in np.flatnonzero(samples["type"] == _LEFT)}
    for recording, sample in zip(found, samples, strict=True):
        second = sample["type"] == _RIGHT and recording.key in left
        there = len(recording.pcm) and sample["rate"] and not sample["type"] & _ROM
        if there and not second:
            yield recording


def _recording(sample, zone: dict[int, int], pcm: np.ndarray) -> Recording:
    def moved(place, kinds):
        fine, coarse = kinds
        return int(sample[place]) + zone.get(fine, 0) + 32768 * zone.get(coarse, 0)

    start, end = moved("start", _START), moved("end", _END)
    root = zone.get(_ROOT, -1)
    if root < 0:  # 255 is for what has no pitch; a player takes the middle C (7.10)
        root = int(sample["key"]) if sample["key"] < 128 else 60
    cents = int(sample["cents"]) + zone.get(_FINE, 0) + 100 * zone.get(_COARSE, 0)
    first, last = moved("loop_start", _LOOP_START), moved("loop_end", _LOOP_END)
    loops = zone.get(_MODES, 0) & 1 and start <= first < last <= end
    return Recording(
        _text(sample["name"]),
        root - cents / 100,
        int(sample["rate"]),
        pcm[start:end],
        (first - start, last - start) if loops else None,
    )


def _text(name) -> str:
    return bytes(name).split(b"\0")[0].decode("latin-1").strip()


def _fault(message: str) -> ConfigError:
    return ConfigError([Fault("config", "data.source.file", message)])
