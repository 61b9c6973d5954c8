"""A learned fundamental frequency: the same network at every pitch."""

import functools as ft
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._stft import centred_stft, power
from ._yin import Pitch


PER_OCTAVE = 36
LOWEST_HZ, HIGHEST_HZ = 32.0, 8000.0  # of the spectrum that is looked at
NEAR = 3  # bins, a semitone, around the likeliest that count for its frequency
FLOOR = 1e-4  # of a frame's mean power; under it is silence
SLOPE = 0.1  # of leaky rectifiers


class PitchEncoder(eqx.Module):
    """Spectra over the logarithm of frequency, and layers that look alike from any bin.

    A note that is transposed moves its spectrum, and what is put out moves with it, so
    that keys never heard are known from their neighbours. A frame's level has no
    influence down to -120 dB. (Transposition-equivariant layers: Riou et al. 2023,
    "PESTO", section 3.2; a frequency as the mean of the likeliest bin's neighbours: Kim
    et al. 2018, "CREPE", eq. 2. Engel et al. 2020 have a residual network instead,
    appendix B.1.)

    Attributes:
        first: from a spectrum to channels, `(channels, reach)`.
        middle: convolutions over neighbours.
        last: from channels to a bin's score.
        sample_rate: in Hz.
        hop: samples in a frame of what is put out.
        least_hz: lowest pitch.
        greatest_hz: highest pitch.
    """

    first: Float[Array, "channels reach"]
    middle: list[eqx.nn.Conv1d]
    last: Float[Array, "channels reach"]
    sample_rate: float = eqx.field(static=True)
    hop: int = eqx.field(static=True)
    least_hz: float = eqx.field(static=True)
    greatest_hz: float = eqx.field(static=True)

    def __init__(
        self,
        *,
        channels: int = 16,
        depth: int = 2,
        sample_rate: float = 16000,
        hop: int = 64,
        least_hz: float = 50.0,
        greatest_hz: float = 2000.0,
        key: PRNGKeyArray,
    ):
        """An encoder at random.

        Args:
            channels: of the layers.
            depth: convolutions between the first layer and the last.
            sample_rate: in Hz.
            hop: samples in a frame.
            least_hz: lowest pitch.
            greatest_hz: highest pitch.
            key: of the weights.

        Raises:
            ValueError: where pitches lie outside of the spectrum that is looked at.
        """
        top = _highest_hz(sample_rate)
        if not LOWEST_HZ <= least_hz < greatest_hz < top:
            raise ValueError(
                f"least_hz={least_hz:g}, greatest_hz={greatest_hz:g}: two pitches from "
                f"{LOWEST_HZ:g} to {top:g} Hz, the lower first"
            )
        self.sample_rate, self.hop = sample_rate, hop
        self.least_hz, self.greatest_hz = least_hz, greatest_hz
        if not len(self.pitches_hz()):
            raise ValueError(
                f"least_hz={least_hz:g}, greatest_hz={greatest_hz:g}: no bin lies "
                "between them; take a semitone or more"
            )
        bins = len(_frequencies(sample_rate))
        # Every bin of the spectrum is in reach of every pitch.
        reach = bins + len(self.pitches_hz()) - 1
        one, two, *rest = jax.random.split(key, 2 + depth)
        self.first = jax.random.normal(one, (channels, 2 * bins - 1)) / math.sqrt(bins)
        self.last = jax.random.normal(two, (channels, reach)) / math.sqrt(
            channels * bins
        )
        self.middle = [
            eqx.nn.Conv1d(channels, channels, 5, padding=2, use_bias=False, key=own)
            for own in rest
        ]

    @property
    def window(self) -> int:
        """Samples that are looked at for one frame."""
        return _window(self.sample_rate, 4 * self.hop)

    def pitches_hz(self) -> np.ndarray:
        """Frequencies of the bins that a pitch may have."""
        f = _frequencies(self.sample_rate)
        return f[(f >= self.least_hz) & (f <= self.greatest_hz)]

    def logits(
        self, audio: Float[Array, " samples"]
    ) -> Float[Array, "coarse_frames pitches"]:
        """Scores of pitches at every fourth frame.

        Args:
            audio: samples.

        Returns:
            What a softmax makes probabilities of.
        """
        return self._scores(log_spectra(audio, self.sample_rate, 4 * self.hop))

    def _scores(self, x):
        bins, pitches = x.shape[1], self.pitches_hz()
        x = jnp.einsum("ti,cio->tco", x, _toeplitz(self.first, bins, bins))
        for layer in self.middle:
            x = jax.nn.leaky_relu(x, SLOPE)
            x = x + jax.vmap(layer)(x)
        x = jax.nn.leaky_relu(x, SLOPE)
        return jnp.einsum("tci,cio->to", x, _toeplitz(self.last, bins, len(pitches)))

    def __call__(self, audio: Float[Array, " samples"]) -> Pitch:
        """Pitch at every frame.

        Args:
            audio: samples.

        Returns:
            The frequency, between whose bins it is found, and 1 less the probability
            of a semitone to either side of it.
        """
        if not audio.shape[0]:
            return Pitch(audio, audio)
        shares = jax.nn.softmax(self.logits(audio))
        octaves = np.log2(self.pitches_hz()).astype(shares.dtype)
        best = jnp.argmax(shares, 1, keepdims=True)
        near = jnp.abs(jnp.arange(len(octaves)) - best) <= NEAR
        weights = jnp.where(near, shares, 0)
        mass = jnp.sum(weights, 1)
        octave = jnp.sum(weights * octaves, 1) / mass
        frames = -(-audio.shape[0] // self.hop)
        at, coarse = (jnp.arange(n, dtype=mass.dtype) for n in (frames, len(mass)))
        between = ft.partial(jnp.interp, at / 4, coarse)
        return Pitch(2 ** between(octave), 1 - between(mass))

    def divergence(
        self,
        audio: Float[Array, " samples"],
        f0_hz: Float[Array, ""],
        spread_cents: float = 25.0,
    ) -> Float[Array, ""]:
        """How far the scores are from a pitch that is known, of the middle frame.

        Args:
            audio: samples of one pitch.
            f0_hz: that pitch.
            spread_cents: of the normal density over bins that is to be found, as wide
                as Kim et al. 2018 have it.

        Returns:
            The divergence from that density: 0 at best.
        """
        spectra = log_spectra(audio, self.sample_rate, 4 * self.hop)
        middle = len(spectra) // 2
        (logits,) = self._scores(spectra[middle : middle + 1])
        cents = 1200 * jnp.log2(self.pitches_hz().astype(audio.dtype) / f0_hz)
        wanted = jax.nn.softmax(-0.5 * (cents / spread_cents) ** 2)
        gap = jnp.log(jnp.maximum(wanted, 1e-20)) - jax.nn.log_softmax(logits)
        return jnp.sum(wanted * gap)


def log_spectra(
    audio: Float[Array, " samples"], sample_rate: float, hop: int
) -> Float[Array, "frames bins"]:
    """The logarithm of power over that of frequency, whatever a frame's level.

    Args:
        audio: samples.
        sample_rate: in Hz.
        hop: samples in a frame.

    Returns:
        36 bins an octave.
    """
    size = _window(sample_rate, hop)
    spectra = power(centred_stft(audio, size, hop))
    bands = spectra @ _bands(sample_rate, size).astype(spectra.dtype)
    mean = jnp.mean(bands, 1, keepdims=True)
    # Beside the faintest sound that 24 bits hold, silence stays silent.
    level = bands / (mean + 1e-12)
    return jnp.log(level + FLOOR) / -math.log(FLOOR)


def _window(sample_rate: float, hop: int) -> int:
    # An eighth of a second: four periods of the lowest frequency, or more.
    return 2 * hop * math.ceil(sample_rate / 16 / hop)


def _highest_hz(sample_rate: float) -> float:
    return min(HIGHEST_HZ, 0.45 * sample_rate)


@ft.lru_cache
def _frequencies(sample_rate: float) -> np.ndarray:
    octaves = math.log2(_highest_hz(sample_rate) / LOWEST_HZ)
    return LOWEST_HZ * 2 ** (np.arange(int(octaves * PER_OCTAVE)) / PER_OCTAVE)


@ft.lru_cache
def _bands(sample_rate: float, size: int) -> np.ndarray:
    """Triangles around the frequencies, at least as wide as a bin of the transform."""
    bins = np.arange(size // 2 + 1) * sample_rate / size
    f = _frequencies(sample_rate)
    width = np.maximum(sample_rate / size, f * (2 ** (1 / PER_OCTAVE) - 1))
    return np.maximum(0, 1 - np.abs(bins[:, None] - f) / width)


def _toeplitz(kernel: Float[Array, "channels reach"], inputs: int, outputs: int):
    """Matrices of which an output sees every input by how far away it is."""
    which = np.arange(inputs)[:, None] - np.arange(outputs) + outputs - 1
    return kernel[:, which]
