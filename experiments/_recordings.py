"""Sounds to learn an instrument from: notes of a SoundFont, one's own, or made ones."""

import functools as ft
from typing import Literal, NamedTuple

import jax
import numpy as np

from djx.core.errors import ConfigError, did_you_mean, Fault
from experiments._recordings_config import (
    BankSource as BankSource,
    FolderSource as FolderSource,
    MadeSource as MadeSource,
    Recordings as Recordings,
)
from experiments._recordings_features import features
from experiments._recordings_made import Controls, made_notes
from experiments._recordings_sounds import note, read_folder, windows
from experiments._soundfont import find_bank, read_bank, Recording


PERIODIC = 0.2  # aperiodicity below which a frame has a pitch


class Examples(NamedTuple):
    """Arrays with one leading axis, of sounds; a pytree for `epoch_batches`."""

    audio: np.ndarray
    """`(sounds, samples)`, each recording with a root mean square of 0.1."""
    f0_hz: np.ndarray
    """`(sounds, frames)`, as are the next two."""
    aperiodicity: np.ndarray
    """0 for periodic sounds, about 1 for noise and silence."""
    loudness_db: np.ndarray
    key: np.ndarray
    """MIDI, `(sounds,)`; -1 where no pitch was found in a file."""
    instrument: np.ndarray
    """Number of the instrument, `(sounds,)`."""


class Notes(NamedTuple):
    """All sounds, and which are for what."""

    examples: Examples
    split: np.ndarray
    """"train", "held_out" or "extrapolation", `(sounds,)`."""
    names: tuple[str, ...]
    instruments: tuple[str, ...]
    cents: np.ndarray
    """Median pitch above the label's, `(sounds,)`; NaN for files, which have none."""
    dropped: tuple[str, ...]
    """What was left out, and why, one line each."""
    controls: Controls | None = None
    """Of made notes: what is true."""
    impulse: np.ndarray | None = None
    """Of made notes: the room's response; empty without one."""

    def part(self, split: Literal["train", "held_out", "extrapolation"]) -> Examples:
        """The sounds of one split."""
        chosen = self.split == split
        return Examples(*(array[chosen] for array in self.examples))


def notes(config: Recordings) -> Notes:
    """Reads or makes the sounds, and measures their pitch and loudness.

    A note of a bank is dropped where its median pitch is more than 50 cents off the
    label; in what is kept, frames that are octaves off are moved. Of each instrument's
    keys the top fifth are for extrapolation; of the others every third is held out,
    from the second on and never the last, so that it has neighbours in training. Of
    files every third is held out, from the second on.

    Args:
        config: what is wanted.

    Returns:
        The sounds; the same object for the same config.

    Raises:
        ConfigError: where there is no bank, instrument or folder of that name.
    """
    # Now, even where the loop traces what asks for them.
    with jax.ensure_compile_time_eval():
        return _notes(config.model_dump_json())


@ft.lru_cache(maxsize=4)
def _notes(text: str) -> Notes:
    config = Recordings.model_validate_json(text)
    match config.source:
        case BankSource():
            return _of_bank(config, config.source)
        case FolderSource():
            return _of_folder(config, config.source)
        case MadeSource():
            return _of_made(config, config.source)


def splits_of_keys(keys: np.ndarray, instrument: np.ndarray) -> np.ndarray:
    """Which notes are for what, by key alone: all notes of a key go together.

    Args:
        keys: MIDI, `(notes,)`.
        instrument: whose keys they are, `(notes,)`.

    Returns:
        "train", "held_out" or "extrapolation", `(notes,)`.
    """
    split = np.full(len(keys), "train", "<U13")
    for each in np.unique(instrument):
        own = np.unique(keys[instrument == each])
        rest = own[: len(own) - round(len(own) / 5)]
        for name, chosen in (
            ("extrapolation", own[len(rest) :]),
            ("held_out", rest[1:-1:3]),
        ):
            split[(instrument == each) & np.isin(keys, chosen)] = name
    return split


def in_octave(f0_hz: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Moves frames that lie octaves off their note, which is a tracker's usual error.

    Args:
        f0_hz: `(notes, frames)`.
        keys: what was played, in MIDI, `(notes,)`.

    Returns:
        Pitches; one that is not within a semitone of an octave above or below is left.
    """
    off = np.log2(f0_hz.astype(np.float64) / 440) - (keys[:, None] - 69) / 12
    octaves = np.rint(off)
    moved = np.where(np.abs(off - octaves) < 1 / 12, f0_hz * 2.0**-octaves, f0_hz)
    return moved.astype(np.float32)


def _of_bank(config: Recordings, source: BankSource) -> Notes:
    bank = read_bank(find_bank(source.file))
    known = {name.casefold(): name for name in bank.presets}
    instruments, found = [], list[tuple[int, Recording]]()
    for index, wanted in enumerate(source.instruments):
        name = known.get(wanted.casefold().strip())
        if name is None:
            hint = did_you_mean(wanted, bank.presets)
            raise _fault(f"{bank.path.name} has no {wanted!r}{hint}")
        instruments.append(name)
        own = sorted(bank.presets[name], key=lambda recording: recording.key)
        if not own:
            raise _fault(f"{name!r} has no recordings")
        found += [(index, recording) for recording in own]
    samples = _samples(config)
    audio = np.stack([note(r, samples, config.sample_rate) for _, r in found])
    examples = _examples(config, audio, np.asarray([index for index, _ in found]))
    labels = np.asarray([recording.key for _, recording in found])
    cents = 100 * (_median_keys(examples) - labels)
    fits = np.abs(cents) <= 50  # nothing fits where no frame has a pitch
    lines = [
        f"{instruments[index]}: {recording.name}: "
        + ("no pitch" if np.isnan(off) else f"{off:+.0f} cents off its label")
        for (index, recording), off in zip(found, cents, strict=True)
    ]
    for index, name in enumerate(instruments):
        if not np.any(fits[examples.instrument == index]):
            raise _fault(f"{name!r} has no note with the pitch that its label says")
    f0_hz = in_octave(examples.f0_hz, labels)
    keys = np.rint(labels).astype(np.int32)
    examples = examples._replace(f0_hz=f0_hz, key=keys)
    examples = Examples(*(array[fits] for array in examples))
    return Notes(
        examples,
        splits_of_keys(examples.key, examples.instrument),
        tuple(found[i][1].name for i in np.flatnonzero(fits)),
        tuple(instruments),
        cents[fits],
        tuple(lines[i] for i in np.flatnonzero(~fits)),
    )


def _of_folder(config: Recordings, source: FolderSource) -> Notes:
    samples = _samples(config)
    hop = max(1, round((source.hop_seconds or config.seconds) * config.sample_rate))
    files = read_folder(source.path, config.sample_rate)
    cut = [windows(audio, samples, hop) for audio in files.values()]
    file = np.repeat(np.arange(len(cut)), [len(part) for part in cut])
    examples = _examples(config, np.concatenate(cut), np.zeros(len(file), np.int32))
    keys = np.nan_to_num(_median_keys(examples), nan=-1)
    examples = examples._replace(key=np.rint(keys).astype(np.int32))
    split = np.where(file % 3 == 1, "held_out", "train").astype("<U13")
    names = tuple(list(files)[i] for i in file)
    return Notes(examples, split, names, ("folder",), np.full(len(file), np.nan), ())


def _of_made(config: Recordings, source: MadeSource) -> Notes:
    count, takes = source.keys, source.takes
    keys = source.lowest_key + source.key_step * np.repeat(np.arange(count), takes)
    instrument = np.repeat(np.arange(len(source.instruments)), len(keys))
    keys = np.tile(keys, len(source.instruments))
    voices = [source.instruments[i] for i in instrument]
    made = made_notes(
        voices,
        keys.tolist(),
        sample_rate=config.sample_rate,
        hop=config.hop,
        frames=_samples(config) // config.hop,
        reverb_seconds=source.reverb_seconds,
        seed=source.seed,
    )
    examples = _examples(config, made.audio, instrument)
    examples = examples._replace(key=keys.astype(np.int32))
    return Notes(
        examples,
        splits_of_keys(keys, instrument),
        tuple(f"{voice} {key}" for voice, key in zip(voices, keys, strict=True)),
        tuple(source.instruments),
        100 * (_median_keys(examples) - keys),
        (),
        made.controls,
        made.impulse,
    )


def _samples(config: Recordings) -> int:
    return round(config.seconds * config.sample_rate)


def _examples(
    config: Recordings, audio: np.ndarray, instrument: np.ndarray
) -> Examples:
    """Sounds with what is measured; keys are still to be filled in."""
    audio = np.ascontiguousarray(audio, np.float32)
    found = features(
        audio,
        config.sample_rate,
        hop=config.hop,
        least_hz=config.least_hz,
        greatest_hz=config.greatest_hz,
    )
    instrument = instrument.astype(np.int32)
    return Examples(audio, *found, np.zeros_like(instrument), instrument)


def _median_keys(examples: Examples) -> np.ndarray:
    """MIDI keys, in fractions, over the frames that have a pitch; NaN without one."""
    keys = 69 + 12 * np.log2(examples.f0_hz.astype(np.float64) / 440)
    found = np.full(len(keys), np.nan)
    for index, pitched in enumerate(examples.aperiodicity < PERIODIC):
        if pitched.any():
            found[index] = np.median(keys[index, pitched])
    return found


def _fault(message: str) -> ConfigError:
    return ConfigError([Fault("config", "data.source.instruments", message)])
