"""Delays between samples, that change from sample to sample."""

import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._frames import floating
from ._rows import of_samples


REACH = 3  # samples that are read before the nearest: one less than taps


def fractional_delay(
    audio: Float[Array, " samples"],
    delay_samples: Float[Array, " samples"] | Float[Array, ""] | float,
    past: Float[Array, " memory"] | None = None,
) -> Float[Array, " samples"]:
    """y[n] = x(n - d[n]), between samples by Lagrange's interpolation of order 3.

    x is the polynomial through the four samples around n - d[n], two on either side;
    below one sample of delay, through the newest four, for none is read before it
    comes (Laakso, Valimaki, Karjalainen & Laine 1996, Splitting the unit delay). Its
    derivative by the delay is that of the polynomial. Delays below 0 count as 0.

    Args:
        audio: x.
        delay_samples: d, at every sample or for all; any size.
        past: the samples before them, the newest last; silence before those.

    Returns:
        As many samples.

    Raises:
        ValueError: where shapes do not agree.
    """
    audio, delay = floating(audio), floating(delay_samples)
    if audio.ndim != 1 or delay.shape not in ((), audio.shape):
        raise ValueError(
            f"audio is (samples,) and delay_samples (samples,) or one number, not "
            f"{audio.shape} and {delay.shape}"
        )
    if past is None:
        past = jnp.zeros(0, audio.dtype)
    if past.ndim != 1:
        raise ValueError(f"past is (memory,), not {past.shape}")
    line = jnp.concatenate([jnp.zeros(1, audio.dtype), past.astype(audio.dtype), audio])
    # The line's first is the silence before it, where all that is older is read.
    longest = float(line.shape[0] + REACH)
    delay = jnp.where(delay < 0, 0, jnp.where(delay > longest, longest, delay))
    delay = jnp.broadcast_to(delay, audio.shape).astype(audio.dtype)
    newest = jnp.where(jnp.isnan(delay), 0, _newest(delay)).astype(jnp.int32)
    here = jnp.arange(audio.shape[0]) + past.shape[0] + 1 - newest
    taps = [jnp.take(line, here - k, mode="clip") for k in range(REACH + 1)]
    return of_samples(_lagrange, delay, *taps)


def _newest(delay):
    """How many samples ago the newest is that is read."""
    return jnp.maximum(jnp.floor(delay) - 1, 0)


def _lagrange(delay, a, b, c, d):
    x = delay - _newest(delay)
    return (
        a * ((1 - x) * (2 - x) * (3 - x) / 6)
        + b * (x * (2 - x) * (3 - x) / 2)
        - c * (x * (1 - x) * (3 - x) / 2)
        + d * (x * (1 - x) * (2 - x) / 6)
    )


class DelayState(NamedTuple):
    """What of a stream can still be heard."""

    past: Float[Array, " memory"]


class ModulatedDelay(eqx.Module):
    """A sound, and on top a copy of it that is late by a time that changes.

    A delay that swings by some milliseconds makes a chorus; one that swings down to
    nothing, a flanger; without the sound itself, a vibrato.

    Attributes:
        sample_rate: in Hz.
        longest_seconds: the longest delay; longer ones count as this.
    """

    sample_rate: float = eqx.field(static=True, default=16000)
    longest_seconds: float = eqx.field(static=True, default=0.05)

    def __check_init__(self):
        if not self.sample_rate > 0:
            raise ValueError(
                f"sample_rate={self.sample_rate}: has to be positive, in Hz"
            )
        if not 0 <= self.longest_seconds < math.inf:
            raise ValueError(
                f"longest_seconds={self.longest_seconds}: has to be 0 or more"
            )

    @property
    def delay(self) -> int:
        """Of a stream, in samples: none."""
        return 0

    def __call__(
        self,
        audio: Float[Array, " samples"],
        delay_seconds: Float[Array, " samples"] | Float[Array, ""] | float,
        gain: Float[Array, " samples"] | Float[Array, ""] | float = 1.0,
        dry: Float[Array, " samples"] | Float[Array, ""] | float = 1.0,
    ) -> Float[Array, " samples"]:
        """The whole: dry * audio + gain * the delayed audio.

        Args:
            audio: samples.
            delay_seconds: of the copy, at every sample or for all.
            gain: of the copy, at every sample or for all.
            dry: gain of the sound itself, at every sample or for all.

        Returns:
            As many samples.

        Raises:
            ValueError: where shapes do not agree.
        """
        return self.step(self.init(floating(audio)), audio, delay_seconds, gain, dry)[1]

    def init(
        self, audio: Float[Array, " _"], delay_seconds=None, gain=None, dry=None
    ) -> DelayState:
        """A stream that begins, after silence.

        Args:
            audio: some samples, of which only the type is read.
            delay_seconds: is not read.
            gain: is not read.
            dry: is not read.

        Returns:
            The state.
        """
        del delay_seconds, gain, dry
        memory = math.ceil(self.longest_seconds * self.sample_rate) + REACH
        dtype = jnp.promote_types(audio.dtype, jnp.float32)
        return DelayState(jnp.zeros(memory, dtype))

    def step(
        self,
        state: DelayState,
        audio: Float[Array, " samples"],
        delay_seconds: Float[Array, " samples"] | Float[Array, ""] | float,
        gain: Float[Array, " samples"] | Float[Array, ""] | float = 1.0,
        dry: Float[Array, " samples"] | Float[Array, ""] | float = 1.0,
    ) -> tuple[DelayState, Float[Array, " samples"]]:
        """The next samples.

        Args:
            state: of the stream.
            audio: any number of samples.
            delay_seconds: as in a call.
            gain: as in a call.
            dry: as in a call.

        Returns:
            The state after them, and as many samples.
        """
        audio = floating(audio)
        gains = [floating(g).astype(audio.dtype) for g in (dry, gain)]
        if any(g.shape not in ((), audio.shape) for g in gains):
            raise ValueError(
                f"gain and dry are (samples,) or one number, not {gains[1].shape} and "
                f"{gains[0].shape}, where audio is {audio.shape}"
            )
        seconds = floating(delay_seconds)
        longest = self.longest_seconds
        seconds = jnp.where(seconds > longest, longest, seconds)
        late = fractional_delay(audio, seconds * self.sample_rate, state.past)
        out = of_samples(_mixed, audio, late, *gains)
        line = jnp.concatenate([state.past, audio])
        return DelayState(line[audio.shape[0] :]), out


def _mixed(audio, late, dry, gain):
    return dry * audio + gain * late
