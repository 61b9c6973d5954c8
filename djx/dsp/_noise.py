"""Noise that is a function of where it is, and filters on it."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from ._fir import FilterState, FrequencyFilter


def white_noise(
    key: PRNGKeyArray, first: Integer[Array, ""] | int, frames: int, hop: int
) -> Float[Array, " frames*hop"]:
    """Uniform noise in [-1, 1): a function of the key and of where it is.

    Args:
        key: of one stream.
        first: number of the first frame.
        frames: how many.
        hop: samples in a frame.

    Returns:
        The samples; those of a frame depend on nothing but the key and its number.
    """
    numbers = jnp.asarray(first) + jnp.arange(frames)

    def of_frame(number):
        own = jax.random.fold_in(key, number)
        return jax.random.uniform(own, (hop,), minval=-1.0, maxval=1.0)

    return jax.vmap(of_frame)(numbers).reshape(-1)


class NoiseState(NamedTuple):
    """Where a stream of noise stands."""

    key: PRNGKeyArray
    frame: Integer[Array, ""]
    filter: FilterState


class FilteredNoise(eqx.Module):
    """White noise through a filter whose magnitudes change from frame to frame.

    Attributes:
        filter: the filter.
    """

    filter: FrequencyFilter = FrequencyFilter()

    def __call__(
        self, magnitudes: Float[Array, "frames bands"], *, key: PRNGKeyArray
    ) -> Float[Array, " frames*hop"]:
        """The whole sound.

        Args:
            magnitudes: at frames.
            key: of the noise.

        Returns:
            Samples.
        """
        noise = white_noise(key, 0, len(magnitudes), self.filter.hop)
        return self.filter(noise, magnitudes)

    @property
    def frames(self) -> dict[str, int]:
        """Samples in a row of those arguments that are frames."""
        return {"magnitudes": self.filter.hop}

    @property
    def delay(self) -> int:
        """Of a stream, in samples."""
        return self.filter.delay

    def init(
        self, magnitudes: Float[Array, "_ bands"], *, key: PRNGKeyArray
    ) -> NoiseState:
        """A stream that begins.

        Args:
            magnitudes: some frames, of which only the type is read.
            key: of the noise.

        Returns:
            The state.
        """
        noise = jnp.zeros(0, jnp.float32)
        first = jnp.zeros((), jnp.int32)
        return NoiseState(key, first, self.filter.init(noise, magnitudes))

    def step(
        self, state: NoiseState, magnitudes: Float[Array, "frames bands"]
    ) -> tuple[NoiseState, Float[Array, " frames*hop"]]:
        """The next samples, late by `filter.delay`.

        Args:
            state: of the stream.
            magnitudes: at some frames.

        Returns:
            The state after them, and their samples.
        """
        count = len(magnitudes)
        noise = white_noise(state.key, state.frame, count, self.filter.hop)
        filtering, out = self.filter.step(state.filter, noise, magnitudes)
        return NoiseState(state.key, state.frame + count, filtering), out
