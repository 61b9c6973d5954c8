"""Pitch and loudness of many sounds, kept for the next time."""

import contextlib
import functools as ft
import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import platformdirs

import djx.dsp
from djx.core import combine_digests, leaf_digest
from djx.dsp import loudness_db, yin
from experiments._recordings_sounds import resampled


PITCH_RATE = (
    32000  # pitch is looked for at a multiple of the sample rate, at least this
)


class Features(NamedTuple):
    """One figure a frame, `(sounds, frames)`."""

    f0_hz: np.ndarray
    aperiodicity: np.ndarray
    """0 for periodic sounds, about 1 for noise and silence."""
    loudness_db: np.ndarray


def features(
    audio: np.ndarray,
    sample_rate: int,
    *,
    hop: int = 64,
    least_hz: float = 50.0,
    greatest_hz: float = 2500.0,
) -> Features:
    """Measures every sound, or finds what was measured before.

    What is kept is in `features` of the user's cache folder, which `DJX_CACHE_DIR`
    moves (empty: nothing is kept). It is named by a digest of the samples, the settings
    and the code that measures; a damaged file counts as none.

    Args:
        audio: samples, `(sounds, samples)`.
        sample_rate: in Hz.
        hop: samples from frame to frame.
        least_hz: lowest pitch that is looked for.
        greatest_hz: highest pitch.

    Returns:
        Pitch by `djx.dsp.yin` and loudness by `djx.dsp.loudness_db`.
    """
    folder = os.environ.get("DJX_CACHE_DIR", platformdirs.user_cache_dir("djx"))
    settings = (sample_rate, hop, least_hz, greatest_hz)
    place = None
    if folder:
        name = combine_digests(
            [
                ("audio", leaf_digest(audio)),
                ("settings", f"{settings} {PITCH_RATE}"),
                *_code(),
            ]
        )
        place = Path(folder, "features", f"{name[:32]}.npz")
    shape = (len(audio), -(-audio.shape[1] // hop))
    found = _kept(place, shape) if place else None
    if found is None:
        found = _measured(audio, *settings)
        if place:
            _keep(place, found)
    return found


def _code() -> list[tuple[str, str]]:
    """The version, and the files themselves: versions change less often than they."""
    files = sorted(Path(djx.dsp.__path__[0]).glob("*.py"))
    texts = [(f.name, leaf_digest(np.fromfile(f, np.uint8))) for f in files]
    return [("djx", importlib.metadata.version("djx")), *texts]


def _measured(audio, sample_rate, hop, least_hz, greatest_hz) -> Features:
    # Dips are judged at whole samples, between which a high note's would be missed.
    times = -(-PITCH_RATE // sample_rate)
    rows = []
    for sound in _watched(audio):
        finer = resampled(sound, sample_rate, times * sample_rate)
        found = _measure(sound, finer, sample_rate, hop, least_hz, greatest_hz)
        rows.append(jax.device_get(found))
    f0_hz, aperiodicity, loudness = map(np.stack, zip(*rows, strict=True))
    return Features(f0_hz, aperiodicity, loudness)


@ft.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _measure(sound, finer, sample_rate, hop, least_hz, greatest_hz):
    times = finer.shape[0] // sound.shape[0]
    pitch = yin(
        finer,
        times * sample_rate,
        hop=times * hop,
        least_hz=least_hz,
        greatest_hz=greatest_hz,
    )
    size = -(-1024 // hop) * hop
    loudness = loudness_db(sound, sample_rate, fft_size=size, hop=hop)
    return pitch.f0_hz, pitch.aperiodicity, loudness


def _watched(audio: np.ndarray) -> Iterator[np.ndarray]:
    """Shows how far it is: a bar on a terminal, elsewhere a line every ten seconds."""
    said, words = time.monotonic(), "pitch and loudness"
    if sys.stdout.isatty():
        from rich.progress import track

        yield from track(audio, words, transient=True)
        return
    for index, sound in enumerate(audio):
        if time.monotonic() - said > 10:
            said = time.monotonic()
            print(f"{words}: sound {index}/{len(audio)}", flush=True)
        yield sound


def _kept(place: Path, shape: tuple[int, int]) -> Features | None:
    # Whatever is wrong with the file, the numbers can be had anew.
    with contextlib.suppress(Exception), np.load(place) as file:
        found = Features(*(file[name] for name in Features._fields))
        if all(a.shape == shape and a.dtype == np.float32 for a in found):
            return found
    return None


def _keep(place: Path, found: Features) -> None:
    # A reader never sees half a file; a full or a foreign disk stops nobody.
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=place.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **found._asdict())
            os.replace(part, place)
        except BaseException:
            os.unlink(part)
            raise
