"""Windowed sincs: filters of linear phase, differentiable in their cutoff."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.errors import did_you_mean
from ._convolution import convolve
from ._frames import floating


Window = Literal["hamming", "hann", "blackman", "rectangular"]

# Of cosines of 0, 1 and 2 periods in the window, around its middle.
_COSINES = {
    "hamming": (0.54, 0.46),
    "hann": (0.5, 0.5),
    "blackman": (0.42, 0.5, 0.08),
    "rectangular": (1.0,),
}


def windowed_sinc(
    cutoff_hz: Float[Array, ""] | float,
    taps: int,
    sample_rate: float,
    kind: Literal["lowpass", "highpass"] = "lowpass",
    window: Window = "hamming",
) -> Float[Array, " taps"]:
    """The ideal filter's impulse response under a window.

    It is symmetric around its middle: `centred` applies it without delay. The gain is
    1/2 at the cutoff, where many taps are heard; 1 at 0 Hz for a low-pass, and at half
    the sample rate for a high-pass. The values are those of SciPy's `firwin`.

    Args:
        cutoff_hz: clipped to between 0 and half the sample rate; both are finite, as
            are their derivatives.
        taps: how many; odd for a high-pass.
        sample_rate: in Hz.
        kind: "lowpass" or "highpass".
        window: "hamming", "hann", "blackman" or "rectangular".

    Returns:
        The response.

    Raises:
        ValueError: where an argument is out of range.

    A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing", 3rd edition,
    section 7.5.
    """
    for name, value, known in (
        ("kind", kind, ("lowpass", "highpass")),
        ("window", window, tuple(_COSINES)),
    ):
        if value not in known:
            raise ValueError(
                f"{name}={value!r}: choose from {', '.join(map(repr, known))}"
                f"{did_you_mean(value, known)}"
            )
    if jnp.ndim(cutoff_hz) != 0:
        raise ValueError(
            f"cutoff_hz is one number, not {jnp.shape(cutoff_hz)}: see jax.vmap"
        )
    if not sample_rate > 0:
        raise ValueError(f"sample_rate={sample_rate}: has to be above 0 Hz")
    high = kind == "highpass"
    if taps < 1 or taps != int(taps) or (high and taps % 2 == 0):
        raise ValueError(f"taps={taps}: a {kind} has {'odd, ' * high}1 or more")
    place = np.arange(taps) - (taps - 1) / 2
    turns = 2 * np.pi * place / max(taps - 1, 1)
    cosines = [a * np.cos(k * turns) for k, a in enumerate(_COSINES[window])]
    cutoff = jnp.clip(floating(cutoff_hz) * (2 / sample_rate), 0, 1)
    # What is above a cutoff, mirrored in frequency, is what is below another.
    cutoff, sign = (1 - cutoff, (-1.0) ** place) if high else (cutoff, np.ones(taps))
    # Without the factor that the sum takes out again, there is one at 0 Hz, too.
    sinc = jnp.sinc(cutoff * place.astype(cutoff.dtype))
    low = sinc * np.sum(cosines, 0).astype(cutoff.dtype)
    return low / jnp.sum(low) * sign.astype(cutoff.dtype)


def centred(
    audio: Float[Array, " samples"], impulse: Float[Array, " taps"]
) -> Float[Array, " samples"]:
    """Convolves with a response whose middle is at time 0.

    Args:
        audio: samples.
        impulse: an odd number of taps.

    Returns:
        As many samples.

    Raises:
        ValueError: where the middle lies between two taps.
    """
    taps = impulse.shape[0]
    if taps % 2 == 0:
        raise ValueError(f"an impulse of {taps} taps has no middle: take one more")
    whole = convolve(audio, impulse, "full")
    return whole[taps // 2 : taps // 2 + audio.shape[0]]
