"""Phase in whole numbers, so that neither time nor chunks can wear it down."""

import functools as ft
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer


def phase_dtype(dtype) -> np.dtype:
    """The unsigned integers whose whole range is one cycle.

    Args:
        dtype: of the frequencies.

    Returns:
        uint32, for float64 uint64.
    """
    return np.dtype("uint64" if jnp.dtype(dtype) == jnp.float64 else "uint32")


@ft.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def frame_phases(
    f0_hz: Float[Array, " frames+1"],
    start: Integer[Array, ""],
    hop: int,
    sample_rate: float,
) -> tuple[Float[Array, "frames hop"], Integer[Array, ""]]:
    """The phase of every sample, for a frequency that is linear between frames.

    Sample n of a frame is n increments after its start, in closed form:
    (n f + (f' - f) n (n - 1) / (2 hop)) / sample_rate cycles. Only what whole frames
    advance is summed, modulo one cycle, in integers whose overflow is that cycle: the
    sum does not depend on its order, and errors do not grow with what was summed.

    Args:
        f0_hz: frequency at the frames' edges, the last one's end included.
        start: phase of the first sample; one cycle is the integer's range.
        hop: samples in a frame.
        sample_rate: in Hz.

    Returns:
        Phases in cycles, in [-1/2, 1/2), and the phase after the last sample.
    """
    f0_hz = jnp.asarray(f0_hz)
    left, right = f0_hz[:-1], f0_hz[1:]
    unit = 1 / Fraction(float(sample_rate))
    ahead = _cycles(left, unit * (hop + 1) / 2)
    ahead = ahead + _cycles(right, unit * (hop - 1) / 2)
    total = jnp.cumsum(ahead, dtype=ahead.dtype)
    begin = start + jnp.concatenate([jnp.zeros(1, ahead.dtype), total])
    n = np.arange(hop)
    even = _cycles(left, unit)[:, None] * n.astype(ahead.dtype)
    bend = (n * (n - 1) / (2 * hop * float(sample_rate))).astype(f0_hz.dtype)
    extra = fixed_point((right - left)[:, None] * bend)
    phases = begin[:-1, None] + even + extra
    return _in_cycles(phases, f0_hz.dtype), begin[-1]


@frame_phases.defjvp
def _frame_phases_jvp(hop, sample_rate, primals, tangents):
    phases, end = frame_phases(*primals, hop, sample_rate)
    left, right = tangents[0][:-1], tangents[0][1:]
    ahead = (left * (hop + 1) + right * (hop - 1)) / (2 * sample_rate)
    begin = jnp.cumsum(ahead) - ahead
    n = np.arange(hop)
    even = left[:, None] * (n / sample_rate).astype(left.dtype)
    bend = (n * (n - 1) / (2 * hop * sample_rate)).astype(left.dtype)
    change = begin[:, None] + even + (right - left)[:, None] * bend
    return (phases, end), (change, np.zeros(end.shape, jax.dtypes.float0))


def _in_cycles(phase, dtype):
    signed = np.dtype(f"int{8 * phase.dtype.itemsize}")
    scale = 2.0 ** (-8 * phase.dtype.itemsize)
    return jax.lax.bitcast_convert_type(phase, signed).astype(dtype) * scale


def fixed_point(cycles):
    """Cycles modulo one as an unsigned integer, whose range is one cycle."""
    dtype = phase_dtype(cycles.dtype)
    bits = 8 * dtype.itemsize
    # The choice keeps compilers from fusing what made the cycles with the difference.
    cycles = jnp.where(jnp.isfinite(cycles), cycles, 0)
    part = cycles - jnp.round(cycles)
    digits = jnp.finfo(cycles.dtype).nmant
    whole = jnp.round(part * 2.0 ** (digits + 1)).astype(f"int{bits}")
    return jax.lax.bitcast_convert_type(whole << (bits - digits - 1), dtype)


def _cycles(frequency, factor: Fraction):
    """Frequency * factor modulo one as an unsigned integer, exact to its last digit."""
    if frequency.dtype == jnp.float64:
        return fixed_point(frequency * float(factor))
    # The float's 24 digits times 64 of the factor, of which those around the point
    # are kept: a float32 product would be wrong by 1e-7 of all cycles so far.
    wide = int(factor * 2**64)
    assert wide < 2**64
    bits = jax.lax.bitcast_convert_type(frequency, jnp.uint32)
    exponent = ((bits >> 23) & 0xFF).astype(jnp.int32)
    digits = (bits & 0x7FFFFF) | jnp.where(exponent > 0, 1 << 23, 0).astype(jnp.uint32)
    low_high, low = _product(digits, wide & 0xFFFFFFFF)
    high_high, high = _product(digits, wide >> 32)
    middle = low_high + high
    top = high_high + (middle < high).astype(jnp.uint32)
    # The value is the product times 2^(exponent - 150 - 64), and 2^32 are a cycle.
    shift = 182 - exponent
    by = (shift & 31).astype(jnp.uint32)

    def between(above, below):
        return jnp.where(by == 0, below, (above << (32 - by) % 32) | (below >> by))

    none = jnp.zeros_like(low)
    whole = jnp.select(
        [shift < 0, shift < 32, shift < 64, shift < 96],
        [none, between(middle, low), between(top, middle), between(none, top)],
        none,
    )
    return jnp.where(bits >> 31 == 1, -whole, whole)


def _product(a, b: int):
    """The two halves of the product of a 24-bit and a 32-bit number."""
    b_high, b_low = jnp.uint32(b >> 16), jnp.uint32(b & 0xFFFF)
    a_high, a_low = a >> 16, a & 0xFFFF
    low = a_low * b_low
    cross = a_high * b_low + (low >> 16)
    other = a_low * b_high + (cross & 0xFFFF)
    high = a_high * b_high + (cross >> 16) + (other >> 16)
    return high, (other << 16) | (low & 0xFFFF)
