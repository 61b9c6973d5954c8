"""Loudness as the ear weighs it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._stft import centred_stft, hann, power


def a_weighting(frequency_hz: np.ndarray) -> np.ndarray:
    """The A-weighting of IEC 61672-1, a factor of amplitude that is 1 at 1 kHz.

    Args:
        frequency_hz: in Hz.

    Returns:
        The factors; 0 at 0 Hz.
    """

    def unscaled(f):
        f2 = np.asarray(f, np.float64) ** 2
        below = (f2 + 20.598997**2) * (f2 + 12194.217**2)
        return (
            12194.217**2
            * f2**2
            / (below * np.sqrt((f2 + 107.65265**2) * (f2 + 737.86223**2)))
        )

    return unscaled(frequency_hz) / unscaled(1000.0)


def loudness_db(
    audio: Float[Array, " samples"],
    sample_rate: float,
    *,
    fft_size: int = 1024,
    hop: int = 64,
    least_db: float = -120.0,
) -> Float[Array, " frames"]:
    """A-weighted loudness around every frame, in dB below a full-scale sine.

    A sine of amplitude 1 at 1 kHz has 0 dB, whatever the size of the transform: what is
    summed is power, by Parseval's theorem, not magnitudes of bins.

    Args:
        audio: samples; full scale is from -1 to 1.
        sample_rate: in Hz.
        fft_size: samples under the window, a multiple of `hop`.
        hop: samples from frame to frame; the frames' windows are centred on 0, hop, ..
        least_db: of silence; a floor in power, so that gradients stay finite.

    Returns:
        One figure a frame.

    Raises:
        ValueError: where the hop does not divide the size.
    """
    heard = power(centred_stft(audio, fft_size, hop))
    level = heard @ power_weights(fft_size, sample_rate, audio.dtype)
    return 10 * jnp.log10(level + 10 ** (least_db / 10))


def power_weights(fft_size: int, sample_rate: float, dtype) -> np.ndarray:
    """What a bin's |X|^2 adds to A-weighted power, that of a full-scale sine being 1.

    Args:
        fft_size: of a transform under a Hann window.
        sample_rate: in Hz.
        dtype: of the weights.

    Returns:
        One weight a bin.
    """
    bins = np.arange(fft_size // 2 + 1) * (sample_rate / fft_size)
    # Bins but the first and the last stand for two; a sine's mean square is a half.
    counted = np.full(len(bins), 2.0)
    counted[[0, -1]] = 1
    weights = 2 * counted * a_weighting(bins) ** 2
    return (weights / (fft_size * np.sum(hann(fft_size, float) ** 2))).astype(dtype)
