"""Rooms: what is heard after a sound, by three kinds of responses."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._controls import NoiseControls
from ._convolution import (
    Convolution,
    ConvolutionState,
    convolved,
    decaying_noise,
    reverberated,
)
from ._fir import FrequencyFilter
from ._noise import white_noise


class Room(eqx.Module):
    """A sound, and its reverberation on top.

    Attributes:
        hop: samples in a block of a stream.
    """

    hop: eqx.AbstractVar[int]

    @property
    def delay(self) -> int:
        """Of a stream, in samples: none."""
        return 0

    @abc.abstractmethod
    def impulse(self) -> Float[Array, " taps"]:
        """The response without the direct sound."""

    def __call__(self, audio: Float[Array, " samples"]) -> Float[Array, " samples"]:
        """The whole.

        Args:
            audio: samples.

        Returns:
            As many.
        """
        return reverberated(audio, self.impulse())

    def init(self, audio: Float[Array, " _"]) -> ConvolutionState:
        """A stream that begins, after silence.

        Args:
            audio: is not read.

        Returns:
            The state.
        """
        return Convolution(self.impulse(), self.hop).init(audio)

    def step(
        self, state: ConvolutionState, audio: Float[Array, " blocks*hop"]
    ) -> tuple[ConvolutionState, Float[Array, " blocks*hop"]]:
        """The next blocks.

        Args:
            state: of the stream.
            audio: whole blocks.

        Returns:
            The state after them, and as many samples.
        """
        state, wet = convolved(state, audio)
        return state, audio + wet


class ImpulseRoom(Room):
    """A room by its response, every sample of which is learned.

    Attributes:
        taps: the response.
        hop: samples in a block of a stream.
    """

    taps: Float[Array, " taps"]
    hop: int = eqx.field(static=True)

    def __init__(self, taps: int, hop: int = 64, *, key: PRNGKeyArray):
        """A room that is hardly heard.

        Args:
            taps: samples of the response.
            hop: samples in a block of a stream.
            key: of the response.
        """
        self.taps = 1e-6 * jax.random.normal(key, (taps,))
        self.hop = hop

    def impulse(self) -> Float[Array, " taps"]:
        """The response; its first sample would be the direct sound, and is zero."""
        return self.taps.at[0].set(0)


class DecayingRoom(Room):
    """A room by the time in which noise decays by 60 dB, and its gain.

    Attributes:
        log_seconds: natural logarithm of that time.
        log_gain: of the gain; the response has that energy's root.
        noise: what decays.
        sample_rate: in Hz.
        hop: samples in a block of a stream.
    """

    log_seconds: Float[Array, ""]
    log_gain: Float[Array, ""]
    noise: Float[Array, " taps"]
    sample_rate: float = eqx.field(static=True)
    hop: int = eqx.field(static=True)

    def __init__(
        self,
        taps: int,
        sample_rate: float = 16000,
        hop: int = 64,
        *,
        seconds: float = 0.5,
        gain: float = 0.1,
        key: PRNGKeyArray,
    ):
        """A room.

        Args:
            taps: samples of the response.
            sample_rate: in Hz.
            hop: samples in a block of a stream.
            seconds: its reverberation time at first.
            gain: its gain at first.
            key: of the noise.
        """
        self.log_seconds = jnp.log(jnp.asarray(seconds, jnp.float32))
        self.log_gain = jnp.log(jnp.asarray(gain, jnp.float32))
        self.noise = jax.random.normal(key, (taps,))
        self.sample_rate, self.hop = sample_rate, hop

    def impulse(self) -> Float[Array, " taps"]:
        """The response."""
        noise = jax.lax.stop_gradient(self.noise)
        decaying = decaying_noise(noise, jnp.exp(self.log_seconds), self.sample_rate)
        return jnp.exp(self.log_gain) * decaying


class NoiseRoom(Room):
    """A room by the magnitudes of noise, frame by frame of its response.

    Attributes:
        magnitudes: unbounded, as `NoiseControls` takes them.
        noise: what is filtered.
        hop: samples in a block of a stream.
        filter: of the response's frames.
    """

    magnitudes: Float[Array, "frames bands"]
    noise: Float[Array, " frames*frame_hop"]
    hop: int = eqx.field(static=True)
    filter: FrequencyFilter

    def __init__(
        self,
        taps: int,
        hop: int = 64,
        *,
        bands: int = 33,
        frame_hop: int = 256,
        key: PRNGKeyArray,
    ):
        """A room that is hardly heard.

        Args:
            taps: samples of the response, a multiple of `frame_hop`.
            hop: samples in a block of a stream.
            bands: of the filters.
            frame_hop: samples in a frame of the response.
            key: of the noise.

        Raises:
            ValueError: where the response has no whole frames.
        """
        if taps % frame_hop:
            raise ValueError(f"taps={taps}: has to be a multiple of {frame_hop}")
        frames = taps // frame_hop
        self.magnitudes = jnp.zeros((frames, bands))
        self.noise = white_noise(key, 0, frames, frame_hop)
        self.hop, self.filter = hop, FrequencyFilter(frame_hop, bands)

    def impulse(self) -> Float[Array, " taps"]:
        """The response, without the direct sound."""
        noise = jax.lax.stop_gradient(self.noise)
        magnitudes = NoiseControls()(self.magnitudes)
        return self.filter(noise, magnitudes).at[0].set(0)
