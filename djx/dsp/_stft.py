"""Short-time Fourier transforms without gathers."""

import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Complex, Float

from ._transform import rfft


def framed(audio: Float[Array, " samples"], size: int, hop: int):
    """Overlapping frames, as shifted views of blocks that stand side by side.

    Frames begin at 0, hop, 2 hop, .. while there are samples; the last are filled up
    with zeros.

    Args:
        audio: samples.
        size: of a frame, a multiple of `hop`.
        hop: from frame to frame.

    Returns:
        `(frames, size)`.
    """
    parts = size // hop
    frames = -(-audio.shape[0] // hop)
    padded = jnp.pad(audio, (0, (frames + parts - 1) * hop - audio.shape[0]))
    blocks = padded.reshape(-1, hop)
    return jnp.concatenate([blocks[p : p + frames] for p in range(parts)], 1)


def unframed(frames: Float[Array, "frames size"], hop: int, samples: int):
    """The adjoint of `framed`: overlapping frames, added up.

    Args:
        frames: as `framed` returns them.
        hop: from frame to frame.
        samples: how many there were.

    Returns:
        `(samples,)`.
    """
    count, size = frames.shape
    parts = size // hop
    split = frames.reshape(count, parts, hop)
    added = [jnp.pad(split[:, p], [(p, parts - 1 - p), (0, 0)]) for p in range(parts)]
    return sum(added[1:], added[0]).reshape(-1)[:samples]


def hann(size: int, dtype) -> np.ndarray:
    """The periodic Hann window."""
    return ((1 - np.cos(2 * np.pi * np.arange(size) / size)) / 2).astype(dtype)


def check_sizes(size: int, hop: int) -> None:
    """Whether blocks of hop samples make up a frame.

    Raises:
        ValueError: if not.
    """
    if hop < 1 or size % hop or size % 2:
        raise ValueError(
            f"fft_size={size}, hop={hop}: an even size that is a multiple of the hop"
        )


def stft(
    audio: Float[Array, " samples"], fft_size: int, hop: int
) -> Complex[Array, "frames bins"]:
    """The short-time Fourier transform under a periodic Hann window.

    Args:
        audio: samples.
        fft_size: samples of a frame; products of 2, 3 and 5 are quick.
        hop: from frame to frame, a divisor of `fft_size`.

    Returns:
        Frames at 0, hop, 2 hop, .. while there are samples; zeros follow the last.

    Raises:
        ValueError: where the hop does not divide the size, or the size is odd.
    """
    check_sizes(fft_size, hop)
    frames = framed(audio, fft_size, hop)
    return rfft(frames * hann(fft_size, audio.dtype))


def centred_stft(
    audio: Float[Array, " samples"], fft_size: int, hop: int
) -> Complex[Array, "frames bins"]:
    """`stft` under windows that are centred on 0, hop, .. while there are samples."""
    spectrum = stft(jnp.pad(audio, (fft_size // 2, 0)), fft_size, hop)
    return spectrum[: -(-audio.shape[0] // hop)]


def power(spectrum: Complex[Array, "..."]) -> Float[Array, "..."]:
    """|X|^2. Sound is far from overflow, against which absolute values guard."""
    return spectrum.real**2 + spectrum.imag**2


def fast_size(samples: int) -> int:
    """An even size of transforms that are quick, so many samples or more.

    It is even so that only the first and the last bin stand alone.
    """
    return 2 * int(scipy.fft.next_fast_len(-(-samples // 2), real=True) or 1)


def check_pair(audio: Array, target: Array) -> None:
    """Whether two sounds are equally long.

    Raises:
        ValueError: if not.
    """
    if audio.shape != target.shape or audio.ndim != 1:
        raise ValueError(
            f"two sounds of as many samples, not {audio.shape} and {target.shape}"
        )
