"""Filters that are given by their magnitudes, frame by frame."""

import functools as ft
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ._frames import check_hop, floating, joined
from ._rows import by_rows
from ._stft import fast_size


ROWS = 16  # frames of a block: one frame of a stream costs as many
BACKWARD_ROWS = 64


@ft.lru_cache
def _responses(bands: int, size: int) -> np.ndarray:
    """Spectra, at a transform of `size` samples, of the filters of single bands.

    A filter's impulse response is the inverse transform of its magnitudes, without
    phase, under a Hann window as wide as itself. It is even in time, so its spectrum is
    real, and linear in the magnitudes.
    """
    taps = 2 * (bands - 1)
    impulses = np.fft.fftshift(np.fft.irfft(np.eye(bands), taps, axis=1), axes=1)
    n = np.arange(taps) - taps // 2
    impulses = impulses * (1 + np.cos(2 * np.pi * n / taps)) / 2
    f = np.arange(size // 2 + 1)
    return impulses @ np.cos(2 * np.pi * np.outer(n, f) / size)


def filtered_frames(
    audio: Float[Array, "frames hop"], magnitudes: Float[Array, "frames bands"]
) -> Float[Array, "frames hop+taps"]:
    """Each frame alone through a filter of its own.

    Args:
        audio: samples.
        magnitudes: gains at frequencies from 0 to half the sample rate, evenly spaced.

    Returns:
        What comes out, beginning taps / 2 samples before the frame, where taps is
        2 (bands - 1).

    Raises:
        ValueError: where there are fewer than two bands.
    """
    bands, hop = magnitudes.shape[-1], audio.shape[-1]
    if bands < 2:
        raise ValueError(f"a filter has two bands or more, not {bands}")
    taps = 2 * (bands - 1)
    size = fast_size(hop + taps)
    responses = _responses(bands, size).astype(audio.dtype)
    times = np.full(size // 2 + 1, 2.0, audio.dtype)
    times[[0, -1]] = 1

    def out_of(spectrum):
        wave = jnp.fft.irfft(spectrum, size)
        return jnp.concatenate([wave[:, -(taps // 2) :], wave[:, : hop + taps // 2]], 1)

    def of_rows(audio, magnitudes):
        return [out_of(jnp.fft.rfft(audio, size) * (magnitudes @ responses))]

    def pull(given, cotangents):
        audio, magnitudes = given
        (g,) = cotangents
        gap = jnp.zeros((len(g), size - hop - taps), g.dtype)
        g = jnp.concatenate([g[:, taps // 2 :], gap, g[:, : taps // 2]], 1)
        spectrum, of_g = jnp.fft.rfft(audio, size), jnp.fft.rfft(g)
        # A filter without phase is its own adjoint.
        d_audio = jnp.fft.irfft(of_g * (magnitudes @ responses), size)[:, :hop]
        together = spectrum.real * of_g.real + spectrum.imag * of_g.imag
        return [d_audio, (together * times) @ responses.T / size]

    (out,) = by_rows(
        of_rows, audio, magnitudes, rows=ROWS, pull=pull, pull_rows=BACKWARD_ROWS
    )
    return out


class FilterState(NamedTuple):
    """What of the last frames is still to be heard."""

    frames: Float[Array, "memory hop+taps"]
    silent: Integer[Array, ""]
    """Samples to come that are before the first one that went in."""


class FrequencyFilter(eqx.Module):
    """A filter with magnitudes that change from frame to frame.

    Every frame of samples passes the filter of that frame; what sticks out of it
    overlaps the neighbours' and is added. The whole has no delay; a stream has one of
    bands - 1 samples, which is how far the filter looks ahead.

    Attributes:
        hop: samples in a frame.
        bands: gains of a filter, at frequencies from 0 to half the sample rate.
    """

    hop: int = eqx.field(static=True, default=64)
    bands: int = eqx.field(static=True, default=65)

    def __check_init__(self):
        check_hop(self.hop)
        if self.bands < 2:
            raise ValueError(f"bands={self.bands}: a filter has two or more")

    @property
    def frames(self) -> dict[str, int]:
        """Samples in a row of those arguments that are frames."""
        return {"magnitudes": self.hop}

    @property
    def delay(self) -> int:
        """Of a stream, in samples."""
        return self.bands - 1

    def __call__(
        self,
        audio: Float[Array, " frames*hop"],
        magnitudes: Float[Array, "frames bands"],
    ) -> Float[Array, " frames*hop"]:
        """The whole, without delay.

        Args:
            audio: samples.
            magnitudes: at frames, the first of which begins with the first sample.

        Returns:
            As many samples.

        Raises:
            ValueError: where shapes do not agree.
        """
        magnitudes = floating(magnitudes)
        self._check(audio, magnitudes)
        memory = self._memory
        quiet = jnp.zeros((memory, self.bands), magnitudes.dtype)
        silence = jnp.zeros(memory * self.hop, audio.dtype)
        _, late = self.step(
            self.init(audio, magnitudes),
            joined(audio, silence),
            joined(magnitudes, quiet),
        )
        return late[self.delay : self.delay + audio.shape[0]]

    @property
    def _memory(self) -> int:
        """Frames that one frame sticks out into."""
        return -(-2 * self.delay // self.hop)

    def _check(self, audio, magnitudes):
        wanted = (audio.shape[0] // self.hop, self.bands)
        if audio.shape[0] % self.hop or magnitudes.shape != wanted:
            raise ValueError(
                f"audio is (frames x {self.hop},) and magnitudes (frames, {self.bands})"
                f", not {audio.shape} and {magnitudes.shape}"
            )

    def init(
        self, audio: Float[Array, " _"], magnitudes: Float[Array, "_ bands"]
    ) -> FilterState:
        """A stream that begins, after silence.

        Args:
            audio: some samples, of which only the type is read.
            magnitudes: some frames, of which only the type is read.

        Returns:
            The state.
        """
        del magnitudes
        length = self.hop + 2 * self.delay
        dtype = jnp.promote_types(audio.dtype, jnp.float32)
        silent = jnp.asarray(self.delay, jnp.int32)
        return FilterState(jnp.zeros((self._memory, length), dtype), silent)

    def step(
        self,
        state: FilterState,
        audio: Float[Array, " frames*hop"],
        magnitudes: Float[Array, "frames bands"],
    ) -> tuple[FilterState, Float[Array, " frames*hop"]]:
        """The next samples, late by `delay`.

        Args:
            state: of the stream.
            audio: samples of some frames.
            magnitudes: at those frames.

        Returns:
            The state after them, and as many samples.
        """
        audio, magnitudes = floating(audio), floating(magnitudes)
        self._check(audio, magnitudes)
        count = len(magnitudes)
        new = filtered_frames(audio.reshape(count, self.hop), magnitudes)
        frames = joined(state.frames, new)
        last = self._memory
        # Always in the same order, so that chunks cannot change a sum.
        out = frames[last:, : self.hop]
        for back in range(1, last + 1):
            part = frames[last - back : last - back + count]
            part = part[:, back * self.hop : (back + 1) * self.hop]
            missing = self.hop - part.shape[1]
            out = out + jnp.pad(part, [(0, 0), (0, missing)])
        out = out.reshape(-1)
        # What filters put before the first sample is no part of the sound.
        out = jnp.where(jnp.arange(out.shape[0]) < state.silent, 0, out)
        silent = jnp.maximum(state.silent - out.shape[0], 0)
        return FilterState(frames[count:], silent), out
