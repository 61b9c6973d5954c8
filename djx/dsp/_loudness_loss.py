"""How far apart sounds are in loudness."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ._frames import check_rate
from ._loudness import power_weights
from ._stft import centred_stft, check_pair, check_sizes, power


LEAST_DB = -120.0


class LoudnessLoss(eqx.Module):
    """The mean distance of two sounds' A-weighted loudness, in dB.

    It hears no pitch and no timbre: it goes with a loss that hears no loudness, as
    `SpectralTransport`. A sine of amplitude 1 at 1 kHz has 0 dB.

    Where a sound is silent its amplitude has no derivative; the one along the target's
    spectrum is taken, so that silence learns, too. The floor is therefore one of
    amplitude, and not of power as in `loudness_db`.

    Attributes:
        sample_rate: in Hz.
        fft_size: samples under the window, a multiple of `hop`.
        hop: samples from frame to frame; the frames' windows are centred on 0, hop, ..
        least_db: of silence.
    """

    sample_rate: float = eqx.field(static=True, default=16000)
    fft_size: int = eqx.field(static=True, default=1024)
    hop: int = eqx.field(static=True, default=256)
    least_db: float = eqx.field(static=True, default=LEAST_DB)

    def __check_init__(self):
        check_rate(self.sample_rate, self.hop)
        check_sizes(self.fft_size, self.hop)

    def __call__(
        self, audio: Float[Array, " samples"], target: Float[Array, " samples"]
    ) -> Float[Array, ""]:
        """The distance of two sounds.

        Args:
            audio: samples.
            target: as many.

        Returns:
            The mean over frames, in dB.

        Raises:
            ValueError: where the sounds are not equally long.
        """
        check_pair(audio, target)
        if audio.shape[0] == 0:
            return jnp.zeros((), audio.dtype)
        heard = centred_stft(audio, self.fft_size, self.hop)
        wanted = centred_stft(target, self.fft_size, self.hop)
        weights = power_weights(self.fft_size, self.sample_rate, audio.dtype)
        ours, theirs = levels_db(heard, wanted, weights, self.least_db)
        return jnp.mean(jnp.abs(ours - theirs))


def levels_db(
    ours: Complex[Array, "frames bins"],
    theirs: Complex[Array, "frames bins"],
    weights: Float[np.ndarray, " bins"],
    least_db: float = LEAST_DB,
) -> tuple[Float[Array, " frames"], Float[Array, " frames"]]:
    """Loudness of two spectra; where one is silent its derivative is along the other.

    Args:
        ours: a spectrum.
        theirs: another.
        weights: as `power_weights` returns them.
        least_db: of silence; a floor in amplitude.

    Returns:
        20 log10(amplitude + floor) of both.
    """

    def level(spectrum, other):
        amplitude = _amplitude(spectrum, other, weights)
        return 20 * jnp.log10(amplitude + 10 ** (least_db / 20))

    return level(ours, theirs), level(theirs, ours)


def _amplitude(spectrum, other, weights):
    """The norm of a spectrum. At 0, of its subgradients the other's direction."""
    other = jax.lax.stop_gradient(other)
    dot = spectrum.real * other.real + spectrum.imag * other.imag
    along = (dot @ weights) / _root(power(other) @ weights, 1)
    heard = power(spectrum) @ weights
    return jnp.where(heard > 0, _root(heard, 0), along)


def _root(x, otherwise):
    there = x > 0
    return jnp.where(there, jnp.sqrt(jnp.where(there, x, 1)), otherwise)
