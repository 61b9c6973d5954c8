"""A bank of free sinusoids, driven frame by frame."""

import functools as ft
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ._frames import check_rate, fade_weights, floating, joined
from ._harmonic import nyquist_gain
from ._phase import fixed_point, frame_phases, phase_dtype
from ._rows import by_rows
from ._waves import cosine, sine


ROWS = 8  # frames of a block: one frame of a stream costs as many
BACKWARD_ROWS = 128  # the same for gradients: those of one sinusoid fit a cache


class SinusoidsState(NamedTuple):
    """Where a stream of sinusoids stands: at a frame."""

    begun: Bool[Array, ""]
    phases: Integer[Array, " sinusoids"]
    frequencies_hz: Float[Array, " sinusoids"]
    amplitudes: Float[Array, " sinusoids"]


class Sinusoids(eqx.Module):
    """sum_k a_k(t) sin(2 pi phi_k(t)), where each phi_k advances by a frequency.

    Controls are given at frames, `hop` samples apart. Between two frames frequencies
    are linear, and amplitudes fade from the one's to the other's. Sinusoids fade out
    below the Nyquist frequency. Phases are kept in integers, so that an hour sounds
    like a second, and a stream gives the bits of the whole.

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
        return {"frequencies_hz": self.hop, "amplitudes": self.hop}

    @property
    def delay(self) -> int:
        """Of a stream, in samples: a frame fades into the next, which has to come."""
        return self.hop

    def __call__(
        self,
        frequencies_hz: Float[Array, "frames sinusoids"],
        amplitudes: Float[Array, "frames sinusoids"],
    ) -> Float[Array, " frames*hop"]:
        """The whole sound; the last frame's controls are held.

        Args:
            frequencies_hz: at frames.
            amplitudes: at frames.

        Returns:
            Samples, the first of which is at the first frame, where phases are zero.

        Raises:
            ValueError: where shapes do not agree.
        """
        frequencies_hz, amplitudes = _checked(frequencies_hz, amplitudes)
        if frequencies_hz.shape[0] == 0:
            return jnp.zeros(0, frequencies_hz.dtype)
        phases = jnp.zeros(frequencies_hz.shape[1], phase_dtype(frequencies_hz.dtype))
        held = (joined(a, a[-1:]) for a in (frequencies_hz, amplitudes))
        return self._between(phases, *held)[1]

    def init(
        self,
        frequencies_hz: Float[Array, "_ sinusoids"],
        amplitudes: Float[Array, "_ sinusoids"],
    ) -> SinusoidsState:
        """A stream that begins, with phases of zero at its first frame.

        Args:
            frequencies_hz: some frames, of which only type and width are read.
            amplitudes: some frames, of which only type and width are read.

        Returns:
            The state.
        """
        dtype = jnp.promote_types(frequencies_hz.dtype, jnp.float32)
        other = jnp.promote_types(amplitudes.dtype, jnp.float32)
        many = frequencies_hz.shape[1]
        return SinusoidsState(
            jnp.zeros((), bool),
            jnp.zeros(many, phase_dtype(dtype)),
            jnp.zeros(many, dtype),
            jnp.zeros(many, other),
        )

    def step(
        self,
        state: SinusoidsState,
        frequencies_hz: Float[Array, "frames sinusoids"],
        amplitudes: Float[Array, "frames sinusoids"],
    ) -> tuple[SinusoidsState, Float[Array, " frames*hop"]]:
        """The samples that lead up to the last of some frames: late by one frame.

        Args:
            state: at the frame before them.
            frequencies_hz: at the frames.
            amplitudes: at the frames.

        Returns:
            The state at the last frame, and the samples; those before the first frame
            of all are zero.
        """
        frequencies_hz, amplitudes = _checked(frequencies_hz, amplitudes)
        if frequencies_hz.shape[0] == 0:
            return state, jnp.zeros(0, frequencies_hz.dtype)
        begun, hop = state.begun, self.hop
        first = jnp.where(begun, state.frequencies_hz, frequencies_hz[0])
        frequencies_hz = joined(first[None], frequencies_hz)
        amplitudes = joined(state.amplitudes[None], amplitudes)
        # What passes before the first frame must leave the phases at zero there.
        nothing = jnp.zeros_like(state.phases)
        _, ahead = _frame_starts(frequencies_hz[:2], nothing, hop, self.sample_rate)
        phases = jnp.where(begun, state.phases, -ahead)
        phases, out = self._between(phases, frequencies_hz, amplitudes)
        out = out.at[:hop].set(jnp.where(begun, out[:hop], 0))
        done = jnp.ones((), bool)
        return SinusoidsState(done, phases, frequencies_hz[-1], amplitudes[-1]), out

    def _between(self, phases, frequencies_hz, amplitudes):
        """Samples from the first frame up to the last, and the phases there."""
        gain = nyquist_gain(frequencies_hz, self.sample_rate)
        # Integers carry no NaN; amplitudes do.
        heard = jnp.where(jnp.isfinite(frequencies_hz), amplitudes * gain, jnp.nan)
        starts, phases = _frame_starts(
            frequencies_hz, phases, self.hop, self.sample_rate
        )
        ends = frequencies_hz[:-1], frequencies_hz[1:], heard[:-1], heard[1:]
        out = _sum(starts, *ends, fade=self.fade, hop=self.hop, rate=self.sample_rate)
        return phases, out.reshape(-1)


def _checked(frequencies_hz, amplitudes):
    frequencies_hz, amplitudes = floating(frequencies_hz), floating(amplitudes)
    if frequencies_hz.ndim != 2 or amplitudes.shape != frequencies_hz.shape:
        raise ValueError(
            f"frequencies_hz and amplitudes are both (frames, sinusoids), not "
            f"{frequencies_hz.shape} and {amplitudes.shape}"
        )
    return frequencies_hz, amplitudes


@ft.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
@ft.partial(jax.jit, static_argnums=(2, 3))
def _frame_starts(frequencies_hz, phases, hop: int, sample_rate: float):
    """Phases at the frames' starts, in cycles, and after the last; (frames, many)."""
    of_each = jax.vmap(frame_phases, (1, 0, None, None))
    # Of a frame's phases, compilers keep what is used: the first.
    cycles, end = of_each(frequencies_hz, phases, hop, sample_rate)
    return cycles[:, :, 0].T, end


@_frame_starts.defjvp
def _frame_starts_jvp(hop, sample_rate, primals, tangents):
    starts, end = _frame_starts(*primals, hop, sample_rate)
    left, right = tangents[0][:-1], tangents[0][1:]
    ahead = (left * (hop + 1) + right * (hop - 1)) / (2 * sample_rate)
    change = jnp.cumsum(ahead, 0) - ahead
    return (starts, end), (change, np.zeros(end.shape, jax.dtypes.float0))


def _sum(
    starts: Float[Array, "frames sinusoids"],
    left_hz: Float[Array, "frames sinusoids"],
    right_hz: Float[Array, "frames sinusoids"],
    left: Float[Array, "frames sinusoids"],
    right: Float[Array, "frames sinusoids"],
    *,
    fade: str,
    hop: int,
    rate: float,
) -> Float[Array, "frames hop"]:
    """The sums, from where each phase starts, and frequencies and amplitudes at ends.

    Nothing of the size samples x sinusoids is made, neither forward nor backward:
    sinusoids are taken one by one, and their phases made anew.
    """
    if left.size == 0:
        return jnp.zeros((left.shape[0], hop), left.dtype)
    n = np.arange(hop)
    constants = fade_weights(fade, hop), n / rate, n * (n - 1) / (2 * hop * rate)
    weights, even, bend = (c.astype(left.dtype) for c in constants)

    def waves(one):
        start, left_hz, right_hz, left, right = one
        faded = left[:, None] + weights * (right - left)[:, None]
        return _cycles(start, left_hz, right_hz, hop, rate), faded

    def of_rows(*given):
        def add(total, one):
            cycles, faded = waves(one)
            return total + faded * sine(cycles), None

        silence = jnp.zeros((given[0].shape[0], hop), left.dtype)
        return [jax.lax.scan(add, silence, [a.T for a in given])[0]]

    def pull(given, cotangents):
        (g,) = cotangents

        def of_one(one):
            cycles, faded = waves(one)
            by_phase = 2 * np.pi * g * faded * cosine(cycles)
            by_amplitude = g * sine(cycles)
            d_bend = jnp.sum(bend * by_phase, 1)
            d_right = jnp.sum(weights * by_amplitude, 1)
            return [
                jnp.sum(by_phase, 1),
                jnp.sum(even * by_phase, 1) - d_bend,
                d_bend,
                jnp.sum(by_amplitude, 1) - d_right,
                d_right,
            ]

        return [a.T for a in jax.lax.map(of_one, [a.T for a in given])]

    given = starts, left_hz, right_hz, left, right
    return by_rows(of_rows, *given, rows=ROWS, pull=pull, pull_rows=BACKWARD_ROWS)[0]


def _cycles(starts, left_hz, right_hz, hop: int, rate: float):
    """Phases of the frames of one sinusoid, from where each starts, in cycles."""

    def of_frame(start, ends):
        return frame_phases(ends, fixed_point(start), hop, rate)[0][0]

    cycles = jax.vmap(of_frame)(starts, jnp.stack([left_hz, right_hz], 1))
    # Integers carry no derivative; this is zero, with that of the start.
    return cycles + (starts - jax.lax.stop_gradient(starts))[:, None]
