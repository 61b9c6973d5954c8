"""Whether connections are of a strength that nervous systems have: units that slip."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ._cell import Cell
from ._drive import Drive


LEAST, MOST = 1e-4, 2.0  # of the way to the threshold, by one spike
WEAK, TOGETHER = 5e-3, 0.1  # by one, and by all at once, where both are below
MOST_LEAKS = 20.0  # that are open at a synapse's peak
LONGEST_MS = 1e3  # of a membrane: one without a leak remembers longer than matters


class Membrane(NamedTuple):
    """A cell at rest, as an electrician sees it.

    Attributes:
        c_pf: its capacitance.
        g_ns: by how much less current flows in for each mV, with gates as they are.
        rest_mv: where it starts.
        way_mv: from there to the threshold; from the reset, where rest is above it.
    """

    c_pf: float
    g_ns: float
    rest_mv: float
    way_mv: float


class Coupling(NamedTuple):
    """What spikes of one kind of synapse do to a cell at rest.

    Attributes:
        psp_mv: peak that one spike moves the voltage by.
        psp: that, of the way to the threshold.
        together: that of all senders at once, did they add up.
        steady: mean of all senders, at the rate that was guessed, did they add up.
        leaks: conductance that has that effect, by the membrane's own; of a current,
            that of what the threshold would take.
        verdict: "usual", "weak" or "strong".
        fan_in: senders of a cell.
        unit: of the weights.
    """

    psp_mv: float
    psp: float
    together: float
    steady: float
    leaks: float
    verdict: str
    fan_in: float
    unit: str

    def advice(self, name: str) -> str:
        """A line about what is not usual.

        Args:
            name: of the connection.

        Returns:
            Nothing if it is usual.
        """
        does = (
            f"{name}: one spike moves the voltage by {self.psp_mv:.2g} mV, "
            f"{self.psp:.2g} of the way to the threshold,"
        )
        units = f"; weights are in {self.unit}, drive in pA"
        if self.verdict == "weak":
            return (
                f"{does} and all {self.fan_in:.3g} at once by {self.together:.2g}: too "
                f"weak (usual: from {WEAK:g} on, or {TOGETHER:g} together){units}"
            )
        if self.verdict == "strong":
            return (
                f"{does} by {self.leaks:.2g} times its leak: too strong (usual: up to "
                f"{MOST:g}, by {MOST_LEAKS:g} leaks){units}"
            )
        return ""


def coupling(
    weights: Float[Array, "..."] | float,
    reversal_mv: float | None,
    decay_ms: float,
    cell: Cell,
    fan_in: float = 1.0,
    rate_hz: float = 10.0,
) -> Coupling | None:
    """The size of what one spike does, without a unit.

    A published network, in which weights were 1000 times too weak, had passed a check
    of dimensions: conductance times voltage was a current, if not the one meant. Here
    its single spikes, 6e-4 of the way to the threshold, are as large as those of Wang
    2002, whose cells have 1600 senders; but all 64 at once were at 0.04. So it is weak
    to be below 5e-3 and, together, below 0.1, or below 1e-4 in any case. Strong is
    above 2, or a conductance of more than 20 leaks.

    With tau_s the synapse's and tau the membrane's time constant, r = tau_s / tau and
    x = w / g r^(1 / (1 - r)), the peak is x of what the full current would do; it is
    1 - e^-x of the driving force for conductances: exact if small or fast, and at most
    30% too large (x = 1.8, slow). The driving force is that at rest, or, if larger, the
    way to the threshold, of which inhibition that only shunts takes something back.

    Args:
        weights: what a spike adds; the median of those that are not zero counts.
        reversal_mv: of a conductance, whose weights are in nS; None for a current, with
            weights in pA.
        decay_ms: time constant of the synapse.
        cell: the model; of parameters that differ between cells the medians count.
        fan_in: senders of a cell.
        rate_hz: of a sender, as it may be, for `steady`.

    Returns:
        What was found; None where the numbers are traced, or all weights are zero.

    Raises:
        ValueError: where a decay or a fan-in is none.
    """
    if any(isinstance(x, Tracer) for x in jax.tree.leaves((weights, cell, decay_ms))):
        return None
    if not 0 < decay_ms < np.inf or not fan_in >= 0:
        raise ValueError(
            f"decay_ms={decay_ms}, fan_in={fan_in}: have to be above 0, and 0 or more"
        )
    sizes = np.abs(np.asarray(weights, float))
    if not np.any(sizes > 0):
        return None
    size, membrane = float(np.median(sizes[sizes > 0])), membrane_of(cell)
    ratio = decay_ms * membrane.g_ns / membrane.c_pf
    share = size / membrane.g_ns * _peak(ratio)
    if reversal_mv is None:
        psp_mv = share
        force_mv, leaks, unit = 1.0, share / membrane.way_mv, "pA"
    else:
        force_mv = max(abs(float(reversal_mv) - membrane.rest_mv), membrane.way_mv)
        psp_mv = force_mv * -np.expm1(-share)
        leaks, unit = share, "nS"
    psp = psp_mv / membrane.way_mv
    area_mv_ms = size * decay_ms / membrane.g_ns * force_mv
    return Coupling(
        float(psp_mv),
        float(psp),
        float(fan_in * psp),
        float(fan_in * rate_hz / 1000 * area_mv_ms / membrane.way_mv),
        float(leaks),
        _verdict(psp, fan_in * psp, leaks),
        float(fan_in),
        unit,
    )


def warn_of_coupling(name: str, found: Coupling | None) -> None:
    """Says in one line what is not usual about a connection.

    Args:
        name: of the connection.
        found: what `coupling` returned.
    """
    if found is not None and found.verdict != "usual":
        warnings.warn(found.advice(name), stacklevel=3)


def membrane_of(cell: Cell) -> Membrane:
    """Of any model, by the slopes of its field.

    Args:
        cell: the model; of parameters that differ between cells the medians count.

    Returns:
        The membrane where `init` puts it.
    """
    shape = jnp.broadcast_shapes(*map(jnp.shape, jax.tree.leaves(cell)))
    state = cell.init(shape)

    def speed(v_mv, current_pa):
        return cell.field(state._replace(v_mv=v_mv), Drive(current_pa)).v_mv

    at = state.v_mv, jnp.zeros(shape)
    one, none = jnp.ones(shape), jnp.zeros(shape)
    steepness = jax.jvp(speed, at, (one, none))[1]
    c_pf = 1 / jax.jvp(speed, at, (none, one))[1]
    g_ns = jnp.maximum(-steepness, 1 / LONGEST_MS) * c_pf
    way_mv = -cell.margin_mv(state)
    # Cells that fire without input start anew from the reset, if they have any.
    again_mv = -cell.margin_mv(cell.reset(state, jnp.ones(shape, bool)))
    way_mv = jnp.maximum(jnp.where(way_mv > 0, way_mv, again_mv), 1.0)
    return Membrane(*(float(jnp.median(x)) for x in (c_pf, g_ns, at[0], way_mv)))


def _peak(ratio: float) -> float:
    """r^(1 / (1 - r)), which is 1 / e at 1."""
    near = abs(ratio - 1) < 1e-6
    return float(np.exp(-1.0 if near else np.log(ratio) / (1 - ratio)))


def _verdict(psp, together, leaks):
    if psp < LEAST or (psp < WEAK and together < TOGETHER):
        return "weak"
    return "strong" if psp > MOST or leaks > MOST_LEAKS else "usual"
