"""How far apart spectra are as distributions over frequency."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._stft import check_sizes, framed, hann


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
        if audio.shape != target.shape or audio.ndim != 1:
            raise ValueError(
                f"two sounds of as many samples, not {audio.shape} and {target.shape}"
            )
        if audio.shape[0] == 0:
            return jnp.zeros((), audio.dtype)
        gap = jnp.cumsum(self._distribution(audio) - self._distribution(target), 1)
        return jnp.mean(jnp.abs(gap))

    def _distribution(self, audio) -> Float[Array, "frames bins"]:
        frames = framed(audio, self.fft_size, self.hop)
        spectrum = jnp.fft.rfft(frames * hann(self.fft_size, audio.dtype))
        power = spectrum.real**2 + spectrum.imag**2
        if self.floor:
            level = jax.lax.stop_gradient(jnp.median(power, 1, keepdims=True))
            power = jnp.maximum(power - self.floor * level, 0)
        total = jnp.sum(power, 1, keepdims=True)
        return power / jnp.where(total > 0, total, 1)
