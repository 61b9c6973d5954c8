"""Samples that a network puts out itself."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._frames import check_hop, floating, joined
from ._stft import hann


class FrameSamplesState(NamedTuple):
    """Where a stream stands: at a frame."""

    begun: Bool[Array, ""]
    last: Float[Array, " 2*hop"]


class FrameSamples(eqx.Module):
    """Frames of samples under a Hann window, each half over the next.

    A synthesiser that knows nothing of sound: what a decoder without harmonics drives.

    Attributes:
        hop: samples from frame to frame; a frame has two hops.
    """

    hop: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        check_hop(self.hop)

    @property
    def frames(self) -> dict[str, int]:
        """Samples in a row of those arguments that are frames."""
        return {"samples": self.hop}

    @property
    def delay(self) -> int:
        """Of a stream, in samples: a frame fades into the next, which has to come."""
        return self.hop

    def __call__(
        self, samples: Float[Array, "frames 2*hop"]
    ) -> Float[Array, " frames*hop"]:
        """The whole sound; the last frame is held.

        Args:
            samples: of frames whose middles are `hop` apart.

        Returns:
            Samples, the first of which is in the middle of the first frame.

        Raises:
            ValueError: where a frame is not two hops long.
        """
        samples = self._checked(samples)
        return self._between(joined(samples, samples[-1:]))

    def init(self, samples: Float[Array, "_ 2*hop"]) -> FrameSamplesState:
        """A stream that begins.

        Args:
            samples: some frames, of which only the type is read.

        Returns:
            The state.
        """
        dtype = jnp.promote_types(samples.dtype, jnp.float32)
        return FrameSamplesState(jnp.zeros((), bool), jnp.zeros(2 * self.hop, dtype))

    def step(
        self, state: FrameSamplesState, samples: Float[Array, "frames 2*hop"]
    ) -> tuple[FrameSamplesState, Float[Array, " frames*hop"]]:
        """The samples up to the middle of the last of some frames: late by one hop.

        Args:
            state: at the frame before them.
            samples: of the frames.

        Returns:
            The state at the last frame, and the samples; those before the first frame
            of all are zero.
        """
        samples = self._checked(samples)
        if not len(samples):
            return state, jnp.zeros(0, samples.dtype)
        out = self._between(joined(state.last[None], samples))
        out = out.at[: self.hop].set(jnp.where(state.begun, out[: self.hop], 0))
        return FrameSamplesState(jnp.ones((), bool), samples[-1]), out

    def _checked(self, samples):
        if samples.ndim != 2 or samples.shape[1] != 2 * self.hop:
            raise ValueError(
                f"samples is (frames, {2 * self.hop}), not {samples.shape}"
            )
        return floating(samples)

    def _between(self, samples):
        hop, window = self.hop, hann(2 * self.hop, samples.dtype)
        # Kept apart by a product of the window alone, whose halves add up to 1: what is
        # constant stays so, and no compiler rounds a sum of products in another way.
        before = samples[:-1, hop:]
        change = samples[1:, :hop] - before
        return (before + change * window[:hop]).reshape(-1)
