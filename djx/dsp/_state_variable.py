"""The state-variable filter: its cutoff may move at audio rate."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core.errors import did_you_mean
from ._frames import floating
from ._rows import by_rows
from ._state_space import system


FRAME, ROWS = 64, 4  # samples of a row, and rows of a block, of coefficients

Kind = Literal["lowpass", "bandpass", "highpass", "notch", "peak", "allpass"]
Floats = Float[Array, " samples"] | Float[Array, ""] | float

# Gains of the low-, band- and high-pass; k, the damping, makes the band's peak 1.
_MIXES = {
    "lowpass": lambda k: (1, 0, 0),
    "bandpass": lambda k: (0, k, 0),
    "highpass": lambda k: (0, 0, 1),
    "notch": lambda k: (1, 0, 1),
    "peak": lambda k: (1, 0, -1),
    "allpass": lambda k: (1, -k, 1),
}


def state_variable(
    audio: Float[Array, " samples"],
    cutoff_hz: Floats,
    resonance: Floats,
    sample_rate: float,
    kind: Kind | Float[Array, "*samples 3"] = "lowpass",
    state: Float[Array, "2"] | None = None,
) -> tuple[Float[Array, " samples"], Float[Array, "2"]]:
    """A two-pole filter of two trapezoidal integrators, whose states are signals.

    It is the analogue filter under the bilinear transform, warped so that the cutoff is
    exact, and stays stable however fast the cutoff moves. It is finite, and so are its
    derivatives, from 0 Hz to half the sample rate, where cutoffs are clipped.

    Args:
        audio: samples.
        cutoff_hz: where low- and high-pass meet, for every sample or for all.
        resonance: Q, above 0: the low-pass's gain at the cutoff; 1/sqrt(2) is flattest.
        sample_rate: in Hz.
        kind: a name; the bandpass and the allpass have gain 1 at the cutoff. Or gains
            of the low-, band- and high-pass (V. Zavalishin's LP, BP and HP), whose sum
            under (1, 1 / Q, 1) is the input.
        state: of both integrators; silence if None.

    Returns:
        The output, and the state after it. On CPUs a stream in chunks of multiples of
        64 samples gives the bits of the whole.

    Raises:
        ValueError: where the kind is unknown, or shapes do not agree.

    V. Zavalishin, "The Art of VA Filter Design", 2012, section 4.4; A. Simper, "Solving
    the continuous SVF equations using trapezoidal integration", 2013. With g = tan(w),
    w = pi cutoff / rate, they have a_1 = 1 / (1 + g (g + k)), a_2 = g a_1, a_3 = g a_2;
    here those are multiplied out by cos(w)^2.
    """
    audio = floating(audio)
    controls = [jnp.asarray(c, audio.dtype) for c in (cutoff_hz, resonance)]
    for name, control in zip(("cutoff_hz", "resonance"), controls, strict=True):
        if control.shape not in ((), audio.shape) or audio.ndim != 1:
            raise ValueError(
                f"{name} has shape {control.shape}: () or that of audio, (samples,), "
                f"{audio.shape}, is needed"
            )
    if isinstance(kind, str):
        if kind not in _MIXES:
            raise ValueError(
                f"kind={kind!r}: choose from {', '.join(map(repr, _MIXES))}"
                f"{did_you_mean(kind, list(_MIXES))}"
            )
        mix = _MIXES[kind]
    else:
        gains = jnp.asarray(kind, audio.dtype)
        if gains.shape not in ((3,), (*audio.shape, 3)):
            raise ValueError(
                f"kind has shape {gains.shape}: three gains, or three for each of "
                f"{audio.shape[0]} samples, are needed"
            )
        controls += [gains[..., k] for k in range(3)]
        mix = None
    if state is None:
        state = jnp.zeros(2, audio.dtype)
    if state.shape != (2,):
        raise ValueError(f"state has shape {state.shape}, and (2,) is needed")

    cutoff_hz, resonance, *gains = controls

    def angles(cutoff_hz):
        w = jnp.pi * jnp.clip(cutoff_hz / sample_rate, 0, 0.5)
        return [jnp.sin(w), jnp.cos(w)]

    def entries(sin, cos, resonance, *gains):
        k = 1 / resonance
        return _entries(sin, cos, k, mix(k) if mix else gains)

    if all(control.ndim == 0 for control in controls):
        columns = entries(*angles(cutoff_hz), resonance, *gains)
    else:
        # The sines apart, or they would be computed again for every entry.
        both = _in_frames(angles, audio.shape[0], cutoff_hz)
        columns = _in_frames(entries, audio.shape[0], *both, resonance, *gains)
    matrices = jnp.stack(jnp.broadcast_arrays(*columns), -1)
    matrices = matrices.reshape(*matrices.shape[:-1], 3, 3)
    y, state = system(matrices, audio[:, None], state)
    return y[:, 0], state


class StateVariable(eqx.Module):
    """`state_variable` of one kind, in streams.

    Attributes:
        sample_rate: in Hz.
        kind: "lowpass", "bandpass", "highpass", "notch", "peak" or "allpass".
    """

    sample_rate: float = eqx.field(static=True, default=16000)
    kind: Kind = eqx.field(static=True, default="lowpass")

    def __check_init__(self):
        if not self.sample_rate > 0:
            raise ValueError(f"sample_rate={self.sample_rate}: has to be above 0 Hz")
        state_variable(jnp.zeros(0), 1.0, 1.0, self.sample_rate, self.kind)

    def __call__(
        self, audio: Float[Array, " samples"], cutoff_hz: Floats, resonance: Floats
    ) -> Float[Array, " samples"]:
        """The whole, after silence.

        Args:
            audio: samples.
            cutoff_hz: for every sample or for all.
            resonance: Q, likewise.

        Returns:
            As many samples.
        """
        return self.step(self.init(), audio, cutoff_hz, resonance)[1]

    def init(self) -> Float[Array, "2"]:
        """A stream that begins, after silence."""
        return jnp.zeros(2)

    def step(
        self,
        state: Float[Array, "2"],
        audio: Float[Array, " samples"],
        cutoff_hz: Floats,
        resonance: Floats,
    ) -> tuple[Float[Array, "2"], Float[Array, " samples"]]:
        """The next samples.

        Args:
            state: of the stream.
            audio: samples; bits are those of the whole where 64 divides their number.
            cutoff_hz: for every sample or for all.
            resonance: Q, likewise.

        Returns:
            The state after them, and as many samples.
        """
        given = audio, cutoff_hz, resonance, self.sample_rate
        out, state = state_variable(*given, self.kind, state)
        return state, out


def _entries(sin, cos, k, mix):
    """(A, B; C, D) of the integrators' states, row by row."""
    scale = 1 / (1 + k * sin * cos)
    a1, a2, a3 = cos * cos * scale, sin * cos * scale, sin * sin * scale
    low, band, high = (
        (a2, 1 - a3, a3),
        (a1, -a2, a2),
        (-k * a1 - a2, k * a2 + a3 - 1, a1),
    )
    heard = [
        sum(gain * part for gain, part in zip(mix, parts, strict=True))
        for parts in zip(low, band, high, strict=True)
    ]
    return [2 * a1 - 1, -2 * a2, 2 * a2, 2 * a2, 1 - 2 * a3, 2 * a3, *heard]


def _in_frames(function, samples: int, *controls):
    """In blocks of one size: bits do not depend on how many samples there are."""
    if samples == 0:
        return [jnp.zeros(0, controls[0].dtype)] * len(function(*controls))
    frames = -(-samples // FRAME)

    def framed(control):
        whole = jnp.broadcast_to(control, samples)
        filled = jnp.pad(whole, (0, frames * FRAME - samples), "edge")
        return filled.reshape(frames, FRAME)

    out = by_rows(function, *[framed(c) for c in controls], rows=ROWS)
    return [column.reshape(-1)[:samples] for column in out]
