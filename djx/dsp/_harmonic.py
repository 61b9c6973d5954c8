"""A stack of harmonics, driven frame by frame."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from ._frames import check_rate, fade_weights, floating, joined
from ._harmonic_sum import harmonic_sum
from ._phase import frame_phases, phase_dtype


class HarmonicState(NamedTuple):
    """Where a stream of harmonics stands: at a frame."""

    begun: Bool[Array, ""]
    phase: Integer[Array, ""]
    f0_hz: Float[Array, ""]
    amplitudes: Float[Array, " harmonics"]


class Harmonic(eqx.Module):
    """sum_h a_h(t) sin(2 pi h phi(t)), where phi advances by f0.

    Controls are given at frames, `hop` samples apart. Between two frames f0 is linear,
    and amplitudes fade from the one's to the other's. Harmonics fade out below the
    Nyquist frequency. Phase is kept in integers, so that an hour sounds like a second,
    and a stream gives the bits of the whole.

    Attributes:
        sample_rate: in Hz.
        hop: samples in a frame.
        fade: "linear", or "hann": half a period of a cosine, as magenta's window.
    """

    sample_rate: float = eqx.field(static=True, default=16000)
    hop: int = eqx.field(static=True, default=64)
    fade: Literal["linear", "hann"] = eqx.field(static=True, default="linear")

    def __check_init__(self):
        check_rate(self.sample_rate, self.hop)
        fade_weights(self.fade, self.hop)

    @property
    def frames(self) -> dict[str, int]:
        """Samples in a row of those arguments that are frames."""
        return {"f0_hz": self.hop, "amplitudes": self.hop}

    @property
    def delay(self) -> int:
        """Of a stream, in samples: a frame fades into the next, which has to come."""
        return self.hop

    def __call__(
        self,
        f0_hz: Float[Array, " frames"],
        amplitudes: Float[Array, "frames harmonics"],
    ) -> Float[Array, " frames*hop"]:
        """The whole sound; the last frame's controls are held.

        Args:
            f0_hz: fundamental frequency at frames.
            amplitudes: of the harmonics, the fundamental first.

        Returns:
            Samples, the first of which is at the first frame.

        Raises:
            ValueError: where shapes do not agree.
        """
        f0_hz, amplitudes = self._checked(f0_hz, amplitudes)
        if f0_hz.shape[0] == 0:
            return jnp.zeros(0, f0_hz.dtype)
        phase = jnp.zeros((), phase_dtype(f0_hz.dtype))
        held = (joined(a, a[-1:]) for a in (f0_hz, amplitudes))
        return self._between(phase, *held)[1]

    def init(
        self, f0_hz: Float[Array, " _"], amplitudes: Float[Array, "_ harmonics"]
    ) -> HarmonicState:
        """A stream that begins, with phase zero at its first frame.

        Args:
            f0_hz: some frames, of which only the type is read.
            amplitudes: some frames, of which only type and width are read.

        Returns:
            The state.
        """
        dtype = jnp.promote_types(f0_hz.dtype, jnp.float32)
        other = jnp.promote_types(amplitudes.dtype, jnp.float32)
        return HarmonicState(
            jnp.zeros((), bool),
            jnp.zeros((), phase_dtype(dtype)),
            jnp.zeros((), dtype),
            jnp.zeros(amplitudes.shape[1], other),
        )

    def step(
        self,
        state: HarmonicState,
        f0_hz: Float[Array, " frames"],
        amplitudes: Float[Array, "frames harmonics"],
    ) -> tuple[HarmonicState, Float[Array, " frames*hop"]]:
        """The samples that lead up to the last of some frames: late by one frame.

        Args:
            state: at the frame before them.
            f0_hz: fundamental frequency at the frames.
            amplitudes: of the harmonics.

        Returns:
            The state at the last frame, and the samples; those before the first frame
            of all are zero.
        """
        f0_hz, amplitudes = self._checked(f0_hz, amplitudes)
        if f0_hz.shape[0] == 0:
            return state, jnp.zeros(0, f0_hz.dtype)
        begun = state.begun
        first = jnp.where(begun, state.f0_hz, f0_hz[0])
        f0_hz = joined(first[None], f0_hz)
        amplitudes = joined(state.amplitudes[None], amplitudes)
        # What passes before the first frame must leave the phase at zero there.
        _, ahead = frame_phases(
            f0_hz[:2], jnp.zeros_like(state.phase), self.hop, self.sample_rate
        )
        phase = jnp.where(begun, state.phase, -ahead)
        phase, out = self._between(phase, f0_hz, amplitudes)
        out = out.at[: self.hop].set(jnp.where(begun, out[: self.hop], 0))
        done = jnp.ones((), bool)
        return HarmonicState(done, phase, f0_hz[-1], amplitudes[-1]), out

    def _checked(self, f0_hz, amplitudes):
        f0_hz, amplitudes = floating(f0_hz), floating(amplitudes)
        if f0_hz.ndim != 1 or amplitudes.shape[:-1] != f0_hz.shape:
            raise ValueError(
                f"f0_hz is (frames,) and amplitudes (frames, harmonics), not "
                f"{f0_hz.shape} and {amplitudes.shape}"
            )
        return f0_hz, amplitudes

    def _between(self, phase, f0_hz, amplitudes):
        """Samples from the first frame up to the last, and the phase there."""
        heard = self._heard(f0_hz, amplitudes)
        cycles, phase = frame_phases(f0_hz, phase, self.hop, self.sample_rate)
        weights = fade_weights(self.fade, self.hop)
        out = harmonic_sum(cycles, heard[:-1], heard[1:], weights)
        return phase, out.reshape(-1)

    def _heard(self, f0_hz, amplitudes):
        """Amplitudes below the Nyquist frequency."""
        gain = harmonic_gains(f0_hz, amplitudes.shape[1], self.sample_rate)
        # Integers carry no NaN; amplitudes do.
        fine = jnp.isfinite(f0_hz)[:, None]
        return jnp.where(fine, amplitudes * gain, jnp.nan)


def harmonic_gains(
    f0_hz: Float[Array, " frames"], count: int, sample_rate: float
) -> Float[Array, "frames harmonics"]:
    """`nyquist_gain` of the first harmonics."""
    numbers = jnp.arange(1, count + 1, dtype=f0_hz.dtype)
    return nyquist_gain(f0_hz[:, None] * numbers, sample_rate)


def nyquist_gain(
    frequency_hz: Float[Array, "..."], sample_rate: float, width: float = 0.1
) -> Float[Array, "..."]:
    """1 up to a band below half the sample rate, falling to 0 there, without a click.

    Args:
        frequency_hz: in Hz.
        sample_rate: in Hz.
        width: of the band, as a part of half the sample rate.

    Returns:
        The gains.
    """
    nyquist = sample_rate / 2
    place = jnp.clip((nyquist - jnp.abs(frequency_hz)) * (1 / (width * nyquist)), 0, 1)
    # Products alone: what compilers round in one way only, whatever stands around it.
    return place * place * (3 - 2 * place)
