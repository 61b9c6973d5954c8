"""What an instrument plays: pitch and loudness over time, from CSV or MIDI files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from djx.core.errors import ConfigError, Fault


QUIET_DB = -100.0
ATTACK, RELEASE = 0.03, 0.12  # seconds in which loudness rises, and falls by 60 dB
GLIDE = 0.015  # seconds from one note's pitch to the next's
SOFTER_DB = 24.0  # between the greatest velocity and the least


class Score(NamedTuple):
    """Controls at frames."""

    f0_hz: np.ndarray
    """`(frames,)`."""
    loudness_db: np.ndarray
    """`(frames,)`."""


class Played(NamedTuple):
    """A note of a MIDI file."""

    start: float
    """In seconds, as the end."""
    end: float
    key: int
    velocity: int


def read_score(path: str | Path, frame_seconds: float, loudest_db: float) -> Score:
    """Reads controls at frames.

    A CSV file has a header and the columns time (seconds, rising), f0_hz and
    loudness_db; between its lines the logarithm of f0 and loudness are linear. A MIDI
    file is played by one voice: of notes at once the newest is heard, and of velocity
    127 it has `loudest_db`.

    Args:
        path: a .csv, .mid or .midi file.
        frame_seconds: from frame to frame.
        loudest_db: loudness of the hardest note of a MIDI file.

    Returns:
        The controls.

    Raises:
        ConfigError: naming the file, where it cannot be read or holds nothing to play.
    """
    path = Path(path)
    if not path.exists():
        raise _fault(path, "there is no such file")
    match path.suffix.lower():
        case ".csv":
            return _from_csv(path, frame_seconds)
        case ".mid" | ".midi":
            return played(read_midi(path), frame_seconds, loudest_db)
    raise _fault(path, "is neither .csv nor .mid")


def _from_csv(path: Path, frame_seconds: float) -> Score:
    wanted = ("time", "f0_hz", "loudness_db")
    try:
        with path.open(encoding="utf-8-sig") as lines:
            head = [name.strip() for name in next(lines, "").split(",")]
            missing = [name for name in wanted if name not in head]
            if missing:
                raise _fault(path, f"has no column {missing[0]!r}")
            table = np.loadtxt(lines, delimiter=",", ndmin=2)
    except (UnicodeDecodeError, ValueError) as error:
        raise _fault(path, str(error).splitlines()[0]) from None
    if len(table) < 2 or not np.isfinite(table).all():
        raise _fault(path, "needs two lines of numbers or more")
    time, f0_hz, loudness = (table[:, head.index(name)] for name in wanted)
    if (np.diff(time) <= 0).any():
        raise _fault(path, "its times do not rise")
    if (f0_hz <= 0).any():
        raise _fault(path, "f0_hz has to be positive; silence is a low loudness_db")
    frames = time[0] + frame_seconds * np.arange(
        max(1, int((time[-1] - time[0]) / frame_seconds))
    )
    pitch = np.exp(np.interp(frames, time, np.log(f0_hz)))
    return _score(pitch, np.interp(frames, time, loudness))


def read_midi(path: Path) -> list[Played]:
    """The notes of all of a file's tracks, drums apart, in order.

    Args:
        path: the file.

    Returns:
        The notes; one whose key is struck again ends there.

    Raises:
        ConfigError: where mido is missing or cannot read the file.
    """
    try:
        import mido
    except ImportError:
        message = "reading MIDI needs mido: pip install 'djx[audio]'"
        raise _fault(path, message) from None
    try:
        messages = list(mido.MidiFile(path))
    except Exception as error:  # mido raises whatever its parsers raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise _fault(path, f"is no MIDI file that mido can read ({reason})") from None
    now, notes = 0.0, list[Played]()
    sounding: dict[tuple[int, int], tuple[float, int]] = {}
    for message in messages:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == 9:
            continue
        place = message.channel, message.note
        begun = sounding.pop(place, None)
        if begun is not None and now > begun[0]:
            notes.append(Played(begun[0], now, message.note, begun[1]))
        if message.type == "note_on" and message.velocity > 0:
            sounding[place] = now, message.velocity
    for (_, key), (start, velocity) in sounding.items():
        if now > start:
            notes.append(Played(start, now, key, velocity))
    if not notes:
        raise _fault(path, "holds no notes")
    return sorted(notes)


def played(notes: list[Played], frame_seconds: float, loudest_db: float) -> Score:
    """One voice that plays notes: the newest of those that sound.

    Args:
        notes: in the order in which they start.
        frame_seconds: from frame to frame.
        loudest_db: loudness of velocity 127.

    Returns:
        Controls up to where the last note has faded.
    """
    end = max(note.end for note in notes) + RELEASE
    time = frame_seconds * np.arange(int(np.ceil(end / frame_seconds)) + 1)
    key = np.full(len(time), float(notes[0].key))
    level = np.full(len(time), QUIET_DB)
    for index, note in enumerate(notes):
        later = (other.start for other in notes[index + 1 :])
        until = next((start for start in later if start < note.end), note.end)
        here = time >= note.start
        share = np.clip((time - note.start) / GLIDE, 0, 1)
        key = np.where(here, key + share * (note.key - key), key)
        loud = loudest_db - SOFTER_DB * (127 - note.velocity) / 126
        rise = 60 * np.clip((time - note.start) / ATTACK - 1, -1, 0)
        fall = -60 * np.clip((time - until) / RELEASE, 0, None)
        level = np.maximum(level, np.where(here, loud + rise + fall, QUIET_DB))
    return _score(440 * 2 ** ((key - 69) / 12), level)


def _score(f0_hz, loudness_db) -> Score:
    return Score(f0_hz.astype(np.float32), loudness_db.astype(np.float32))


def _fault(path: Path, message: str) -> ConfigError:
    return ConfigError([Fault(str(path), "", message)])
