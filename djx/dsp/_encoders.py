"""Networks from sound to what decoders are given beside pitch and loudness."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..nn.recurrent import GRU
from ._decoders import linear
from ._mel import mfcc


class TimbreEncoder(eqx.Module):
    """MFCCs, a recurrent unit, a linear map: z of the autoencoder (Engel et al. 2020).

    Attributes:
        norm: of the coefficients, each over time.
        gru: over frames.
        head: z.
        sample_rate: in Hz.
        hop: samples in a frame.
        coefficients: how many MFCCs.
    """

    scale: Float[Array, " coefficients"]
    shift: Float[Array, " coefficients"]
    gru: GRU
    head: eqx.nn.Linear
    sample_rate: float = eqx.field(static=True)
    hop: int = eqx.field(static=True)
    coefficients: int = eqx.field(static=True)

    def __init__(
        self,
        size: int = 16,
        *,
        hidden: int = 512,
        coefficients: int = 30,
        sample_rate: float = 16000,
        hop: int = 64,
        key: PRNGKeyArray,
    ):
        """An encoder at random.

        Args:
            size: of z.
            hidden: size of the recurrent unit.
            coefficients: how many MFCCs.
            sample_rate: in Hz.
            hop: samples in a frame.
            key: of the weights.
        """
        first, second = jax.random.split(key)
        self.scale, self.shift = jnp.ones(coefficients), jnp.zeros(coefficients)
        self.gru = GRU(coefficients, hidden, key=first)
        self.head = eqx.nn.Linear(hidden, size, key=second)
        self.sample_rate, self.hop = sample_rate, hop
        self.coefficients = coefficients

    def __call__(self, audio: Float[Array, " samples"]) -> Float[Array, "frames size"]:
        """The timbre at every frame.

        Args:
            audio: samples.

        Returns:
            z.
        """
        greatest = min(8000.0, self.sample_rate / 2)
        found = mfcc(
            audio,
            self.sample_rate,
            count=self.coefficients,
            hop=self.hop,
            greatest_hz=greatest,
        )
        mean = jnp.mean(found, 0)
        spread = jnp.mean((found - mean) ** 2, 0)
        x = (found - mean) * jax.lax.rsqrt(spread + 1e-3) * self.scale + self.shift
        return linear(self.head, self.gru(x))
