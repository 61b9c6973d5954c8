"""An oscillator that reads tables of one period."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ..core.errors import did_you_mean
from ._frames import check_rate, fade_weights, floating, joined
from ._harmonic import nyquist_gain
from ._phase import frame_phases, phase_dtype
from ._rows import by_rows


ROWS = 8  # frames of a block: one frame of a stream costs as many


def _linear(x, here, after):
    return here + x * (after - here)


def _cubic(x, a, b, here, after, c, d):
    """Hermite's, with slopes from differences of fourth order."""
    slope = (8 * (after - b) - (c - a)) / 12
    slope_after = (8 * (c - here) - (d - b)) / 12
    rise = after - here
    bend = slope + slope_after - 2 * rise
    return here + x * (slope + x * (rise - slope - bend + x * bend))


# With the neighbours that each needs of a place between two samples.
INTERPOLATIONS = {"cubic": (_cubic, range(-2, 4)), "linear": (_linear, range(2))}


class WavetableState(NamedTuple):
    """Where a stream of an oscillator stands: at a frame."""

    begun: Bool[Array, ""]
    phase: Integer[Array, ""]
    f0_hz: Float[Array, ""]
    amplitude: Float[Array, ""]
    wavetable: Float[Array, " table"]


class Wavetable(eqx.Module):
    """a(t) times a table, read at the phase phi(t), which advances by f0.

    Controls are given at frames, `hop` samples apart. Between two frames f0 is linear;
    amplitudes fade from the one's to the other's, and so do tables. Phase is kept in
    integers, so that an hour sounds like a second, and a stream gives the bits of the
    whole.

    Harmonics of a table that lie above half the sample rate are heard at wrong
    frequencies. If `band_limited`, every frame's table first loses them, by one
    transform, with the gains that `Harmonic` has: but for interpolation, the sound is
    that of `Harmonic` with the table's Fourier coefficients. Interpolation errs by up
    to (2 pi h / T)^4 / 384 of a harmonic h of a table of T samples if cubic, and by
    (2 pi h / T)^2 / 8 if linear; it can be heard at frequencies that are no harmonics,
    and is small where T is some 20 times the highest h that counts.

    Attributes:
        sample_rate: in Hz.
        hop: samples in a frame.
        fade: "linear", or "hann": half a period of a cosine, as magenta's window.
        interpolation: "cubic": Hermite's, of fourth order, with a continuous slope; or
            "linear": of second order, as magenta's.
        band_limited: whether tables lose what is above half the sample rate.
    """

    sample_rate: float = eqx.field(static=True, default=16000)
    hop: int = eqx.field(static=True, default=64)
    fade: Literal["linear", "hann"] = eqx.field(static=True, default="linear")
    interpolation: Literal["cubic", "linear"] = eqx.field(static=True, default="cubic")
    band_limited: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        check_rate(self.sample_rate, self.hop)
        fade_weights(self.fade, self.hop)
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation={self.interpolation!r}: choose from 'cubic', 'linear'"
                f"{did_you_mean(self.interpolation, INTERPOLATIONS)}"
            )

    @property
    def frames(self) -> dict[str, int]:
        """Samples in a row of those arguments that are frames."""
        return dict.fromkeys(("f0_hz", "amplitudes", "wavetables"), self.hop)

    @property
    def delay(self) -> int:
        """Of a stream, in samples: a frame fades into the next, which has to come."""
        return self.hop

    def __call__(
        self,
        f0_hz: Float[Array, " frames"],
        amplitudes: Float[Array, " frames"],
        wavetables: Float[Array, "frames table"] | Float[Array, " table"],
    ) -> Float[Array, " frames*hop"]:
        """The whole sound; the last frame's controls are held.

        Args:
            f0_hz: fundamental frequency at frames.
            amplitudes: gains at frames.
            wavetables: one period each, at frames; or one for all.

        Returns:
            Samples, the first of which is at the first frame, where the phase is zero.

        Raises:
            ValueError: where shapes do not agree.
        """
        controls = _checked(f0_hz, amplitudes, wavetables)
        if controls[0].shape[0] == 0:
            return jnp.zeros(0, controls[0].dtype)
        phase = jnp.zeros((), phase_dtype(controls[0].dtype))
        return self._between(phase, *(joined(a, a[-1:]) for a in controls))[1]

    def init(
        self,
        f0_hz: Float[Array, " _"],
        amplitudes: Float[Array, " _"],
        wavetables: Float[Array, "_ table"] | Float[Array, " table"],
    ) -> WavetableState:
        """A stream that begins, with phase zero at its first frame.

        Args:
            f0_hz: some frames, of which only the type is read.
            amplitudes: some frames, of which only the type is read.
            wavetables: some, of which only type and width are read.

        Returns:
            The state.
        """
        given = f0_hz, amplitudes, wavetables
        dtypes = [jnp.promote_types(a.dtype, jnp.float32) for a in given]
        return WavetableState(
            jnp.zeros((), bool),
            jnp.zeros((), phase_dtype(dtypes[0])),
            jnp.zeros((), dtypes[0]),
            jnp.zeros((), dtypes[1]),
            jnp.zeros(wavetables.shape[-1], dtypes[2]),
        )

    def step(
        self,
        state: WavetableState,
        f0_hz: Float[Array, " frames"],
        amplitudes: Float[Array, " frames"],
        wavetables: Float[Array, "frames table"] | Float[Array, " table"],
    ) -> tuple[WavetableState, Float[Array, " frames*hop"]]:
        """The samples that lead up to the last of some frames: late by one frame.

        Args:
            state: at the frame before them.
            f0_hz: fundamental frequency at the frames.
            amplitudes: gains at the frames.
            wavetables: one period each, at the frames; or one for all.

        Returns:
            The state at the last frame, and the samples; those before the first frame
            of all are zero.
        """
        f0_hz, amplitudes, tables = _checked(f0_hz, amplitudes, wavetables)
        if f0_hz.shape[0] == 0:
            return state, jnp.zeros(0, f0_hz.dtype)
        begun, hop = state.begun, self.hop
        f0_hz = joined(jnp.where(begun, state.f0_hz, f0_hz[0])[None], f0_hz)
        amplitudes = joined(state.amplitude[None], amplitudes)
        tables = joined(state.wavetable[None], tables)
        # What passes before the first frame must leave the phase at zero there.
        nothing = jnp.zeros_like(state.phase)
        _, ahead = frame_phases(f0_hz[:2], nothing, hop, self.sample_rate)
        phase = jnp.where(begun, state.phase, -ahead)
        phase, out = self._between(phase, f0_hz, amplitudes, tables)
        out = out.at[:hop].set(jnp.where(begun, out[:hop], 0))
        last = f0_hz[-1], amplitudes[-1], tables[-1]
        return WavetableState(jnp.ones((), bool), phase, *last), out

    def _between(self, phase, f0_hz, amplitudes, tables):
        """Samples from the first frame up to the last, and the phase there."""
        # Integers carry no NaN; amplitudes do.
        heard = jnp.where(jnp.isfinite(f0_hz), amplitudes, jnp.nan)[:, None]
        if self.band_limited:
            tables = _limited(tables, f0_hz, self.sample_rate)
        cycles, phase = frame_phases(f0_hz, phase, self.hop, self.sample_rate)
        ends = tables[:-1], tables[1:], heard[:-1], heard[1:]
        weights = fade_weights(self.fade, self.hop).astype(cycles.dtype)

        def faded(left, right):
            return left + weights * (right - left)

        between, reach = INTERPOLATIONS[self.interpolation]

        def of_rows(cycles, left, right, quiet, loud):
            size = left.shape[1]
            position = cycles * size
            below = jnp.floor(position)

            def tap(table, k):
                at = jnp.mod(below.astype(jnp.int32) + k, size)
                return jnp.take_along_axis(table, at, 1, mode="clip")

            taps = [faded(tap(left, k), tap(right, k)) for k in reach]
            return [faded(quiet, loud) * between(position - below, *taps)]

        return phase, by_rows(of_rows, cycles, *ends, rows=ROWS)[0].reshape(-1)


def _checked(f0_hz, amplitudes, wavetables):
    f0_hz, amplitudes = floating(f0_hz), floating(amplitudes)
    tables = floating(wavetables)
    frames, size = f0_hz.shape, tables.shape[-1:]
    if (
        f0_hz.ndim != 1
        or amplitudes.shape != frames
        or tables.shape not in ((*frames, *size), size)
    ):
        raise ValueError(
            f"f0_hz and amplitudes are (frames,) and wavetables (frames, table) or "
            f"(table,), not {frames}, {amplitudes.shape} and {tables.shape}"
        )
    if size == (0,):
        raise ValueError("wavetables: a table has one sample or more")
    return f0_hz, amplitudes, jnp.broadcast_to(tables, (*frames, *size))


def _limited(tables, f0_hz, sample_rate: float):
    """Tables without what lies above half the sample rate."""
    size = tables.shape[1]
    numbers = np.arange(size // 2 + 1).astype(f0_hz.dtype)
    times = np.where((numbers == 0) | (2 * numbers == size), 1, 2) / size

    def gains(f0_hz):
        return nyquist_gain(f0_hz * numbers, sample_rate)

    def of_rows(tables, f0_hz):
        return [jnp.fft.irfft(jnp.fft.rfft(tables) * gains(f0_hz), size)]

    def pull(given, cotangents):
        tables, f0_hz = given
        (g,) = cotangents
        gain, slope = jax.jvp(gains, (f0_hz,), (jnp.ones_like(f0_hz),))
        spectrum, of_g = jnp.fft.rfft(tables), jnp.fft.rfft(g)
        together = spectrum.real * of_g.real + spectrum.imag * of_g.imag
        d_f0_hz = jnp.sum(together * slope * times.astype(g.dtype), 1, keepdims=True)
        # A filter without phase is its own adjoint.
        return [jnp.fft.irfft(of_g * gain, size), d_f0_hz]

    return by_rows(of_rows, tables, f0_hz[:, None], rows=ROWS, pull=pull)[0]
