"""Convolution with long impulse responses, whole and in streams."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ..core.errors import did_you_mean
from ._frames import check_hop
from ._stft import fast_size
from ._transform import filtered, irfft, rfft


MODES = ("full", "head", "valid")


def convolve(
    audio: Float[Array, " samples"],
    impulse: Float[Array, " taps"],
    mode: Literal["full", "head", "valid"] = "full",
) -> Float[Array, " out"]:
    """Convolves by one transform.

    Args:
        audio: samples.
        impulse: response to a single 1.
        mode: "full": samples + taps - 1; "head": as many as samples came in, from the
            first on, which is what a stream gives; "valid": where all taps meet
            samples, samples - taps + 1, or none.

    Returns:
        The convolution.

    Raises:
        ValueError: where the mode is unknown or the impulse empty.
    """
    if mode not in MODES:
        raise ValueError(
            f"mode={mode!r}: choose from {', '.join(map(repr, MODES))}"
            f"{did_you_mean(mode, MODES)}"
        )
    samples, taps = audio.shape[-1], impulse.shape[-1]
    if taps == 0:
        raise ValueError("an impulse response has one sample or more")
    full = samples + taps - 1
    first, last = {
        "full": (0, full if samples else 0),
        "head": (0, samples),
        "valid": (taps - 1, max(samples, taps - 1)),
    }[mode]
    if first == last:
        return jnp.zeros(0, jnp.result_type(audio, impulse))
    size = fast_size(full)
    dtype = jnp.result_type(audio, impulse)
    audio, impulse = audio.astype(dtype), impulse.astype(dtype)
    # No block is needed for equal bits: transforms of rows are each row's own, and a
    # product of spectra, between two transforms, is never compiled with anything else.
    padded = jnp.pad(audio, (0, size - samples))
    return filtered(padded, rfft(impulse, size))[first:last]


class ConvolutionState(NamedTuple):
    """What of the input is still to be heard."""

    last: Float[Array, " hop"]
    """The newest block."""
    spectra: Complex[Array, "partitions bins"]
    """Of the last pairs of blocks, the newest first."""
    responses: Complex[Array, "partitions bins"]
    """Of the impulse's partitions: made once, for they do not change."""


class Convolution(eqx.Module):
    """Convolution with an impulse response in blocks, without delay.

    The response is cut into partitions as long as a block; a block's output is the sum
    of their spectra times those of the blocks before (uniformly partitioned
    overlap-save). It agrees with `convolve(..., "head")` to rounding.

    Attributes:
        impulse: the response.
        hop: samples in a block.
    """

    impulse: Float[Array, " taps"]
    hop: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        check_hop(self.hop)

    def __call__(self, audio: Float[Array, " samples"]) -> Float[Array, " samples"]:
        """The whole, as long as what came in.

        Args:
            audio: samples.

        Returns:
            As many samples.
        """
        return convolve(audio, self.impulse, "head")

    @property
    def delay(self) -> int:
        """Of a stream, in samples: none."""
        return 0

    def init(self, audio: Float[Array, " _"] | None = None) -> ConvolutionState:
        """A stream that begins, after silence.

        Args:
            audio: is not read: the response says of which type samples are.

        Returns:
            The state.
        """
        del audio
        partitions = -(-self.impulse.shape[0] // self.hop)
        fill = partitions * self.hop - self.impulse.shape[0]
        parts = jnp.pad(self.impulse, (0, fill)).reshape(partitions, self.hop)
        responses = rfft(parts, 2 * self.hop)
        last = jnp.zeros(self.hop, self.impulse.dtype)
        return ConvolutionState(last, jnp.zeros_like(responses), responses)

    def step(
        self, state: ConvolutionState, audio: Float[Array, " blocks*hop"]
    ) -> tuple[ConvolutionState, Float[Array, " blocks*hop"]]:
        """The next blocks.

        Args:
            state: of the stream.
            audio: whole blocks.

        Returns:
            The state after them, and as many samples.

        Raises:
            ValueError: where the last block is not whole.
        """
        return convolved(state, audio)


def convolved(
    state: ConvolutionState, audio: Float[Array, " blocks*hop"]
) -> tuple[ConvolutionState, Float[Array, " blocks*hop"]]:
    """The next blocks of a stream, whose state knows the impulse.

    Args:
        state: of the stream.
        audio: whole blocks.

    Returns:
        The state after them, and as many samples.

    Raises:
        ValueError: where the last block is not whole.
    """
    hop = state.last.shape[0]
    if audio.shape[0] % hop:
        raise ValueError(f"{audio.shape[0]} samples are no whole blocks of {hop}")

    def of_block(carry, block):
        last, spectra = carry
        newest = rfft(jnp.concatenate([last, block]))
        spectra = jnp.concatenate([newest[None], spectra[:-1]])
        out = irfft(jnp.sum(spectra * state.responses, 0), 2 * hop)
        return (block, spectra), out[hop:]

    blocks = audio.astype(state.last.dtype).reshape(-1, hop)
    (last, spectra), out = jax.lax.scan(of_block, (state.last, state.spectra), blocks)
    return ConvolutionState(last, spectra, state.responses), out.reshape(-1)


def decaying_noise(
    noise: Float[Array, " taps"],
    decay_seconds: Float[Array, ""] | float,
    sample_rate: float,
) -> Float[Array, " taps"]:
    """An impulse response whose level falls by 60 dB in a given time, of energy 1.

    Args:
        noise: what decays; white noise sounds like a hall.
        decay_seconds: the reverberation time.
        sample_rate: in Hz.

    Returns:
        The response; its first sample, which is the direct sound's place, is 0.
    """
    seconds = jnp.arange(noise.shape[0], dtype=noise.dtype) / sample_rate
    # 60 dB are a factor of 1000 in amplitude.
    falling = noise * jnp.exp(-jnp.log(1000.0) * seconds / decay_seconds)
    falling = falling.at[0].set(0)
    energy = jnp.sum(falling**2)
    there = energy > 0
    return falling * jnp.where(there, jax.lax.rsqrt(jnp.where(there, energy, 1)), 0)


def reverberated(
    audio: Float[Array, " samples"],
    impulse: Float[Array, " taps"],
    wet: Float[Array, ""] | float = 1.0,
) -> Float[Array, " samples"]:
    """A sound, and its reverberation on top.

    Args:
        audio: samples.
        impulse: the room's response, without the direct sound.
        wet: gain of the reverberation.

    Returns:
        As many samples.
    """
    return audio + wet * convolve(audio, impulse, "head")
