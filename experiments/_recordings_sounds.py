"""Recordings as long as they are asked for, at the rate that is asked for."""

import importlib
import importlib.util
import math
from pathlib import Path

import numpy as np

from djx.core.errors import ConfigError, Fault
from experiments._soundfont import Recording


LEVEL = 0.1  # root mean square of every recording: 20 dB below a square wave's 1
SUFFIXES = (".flac", ".wav")


def held(recording: Recording, samples: int) -> np.ndarray:
    """A recording up to the end of its loop, and then the loop again and again.

    Args:
        recording: a note.
        samples: how many, at the note's own rate.

    Returns:
        The samples; fewer where a note without a loop ends before.
    """
    audio = recording.audio
    if recording.loop is None:
        return audio[:samples]
    first, last = recording.loop
    n = np.arange(samples)
    return audio[np.where(n < last, n, first + (n - first) % (last - first))]


def resampled(audio: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """Samples at another rate, by a polyphase filter.

    Args:
        audio: samples.
        rate: theirs, in Hz.
        sample_rate: in Hz.

    Returns:
        As many seconds.
    """
    if rate == sample_rate:
        return audio
    from scipy.signal import resample_poly

    common = math.gcd(rate, sample_rate)
    out = resample_poly(audio, sample_rate // common, rate // common)
    return np.asarray(out, np.float32)


def levelled(audio: np.ndarray) -> np.ndarray:
    """Scales a recording to the root mean square that all of them get.

    Args:
        audio: all that was recorded, and nothing else: silence put behind it would
            make it louder.

    Returns:
        The samples; silence stays silence.
    """
    power = np.mean(np.square(audio, dtype=np.float64)) if len(audio) else 0
    return audio * np.float32(LEVEL / np.sqrt(power)) if power else audio


def note(recording: Recording, samples: int, sample_rate: int) -> np.ndarray:
    """A note of a length, at a level.

    The loop goes on at the note's own rate, where its ends meet, and past the end, so
    that the filter finds no edge there. A note that ends before is followed by silence.

    Args:
        recording: the note.
        samples: how many.
        sample_rate: in Hz.

    Returns:
        The samples, as float32.
    """
    rate = recording.sample_rate
    # The filter reaches 10 samples of the lower of the two rates ahead.
    ahead = 16 * max(1, math.ceil(rate / sample_rate))
    source = held(recording, math.ceil(samples * rate / sample_rate) + ahead)
    out = levelled(resampled(source, rate, sample_rate)[:samples])
    return np.pad(out, (0, samples - len(out)))


def read_folder(folder: str, sample_rate: int) -> dict[str, np.ndarray]:
    """Every WAV and FLAC file in a folder and those below, as one channel.

    Args:
        folder: its path.
        sample_rate: of what is returned, in Hz.

    Returns:
        Samples at the common level, by path within the folder, in order.

    Raises:
        ConfigError: where there are fewer than two files, one cannot be read, or
            soundfile is not installed.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise _fault(f"{folder}: no such folder")
    files = sorted(f for f in root.rglob("*") if f.suffix.lower() in SUFFIXES)
    if len(files) < 2:
        raise _fault(
            f"{folder}: {len(files)} WAV or FLAC files; two or more are needed, since "
            "whole files are held out"
        )
    return {
        file.relative_to(root).as_posix(): levelled(read_file(file, sample_rate))
        for file in files
    }


def read_file(file: Path, sample_rate: int) -> np.ndarray:
    """A WAV or FLAC file as one channel.

    Args:
        file: its path.
        sample_rate: of what is returned, in Hz.

    Returns:
        Samples, as float32.

    Raises:
        ConfigError: where the file cannot be read, or soundfile is not installed.
    """
    if importlib.util.find_spec("soundfile") is None:
        raise _fault("reading WAV and FLAC takes soundfile: pip install 'djx[audio]'")
    soundfile = importlib.import_module("soundfile")
    try:
        audio, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _fault(f"{file}: {error.error_string}") from None
    return resampled(audio.mean(1), rate, sample_rate)


def windows(audio: np.ndarray, samples: int, hop: int) -> np.ndarray:
    """Cuts a recording; what is left over at the end is left out.

    Args:
        audio: samples.
        samples: in a window.
        hop: from one window's start to the next's.

    Returns:
        The windows, `(windows, samples)`; one, with silence behind it, of a recording
        that is shorter than a window.
    """
    if len(audio) < samples:
        return np.pad(audio, (0, samples - len(audio)))[None]
    return np.lib.stride_tricks.sliding_window_view(audio, samples)[::hop]


def _fault(message: str) -> ConfigError:
    return ConfigError([Fault("config", "data.source.path", message)])
