"""Spectra on the mel scale, and their cepstra."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.errors import did_you_mean
from ._stft import centred_stft, power


SCALES = ("htk", "slaney")
QUANTITIES = ("magnitude", "power")
LEAST = 1e-5  # below which logarithms are flat

# Slaney's scale is linear below 1 kHz, and has 27 steps to a factor of 6.4 above it.
_BEND_HZ, _STEP_HZ = 1000.0, 200 / 3
_STEP_LOG = np.log(6.4) / 27


def hz_to_mel(
    frequency_hz: np.ndarray, scale: Literal["htk", "slaney"] = "htk"
) -> np.ndarray:
    """How high a tone sounds.

    Args:
        frequency_hz: in Hz, not negative.
        scale: "htk": 2595 log10(1 + f / 700) (O'Shaughnessy 1987); "slaney": linear
            up to 1 kHz, logarithmic above (Slaney 1998).

    Returns:
        In mel; Slaney's are larger, by 200 / 3 at low frequencies.

    Raises:
        ValueError: where the scale is unknown.
    """
    _check_one_of("scale", scale, SCALES)
    hz = np.asarray(frequency_hz, np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    above = np.log(np.maximum(hz, _BEND_HZ) / _BEND_HZ) / _STEP_LOG
    return np.minimum(hz, _BEND_HZ) / _STEP_HZ + above


def mel_to_hz(mel: np.ndarray, scale: Literal["htk", "slaney"] = "htk") -> np.ndarray:
    """The inverse of `hz_to_mel`.

    Args:
        mel: in mel, not negative.
        scale: "htk" or "slaney".

    Returns:
        In Hz.

    Raises:
        ValueError: where the scale is unknown.
    """
    _check_one_of("scale", scale, SCALES)
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    bend = _BEND_HZ / _STEP_HZ
    above = np.exp(_STEP_LOG * np.maximum(mel - bend, 0))
    return np.minimum(mel, bend) * _STEP_HZ * above


def mel_filters(
    bands: int,
    fft_size: int,
    sample_rate: float,
    *,
    least_hz: float = 20.0,
    greatest_hz: float = 8000.0,
    scale: Literal["htk", "slaney"] = "htk",
    equal_area: bool = False,
) -> Float[np.ndarray, "bins bands"]:
    """Triangles over frequency, whose corners are equally spaced in mel.

    Each rises from the peak of the one before and falls to that of the next, so that
    they add up to 1 between the first and the last peak. At low frequencies a triangle
    may be narrower than a bin, and hold none.

    Args:
        bands: number of triangles.
        fft_size: of the transform.
        sample_rate: in Hz.
        least_hz: where the first begins.
        greatest_hz: where the last ends.
        scale: "htk" or "slaney".
        equal_area: whether triangles have an area of 1 (Slaney 1998), in 1 / Hz, and
            not a height of 1.

    Returns:
        The weights.

    Raises:
        ValueError: where the bounds leave no band or the scale is unknown.
    """
    if bands < 1:
        raise ValueError(f"bands={bands}: one or more")
    if not 0 <= least_hz < greatest_hz <= sample_rate / 2:
        raise ValueError(
            f"least_hz={least_hz}, greatest_hz={greatest_hz}: have to rise from 0 to "
            f"{sample_rate / 2} at most, half the sample rate"
        )
    first, last = hz_to_mel(np.asarray([least_hz, greatest_hz]), scale)
    corners = mel_to_hz(np.linspace(first, last, bands + 2), scale)
    left, peak, right = corners[:-2], corners[1:-1], corners[2:]
    bins = (np.arange(fft_size // 2 + 1) * (sample_rate / fft_size))[:, None]
    rising, falling = (bins - left) / (peak - left), (right - bins) / (right - peak)
    triangles = np.maximum(np.minimum(rising, falling), 0)
    return triangles * (2 / (right - left)) if equal_area else triangles


def mel_spectrum(
    audio: Float[Array, " samples"],
    sample_rate: float,
    *,
    bands: int = 128,
    fft_size: int = 1024,
    hop: int = 256,
    least_hz: float = 20.0,
    greatest_hz: float = 8000.0,
    scale: Literal["htk", "slaney"] = "htk",
    equal_area: bool = False,
    quantity: Literal["magnitude", "power"] = "magnitude",
) -> Float[Array, "frames bands"]:
    """Magnitudes or powers of a Hann window's spectrum, gathered in mel bands.

    Args:
        audio: samples.
        sample_rate: in Hz.
        bands: number of triangles.
        fft_size: samples under the window, a multiple of `hop`.
        hop: samples from frame to frame; the frames' windows are centred on 0, hop, ..
        least_hz: where the first triangle begins.
        greatest_hz: where the last ends.
        scale: "htk" or "slaney".
        equal_area: whether triangles have an area of 1, and not a height of 1.
        quantity: what is gathered: "magnitude" (as magenta does) or "power".

    Returns:
        The bands; where all is silent their gradient is zero.

    Raises:
        ValueError: where the hop does not divide the size, the bounds leave no band, or
            a name is unknown.
    """
    _check_one_of("quantity", quantity, QUANTITIES)
    filters = mel_filters(
        bands,
        fft_size,
        sample_rate,
        least_hz=least_hz,
        greatest_hz=greatest_hz,
        scale=scale,
        equal_area=equal_area,
    )
    heard = power(centred_stft(audio, fft_size, hop))
    if quantity == "magnitude":
        there = heard > 0
        heard = jnp.where(there, jnp.sqrt(jnp.where(there, heard, 1)), 0)
    return heard @ filters.astype(audio.dtype)


def log_mel(
    audio: Float[Array, " samples"], sample_rate: float, **settings
) -> Float[Array, "frames bands"]:
    """The logarithm of `mel_spectrum`, flat below 1e-5.

    Args:
        audio: samples.
        sample_rate: in Hz.
        settings: as `mel_spectrum` takes them.

    Returns:
        log(bands + 1e-5).

    Raises:
        ValueError: as `mel_spectrum` does.
    """
    return jnp.log(mel_spectrum(audio, sample_rate, **settings) + LEAST)


def cosines(size: int, count: int) -> Float[np.ndarray, "size count"]:
    """The first columns of the orthonormal DCT-II.

    Args:
        size: of what is transformed.
        count: of coefficients, at most `size`.

    Returns:
        sqrt(2 / size) cos(pi k (n + 1/2) / size); over sqrt(2) for k = 0.

    Raises:
        ValueError: where there are not so many.
    """
    if not 1 <= count <= size:
        raise ValueError(f"count={count}: from 1 to {size}, the number of bands")
    places, numbers = np.arange(size)[:, None] + 0.5, np.arange(count)
    columns = np.sqrt(2 / size) * np.cos(np.pi * places * numbers / size)
    return columns * np.where(numbers == 0, np.sqrt(0.5), 1)


def mfcc(
    audio: Float[Array, " samples"],
    sample_rate: float,
    *,
    count: int = 13,
    bands: int = 128,
    **settings,
) -> Float[Array, "frames count"]:
    """Mel-frequency cepstral coefficients: the orthonormal DCT-II of `log_mel`.

    Magenta's settings are the defaults; its autoencoder of timbre takes 30. Its
    coefficient 0 is larger by sqrt(2), for its transform is not orthonormal there.

    Args:
        audio: samples.
        sample_rate: in Hz.
        count: of coefficients, at most `bands`.
        bands: number of triangles.
        settings: further ones of `mel_spectrum`.

    Returns:
        The coefficients.

    Raises:
        ValueError: where `count` is out of range, or as `mel_spectrum` does.
    """
    basis = cosines(bands, count).astype(audio.dtype)
    return log_mel(audio, sample_rate, bands=bands, **settings) @ basis


def _check_one_of(name: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise ValueError(
            f"{name}={word!r}: choose from {', '.join(map(repr, known))}"
            f"{did_you_mean(word, known)}"
        )
