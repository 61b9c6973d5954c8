"""How far apart spectra are as distributions over frequency."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._stft import check_pair, check_sizes, power, stft


class SpectralTransport(eqx.Module):
    """The 1-Wasserstein distance of normalised power spectra, frame by frame.

    Spectra are compared by how far power has to be moved along the frequency axis, so
    that a tone is drawn to another from anywhere, not only from where the two overlap.
    In one dimension the distance is the integral of the difference of the cumulated
    distributions. It hears no loudness: add a `SpectralLoss` or one of loudness.

    Attributes:
        fft_size: of the transform.
        hop: from frame to frame, a divisor of `fft_size`.
        floor: what is not above so many times a frame's median power is noise, and
            taken off. Noise is spread over all frequencies, and little of it draws
            tones away from where they are.
    """

    fft_size: int = eqx.field(static=True, default=1024)
    hop: int = eqx.field(static=True, default=256)
    floor: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        check_sizes(self.fft_size, self.hop)
        if self.floor < 0:
            raise ValueError(f"floor={self.floor}: has to be positive, or 0 for none")

    def __call__(
        self, audio: Float[Array, " samples"], target: Float[Array, " samples"]
    ) -> Float[Array, ""]:
        """The distance of two sounds.

        Args:
            audio: samples.
            target: as many.

        Returns:
            The mean over frames, as a part of half the sample rate: 0 to 1.

        Raises:
            ValueError: where the sounds are not equally long.
        """
        check_pair(audio, target)
        if audio.shape[0] == 0:
            return jnp.zeros((), audio.dtype)
        gap = jnp.cumsum(self._distribution(audio) - self._distribution(target), 1)
        return jnp.mean(jnp.abs(gap))

    def _distribution(self, audio) -> Float[Array, "frames bins"]:
        heard = power(stft(audio, self.fft_size, self.hop))
        if self.floor:
            level = jax.lax.stop_gradient(jnp.median(heard, 1, keepdims=True))
            heard = jnp.maximum(heard - self.floor * level, 0)
        total = jnp.sum(heard, 1, keepdims=True)
        return heard / jnp.where(total > 0, total, 1)
